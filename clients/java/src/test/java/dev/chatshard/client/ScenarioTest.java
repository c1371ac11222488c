package dev.chatshard.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** The conversation of the vectors with a fresh server. */
class ScenarioTest {
    /** Fields whose values belong to one run of a server. */
    private static final Set<String> VARYING = Set.of("log", "offset", "reason", "reasons");
    private String log;

    @Test
    void aFreshServerGivesTheRepliesOfTheVectors() throws Exception {
        try (LocalServer server = new LocalServer("--shards", "4");
                ChatshardClient client = ChatshardClient.connect(
                        ChatshardOptions.of(server.address()).keys(false))) {
            int sent = 0;
            for (Vectors.Vector one : Vectors.part("conversation")) {
                switch (one.command()) {
                    case "hello" -> assertEquals("chatshard", client.server().server());
                    case "watch" -> {
                        try (Watch watch = client.watch()) {
                            assertEquals(WatchOp.HEARTBEAT, watch.next().op());
                        }
                    }
                    case "cancel" -> sent--;
                    default -> ask(client, one);
                }
                sent++;
            }
            assertTrue(sent > 40, "sent " + sent);
        }
    }

    private void ask(ChatshardClient client, Vectors.Vector one) throws Exception {
        Arguments<?> arguments = Vectors.arguments(one.command(), withLog(one.arguments()));
        if (one.status() != 200) {
            ChatshardException error = assertThrows(
                    ChatshardException.class, () -> client.call(arguments), one.name());
            assertEquals(one.status(), error.status(), one.name());
            assertEquals(one.body().get("error"), error.error(), one.name());
            assertEquals(Outcome.REFUSED, error.outcome(), one.name());
            return;
        }
        Object reply = Vectors.plain(client.call(arguments));
        if (reply instanceof Map<?, ?> fields && fields.containsKey("log")
                && fields.get("log") instanceof String newer) {
            log = newer;
        }
        if (!"fields".equals(one.compare())) {
            VectorsTest.same(one, without(reply), without(one.body()), one.command());
        }
    }

    /** The log of this server in the place of that of the vectors. */
    @SuppressWarnings("unchecked")
    private Map<String, Object> withLog(Map<String, Object> arguments) {
        Object since = arguments.get("since");
        if (since == null || ((Map<String, Object>) since).get("log").equals("elsewhere")) {
            return arguments;
        }
        Map<String, Object> changed = new LinkedHashMap<>(arguments);
        Map<String, Object> here = new LinkedHashMap<>((Map<String, Object>) since);
        here.put("log", log);
        changed.put("since", here);
        return changed;
    }

    private static Object without(Object value) {
        if (value instanceof Map<?, ?> fields) {
            Map<Object, Object> kept = new LinkedHashMap<>(fields);
            kept.keySet().removeAll(VARYING);
            return kept;
        }
        return value;
    }

    @Test
    void theQuickStartWorks() throws Exception {
        try (LocalServer server = new LocalServer();
                ChatshardClient client = ChatshardClient.connect(server.address());
                Watch watch = client.watch()) {
            String chat = client.create(ChatType.GROUP, "alice", List.of("alice", "bob")).id();
            AdvanceReply sent = client.advance(AdvanceArgs.of(chat).allocate(3).senderId("alice"));
            assertEquals(3, sent.lastSequence());
            assertEquals(3, client.conversations("bob").items().get(0).unread());
            assertEquals(1, client.markRead("bob", chat, 2).unread());
            Iterator<Event> events = watch.iterator();
            for (WatchOp op : List.of(WatchOp.HEARTBEAT, WatchOp.CREATE, WatchOp.JOIN, WatchOp.JOIN,
                    WatchOp.ADVANCE, WatchOp.READ)) {
                assertEquals(op, events.next().op());
            }
            String offset = watch.offset();
            client.setFlags(SetFlagsArgs.of("bob", chat).isTop(true));
            try (Watch later = client.watch(offset)) {
                assertEquals(WatchOp.HEARTBEAT, later.next(Duration.ofSeconds(5)).op());
                assertEquals(true, later.next(Duration.ofSeconds(5)).isTop());
            }
        }
    }
}
