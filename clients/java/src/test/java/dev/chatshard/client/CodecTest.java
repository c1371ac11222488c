package dev.chatshard.client;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** Values and frames, by chance. */
class CodecTest {
    @Test
    void whatIsWrittenIsRead() {
        long seed = System.nanoTime();
        Random random = new Random(seed);
        for (int round = 0; round < 2000; round++) {
            long number = random.nextLong() >>> random.nextInt(64);
            String text = text(random);
            Encoder out = new Encoder(random.nextInt(8));
            out.array(2);
            out.integer(number);
            out.string(text);
            Decoder in = new Decoder(out.copy());
            assertEquals(2, in.array(), "seed " + seed);
            assertEquals(number, in.bits(), "seed " + seed);
            assertEquals(text, in.string(), "seed " + seed);
            assertTrue(in.atEnd(), "seed " + seed);
            in = new Decoder(out.copy());
            in.skip(1);
            assertTrue(in.atEnd(), "seed " + seed);
        }
    }

    private static String text(Random random) {
        StringBuilder text = new StringBuilder();
        int length = random.nextInt(4) == 0 ? random.nextInt(70000) : random.nextInt(40);
        int letters = random.nextBoolean() ? 0x80 : 0x20000;
        while (text.length() < length) {
            int letter = random.nextInt(letters);
            if (letter < 0xd800 || letter > 0xdfff) {
                text.appendCodePoint(letter);
            }
        }
        return text.toString();
    }

    /** A reply that was changed is read, or is an error: nothing else happens. */
    @Test
    void changedRepliesAreReadOrRejected() {
        long seed = System.nanoTime();
        Random random = new Random(seed);
        int rejected = 0;
        for (Vectors.Vector one : Vectors.part("conversation")) {
            Command<?> command = Vectors.command(one.command());
            if (one.status() != 200 || command == null) {
                continue;
            }
            for (int round = 0; round < 200; round++) {
                byte[] changed = one.reply().clone();
                for (int i = random.nextInt(4); i >= 0; i--) {
                    changed[4 + random.nextInt(changed.length - 4)] = (byte) random.nextInt(256);
                }
                Decoder in = new Decoder(changed);
                in.reset(changed, 4, changed.length - random.nextInt(2));
                try {
                    int more = in.record(3);
                    in.integer();
                    in.u16();
                    command.reply().apply(in);
                    in.skip(more);
                } catch (ProtocolException error) {
                    rejected++;
                } catch (RuntimeException error) {
                    throw new AssertionError("seed " + seed + ": " + one.name(), error);
                }
            }
        }
        assertTrue(rejected > 100, "rejected " + rejected);
    }

    @Test
    void framesComeOutAsTheyWentIn() {
        long seed = System.nanoTime();
        Random random = new Random(seed);
        FrameBuffer frames = new FrameBuffer();
        frames.limit(1 << 24);
        Address server = Address.of("test:1");
        List<byte[]> sent = new ArrayList<>();
        ByteBuffer wire = ByteBuffer.allocate(1 << 23);
        while (wire.remaining() > 1 << 20) {
            byte[] text = new byte[random.nextInt(20) == 0 ? random.nextInt(1 << 19)
                    : random.nextInt(100)];
            Encoder payload = new Encoder(16);
            payload.string("x".repeat(text.length));
            sent.add(payload.copy());
            wire.put(FakeServer.Peer.framed(payload.copy()));
        }
        wire.flip();
        Decoder decoder = new Decoder();
        int next = 0;
        while (next < sent.size()) {
            ByteBuffer space = frames.space();
            int bytes = Math.min(Math.min(space.remaining(), wire.remaining()),
                    1 + random.nextInt(1 << random.nextInt(18)));
            space.put(wire.slice(wire.position(), bytes));
            wire.position(wire.position() + bytes);
            frames.took(bytes);
            while (frames.next(decoder, server)) {
                Encoder again = new Encoder(16);
                again.string(decoder.string());
                assertArrayEquals(sent.get(next++), again.copy(), "seed " + seed);
                assertTrue(decoder.atEnd(), "seed " + seed);
            }
        }
    }
}
