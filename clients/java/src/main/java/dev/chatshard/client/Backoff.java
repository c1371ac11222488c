package dev.chatshard.client;

import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;

/** The pauses before repeats: drawn from 0 to a bound that doubles each time. */
final class Backoff {
    private static final long FIRST_BOUND = TimeUnit.MILLISECONDS.toNanos(50);
    private static final long LAST_BOUND = TimeUnit.SECONDS.toNanos(2);

    private long bound = FIRST_BOUND;

    /** The next pause, in nanoseconds. */
    long next() {
        long pause = ThreadLocalRandom.current().nextLong(bound);
        bound = Math.min(2 * bound, LAST_BOUND);
        return pause;
    }

    /** Whether no pause was drawn since the beginning or the last success. */
    boolean isFresh() {
        return bound == FIRST_BOUND;
    }

    /** Begins with short pauses again, after a success. */
    void reset() {
        bound = FIRST_BOUND;
    }
}
