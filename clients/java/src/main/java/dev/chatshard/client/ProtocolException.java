package dev.chatshard.client;

/** The server sent bytes that the protocol does not have. The connection ends with it. */
final class ProtocolException extends RuntimeException {
    private static final long serialVersionUID = 1;

    ProtocolException(String message) {
        super(message, null, false, false);
    }
}
