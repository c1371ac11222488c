package dev.chatshard.client;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;

/**
 * The calls that have no reply yet, and their deadlines.
 *
 * <p>One task looks at all of them from time to time, while there are any. A timer for each call
 * would cost more than the call itself.
 */
final class UnderWay {
    /** How often deadlines are looked at, so how late a call may end. */
    private static final long BEAT = TimeUnit.MILLISECONDS.toNanos(5);

    private final Shared shared;
    /** The newest call; each one names its neighbors. */
    private Call<?> newest;
    private final CompletableFuture<Void> idle = new CompletableFuture<>();
    private boolean watched;
    private boolean closed;

    UnderWay(Shared shared) {
        this.shared = shared;
    }

    /** Adds a call. Returns false if the client is closed. */
    synchronized boolean add(Call<?> call) {
        if (closed) {
            return false;
        }
        call.older = newest;
        if (newest != null) {
            newest.newer = call;
        }
        newest = call;
        call.isListed = true;
        if (!watched) {
            watched = true;
            look();
        }
        return true;
    }

    synchronized void remove(Call<?> call) {
        if (!call.isListed) {
            return;
        }
        call.isListed = false;
        if (call.newer == null) {
            newest = call.older;
        } else {
            call.newer.older = call.older;
        }
        if (call.older != null) {
            call.older.newer = call.newer;
        }
        call.older = null;
        call.newer = null;
        if (closed && newest == null && !idle.isDone()) {
            try {
                shared.timer().execute(() -> idle.complete(null));
            } catch (RejectedExecutionException stopped) {
                // Nobody waits for the last call any more.
                watched = false;
            }
        }
    }

    private void look() {
        try {
            shared.timer().schedule(this::endLate, BEAT, TimeUnit.NANOSECONDS);
        } catch (RejectedExecutionException stopped) {
            watched = false;
        }
    }

    private void endLate() {
        List<Call<?>> late = new ArrayList<>();
        synchronized (this) {
            long now = System.nanoTime();
            watched = false;
            for (Call<?> call = newest; call != null; call = call.older) {
                if (call.isAbandoned() || call.isLate(now)) {
                    late.add(call);
                } else {
                    watched = true;
                }
            }
            if (watched) {
                look();
            }
        }
        late.forEach(Call::tooLate);
    }

    /** Takes no more calls, and ends all that are left. */
    void endAll() {
        List<Call<?>> left = new ArrayList<>();
        synchronized (this) {
            closed = true;
            for (Call<?> call = newest; call != null; call = call.older) {
                left.add(call);
            }
        }
        left.forEach(call -> call.end("the client is closed"));
    }

    /** Takes no more calls. The future completes when those under way have ended. */
    synchronized CompletableFuture<Void> close() {
        closed = true;
        if (newest == null) {
            idle.complete(null);
        }
        return idle;
    }
}
