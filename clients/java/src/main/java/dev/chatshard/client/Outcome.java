package dev.chatshard.client;

/** What is known of a request that got an error. */
public enum Outcome {
    /** Nothing was applied, and the same request fails again. */
    REFUSED,
    /** Nothing was applied. The same request may succeed later. */
    NOT_APPLIED,
    /** The change may or may not have been applied. Ask for the state before you continue. */
    UNKNOWN
}
