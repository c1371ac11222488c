package dev.chatshard.client;

import java.time.Duration;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;

/**
 * A client whose calls wait for their replies.
 *
 * <p>A call ends within its deadline, with a reply or with a {@link ChatshardException} that says
 * what is known of the request. Any number of threads may share a client, and their calls share its
 * connections.
 */
public final class ChatshardClient implements Commands, AutoCloseable {
    private final ChatshardAsyncClient client;

    private ChatshardClient(ChatshardAsyncClient client) {
        this.client = client;
    }

    /**
     * Connects to a server, with the defaults of all other options.
     *
     * @throws ChatshardException if no address accepts {@code hello}
     */
    public static ChatshardClient connect(String... addresses) {
        return connect(ChatshardOptions.of(addresses));
    }

    /**
     * Connects to the first address that accepts {@code hello}. Later calls find the active.
     *
     * @throws ChatshardException if none does: the error of the last one
     */
    public static ChatshardClient connect(ChatshardOptions options) {
        return new ChatshardClient(await(ChatshardAsyncClient.connect(options)));
    }

    @Override
    public <R> R call(Arguments<R> arguments) {
        client.shared().requireOther();
        return await(client.call(arguments));
    }

    /** The same commands with another deadline for each call. */
    public Commands within(Duration deadline) {
        AsyncCommands commands = client.within(deadline);
        return new Commands() {
            @Override
            public <R> R call(Arguments<R> arguments) {
                client.shared().requireOther();
                return await(commands.call(arguments));
            }
        };
    }

    /** The client with futures. Both are one: they share connections and the end. */
    public ChatshardAsyncClient async() {
        return client;
    }

    /** Watches all changes of the node, from now on. */
    public Watch watch() {
        return watch(null);
    }

    /**
     * Watches all changes of the node behind an offset. The stream has begun when this returns, so
     * state that is read after that misses nothing.
     *
     * @param from the {@link Event#offset offset} of the last event that is done; null: now
     * @throws ChatshardException with status 409 if the offset is not kept any more
     */
    public Watch watch(String from) {
        client.shared().requireOther();
        return await(client.watch(from));
    }

    /** The present server's description of itself; null while no connection is open. */
    public HelloReply server() {
        return client.server();
    }

    /**
     * Ends the client: waits for the calls under way, at most for the call time-out, and then ends
     * all connections and threads. Later calls fail as "not applied".
     */
    @Override
    public void close() {
        client.close();
    }

    /** Waits for a reply. An interrupt ends the wait; the call itself may still be applied. */
    static <R> R await(CompletableFuture<R> reply) {
        try {
            return reply.get();
        } catch (ExecutionException error) {
            if (error.getCause() instanceof ChatshardException known) {
                throw known.thrown();
            }
            throw new IllegalStateException(error.getCause());
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
            reply.cancel(false);
            throw ChatshardException.unknown("the thread was interrupted").thrown();
        } catch (CancellationException error) {
            throw ChatshardException.unknown("the call was canceled").thrown();
        }
    }
}
