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
    private static final String INTERRUPTED = "the thread was interrupted";

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
        return await(client, arguments);
    }

    /**
     * The same commands with another deadline for each call. With a duration of 0 or less they fail
     * as "not applied".
     */
    public Commands within(Duration deadline) {
        AsyncCommands commands = client.within(deadline);
        return new Commands() {
            @Override
            public <R> R call(Arguments<R> arguments) {
                return await(commands, arguments);
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

    /** Makes a call, unless the thread is interrupted already. */
    private <R> R await(AsyncCommands commands, Arguments<R> arguments) {
        client.shared().requireOther();
        Command<R> command = arguments.command();
        if (Thread.currentThread().isInterrupted()) {
            throw ChatshardException.notApplied(INTERRUPTED).in(command.name()).thrown();
        }
        return await(commands.call(arguments), command);
    }

    private static <R> R await(CompletableFuture<R> reply) {
        return await(reply, PingArgs.COMMAND);
    }

    /** Waits for a reply. An interrupt ends the wait; a write may still be applied. */
    private static <R> R await(CompletableFuture<R> reply, Command<?> command) {
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
            ChatshardException known = command.isRead()
                    ? ChatshardException.notApplied(INTERRUPTED)
                    : ChatshardException.unknown(INTERRUPTED);
            throw known.in(command.name()).thrown();
        } catch (CancellationException error) {
            throw ChatshardException.unknown("the call was canceled").in(command.name()).thrown();
        }
    }
}
