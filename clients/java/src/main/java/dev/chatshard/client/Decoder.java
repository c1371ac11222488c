package dev.chatshard.client;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.function.Function;

/**
 * Reads MessagePack values of a frame. It trusts no length: what is claimed must be at hand.
 * All methods throw {@link ProtocolException} if the next value is not what they read.
 */
final class Decoder {
    /** Deepest nesting of arrays that are skipped. */
    private static final int NESTING = 8;
    /** Most items for which a list reserves memory before they are read. */
    private static final int RESERVED = 1024;

    private static final VarHandle LONGS =
            MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.BIG_ENDIAN);

    private byte[] in = new byte[0];
    private int at;
    private int end;

    Decoder() {}

    Decoder(byte[] in) {
        reset(in, 0, in.length);
    }

    void reset(byte[] bytes, int from, int to) {
        in = bytes;
        at = from;
        end = to;
    }

    boolean atEnd() {
        return at == end;
    }

    /** Takes a nil, and says whether there was one. */
    boolean nil() {
        if (at < end && in[at] == (byte) 0xc0) {
            at++;
            return true;
        }
        return false;
    }

    boolean bool() {
        int head = head();
        if (head != 0xc2 && head != 0xc3) {
            throw wrong("a boolean", head);
        }
        return head == 0xc3;
    }

    /** An integer of at least 0 that a long holds. */
    long integer() {
        int from = at;
        if (from < end && in[from] >= 0) {
            // Most integers are small, and stand in one byte.
            at = from + 1;
            return in[from];
        }
        long value = bits();
        if (value < 0) {
            throw new ProtocolException("an integer is out of its range");
        }
        return value;
    }

    int u16() {
        return (int) atMost(0xffff);
    }

    long u32() {
        return atMost(0xffff_ffffL);
    }

    /** A small integer, such as the type of a chat. */
    int small() {
        return (int) atMost(Integer.MAX_VALUE);
    }

    /** A flag: 0 no, 1 yes. */
    boolean flag() {
        int from = at;
        if (from < end && (in[from] & ~1) == 0) {
            at = from + 1;
            return in[from] == 1;
        }
        return atMost(1) == 1;
    }

    private long atMost(long max) {
        long value = integer();
        if (value > max) {
            throw new ProtocolException("an integer is out of its range");
        }
        return value;
    }

    /** An integer of all 64 bits, as a long that may be negative. */
    long bits() {
        int head = head();
        if (head < 0x80) {
            return head;
        }
        if (head >= 0xe0) {
            return (byte) head;
        }
        return switch (head) {
            case 0xcc -> fixed(1);
            case 0xcd -> fixed(2);
            case 0xce -> fixed(4);
            case 0xcf, 0xd3 -> fixed(8);
            case 0xd0 -> (byte) fixed(1);
            case 0xd1 -> (short) fixed(2);
            case 0xd2 -> (int) fixed(4);
            default -> throw wrong("an integer", head);
        };
    }

    String string() {
        int head = head();
        long length;
        if ((head & 0xe0) == 0xa0) {
            length = head & 0x1f;
        } else {
            length = switch (head) {
                case 0xd9 -> fixed(1);
                case 0xda -> fixed(2);
                case 0xdb -> fixed(4);
                default -> throw wrong("a string", head);
            };
        }
        int from = take(length);
        String text = new String(in, from, (int) length, StandardCharsets.UTF_8);
        // A byte that is no UTF-8 became this character. Few texts have it, so few are read twice.
        if (text.indexOf('\ufffd') >= 0) {
            requireUtf8(from, (int) length);
        }
        return text;
    }

    private void requireUtf8(int from, int length) {
        try {
            StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(in, from, length));
        } catch (CharacterCodingException error) {
            throw new ProtocolException("a string is not UTF-8");
        }
    }

    /** The number of items of an array. There are at least as many bytes. */
    int array() {
        int head = head();
        long items;
        if ((head & 0xf0) == 0x90) {
            items = head & 0x0f;
        } else {
            items = switch (head) {
                case 0xdc -> fixed(2);
                case 0xdd -> fixed(4);
                default -> throw wrong("an array", head);
            };
        }
        if (items > end - at) {
            throw new ProtocolException("an array is longer than its frame");
        }
        return (int) items;
    }

    /** Begins a record of at least so many fields. Returns how many more it has. */
    int record(int fields) {
        int more = array() - fields;
        if (more < 0) {
            throw new ProtocolException("an array has too few fields");
        }
        return more;
    }

    <T> List<T> list(Function<Decoder, T> item) {
        int items = array();
        List<T> list = new ArrayList<>(Math.min(items, RESERVED));
        for (int i = 0; i < items; i++) {
            list.add(item.apply(this));
        }
        return Collections.unmodifiableList(list);
    }

    /** Reads the body of a reply that is nil. */
    Void nothing() {
        if (!nil()) {
            throw new ProtocolException("there should be nil");
        }
        return null;
    }

    /** Reads the body of a reply without fields. */
    Void noFields() {
        skip(record(0));
        return null;
    }

    /** Skips so many values of a newer server. */
    void skip(int values) {
        skip(values, NESTING);
    }

    private void skip(int values, int depth) {
        if (depth < 0) {
            throw new ProtocolException("arrays nest too deep");
        }
        for (int i = 0; i < values; i++) {
            int head = in(at);
            if (head == 0xc0) {
                at++;
            } else if (head == 0xc2 || head == 0xc3) {
                bool();
            } else if ((head & 0xe0) == 0xa0 || head >= 0xd9 && head <= 0xdb) {
                string();
            } else if ((head & 0xf0) == 0x90 || head == 0xdc || head == 0xdd) {
                skip(array(), depth - 1);
            } else {
                bits();
            }
        }
    }

    private int in(int index) {
        if (index >= end) {
            throw new ProtocolException("a frame ends within a value");
        }
        return in[index] & 0xff;
    }

    private int head() {
        int head = in(at);
        at++;
        return head;
    }

    /** Moves over so many bytes, and returns where they begin. */
    private int take(long bytes) {
        if (bytes > end - at) {
            throw new ProtocolException("a frame ends within a value");
        }
        int from = at;
        at += (int) bytes;
        return from;
    }

    private long fixed(int bytes) {
        int from = take(bytes);
        if (bytes == 8) {
            return (long) LONGS.get(in, from);
        }
        long value = 0;
        for (int i = 0; i < bytes; i++) {
            value = value << 8 | in[from + i] & 0xff;
        }
        return value;
    }

    private static ProtocolException wrong(String wanted, int head) {
        return new ProtocolException(
                "there should be " + wanted + ", not 0x" + Integer.toHexString(head));
    }
}
