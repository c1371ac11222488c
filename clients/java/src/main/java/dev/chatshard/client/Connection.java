package dev.chatshard.client;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/**
 * One socket: {@code hello}, requests in flight, replies by their id, pings, its end.
 *
 * <p>Invariants:
 * <ul>
 * <li>A request is in {@code open} before its first byte can be sent, and until its reply comes. So
 * at the end a request in {@code waiting} was not sent, and one in {@code open} may have been.
 * <li>At most as many requests are in {@code open} as the server accepts.
 * <li>No reply is delivered while the lock is held.
 * </ul>
 */
final class Connection implements Wire.Owner {
    private enum State { CONNECTING, GREETING, OPEN, ENDED }

    private static final long HELLO_ID = 1;
    /** Bytes of requests that wait for the socket, above which further ones wait for a place. */
    private static final int UNSENT_BYTES = 1 << 20;
    private static final int BUFFER = 1 << 16;
    /** Bounds of the time between two looks for silence, which is how late it is seen. */
    private static final long SHORTEST_BEAT = TimeUnit.MILLISECONDS.toNanos(5);
    private static final long LONGEST_BEAT = TimeUnit.MILLISECONDS.toNanos(500);
    /** Longest time between pings of an idle connection, in ms. */
    private static final long IDLE_MS = 1 << 30;

    private final Shared shared;
    private final Address address;
    private final HelloArgs hello;
    private final Consumer<HelloReply> onOpen;
    private final Consumer<ChatshardException> onEnd;
    /** Nanoseconds without a byte after which an open request is doubted. */
    private final long silence;
    /** Whether a ping asks then; else the connection ends at once. */
    private final boolean asks;
    private final Wire wire;
    private final Decoder decoder = new Decoder();
    private final Object lock = new Object();

    // Guarded by the lock.
    private volatile State state = State.CONNECTING;
    private OpenRequests open = new OpenRequests(1, HELLO_ID);
    private final LinkedHashSet<Exchange> waiting = new LinkedHashSet<>();
    private Encoder out = new Encoder(BUFFER);
    private Encoder spare = new Encoder(BUFFER);
    private volatile boolean retired;
    private int places = 1;
    private Limits limits;
    private long wroteAt = System.nanoTime();
    private ScheduledFuture<?> timer;

    private volatile long quietSince = wroteAt;
    private volatile boolean pinged;

    /**
     * Makes a connection that {@link #connect} opens.
     *
     * @param shard whose core should serve it; null: any
     * @param silence nanoseconds without a byte after which an open request is doubted
     * @param asks whether a ping asks then; else the connection ends at once
     * @param onOpen what to do when {@code hello} is accepted
     * @param onEnd what to do at the end, once, whether it was open or not
     */
    Connection(Shared shared, Address address, Integer shard, long silence,
            boolean asks, Consumer<HelloReply> onOpen, Consumer<ChatshardException> onEnd) {
        this.shared = shared;
        this.address = address;
        this.silence = silence;
        this.asks = asks;
        this.onOpen = onOpen;
        this.onEnd = onEnd;
        wire = new Wire(shared, address, this);
        ChatshardOptions options = shared.options();
        hello = HelloArgs.of().client(options.name());
        if (options.token() != null) {
            hello.token(options.token());
        }
        if (shard != null) {
            hello.shard(shard);
        }
        if (options.staleMs() != null) {
            hello.staleMs(options.staleMs());
        }
    }

    void connect() {
        long patience = shared.options().connectTimeout().toNanos();
        if (!shared.opens(this)) {
            end("the client is closed");
        }
        if (state == State.ENDED) {
            shared.ended(this);
            return;
        }
        try {
            synchronized (lock) {
                timer = shared.timer().schedule(this::tooSlow, patience, TimeUnit.NANOSECONDS);
            }
            wire.connect();
        } catch (RejectedExecutionException error) {
            end("the client is closed");
        }
    }

    private void tooSlow() {
        end("no connection to " + address + " within "
                + shared.options().connectTimeout().toMillis() + " ms");
    }

    @Override
    public void broken(String why) {
        end(why);
    }

    @Override
    public void connected() {
        Encoder body = new Encoder(256);
        hello.encode(body, null);
        synchronized (lock) {
            if (state == State.ENDED) {
                return;
            }
            state = State.GREETING;
            out.request(HELLO_ID, HelloArgs.COMMAND.code(), body);
        }
        wire.write();
    }

