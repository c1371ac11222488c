package dev.chatshard.client;

import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/**
 * The stream of all changes of a node, in the order of its log.
 *
 * <p>It continues over lost connections and failovers: an event may come twice, and none is
 * missing. It ends with an error if its offset is not kept any more (409), or if the server refuses
 * it. It has a connection of its own, and reads no further while many events wait to be taken. So
 * one that is taken slowly delays no call, and needs a bounded memory.
 *
 * <p>A {@link WatchOp#HEARTBEAT} is an event too: the first one, and one after each 10 s without a
 * change. Events of a newer server, with an op that this client does not know, are passed over.
 */
public final class Watch implements AutoCloseable, Iterable<Event> {
    /** Events that may wait, above which the connection is not read. */
    private static final int FULL = 1024;
    /** Events that may wait, at which it is read again. */
    private static final int LOW = 256;

    private final Shared shared;
    private final Nodes nodes;
    private final Consumer<Watch> onEnd;
    private final CompletableFuture<Watch> started = new CompletableFuture<>();
    private final Object lock = new Object();

    // Guarded by the lock.
    private final Queue<Event> events = new ArrayDeque<>();
    private CompletableFuture<Event> waiter;
    /** Behind which to continue: the last event that was received. */
    private String received;
    private String taken;
    private Connection connection;
    private boolean paused;
    private final Backoff backoff = new Backoff();
    private boolean ended;
    private ChatshardException error;
    private ChatshardException last;
    private volatile Future<?> deadline;

    Watch(Shared shared, Nodes nodes, String from, Consumer<Watch> onEnd) {
        this.shared = shared;
        this.nodes = nodes;
        this.onEnd = onEnd;
        received = from;
        taken = from;
    }

    CompletableFuture<Watch> start() {
        try {
            long patience = shared.options().callTimeout().toNanos();
            deadline = shared.timer().schedule(this::tooLate, patience, TimeUnit.NANOSECONDS);
            open();
        } catch (RejectedExecutionException closed) {
            end(ChatshardException.notApplied("the client is closed"));
        }
        return started;
    }

    private void tooLate() {
        ChatshardException why;
        synchronized (lock) {
            why = last != null ? last : ChatshardException.notApplied("no event in time");
        }
        if (!started.isDone()) {
            end(why);
        }
    }

    private void open() {
        Stream stream;
        synchronized (lock) {
            if (ended) {
                return;
            }
            stream = new Stream(nodes.current(), received);
            connection = stream.connection;
            paused = false;
        }
        stream.connection.submit(stream);
        stream.connection.connect();
    }

    /** Continues later, behind the last event that was received. */
    private void again(ChatshardException why, boolean isElsewhere) {
        long pause;
        synchronized (lock) {
            if (ended) {
                return;
            }
            last = why;
            boolean isFirst = backoff.isFresh();
            long drawn = backoff.next();
            pause = isElsewhere && isFirst ? 0 : drawn;
        }
        try {
            shared.timer().schedule(this::open, pause, TimeUnit.NANOSECONDS);
        } catch (RejectedExecutionException closed) {
            end(why);
        }
    }

    /** Ends the stream. Events that were received can still be taken, and then the error comes. */
    private void end(ChatshardException cause) {
        ChatshardException why = cause == null ? null : cause.in(WatchArgs.COMMAND.name());
        CompletableFuture<Event> waits;
        Connection open;
        synchronized (lock) {
            if (ended) {
                return;
            }
            ended = true;
            error = why;
            waits = waiter;
            open = connection;
            lock.notifyAll();
        }
        if (deadline != null) {
            deadline.cancel(false);
        }
        if (open != null) {
            open.end("the watch has ended");
        }
        onEnd.accept(this);
        started.completeExceptionally(
                why != null ? why : ChatshardException.notApplied("the watch is closed"));
        if (waits != null && why != null) {
            waits.completeExceptionally(why);
        } else if (waits != null) {
            waits.complete(null);
        }
    }

    private void received(Event event, Connection from) {
        CompletableFuture<Event> waits = null;
        synchronized (lock) {
            if (ended || from != connection) {
                return;
            }
            received = event.offset();
            backoff.reset();
            if (event.op() != WatchOp.UNKNOWN) {
                if (waiter != null && !waiter.isDone()) {
                    waits = waiter;
                    waiter = null;
                    taken = event.offset();
                } else {
                    events.add(event);
                    lock.notifyAll();
                }
            }
            if (events.size() >= FULL && !paused) {
                paused = true;
                from.pause();
            }
        }
        if (waits != null) {
            waits.complete(event);
        }
        if (!started.isDone()) {
            deadline.cancel(false);
            started.complete(this);
        }
    }

