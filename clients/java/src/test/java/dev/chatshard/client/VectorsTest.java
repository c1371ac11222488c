package dev.chatshard.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;

/** Every vector of the protocol, in both directions. */
class VectorsTest {
    @Test
    void requestsHaveTheBytesOfTheVectors() {
        int compared = 0;
        for (Vectors.Vector one : Vectors.part("conversation")) {
            if (Vectors.command(one.command()) == null) {
                assertEquals("cancel", one.command());
                continue;
            }
            Arguments<?> arguments = Vectors.arguments(one.command(), one.arguments());
            Encoder body = new Encoder(0);
            arguments.encode(body, arguments.key());
            Encoder frame = new Encoder(0);
            frame.request(one.id(), arguments.command().code(), body);
            assertEquals(one.request(), HexFormat.of().formatHex(frame.copy()), one.name());
            compared++;
        }
        assertTrue(compared > 40, "compared " + compared);
    }

    @Test
    void repliesAreReadAsTheVectorsSay() throws Exception {
        for (String part : List.of("conversation", "members", "events", "forms", "errors")) {
            List<Vectors.Vector> vectors = Vectors.part(part);
            assertTrue(!vectors.isEmpty(), part);
            for (Vectors.Vector one : vectors) {
                read(one);
            }
        }
    }

    private static void read(Vectors.Vector one) throws Exception {
        Decoder in = new Decoder(one.reply());
        in.reset(one.reply(), 4, one.reply().length);
        int more = in.record(3);
        assertEquals(one.id(), in.integer(), one.name());
        int status = in.u16();
        assertEquals(one.status(), status, one.name());
        if (status == 200) {
            Command<?> command = Vectors.command(one.command());
            if (command == null) {
                // Commands that this client never sends.
                assertTrue(Set.of("cancel", "report").contains(one.command()), one.name());
                return;
            } else {
                same(one, Vectors.plain(command.reply().apply(in)), one.body(), one.command());
            }
        } else {
            ChatshardException error = ChatshardException.decode(in, status);
            assertEquals(one.body().get("error"), error.error(), one.name());
            assertEquals(one.body().get("message"), error.getMessage(), one.name());
            assertEquals(status, error.status());
            assertEquals(one.body().getOrDefault("address", ""), error.address(), one.name());
            assertEquals(outcome(status, error.getMessage()), error.outcome(), one.name());
        }
        in.skip(more);
        assertTrue(in.atEnd(), one.name());
    }

    private static Outcome outcome(int status, String message) {
        if (status == 421 || status == 429 || message.startsWith("not applied")) {
            return Outcome.NOT_APPLIED;
        }
        return status < 500 ? Outcome.REFUSED : Outcome.UNKNOWN;
    }

    /** Compares what was read with JSON. JSON may have an id twice, and 0 and 1 for flags. */
    static void same(Object name, Object read, Object json, String where) {
        if (read instanceof Map<?, ?> fields) {
            Map<?, ?> wanted = (Map<?, ?>) json;
            Set<Object> missing = new TreeSet<>(wanted.keySet());
            missing.removeAll(fields.keySet());
            missing.remove("id");
            assertTrue(missing.isEmpty(), name + ": not read: " + where + missing);
            fields.forEach((field, value) ->
                    same(name, value, wanted.get(field), where + "." + field));
        } else if (read instanceof List<?> items) {
            assertNotNull(json, where);
            assertEquals(((List<?>) json).size(), items.size(), name + ": " + where);
            for (int i = 0; i < items.size(); i++) {
                same(name, items.get(i), ((List<?>) json).get(i), where + "[" + i + "]");
            }
        } else if (read instanceof Boolean flag && json instanceof Long) {
            assertEquals(json, flag ? 1L : 0L, name + ": " + where);
        } else if (read == null && json instanceof Map<?, ?> empty) {
            assertTrue(empty.isEmpty(), name + ": " + where);
        } else {
            assertEquals(json, read, name + ": " + where);
        }
    }

    @Test
    @SuppressWarnings("unchecked")
    void keysHaveTheShardsOfTheVectors() {
        List<Object> slots = (List<Object>) Vectors.file().get("slots");
        assertEquals(5, slots.size());
        for (Object one : slots) {
            Map<String, Object> slot = (Map<String, Object>) one;
            String key = (String) slot.get("key");
            long seed = (Long) slot.get("seed");
            long hash = XxHash64.hash(key.getBytes(StandardCharsets.UTF_8), seed);
            assertEquals(slot.get("hash"), HexFormat.of().toHexDigits(hash), key);
            assertEquals(slot.get("slot"), Long.remainderUnsigned(hash, 4096), key);
            assertEquals((long) (Long) slot.get("shard_of_4"), Node.shard(key, seed, 4096, 4), key);
        }
    }

    @Test
    void longKeysHaveTheHashOfTheReference() {
        byte[] bytes = new byte[101];
        long generator = 2654435761L;
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) (generator >>> 24);
            generator = generator * generator & 0xffff_ffffL;
        }
        // The check values of xxHash's own sanity test, for 101 bytes.
        assertEquals("0eab543384f878ad", HexFormat.of().toHexDigits(XxHash64.hash(bytes, 0)));
        assertEquals("caa65939306f1e21",
                HexFormat.of().toHexDigits(XxHash64.hash(bytes, 2654435761L)));
    }

    @Test
    void aFieldThatIsAbsentIsNull() {
        Event event = Event.decode(new Decoder(
                HexFormat.of().parseHex("9ca23166c0c0a9686561727462656174c0c0c0c0c0c0c0c0")));
        assertEquals(WatchOp.HEARTBEAT, event.op());
        assertNull(event.chatId());
        assertNull(event.isTop());
    }
}