    /**
     * Takes a request: sends it, or keeps it until there is a place in flight.
     *
     * @return whether it was taken; false if the connection has ended
     */
    boolean submit(Exchange request) {
        boolean full = false;
        synchronized (lock) {
            if (state == State.ENDED || retired) {
                return false;
            }
            if (state != State.OPEN || !waiting.isEmpty() || !hasPlace()) {
                full = !shared.mayWait();
                if (!full) {
                    waiting.add(request);
                    return true;
                }
            } else {
                put(request);
            }
        }
        if (full) {
            request.failed(ChatshardException.notApplied(
                    "too many calls wait for a place in flight (the option waitingCalls)"));
            return true;
        }
        flush();
        return true;
    }

    /** Forgets a request if it still waits. */
    void withdraw(Exchange request) {
        synchronized (lock) {
            if (waiting.remove(request)) {
                shared.waitedOne();
            }
        }
    }

    private boolean hasPlace() {
        return open.size() < places && out.size() < UNSENT_BYTES;
    }

    private void put(Exchange request) {
        long now = System.nanoTime();
        if (open.size() == 0) {
            quietSince = now;
            pinged = false;
        }
        request.sending();
        out.request(open.add(request), request.command().code(), request.body());
        wroteAt = now;
    }

    /** Sends what waits, as far as there are places. */
    private void pump() {
        Iterator<Exchange> next = waiting.iterator();
        while (next.hasNext() && state == State.OPEN && hasPlace()) {
            Exchange request = next.next();
            next.remove();
            shared.waitedOne();
            if (!request.isAbandoned()) {
                put(request);
            }
        }
    }

    private void flush() {
        if (shared.loop().isCurrent()) {
            shared.loop().writeLater(wire);
        } else {
            wire.write();
        }
    }

    @Override
    public ByteBuffer next() {
        synchronized (lock) {
            if (state == State.ENDED) {
                return null;
            }
            pump();
            if (out.size() == 0) {
                return null;
            }
            Encoder full = out;
            out = spare;
            out.clear();
            // A buffer that was large once does not stay.
            spare = full.bytes().length > UNSENT_BYTES ? new Encoder(BUFFER) : full;
            return ByteBuffer.wrap(full.bytes(), 0, full.size());
        }
    }

    @Override
    public void received() {
        quietSince = System.nanoTime();
        pinged = false;
        while (!wire.isPaused() && wire.frames().next(decoder, address)) {
            int more = decoder.record(3);
            long id = decoder.integer();
            int status = decoder.u16();
            if (status == 200) {
                takeReply(id, more);
            } else {
                ChatshardException error = ChatshardException.decode(decoder, status);
                finish(more);
                takeError(id, error);
            }
        }
    }

    private void finish(int more) {
        decoder.skip(more);
        if (!decoder.atEnd()) {
            throw new ProtocolException("a frame has more than one value");
        }
    }

    private void takeReply(long id, int more) {
        if (id == HELLO_ID && limits == null) {
            HelloReply reply = HelloReply.decode(decoder);
            finish(more);
            if (reply.protocol() != Protocol.VERSION) {
                throw new ProtocolException("it speaks version " + reply.protocol());
            }
            if (reply.shards() == 0 || reply.slots() == 0) {
                throw new ProtocolException("it has no shards");
            }
            opened(reply);
            return;
        }
        Exchange request = take(id, true);
        Object reply;
        try {
            reply = request.command().reply().apply(decoder);
            finish(more);
        } catch (ProtocolException error) {
            if (!request.isStream()) {
                request.lost(true, ChatshardException.notApplied(
                        "the server at " + address + " broke the protocol: " + error.getMessage()));
            }
            throw error;
        }
        request.replied(reply);
        endIfOver();
    }

    private void takeError(long id, ChatshardException error) {
        boolean greeting = state == State.GREETING;
        if (id == 0 || greeting) {
            // Only 401 and errors of hello would meet the next connection too.
            boolean stays = greeting || error.status() == 401;
            end(stays ? error : error.as(Outcome.NOT_APPLIED));
            return;
        }
        take(id, false).failed(error);
        endIfOver();
    }

    /** Finds the request of a reply, and frees its place for one that waits. */
    private Exchange take(long id, boolean isReply) {
        Exchange request;
        boolean more;
        synchronized (lock) {
            request = open.get(id);
            if (request == null) {
                throw new ProtocolException("a reply to no request");
            }
            if (isReply && request.isStream()) {
                return request;
            }
            open.remove(id);
            more = !waiting.isEmpty();
            if (more) {
                pump();
            }
        }
        if (more) {
            flush();
        }
        return request;
    }

