package dev.chatshard.client;

import java.io.IOException;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;

/** What all parts of a client share: options, threads, and the count of calls that wait. */
final class Shared {
    private final ChatshardOptions options;
    private final UnderWay underWay = new UnderWay(this);
    private final Loop loop;
    private final ScheduledThreadPoolExecutor timer;
    private final ExecutorService resolver;
    private final Set<Connection> connections = ConcurrentHashMap.newKeySet();
    private volatile boolean closed;
    private volatile boolean stopped;
    private final AtomicInteger waiting = new AtomicInteger();

    Shared(ChatshardOptions options) throws IOException {
        this.options = options;
        loop = new Loop();
        timer = new ScheduledThreadPoolExecutor(1, named("chatshard-timer"));
        timer.setRemoveOnCancelPolicy(true);
        timer.setExecuteExistingDelayedTasksAfterShutdownPolicy(false);
        // Looking up a name blocks, for longer than any deadline if it must.
        resolver = new ThreadPoolExecutor(0, 64, 1, TimeUnit.SECONDS, new SynchronousQueue<>(),
                named("chatshard-resolver"), (task, pool) -> {
                    throw new java.util.concurrent.RejectedExecutionException("too many look-ups");
                });
    }

    private static ThreadFactory named(String name) {
        return task -> {
            Thread thread = new Thread(task, name);
            thread.setDaemon(true);
            return thread;
        };
    }

    ChatshardOptions options() {
        return options;
    }

    Loop loop() {
        return loop;
    }

    UnderWay underWay() {
        return underWay;
    }

    ScheduledExecutorService timer() {
        return timer;
    }

    ExecutorService resolver() {
        return resolver;
    }

    Transport transport(Address address) {
        if (options.tls() == null) {
            return new Transport.Plain();
        }
        String name = options.tlsName() != null ? options.tlsName() : address.host();
        return new TlsTransport(options.tls(), name, address.isUnix() ? 0 : address.port());
    }

    /** Counts a call that waits, unless there are too many. */
    boolean mayWait() {
        if (waiting.incrementAndGet() <= options.waitingCalls()) {
            return true;
        }
        waiting.decrementAndGet();
        return false;
    }

    void waitedOne() {
        waiting.decrementAndGet();
    }

    boolean hasHooks() {
        return options.hooks() != Hooks.NONE;
    }

    void hook(Consumer<Hooks> call) {
        try {
            call.accept(options.hooks());
        } catch (RuntimeException | Error error) {
            // A hook that fails must not change what a call returns, nor end a thread of the
            // client. Its stack is shown as if it had ended one.
            Thread here = Thread.currentThread();
            here.getUncaughtExceptionHandler().uncaughtException(here, error);
        }
    }

    boolean isClosed() {
        return closed;
    }

    /** From now on no call begins or is repeated. Returns whether that is new. */
    synchronized boolean close() {
        boolean isNew = !closed;
        closed = true;
        return isNew;
    }

    /** Rejects a wait on the thread that would end it. */
    void requireOther() {
        if (loop.isCurrent()) {
            throw new IllegalStateException(
                    "a stage of a call must not block; give it an executor (thenApplyAsync)");
        }
    }

    /** Notes a connection, which must not outlive the client. Returns false if the client ends. */
    boolean opens(Connection connection) {
        connections.add(connection);
        return !stopped;
    }

    void ended(Connection connection) {
        connections.remove(connection);
    }

    /** Ends all connections and calls, and begins to end all threads. */
    void stop() {
        close();
        stopped = true;
        connections.forEach(connection -> connection.end("the client is closed"));
        underWay.endAll();
        timer.shutdownNow();
        resolver.shutdownNow();
        loop.stop();
    }

    /** Waits a moment for the end of all threads. */
    void join() {
        try {
            loop.join(1000);
            timer.awaitTermination(1, TimeUnit.SECONDS);
            resolver.awaitTermination(1, TimeUnit.SECONDS);
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }
}
