package dev.chatshard.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;

/** Calls against a server that loses, delays and refuses: deadlines, repeats, outcomes. */
@Timeout(20)
class CallsTest {
    private static final int PING = PingArgs.COMMAND.code();
    private static final int ADVANCE = AdvanceArgs.COMMAND.code();

    /** Replies to pings, and gives all else to a handler. */
    private static FakeServer server(FakeServer.Handler handler) throws Exception {
        return new FakeServer((peer, id, code, arguments) -> {
            if (code == PING) {
                peer.pong(id);
            } else {
                handler.request(peer, id, code, arguments);
            }
        });
    }

    private static ChatshardOptions options(FakeServer... servers) {
        String[] addresses = new String[servers.length];
        for (int i = 0; i < servers.length; i++) {
            addresses[i] = servers[i].address();
        }
        return ChatshardOptions.of(addresses).callTimeout(Duration.ofSeconds(3));
    }

    private static AdvanceArgs advance() {
        return AdvanceArgs.of("c").allocate(1);
    }

    private static ChatshardException failure(CompletableFuture<?> future) {
        return (ChatshardException)
                assertThrows(CompletionException.class, future::join).getCause();
    }

    private static String key(Decoder arguments) {
        arguments.array();
        arguments.skip(6);
        return arguments.nil() ? null : arguments.string();
    }

    @Test
    void aLostWriteWithAKeyIsRepeatedWithTheSameKey() throws Exception {
        List<String> keys = new CopyOnWriteArrayList<>();
        try (FakeServer server = server((peer, id, code, arguments) -> {
            keys.add(key(arguments));
            if (keys.size() < 3) {
                peer.socket.close();
            } else {
                peer.advanced(id, 7);
            }
        }); ChatshardClient client = ChatshardClient.connect(options(server))) {
            assertEquals(7, client.advance(advance()).lastSequence());
            assertEquals(3, keys.size());
            assertEquals(keys.get(0), keys.get(1));
            assertEquals(keys.get(0), keys.get(2));
            client.advance(advance());
            assertNotEquals(keys.get(0), keys.get(3));
            client.advance(advance().idempotencyKey("mine"));
            assertEquals("mine", keys.get(4));
        }
    }

    @Test
    void aWriteWithoutAKeyIsSentOnce() throws Exception {
        try (FakeServer server = server((peer, id, code, arguments) -> peer.socket.close());
                ChatshardClient client = ChatshardClient.connect(options(server).keys(false))) {
            ChatshardException error =
                    assertThrows(ChatshardException.class, () -> client.advance(advance()));
            assertEquals(Outcome.UNKNOWN, error.outcome());
            assertEquals(0, error.status());
            assertEquals(1, server.codes.stream().filter(code -> code == ADVANCE).count());
        }
    }

    @Test
    void busyAndUnavailableAreRepeatedAndOthersAreNot() throws Exception {
        AtomicInteger status = new AtomicInteger();
        AtomicInteger requests = new AtomicInteger();
        try (FakeServer server = server((peer, id, code, arguments) -> {
            if (requests.incrementAndGet() % 2 == 1) {
                peer.error(id, status.get(), "not applied: for a while");
            } else {
                peer.advanced(id, 1);
            }
        }); ChatshardClient client = ChatshardClient.connect(options(server))) {
            for (int transientStatus : new int[] {429, 503}) {
                status.set(transientStatus);
                assertEquals(1, client.advance(advance()).lastSequence());
            }
            assertEquals(4, requests.get());
            for (int finalStatus : new int[] {400, 403, 404, 409, 410, 413, 423, 451}) {
                status.set(finalStatus);
                requests.set(0);
                ChatshardException error =
                        assertThrows(ChatshardException.class, () -> client.advance(advance()));
                assertEquals(finalStatus, error.status());
                assertEquals(Outcome.REFUSED, error.outcome());
                assertEquals(1, requests.get());
            }
            status.set(507);
            requests.set(0);
            ChatshardException error =
                    assertThrows(ChatshardException.class, () -> client.advance(advance()));
            assertEquals(Outcome.UNKNOWN, error.outcome());
            assertEquals(1, requests.get());
        }
    }

    @Test
    void whatMayHaveBeenAppliedIsNeverCalledNotApplied() throws Exception {
        AtomicInteger requests = new AtomicInteger();
        try (FakeServer server = server((peer, id, code, arguments) -> {
            if (requests.incrementAndGet() == 1) {
                peer.error(id, 503, "outcome unknown: it stopped");
            } else {
                peer.error(id, 503, "not applied: it starts");
            }
        }); ChatshardClient client = ChatshardClient.connect(options(server)
                .callTimeout(Duration.ofMillis(1000)))) {
            ChatshardException error =
                    assertThrows(ChatshardException.class, () -> client.advance(advance()));
            assertEquals(Outcome.UNKNOWN, error.outcome());
            assertTrue(requests.get() > 1);
            ChatshardException never;
            do {
                never = assertThrows(ChatshardException.class, () -> client.advance(advance()));
                // Without a status its last attempt had no reply yet, which is another case.
            } while (never.status() == 0);
            assertEquals(Outcome.NOT_APPLIED, never.outcome());
            assertEquals(503, never.status());
            assertEquals("chatshard: advance: not applied: 503 " + never.error() + ": it starts",
                    never.toString());
        }
    }

