package dev.chatshard.client;

import java.time.Duration;

/**
 * What a client calls as it works: for metrics, traces and logs. The methods run on the client's
 * threads and must not block. What they throw is ignored.
 */
public interface Hooks {
    /** Hooks that do nothing. */
    Hooks NONE = new Hooks() {};

    /** After each attempt of a call. */
    default void attempted(Attempt attempt) {}

    /** A connection to this address has its {@code hello} accepted. */
    default void opened(String address) {}

    /** A connection to this address ended, for this reason. */
    default void ended(String address, String reason) {}

    /**
     * One attempt of a call.
     *
     * @param command the name of the command, such as {@code mark_read}
     * @param number 1 for the first attempt of the call
     * @param time from the start of the attempt, its wait for a place in flight included
     * @param outcome what is known of the request; null if it succeeded
     * @param status the status of the reply; 0 without one
     */
    record Attempt(String command, int number, Duration time, Outcome outcome, int status) {}
}
