package dev.chatshard.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Several nodes, of which one is the active. */
@Timeout(20)
class FailoverTest {
    private static final int PING = PingArgs.COMMAND.code();

    private static FakeServer active() throws Exception {
        return new FakeServer((peer, id, code, arguments) -> {
            if (code == PING) {
                peer.pong(id);
            } else {
                peer.advanced(id, 5);
            }
        });
    }

    private static FakeServer standby(String names) throws Exception {
        return new FakeServer((peer, id, code, arguments) -> {
            if (code == PING) {
                peer.pong(id);
            } else {
                peer.moved(id, names);
            }
        });
    }

    private static ChatshardOptions options(String... addresses) {
        return ChatshardOptions.of(addresses).callTimeout(Duration.ofSeconds(3));
    }

    @Test
    void aCallGoesToTheNodeThatTheStandbyNames() throws Exception {
        try (FakeServer active = active(); FakeServer unused = active();
                FakeServer standby = standby(active.address());
                ChatshardClient client = ChatshardClient.connect(
                        options(standby.address(), unused.address(), active.address())
                                .keys(false).token("secret"))) {
            for (int i = 0; i < 3; i++) {
                assertEquals(5, client.advance(AdvanceArgs.of("c").allocate(1)).lastSequence());
            }
            assertEquals(3, active.codes.size());
            assertEquals(2, standby.codes.size());
            assertEquals(0, unused.connections.get());
        }
    }

    @Test
    void withoutANameItGoesToTheNextNode() throws Exception {
        try (FakeServer active = active(); FakeServer standby = standby("");
                ChatshardClient client = ChatshardClient.connect(
                        options(standby.address(), active.address()).keys(false))) {
            assertEquals(5, client.advance(AdvanceArgs.of("c").allocate(1)).lastSequence());
        }
    }

    @Test
    void theTokenGoesToNoAddressThatOnlyAServerNamed() throws Exception {
        try (FakeServer stranger = active(); FakeServer standby = standby(stranger.address())) {
            try (ChatshardClient client = ChatshardClient.connect(
                    options(standby.address()).token("secret"))) {
                ChatshardException error = assertThrows(ChatshardException.class,
                        () -> client.advance(AdvanceArgs.of("c").allocate(1)));
                assertEquals(421, error.status());
                assertEquals(Outcome.NOT_APPLIED, error.outcome());
                assertEquals(0, stranger.connections.get());
            }
            try (ChatshardClient client = ChatshardClient.connect(options(standby.address()))) {
                assertEquals(5, client.advance(AdvanceArgs.of("c").allocate(1)).lastSequence());
            }
        }
    }

    @Test
    void noActiveIsNotApplied() throws Exception {
        try (FakeServer one = standby(""); FakeServer other = standby("");
                ChatshardClient client = ChatshardClient.connect(
                        options(one.address(), other.address())
                                .callTimeout(Duration.ofMillis(500)))) {
            ChatshardException error = assertThrows(ChatshardException.class,
                    () -> client.advance(AdvanceArgs.of("c").allocate(1)));
            assertEquals(Outcome.NOT_APPLIED, error.outcome());
            assertEquals(421, error.status());
            assertTrue(one.codes.size() + other.codes.size() < 30, "it asks without a pause");
        }
    }

    @Test
    void aDeadNodeIsLeftForTheNextOne() throws Exception {
        int gone = LocalServer.freePort();
        try (FakeServer active = active();
                ChatshardClient client = ChatshardClient.connect(
                        options("127.0.0.1:" + gone, active.address()).keys(false))) {
            assertEquals(5, client.advance(AdvanceArgs.of("c").allocate(1)).lastSequence());
        }
    }

    @Test
    void aKilledNodeIsLeftForTheNextOne() throws Exception {
        try (FakeServer first = active(); FakeServer second = active();
                ChatshardClient client = ChatshardClient.connect(
                        options(first.address(), second.address()))) {
            client.advance(AdvanceArgs.of("c").allocate(1));
            first.close();
            assertEquals(5, client.advance(AdvanceArgs.of("c").allocate(1)).lastSequence());
            assertEquals(1, second.codes.size());
        }
    }

    @Test
    void aNodeWithoutALeaseIsLeftForTheNextOne() throws Exception {
        AtomicInteger requests = new AtomicInteger();
        try (FakeServer active = active(); FakeServer deposed =
                new FakeServer((peer, id, code, arguments) -> {
                    if (code == PING) {
                        peer.pong(id);
                    } else {
                        requests.incrementAndGet();
                        peer.error(id, 503, "not applied: no lease");
                    }
                });
                ChatshardClient client = ChatshardClient.connect(
                        options(deposed.address(), active.address()))) {
            assertEquals(5, client.advance(AdvanceArgs.of("c").allocate(1)).lastSequence());
            assertEquals(1, requests.get());
        }
    }
}