    @Test
    void aTokenThatIsGoneDoesNotMakeAnOutcomeKnown() throws Exception {
        AtomicInteger requests = new AtomicInteger();
        try (FakeServer server = server((peer, id, code, arguments) -> {
            if (requests.incrementAndGet() % 2 == 1) {
                peer.socket.close();
            } else {
                peer.error(id, requests.get() == 2 ? 403 : 404, "no");
            }
        }); ChatshardClient client = ChatshardClient.connect(options(server))) {
            for (Outcome outcome : new Outcome[] {Outcome.UNKNOWN, Outcome.REFUSED}) {
                ChatshardException error =
                        assertThrows(ChatshardException.class, () -> client.advance(advance()));
                assertEquals(outcome, error.outcome());
            }
        }
    }

    @Test
    void aCallEndsAtItsDeadlineAndSaysWhatIsKnown() throws Exception {
        try (FakeServer server = server((peer, id, code, arguments) -> { });
                ChatshardClient client = ChatshardClient.connect(options(server))) {
            long began = System.nanoTime();
            Commands soon = client.within(Duration.ofMillis(200));
            assertEquals(Outcome.UNKNOWN, assertThrows(
                    ChatshardException.class, () -> soon.advance(advance())).outcome());
            assertEquals(Outcome.NOT_APPLIED, assertThrows(
                    ChatshardException.class, () -> soon.list("u")).outcome());
            for (Duration over : List.of(Duration.ZERO, Duration.ofMillis(-1))) {
                assertEquals(Outcome.NOT_APPLIED, assertThrows(ChatshardException.class,
                        () -> client.within(over).advance(advance())).outcome());
            }
            long took = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - began);
            assertTrue(took >= 400 && took < 5000, "took " + took + " ms");
        }
    }

    @Test
    void anInterruptLeavesOnlyAWriteThatWasSentUnknown() throws Exception {
        Thread caller = Thread.currentThread();
        AtomicInteger requests = new AtomicInteger();
        try (FakeServer server = server((peer, id, code, arguments) -> {
            requests.incrementAndGet();
            caller.interrupt();
        }); ChatshardClient client = ChatshardClient.connect(options(server))) {
            assertEquals("chatshard: advance: outcome unknown: unavailable: "
                    + "the thread was interrupted", interrupted(() -> client.advance(advance())));
            assertEquals("chatshard: list: not applied: unavailable: the thread was interrupted",
                    interrupted(() -> client.list("u")));
            assertEquals(2, requests.get());
            caller.interrupt();
            assertEquals("chatshard: advance: not applied: unavailable: "
                    + "the thread was interrupted", interrupted(() -> client.advance(advance())));
            assertEquals(2, requests.get());
        }
    }

    /** The error of a call whose thread is interrupted, as people read it. */
    private static String interrupted(Executable call) {
        String error = assertThrows(ChatshardException.class, call).toString();
        assertTrue(Thread.interrupted(), "the thread stays interrupted");
        return error;
    }

    @Test
    void requestsInFlightAreBoundedAndTheOthersWait() throws Exception {
        List<Runnable> open = new CopyOnWriteArrayList<>();
        AtomicInteger sequence = new AtomicInteger();
        try (FakeServer server = server((peer, id, code, arguments) -> open.add(() -> {
            try {
                peer.advanced(id, sequence.incrementAndGet());
            } catch (java.io.IOException error) {
                throw new java.io.UncheckedIOException(error);
            }
        }))) {
            server.inFlight = 2;
            try (ChatshardClient client = ChatshardClient.connect(
                    options(server).waitingCalls(3))) {
                List<CompletableFuture<AdvanceReply>> calls = new ArrayList<>();
                for (int i = 0; i < 5; i++) {
                    calls.add(client.async().advance(advance()));
                }
                ChatshardException full = failure(client.async().advance(advance()));
                assertEquals(Outcome.NOT_APPLIED, full.outcome());
                LocalServer.pause(100);
                assertEquals(2, open.size());
                for (int i = 0; i < 5; i++) {
                    while (open.size() <= i) {
                        LocalServer.pause(1);
                    }
                    open.get(i).run();
                    assertEquals(i + 1, calls.get(i).join().lastSequence());
                }
            }
        }
    }

    @Test
    void aSilentConnectionIsAskedAndThenLeft() throws Exception {
        AtomicInteger connections = new AtomicInteger();
        AtomicInteger pings = new AtomicInteger();
        try (FakeServer server = new FakeServer((peer, id, code, arguments) -> {
            if (code == PING && pings.incrementAndGet() == 1) {
                peer.pong(id);
            } else if (code != PING && connections.incrementAndGet() > 1) {
                peer.advanced(id, 3);
            }
        }); ChatshardClient client = ChatshardClient.connect(options(server)
                .silence(Duration.ofMillis(200), Duration.ofSeconds(30)))) {
            long began = System.nanoTime();
            assertEquals(3, client.advance(advance()).lastSequence());
            long took = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - began);
            assertTrue(took >= 400, "took " + took + " ms");
            assertEquals(2, pings.get());
            assertEquals(2, server.connections.get());
        }
    }

    @Test
    void anIdleConnectionIsKeptByPings() throws Exception {
        try (FakeServer server = new FakeServer((peer, id, code, arguments) -> peer.pong(id))) {
            server.idleMs = 200;
            try (ChatshardClient client = ChatshardClient.connect(options(server))) {
                LocalServer.pause(600);
                int pings = server.codes.size();
                assertTrue(pings >= 2 && pings <= 12, pings + " pings");
                assertEquals(1, server.connections.get());
                client.ping();
            }
        }
    }

    @Test
    void closeWaitsForCallsUnderWayAndRejectsLaterOnes() throws Exception {
        try (FakeServer server = server((peer, id, code, arguments) -> {
            LocalServer.pause(1000);
            peer.advanced(id, 9);
        })) {
            ChatshardClient client = ChatshardClient.connect(options(server));
            CompletableFuture<AdvanceReply> call = client.async().advance(advance());
            CompletableFuture<Void> closing = client.async().closeAsync();
            ChatshardException late =
                    assertThrows(ChatshardException.class, () -> client.advance(advance()));
            assertEquals(Outcome.NOT_APPLIED, late.outcome());
            assertFalse(closing.isDone());
            assertEquals(9, call.join().lastSequence());
            closing.join();
            client.close();
        }
    }

    @Test
    void closeEndsCallsThatTakeTooLong() throws Exception {
        try (FakeServer server = server((peer, id, code, arguments) -> { })) {
            ChatshardClient client = ChatshardClient.connect(
                    options(server).callTimeout(Duration.ofMillis(300)));
            CompletableFuture<AdvanceReply> call =
                    client.async().within(Duration.ofSeconds(9)).advance(advance());
            client.close();
            assertEquals(Outcome.UNKNOWN, failure(call).outcome());
        }
    }

    @Test
    void closeEndsCallsThatPauseOrWait() throws Exception {
        try (FakeServer server = server((peer, id, code, arguments) -> {
            if (code == ADVANCE) {
                peer.error(id, 503, "not applied: for long");
            }
        })) {
            server.inFlight = 1;
            ChatshardClient client = ChatshardClient.connect(
                    options(server).callTimeout(Duration.ofMillis(1500)));
            AsyncCommands patient = client.async().within(Duration.ofSeconds(60));
            CompletableFuture<?> pauses = patient.advance(advance());
            LocalServer.pause(1000);
            CompletableFuture<?> holds = patient.list("u");
            CompletableFuture<?> waits = patient.advance(advance());
            long began = System.nanoTime();
            client.close();
            assertTrue(System.nanoTime() - began < TimeUnit.SECONDS.toNanos(4));
            for (CompletableFuture<?> call : List.of(pauses, holds, waits)) {
                assertEquals(Outcome.NOT_APPLIED, failure(call).outcome());
            }
        }
    }

    @Test
    void aConnectionToANodeThatWasLeftEndsToo() throws Exception {
        try (FakeServer active = server((peer, id, code, arguments) -> peer.advanced(id, 1));
                FakeServer standby = server((peer, id, code, arguments) -> {
                    if (code == ADVANCE) {
                        peer.moved(id, active.address());
                    }
                })) {
            ChatshardClient client = ChatshardClient.connect(
                    options(standby, active).callTimeout(Duration.ofMillis(500)));
            CompletableFuture<?> holds =
                    client.async().within(Duration.ofSeconds(60)).list("u");
            assertEquals(1, client.advance(advance()).lastSequence());
            assertEquals(1, standby.sockets.size());
            client.close();
            assertEquals(Outcome.NOT_APPLIED, failure(holds).outcome());
            for (int i = 0; i < 200 && !standby.sockets.isEmpty(); i++) {
                LocalServer.pause(10);
            }
            assertEquals(0, standby.sockets.size());
        }
    }

    @Test
    void aCallWhoseConnectionIsLostTakesAnother() throws Exception {
        try (FakeServer server = server((peer, id, code, arguments) -> peer.advanced(id, 1))) {
            server.shards = 4;
            try (ChatshardClient client = ChatshardClient.connect(options(server))) {
                for (int i = 0; i < 40; i++) {
                    client.advance(AdvanceArgs.of("chat" + i).allocate(1));
                }
                assertEquals(4, server.connections.get());
                server.refuse();
                server.sockets.iterator().next().close();
                for (int i = 0; i < 40; i++) {
                    client.advance(AdvanceArgs.of("chat" + i).allocate(1));
                    client.ping();
                }
                server.drop();
                ChatshardException error = assertThrows(ChatshardException.class,
                        () -> client.within(Duration.ofMillis(300)).list("u"));
                assertEquals(Outcome.NOT_APPLIED, error.outcome());
                assertTrue(error.getMessage().contains("refused"), error.getMessage());
            }
        }
    }

    @Test
    void hooksSeeEachAttempt() throws Exception {
        List<String> seen = new CopyOnWriteArrayList<>();
        Hooks hooks = new Hooks() {
            @Override
            public void attempted(Attempt one) {
                seen.add(one.command() + one.number() + ":" + one.outcome() + one.status());
                throw new IllegalStateException("a hook that fails changes nothing");
            }

            @Override
            public void opened(String address) {
                seen.add("opened");
            }

            @Override
            public void ended(String address, String reason) {
                seen.add("ended");
            }
        };
        AtomicInteger requests = new AtomicInteger();
        try (FakeServer server = server((peer, id, code, arguments) -> {
            if (requests.incrementAndGet() == 1) {
                peer.error(id, 429, "busy");
            } else {
                peer.advanced(id, 1);
            }
        })) {
            ChatshardClient client = ChatshardClient.connect(options(server).hooks(hooks));
            client.advance(advance());
            client.close();
        }
        assertEquals(List.of("opened", "ping1:null200", "advance1:NOT_APPLIED429",
                "advance2:null200", "ended"), seen);
    }

    @Test
    void aHookThatEndsWithAnErrorEndsNoCall() throws Exception {
        Hooks hooks = new Hooks() {
            @Override
            public void attempted(Attempt one) {
                throw new AssertionError("an expected error of a hook, at " + one.command());
            }
        };
        try (FakeServer server = server((peer, id, code, arguments) -> {
            if (code == ADVANCE) {
                peer.advanced(id, 1);
            }
        }); ChatshardClient client = ChatshardClient.connect(options(server).hooks(hooks))) {
            assertEquals(1, client.advance(advance()).lastSequence());
            assertEquals(Outcome.NOT_APPLIED, assertThrows(ChatshardException.class,
                    () -> client.within(Duration.ofMillis(100)).list("u")).outcome());
            assertEquals(1, client.advance(advance()).lastSequence());
        }
    }

    @Test
    void aDeadlineMayBeForever() throws Exception {
        Duration forever = ChronoUnit.FOREVER.getDuration();
        try (FakeServer server = server((peer, id, code, arguments) -> peer.advanced(id, 1));
                ChatshardClient client = ChatshardClient.connect(options(server)
                        .connectTimeout(forever).callTimeout(forever))) {
            assertEquals(1, client.advance(advance()).lastSequence());
            assertEquals(1, client.within(forever).advance(advance()).lastSequence());
        }
    }

    @Test
    void aBlockingCallInAStageIsRejected() throws Exception {
        try (FakeServer server = server((peer, id, code, arguments) -> {
            LocalServer.pause(500);
            peer.advanced(id, 1);
        }); ChatshardClient client = ChatshardClient.connect(options(server))) {
            CompletableFuture<?> stage = client.async().advance(advance())
                    .thenApply(reply -> client.advance(advance()));
            assertTrue(assertThrows(CompletionException.class, stage::join).getCause()
                    instanceof IllegalStateException);
        }
    }

    @Test
    void aRequestOverTheLimitIsNotSent() throws Exception {
        try (FakeServer server = server((peer, id, code, arguments) -> peer.advanced(id, 1));
                ChatshardClient client = ChatshardClient.connect(options(server))) {
            ChatshardException error = assertThrows(ChatshardException.class,
                    () -> client.list("u".repeat(1 << 20)));
            assertEquals(Outcome.REFUSED, error.outcome());
            assertEquals("too_large", error.error());
            assertThrows(IllegalArgumentException.class, () -> client.list("\ud800"));
            assertEquals("an item of a list is null", assertThrows(NullPointerException.class,
                    () -> client.unread(Collections.singletonList(null))).getMessage());
            assertThrows(NullPointerException.class,
                    () -> client.sync(SyncArgs.of("u").since(new Since(null, 1))));
            assertThrows(IllegalArgumentException.class,
                    () -> client.markRead("u", "c", -1));
            assertEquals(1, client.advance(advance()).lastSequence());
        }
    }
}
