package dev.chatshard.client;

import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.function.BiConsumer;

/** Writes MessagePack values, each in its shortest form, into bytes that grow as needed. */
final class Encoder {
    private byte[] out;
    private int size;

    Encoder(int capacity) {
        out = new byte[capacity];
    }

    byte[] bytes() {
        return out;
    }

    int size() {
        return size;
    }

    void clear() {
        size = 0;
    }

    byte[] copy() {
        return Arrays.copyOf(out, size);
    }

    void nil() {
        put(0xc0);
    }

    void bool(boolean value) {
        put(value ? 0xc3 : 0xc2);
    }

    void flag(boolean value) {
        put(value ? 1 : 0);
    }

    /** Writes an integer without a sign: what is negative here is 2^63 or more. */
    void integer(long value) {
        if (value >= 0 && value < 0x80) {
            put((int) value);
        } else if (value >= 0 && value <= 0xff) {
            fixed(0xcc, value, 1);
        } else if (value >= 0 && value <= 0xffff) {
            fixed(0xcd, value, 2);
        } else if (value >= 0 && value <= 0xffff_ffffL) {
            fixed(0xce, value, 4);
        } else {
            fixed(0xcf, value, 8);
        }
    }

    /** Writes an argument; an integer below 0 is the caller's mistake. */
    void natural(long value) {
        if (value < 0) {
            throw new IllegalArgumentException("an argument is below 0: " + value);
        }
        integer(value);
    }

    void small(int value) {
        natural(value);
    }

    void array(int items) {
        if (items < 0x10) {
            put(0x90 | items);
        } else if (items <= 0xffff) {
            fixed(0xdc, items, 2);
        } else {
            fixed(0xdd, items, 4);
        }
    }

    /** Writes a text. Most are short and ASCII, so these need no other buffer. */
    void string(String text) {
        Objects.requireNonNull(text, "an argument that must be given is null");
        int length = text.length();
        if (length < 32) {
            reserve(length + 1);
            int to = size + 1;
            for (int i = 0; i < length; i++) {
                char letter = text.charAt(i);
                if (letter >= 0x80) {
                    utf8(text);
                    return;
                }
                out[to + i] = (byte) letter;
            }
            out[size] = (byte) (0xa0 | length);
            size = to + length;
        } else {
            utf8(text);
        }
    }

    private void utf8(String text) {
        ByteBuffer bytes;
        try {
            bytes = StandardCharsets.UTF_8.newEncoder().encode(CharBuffer.wrap(text));
        } catch (CharacterCodingException error) {
            throw new IllegalArgumentException("a text has half of a surrogate pair");
        }
        int length = bytes.remaining();
        if (length < 32) {
            put(0xa0 | length);
        } else if (length <= 0xff) {
            fixed(0xd9, length, 1);
        } else if (length <= 0xffff) {
            fixed(0xda, length, 2);
        } else {
            fixed(0xdb, length, 4);
        }
        raw(bytes.array(), length);
    }

    <T> void list(List<T> items, BiConsumer<Encoder, T> item) {
        array(items.size());
        for (T one : items) {
            Objects.requireNonNull(one, "an item of a list is null");
            item.accept(this, one);
        }
    }

    /** Writes a value, or nil if it is null. */
    <T> void optional(T value, BiConsumer<Encoder, T> writer) {
        if (value == null) {
            nil();
        } else {
            writer.accept(this, value);
        }
    }

    /**
     * Writes the frame of a request.
     *
     * @param arguments the arguments, encoded
     */
    void request(long id, int code, Encoder arguments) {
        reserve(4);
        int frame = size;
        size += 4;
        array(3);
        integer(id);
        integer(code);
        raw(arguments.out, arguments.size);
        int length = size - frame - 4;
        out[frame] = (byte) (length >>> 24);
        out[frame + 1] = (byte) (length >>> 16);
        out[frame + 2] = (byte) (length >>> 8);
        out[frame + 3] = (byte) length;
    }

    private void raw(byte[] bytes, int length) {
        reserve(length);
        System.arraycopy(bytes, 0, out, size, length);
        size += length;
    }

    private void put(int head) {
        reserve(1);
        out[size++] = (byte) head;
    }

    private void fixed(int head, long value, int bytes) {
        reserve(9);
        out[size++] = (byte) head;
        for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
            out[size++] = (byte) (value >>> shift);
        }
    }

    private void reserve(int bytes) {
        if (out.length - size < bytes) {
            out = Arrays.copyOf(out, Math.max(size + bytes, 2 * out.length));
        }
    }
}