    private void endIfOver() {
        if (retired) {
            boolean over;
            synchronized (lock) {
                over = open.size() == 0;
            }
            if (over) {
                end("the client uses another node");
            }
        }
    }

    private void opened(HelloReply reply) {
        synchronized (lock) {
            if (state != State.GREETING) {
                return;
            }
            timer.cancel(false);
            limits = reply.limits();
            places = (int) Math.max(1, Math.min(limits.inFlight(), 1 << 16));
            open = new OpenRequests(places, HELLO_ID);
            wire.frames().limit(limits.replyBytes());
            long idle = TimeUnit.MILLISECONDS.toNanos(Math.min(IDLE_MS, limits.idleMs()));
            long beat = Math.max(SHORTEST_BEAT,
                    Math.min(LONGEST_BEAT, Math.min(silence, idle / 2) / 10));
            timer = shared.timer().scheduleWithFixedDelay(
                    () -> beat(idle), beat, beat, TimeUnit.NANOSECONDS);
            quietSince = System.nanoTime();
        }
        shared.hook(hooks -> hooks.opened(address.text()));
        // Requests that come meanwhile wait behind those that do.
        onOpen.accept(reply);
        synchronized (lock) {
            if (state == State.GREETING) {
                state = State.OPEN;
            }
            pump();
        }
        flush();
    }

    /** Takes all requests that wait, for another connection. */
    List<Exchange> takeWaiting() {
        List<Exchange> taken;
        synchronized (lock) {
            taken = new ArrayList<>(waiting);
            waiting.clear();
        }
        taken.forEach(one -> shared.waitedOne());
        return taken;
    }

    /** Asks a silent server whether it is there, and an idle one not to close the connection. */
    private void beat(long idle) {
        boolean isDead = false;
        synchronized (lock) {
            if (state != State.OPEN || wire.isPaused()) {
                return;
            }
            long now = System.nanoTime();
            boolean isQuiet = open.size() > 0 && now - quietSince >= silence;
            boolean isIdle = asks && !pinged && now - wroteAt >= idle / 2;
            if (isQuiet && (pinged || !asks)) {
                isDead = true;
            } else if (isQuiet || isIdle) {
                put(new Ping());
                pinged = true;
                quietSince = now;
            } else {
                return;
            }
        }
        if (isDead) {
            end("the server at " + address + " is silent");
        } else {
            wire.write();
        }
    }

    /** Stops to read, until {@link #resume}: the caller takes nothing. Only the loop calls it. */
    void pause() {
        wire.pause();
    }

    void resume() {
        wire.resume();
    }

    /** Takes no more requests, and ends when those in flight have their replies. */
    void retire() {
        List<Exchange> left;
        boolean over;
        synchronized (lock) {
            retired = true;
            over = open.size() == 0;
            left = takeWaiting();
        }
        left.forEach(request -> request.lost(false, null));
        if (over) {
            end("the client uses another node");
        }
    }

    boolean isUsable() {
        return state != State.ENDED && !retired;
    }

    boolean isOpen() {
        return state == State.OPEN && !retired;
    }

    /** Ends the connection for a reason of its own. */
    void end(String why) {
        end(ChatshardException.notApplied(why));
    }

    /** Ends the connection. Each request on it gets the cause. */
    void end(ChatshardException cause) {
        List<Exchange> sent;
        List<Exchange> unsentOnes;
        boolean wasOpen;
        synchronized (lock) {
            if (state == State.ENDED) {
                return;
            }
            wasOpen = limits != null;
            state = State.ENDED;
            if (timer != null) {
                timer.cancel(false);
            }
            sent = open.removeAll();
            unsentOnes = takeWaiting();
            wire.close();
        }
        if (wasOpen) {
            shared.hook(hooks -> hooks.ended(address.text(), cause.getMessage()));
        }
        shared.ended(this);
        onEnd.accept(cause);
        sent.forEach(request -> request.lost(true, cause));
        unsentOnes.forEach(request -> request.lost(false, cause));
    }

    /** A ping of the connection itself. */
    private final class Ping implements Exchange {
        @Override
        public Command<?> command() {
            return PingArgs.COMMAND;
        }

        @Override
        public Encoder body() {
            Encoder body = new Encoder(1);
            PingArgs.of().encode(body, null);
            return body;
        }

        @Override
        public boolean isAbandoned() {
            return false;
        }

        @Override
        public void replied(Object reply) {
            // That there is one is enough.
        }

        @Override
        public void failed(ChatshardException error) {
            end(error);
        }

        @Override
        public void lost(boolean wasSent, ChatshardException cause) {
            // Nobody waits for it.
        }
    }
}