    /** Takes the next event that was received; null if none waits. Throws the error behind them. */
    private Event take() {
        Event event = events.poll();
        if (event == null) {
            if (error != null) {
                throw error.thrown();
            }
            return null;
        }
        taken = event.offset();
        if (paused && events.size() <= LOW) {
            paused = false;
            connection.resume();
        }
        return event;
    }

    /**
     * Waits for the next event.
     *
     * @return null once the watch is closed
     * @throws ChatshardException if the stream ended: 409 if its offset is not kept any more
     * @throws InterruptedException if the thread is interrupted meanwhile
     */
    public Event next() throws InterruptedException {
        return next(null);
    }

    /**
     * Waits for the next event, for so long.
     *
     * @return null if none came in time, or once the watch is closed
     * @throws ChatshardException if the stream ended: 409 if its offset is not kept any more
     * @throws InterruptedException if the thread is interrupted meanwhile
     */
    public Event next(Duration patience) throws InterruptedException {
        shared.requireOther();
        long until = patience == null ? 0 : System.nanoTime()
                + ChatshardOptions.bounded(patience).toNanos();
        synchronized (lock) {
            for (;;) {
                Event event = take();
                if (event != null || ended) {
                    return event;
                }
                if (patience == null) {
                    lock.wait();
                } else {
                    long left = until - System.nanoTime();
                    if (left <= 0) {
                        return null;
                    }
                    TimeUnit.NANOSECONDS.timedWait(lock, left);
                }
            }
        }
    }

    /**
     * The next event, when it comes; null once the watch is closed. Ask again only when it is
     * there.
     *
     * @throws IllegalStateException if the event that was asked for before is not there yet
     */
    public CompletableFuture<Event> nextAsync() {
        synchronized (lock) {
            if (waiter != null && !waiter.isDone()) {
                throw new IllegalStateException("the event before is not there yet");
            }
            try {
                Event event = take();
                if (event != null || ended) {
                    return CompletableFuture.completedFuture(event);
                }
            } catch (ChatshardException known) {
                return CompletableFuture.failedFuture(known);
            }
            waiter = new CompletableFuture<>();
            return waiter;
        }
    }

    /**
     * Where to continue behind the last event that was taken. Keep it once the event is done, for
     * {@link ChatshardClient#watch(String)} of the next run.
     *
     * @return null before the first event of a watch that began without an offset
     */
    public String offset() {
        synchronized (lock) {
            return taken;
        }
    }

    /** The events, for as long as the watch is open. An interrupt ends the iteration. */
    @Override
    public Iterator<Event> iterator() {
        return new Iterator<>() {
            private Event ahead;

            @Override
            public boolean hasNext() {
                if (ahead == null) {
                    try {
                        ahead = Watch.this.next();
                    } catch (InterruptedException error) {
                        Thread.currentThread().interrupt();
                    }
                }
                return ahead != null;
            }

            @Override
            public Event next() {
                if (!hasNext()) {
                    throw new NoSuchElementException();
                }
                Event event = ahead;
                ahead = null;
                return event;
            }
        };
    }

    /** Ends the stream and its connection. */
    @Override
    public void close() {
        end(null);
    }

    /** The request of one connection, which gets many replies. */
    private final class Stream implements Exchange {
        private final Node node;
        private final Encoder body = new Encoder(64);
        private final Connection connection;

        Stream(Node node, String from) {
            this.node = node;
            WatchArgs arguments = WatchArgs.of();
            if (from != null) {
                arguments.from(from);
            }
            arguments.encode(body, null);
            connection = new Connection(shared, node.address(), null,
                    shared.options().watchSilenceNanos(), false, hello -> {}, cause -> {});
        }

        @Override
        public Command<?> command() {
            return WatchArgs.COMMAND;
        }

        @Override
        public Encoder body() {
            return body;
        }

        @Override
        public boolean isAbandoned() {
            return false;
        }

        @Override
        public boolean isStream() {
            return true;
        }

        @Override
        public void replied(Object reply) {
            received((Event) reply, connection);
        }

        @Override
        public void failed(ChatshardException why) {
            connection.end("the stream has ended");
            switch (why.status()) {
                case 421 -> {
                    again(why, nodes.leave(node, why.address()));
                }
                case 503 -> {
                    nodes.leave(node, "");
                    again(why, false);
                }
                case 0, 429 -> again(why, false);
                default -> end(why);
            }
        }

        @Override
        public void lost(boolean wasSent, ChatshardException cause) {
            if (!wasSent && cause.outcome() == Outcome.REFUSED) {
                end(cause);
                return;
            }
            if (!wasSent) {
                nodes.leave(node, "");
            }
            again(cause, false);
        }
    }
}
