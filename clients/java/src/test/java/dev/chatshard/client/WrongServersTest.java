package dev.chatshard.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HexFormat;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLContext;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Servers that speak something else, or nothing: a clear error comes in time. */
@Timeout(20)
class WrongServersTest {
    private static final Duration PATIENCE = Duration.ofMillis(800);

    /** What a wrong server does with a connection. */
    private interface Wrong {
        void serve(Socket socket) throws Exception;
    }

    /** The error of connecting to such a server. */
    private static ChatshardException error(Wrong wrong, boolean tls) throws Exception {
        try (ServerSocket listener = new ServerSocket(0, 5, InetAddress.getLoopbackAddress())) {
            Thread thread = new Thread(() -> {
                while (!listener.isClosed()) {
                    try (Socket socket = listener.accept()) {
                        wrong.serve(socket);
                    } catch (Exception ended) {
                        Thread.yield();
                    }
                }
            }, "wrong-server");
            thread.setDaemon(true);
            thread.start();
            ChatshardOptions options = ChatshardOptions
                    .of("127.0.0.1:" + listener.getLocalPort()).connectTimeout(PATIENCE);
            if (tls) {
                options = options.tls(SSLContext.getDefault());
            }
            ChatshardOptions all = options;
            long began = System.nanoTime();
            ChatshardException error =
                    assertThrows(ChatshardException.class, () -> ChatshardClient.connect(all));
            long took = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - began);
            assertTrue(took < 6000, "took " + took + " ms");
            assertEquals(Outcome.NOT_APPLIED, error.outcome());
            return error;
        }
    }

    private static void assertSays(String part, ChatshardException error) {
        assertTrue(error.getMessage().contains(part), error.getMessage());
    }

    private static Wrong saying(byte[] bytes) {
        return socket -> {
            socket.getInputStream().read();
            socket.getOutputStream().write(bytes);
            socket.getOutputStream().flush();
            Thread.sleep(2000);
        };
    }

    @Test
    void http() throws Exception {
        byte[] reply = "HTTP/1.1 400 Bad Request\r\n\r\n".getBytes(StandardCharsets.US_ASCII);
        assertSays("it speaks HTTP", error(saying(reply), false));
        assertSays("SSL", error(saying(reply), true));
    }

    @Test
    void tls() throws Exception {
        byte[] alert = HexFormat.of().parseHex("15030300020246");
        assertSays("it speaks TLS", error(saying(alert), false));
        byte[] plain = {0x15, 3, 3, 0, 2, 2, 40};
        assertSays("a server without TLS replies so", error(saying(plain), true));
    }

    @Test
    void silence() throws Exception {
        Wrong silent = socket -> Thread.sleep(2000);
        assertSays("no connection", error(silent, false));
        assertSays("no connection", error(silent, true));
    }

    @Test
    void anEarlyEnd() throws Exception {
        assertSays("closed the connection", error(socket -> socket.getInputStream().read(), false));
        error(Socket::close, false);
        error(Socket::close, true);
    }

    @Test
    void slowness() throws Exception {
        Wrong slow = socket -> {
            for (int i = 0; i < 100; i++) {
                socket.getOutputStream().write(i == 2 ? 1 : 0);
                Thread.sleep(50);
            }
        };
        assertSays("no connection", error(slow, false));
    }

    @Test
    void nobody() throws Exception {
        ChatshardOptions options =
                ChatshardOptions.of("127.0.0.1:" + LocalServer.freePort());
        assertSays("refused", assertThrows(
                ChatshardException.class, () -> ChatshardClient.connect(options)));
        assertSays("cannot connect", assertThrows(ChatshardException.class,
                () -> ChatshardClient.connect("unix:/nowhere/chatshard.sock")));
        assertThrows(IllegalArgumentException.class, () -> ChatshardOptions.of("localhost"));
        assertThrows(IllegalArgumentException.class, () -> ChatshardOptions.of("localhost:0"));
        assertThrows(IllegalArgumentException.class,
                () -> ChatshardOptions.of("http://127.0.0.1:7700"));
    }

    @Test
    void garbage() throws Exception {
        long seed = System.nanoTime();
        Random random = new Random(seed);
        for (int i = 0; i < 20; i++) {
            byte[] bytes = new byte[1 + random.nextInt(300)];
            random.nextBytes(bytes);
            bytes = random.nextBoolean() ? bytes : FakeServer.Peer.framed(bytes);
            byte[] said = bytes;
            Wrong wrong = socket -> {
                socket.getInputStream().read();
                socket.getOutputStream().write(said);
            };
            try {
                error(wrong, false);
            } catch (AssertionError failed) {
                throw new AssertionError("seed " + seed + ", round " + i, failed);
            }
        }
    }

    @Test
    void repliesThatBreakTheProtocolEndTheConnection() throws Exception {
        String[] payloads = {
            "93cd0fffccc890", // a reply to no request
            "9302ccc8a161", // the reply of advance is no array
            "9302ccc8920102", // too few fields
            "9302ccc893a16101 02".replace(" ", ""), // a text for an integer
            "9302ccc8930102ff", // an integer below 0
            "9302ccc89301020300", // a byte behind the value
            "9302ccc8ddffffffff", // an array longer than its frame
            "9302ccc8940102039191919191919191919190", // nests too deep
            "9302ccc8940102 03da00ffff".replace(" ", ""), // a string longer than its frame
            "9302ccc89401020381a16101", // a map
            "9302ccc894010203cb0000000000000000", // a float
            "9302ccc894010203a1ff", // a string that is not UTF-8
            "9302ccc8", // no body
        };
        for (String payload : payloads) {
            byte[] frame = FakeServer.Peer.framed(HexFormat.of().parseHex(payload));
            try (FakeServer server = new FakeServer((peer, id, code, arguments) -> {
                if (code == PingArgs.COMMAND.code()) {
                    peer.pong(id);
                } else {
                    byte[] reply = frame.clone();
                    if (payload.startsWith("9302")) {
                        reply[5] = (byte) id;
                    }
                    peer.raw(reply);
                }
            }); ChatshardClient client = ChatshardClient.connect(
                    ChatshardOptions.of(server.address()).keys(false))) {
                ChatshardException error = assertThrows(ChatshardException.class,
                        () -> client.advance(AdvanceArgs.of("c").allocate(1)), payload);
                assertSays("broke the protocol", error);
                assertEquals(Outcome.UNKNOWN, error.outcome());
                client.ping();
                assertEquals(2, server.connections.get());
            }
        }
    }

    @Test
    void aFrameOverTheLimitIsNotAwaited() throws Exception {
        try (FakeServer server = new FakeServer((peer, id, code, arguments) -> {
            if (code == PingArgs.COMMAND.code()) {
                peer.pong(id);
            } else {
                peer.raw(HexFormat.of().parseHex("7fffffff93"));
            }
        }); ChatshardClient client = ChatshardClient.connect(
                ChatshardOptions.of(server.address()).keys(false))) {
            ChatshardException error = assertThrows(ChatshardException.class,
                    () -> client.advance(AdvanceArgs.of("c").allocate(1)));
            assertSays("a frame of 2147483647 bytes", error);
        }
    }

    @Test
    void anErrorOfHelloIsThatOfTheCall() throws Exception {
        for (int status : new int[] {401, 429}) {
            try (ServerSocket listener =
                    new ServerSocket(0, 5, InetAddress.getLoopbackAddress())) {
                Thread thread = new Thread(() -> {
                    try (Socket socket = listener.accept()) {
                        new FakeServer.Peer(socket.getOutputStream(), socket)
                                .error(0, status, "no");
                        socket.getInputStream().readAllBytes();
                    } catch (IOException ended) {
                        Thread.yield();
                    }
                }, "wrong-server");
                thread.setDaemon(true);
                thread.start();
                ChatshardException error = assertThrows(ChatshardException.class,
                        () -> ChatshardClient.connect("127.0.0.1:" + listener.getLocalPort()));
                assertEquals(status, error.status());
                assertEquals(status == 401 ? Outcome.REFUSED : Outcome.NOT_APPLIED,
                        error.outcome());
            }
        }
    }
}
