package dev.chatshard.client;

/** A request on its way, as a connection sees it. Each one ends by exactly one of its methods. */
interface Exchange {
    /** What to ask. */
    Command<?> command();

    /** The arguments, encoded. */
    Encoder body();

    /** Whether nobody waits for the reply any more. Such a request is not sent. */
    boolean isAbandoned();

    /** The request gets its first byte on the way soon, by this connection. */
    default void sending() {}

    /** Whether it gets many replies, until an error ends it. */
    default boolean isStream() {
        return false;
    }

    /** A reply of status 200 came. */
    void replied(Object reply);

    /** A reply with an error came. */
    void failed(ChatshardException error);

    /**
     * No reply comes any more.
     *
     * @param wasSent whether the server may have the request
     * @param cause why; null if another connection should take it
     */
    void lost(boolean wasSent, ChatshardException cause);
}
