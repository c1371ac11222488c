package dev.chatshard.client;

import java.nio.ByteBuffer;
import java.util.Arrays;

/**
 * The bytes that were received, as frames. It grows as bytes come, not by the length that a frame
 * claims.
 */
final class FrameBuffer {
    private static final int SMALL = 1 << 16;
    private static final int HEAD = 4;
    /** Largest reply before the server says its limit: that to {@code hello}. */
    private static final int GREETING = 1 << 16;

    private byte[] in = new byte[SMALL];
    private int from;
    private int to;
    private long limit = GREETING;
    private boolean isFirst = true;

    /** The largest payload that the server sends. */
    void limit(long bytes) {
        limit = Math.min(bytes, Integer.MAX_VALUE - 2 * HEAD);
    }

    /** Where to put further bytes. */
    ByteBuffer space() {
        if (from == to) {
            from = 0;
            to = 0;
            if (in.length > 16 * SMALL) {
                in = new byte[SMALL];
            }
        } else if (in.length - to < SMALL / 2) {
            int held = to - from;
            byte[] larger = held > in.length / 4 ? new byte[2 * in.length] : in;
            System.arraycopy(in, from, larger, 0, held);
            in = larger;
            from = 0;
            to = held;
        }
        return ByteBuffer.wrap(in, to, in.length - to).slice();
    }

    /** So many bytes were put there. */
    void took(int bytes) {
        to += bytes;
    }

    /**
     * Gives the next payload to the decoder.
     *
     * @return whether a whole one is there
     */
    boolean next(Decoder decoder, Address server) {
        if (to - from < HEAD) {
            return false;
        }
        long length = 0;
        for (int i = 0; i < HEAD; i++) {
            length = length << 8 | in[from + i] & 0xff;
        }
        if (length == 0 || length > limit) {
            throw new ProtocolException(hint("a frame of " + length + " bytes, not 1 to " + limit));
        }
        if (to - from - HEAD < length) {
            return false;
        }
        decoder.reset(in, from + HEAD, from + HEAD + (int) length);
        from += HEAD + (int) length;
        isFirst = false;
        return true;
    }

    /** Says what the server speaks instead, if its first bytes show it. */
    String hint(String why) {
        if (!isFirst || to - from < 3) {
            return why;
        }
        byte[] begin = Arrays.copyOfRange(in, from, from + 3);
        if (begin[0] == 'H' && begin[1] == 'T' && begin[2] == 'T') {
            return why + "; it speaks HTTP";
        }
        if (begin[0] == 0x15 && begin[1] == 3) {
            return why + "; it speaks TLS, so set tls in the options";
        }
        return why;
    }
}
