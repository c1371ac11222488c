package dev.chatshard.client;

import java.util.function.Function;

/** A command: its number, its name, and how its reply is read. */
record Command<R>(int code, String name, Kind kind, boolean takesKey, Function<Decoder, R> reply) {
    /** What a command changes. */
    enum Kind {
        /** Nothing. */
        READ,
        /** Data. */
        WRITE,
        /** Files and roles of the server. */
        OPERATE
    }

    boolean isRead() {
        return kind == Kind.READ;
    }
}
