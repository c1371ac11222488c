package dev.chatshard.client;

import java.io.IOException;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;

/**
 * A client whose calls return at once, with a {@link CompletableFuture} of the reply.
 *
 * <p>A call ends within its deadline, with a reply or with a {@link ChatshardException} that says
 * what is known of the request. Calls for one user or chat run in the order in which one thread
 * makes them. The threads of the client complete the futures, so a stage that blocks or computes
 * for long belongs on an executor: {@code thenApplyAsync(..., executor)}.
 *
 * <p>Any number of threads may share a client.
 */
public final class ChatshardAsyncClient implements AsyncCommands, AutoCloseable {
    private final Shared shared;
    private final Nodes nodes;
    private final String keyPrefix;
    private final AtomicLong keys = new AtomicLong();
    private final Set<Watch> watches = ConcurrentHashMap.newKeySet();
    private final CompletableFuture<Void> ended = new CompletableFuture<>();

    private ChatshardAsyncClient(ChatshardOptions options) throws IOException {
        shared = new Shared(options);
        nodes = new Nodes(shared);
        SecureRandom random = new SecureRandom();
        keyPrefix = Long.toHexString(random.nextLong()) + Long.toHexString(random.nextLong()) + "-";
    }

    /** Connects to a server, with the defaults of all other options. */
    public static CompletableFuture<ChatshardAsyncClient> connect(String... addresses) {
        return connect(ChatshardOptions.of(addresses));
    }

    /**
     * Connects to the first address that accepts {@code hello}. Later calls find the active.
     *
     * <p>It fails with the error of the last address if none does.
     */
    public static CompletableFuture<ChatshardAsyncClient> connect(ChatshardOptions options) {
        ChatshardAsyncClient client;
        try {
            client = new ChatshardAsyncClient(options);
        } catch (IOException error) {
            return CompletableFuture.failedFuture(error);
        }
        Duration patience = options.connectTimeout()
                .multipliedBy(options.addresses().size()).plusMillis(100);
        // A ping that is not repeated has the error of connecting.
        return new Call<>(client.shared, client.nodes, PingArgs.of(), null, patience, false)
                .start().handle((pong, error) -> {
                    if (error == null) {
                        return CompletableFuture.completedFuture(client);
                    }
                    client.stop();
                    Throwable known = error instanceof ChatshardException of
                            ? of.in("connect") : error;
                    return CompletableFuture.<ChatshardAsyncClient>failedFuture(known);
                }).thenCompose(result -> result);
    }

    @Override
    public <R> CompletableFuture<R> call(Arguments<R> arguments) {
        return call(arguments, shared.options().callTimeout());
    }

    /**
     * The same commands with another deadline for each call. With a duration of 0 or less they fail
     * as "not applied".
     */
    public AsyncCommands within(Duration deadline) {
        return new AsyncCommands() {
            @Override
            public <R> CompletableFuture<R> call(Arguments<R> arguments) {
                return ChatshardAsyncClient.this.call(arguments, deadline);
            }
        };
    }

    private <R> CompletableFuture<R> call(Arguments<R> arguments, Duration patience) {
        String key = arguments.key();
        if (key == null && arguments.command().takesKey() && shared.options().keys()) {
            key = keyPrefix + Long.toString(keys.incrementAndGet(), 36);
        }
        boolean mayRepeat = arguments.command().isRead() || key != null;
        return new Call<>(shared, nodes, arguments, key, patience, mayRepeat).start();
    }

    /**
     * Watches all changes of the node, from now on.
     *
     * @see #watch(String)
     */
    public CompletableFuture<Watch> watch() {
        return watch(null);
    }

    /**
     * Watches all changes of the node behind an offset. The stream has begun when the future
     * completes, so state that is read after that misses nothing.
     *
     * @param from the {@link Event#offset offset} of the last event that is done; null: now
     */
    public CompletableFuture<Watch> watch(String from) {
        Watch watch = new Watch(shared, nodes, from, watches::remove);
        watches.add(watch);
        if (shared.isClosed()) {
            watch.close();
        }
        return watch.start();
    }

    /**
     * The present server's description of itself, of the newest connection.
     *
     * @return null while no connection is open
     */
    public HelloReply server() {
        return nodes.current().hello();
    }

    Shared shared() {
        return shared;
    }

    /**
     * Ends the client: waits for the calls under way, at most for the call time-out, and then ends
     * all connections and threads. Watches end at once. Later calls fail as "not applied".
     */
    public CompletableFuture<Void> closeAsync() {
        if (shared.close()) {
            watches.forEach(Watch::close);
            CompletableFuture<Void> idle = shared.underWay().close();
            long patience = shared.options().callTimeout().toNanos();
            shared.timer().schedule(() -> idle.complete(null), patience, TimeUnit.NANOSECONDS);
            idle.thenRun(this::stop);
        }
        return ended;
    }

    /** Does {@link #closeAsync} and waits for it. */
    @Override
    public void close() {
        shared.requireOther();
        closeAsync().join();
        shared.join();
    }

    private void stop() {
        shared.stop();
        ended.complete(null);
    }
}
