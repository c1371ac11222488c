package dev.chatshard.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The stream of changes over losses, refusals and slow readers. */
@Timeout(20)
class WatchTest {
    private static final int WATCH = WatchArgs.COMMAND.code();
    private static final Duration SOON = Duration.ofSeconds(5);

    private static void event(FakeServer.Peer peer, long id, String offset, String op)
            throws IOException {
        peer.reply(id, out -> {
            out.array(12);
            out.string(offset);
            out.nil();
            out.nil();
            out.string(op);
            for (int i = 0; i < 8; i++) {
                out.nil();
            }
        });
    }

    private static FakeServer server(List<String> from, FakeServer.Handler handler)
            throws Exception {
        return new FakeServer((peer, id, code, arguments) -> {
            if (code == WATCH) {
                arguments.array();
                from.add(arguments.nil() ? "now" : arguments.string());
                handler.request(peer, id, code, arguments);
            } else {
                peer.pong(id);
            }
        });
    }

    private static ChatshardOptions options(FakeServer server) {
        return ChatshardOptions.of(server.address()).callTimeout(Duration.ofSeconds(2))
                .silence(Duration.ofSeconds(5), Duration.ofMillis(1500));
    }

    @Test
    void itContinuesBehindTheLastEvent() throws Exception {
        List<String> from = new CopyOnWriteArrayList<>();
        try (FakeServer server = server(from, (peer, id, code, arguments) -> {
            int number = from.size();
            event(peer, id, "h" + number, "heartbeat");
            event(peer, id, "e" + number, "advance");
            switch (number) {
                case 1 -> peer.socket.close();
                case 2 -> peer.error(id, 503, "outcome unknown: it stops");
                case 3 -> peer.error(id, 429, "too slow");
                case 4 -> event(peer, id, "new", "of_a_newer_server");
                default -> { }
            }
        }); ChatshardClient client = ChatshardClient.connect(options(server));
                Watch watch = client.watch("begin")) {
            // The fourth one is silent at its end, so a fifth one follows.
            for (int i = 1; i <= 5; i++) {
                assertEquals("h" + i, watch.next(SOON).offset());
                assertEquals("e" + i, watch.next(SOON).offset());
                assertEquals("e" + i, watch.offset());
            }
            assertEquals(List.of("begin", "e1", "e2", "e3", "new"), from);
        }
    }

    @Test
    void anOffsetThatIsNotKeptIsAnError() throws Exception {
        List<String> from = new CopyOnWriteArrayList<>();
        try (FakeServer server = server(from, (peer, id, code, arguments) -> {
            if (from.size() == 1) {
                event(peer, id, "a", "heartbeat");
                peer.socket.close();
            } else {
                peer.error(id, 409, "the oldest kept is 7");
            }
        }); ChatshardClient client = ChatshardClient.connect(options(server))) {
            try (Watch watch = client.watch()) {
                assertEquals("a", watch.next(SOON).offset());
                assertEquals(409, assertThrows(ChatshardException.class, watch::next).status());
                assertEquals("watch",
                        assertThrows(ChatshardException.class, watch::next).command());
            }
            assertEquals(409, assertThrows(
                    ChatshardException.class, () -> client.watch("b")).status());
        }
    }

    @Test
    void itBeginsInTimeOrFails() throws Exception {
        List<String> from = new CopyOnWriteArrayList<>();
        try (FakeServer server = server(from, (peer, id, code, arguments) ->
                peer.error(id, 503, "not applied: there is no log"));
                ChatshardClient client = ChatshardClient.connect(options(server)
                        .callTimeout(Duration.ofMillis(1000)))) {
            assertEquals(503, assertThrows(ChatshardException.class, client::watch).status());
            assertTrue(from.size() > 1);
        }
    }

    @Test
    void aSlowReaderHoldsItsOwnConnectionOnly() throws Exception {
        List<String> from = new CopyOnWriteArrayList<>();
        int events = 12_000;
        AtomicInteger sent = new AtomicInteger();
        try (FakeServer server = server(from, (peer, id, code, arguments) -> {
            event(peer, id, "h", "heartbeat");
            for (int i = 0; i < events; i++) {
                event(peer, id, "a-long-offset-so-that-buffers-fill-soon-" + "x".repeat(2000) + i,
                        "advance");
                sent.incrementAndGet();
            }
        }); ChatshardClient client = ChatshardClient.connect(options(server));
                Watch watch = client.watch()) {
            LocalServer.pause(900);
            int before = sent.get();
            assertTrue(before < events, "all of " + before + " events were read");
            client.ping();
            assertEquals("h", watch.next(SOON).offset());
            for (int i = 0; i < events; i++) {
                assertTrue(watch.next(SOON).offset().endsWith("x" + i));
            }
            assertEquals(1, from.size());
        }
    }

    @Test
    void eventsComeToFuturesToo() throws Exception {
        List<String> from = new CopyOnWriteArrayList<>();
        CompletableFuture<Void> go = new CompletableFuture<>();
        try (FakeServer server = server(from, (peer, id, code, arguments) -> {
            event(peer, id, "a", "heartbeat");
            go.join();
            event(peer, id, "b", "read");
        }); ChatshardClient client = ChatshardClient.connect(options(server)
                .silence(Duration.ofSeconds(5), Duration.ofSeconds(30)))) {
            Watch watch = client.async().watch().join();
            assertEquals("a", watch.nextAsync().join().offset());
            CompletableFuture<Event> next = watch.nextAsync();
            assertThrows(IllegalStateException.class, watch::nextAsync);
            go.complete(null);
            assertEquals(WatchOp.READ, next.join().op());
            CompletableFuture<Event> last = watch.nextAsync();
            watch.close();
            assertNull(last.join());
            assertNull(watch.next());
            assertTrue(!watch.iterator().hasNext());
        }
    }

    @Test
    void theEndOfTheClientEndsItsWatches() throws Exception {
        List<String> from = new CopyOnWriteArrayList<>();
        try (FakeServer server = server(from, (peer, id, code, arguments) ->
                event(peer, id, "a", "heartbeat"))) {
            ChatshardClient client = ChatshardClient.connect(options(server));
            Watch watch = client.watch();
            client.close();
            assertEquals("a", watch.next().offset());
            assertNull(watch.next());
            assertThrows(CompletionException.class, () -> client.async().watch().join());
        }
    }
}
