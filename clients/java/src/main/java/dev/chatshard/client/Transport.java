package dev.chatshard.client;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;

/** The bytes of a connection, plain or in TLS. No method blocks. */
interface Transport {
    /**
     * Begins once the socket is connected.
     *
     * @param channel a channel that does not block
     */
    void begin(SocketChannel channel) throws IOException;

    /** Reads what is there. Returns the number of bytes, or -1 at the end. */
    int read(ByteBuffer into) throws IOException;

    /** Writes what the socket takes. Returns whether that is all. */
    boolean write(ByteBuffer from) throws IOException;

    /** Whether the socket took less than there was, so that it must be asked when it takes more. */
    boolean isBlocked();

    /** Whether it may hold bytes that the socket has delivered already. */
    boolean isBuffered();

    /** Bytes as they are. */
    final class Plain implements Transport {
        private SocketChannel channel;
        private volatile boolean blocked;

        @Override
        public void begin(SocketChannel connected) {
            channel = connected;
        }

        @Override
        public int read(ByteBuffer into) throws IOException {
            return channel.read(into);
        }

        @Override
        public boolean write(ByteBuffer from) throws IOException {
            int wrote = 1;
            while (from.hasRemaining() && wrote > 0) {
                wrote = channel.write(from);
            }
            blocked = from.hasRemaining();
            return !blocked;
        }

        @Override
        public boolean isBlocked() {
            return blocked;
        }

        @Override
        public boolean isBuffered() {
            return false;
        }
    }
}
