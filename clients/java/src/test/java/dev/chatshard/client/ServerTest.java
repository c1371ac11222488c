package dev.chatshard.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.chatshard.client.testing.ChatshardServer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Real servers: pages, shards, tokens, TLS, unix sockets. */
@Timeout(60)
class ServerTest {
    @Test
    void pagesComeToTheirEnd() throws Exception {
        try (ChatshardServer server = ChatshardServer.start("--shards", "2");
                ChatshardClient client = server.connect()) {
            List<CompletableFuture<CreateReply>> made = new ArrayList<>();
            for (int i = 0; i < 25; i++) {
                made.add(client.async().create(CreateArgs.of(ChatType.GROUP, "alice",
                        List.of("alice", "user" + i)).id("g" + i)));
            }
            made.forEach(CompletableFuture::join);
            ConcurrentSkipListSet<String> listed = new ConcurrentSkipListSet<>();
            Pages.list(client, ListArgs.of("alice").limit(7)).forEach(
                    row -> assertTrue(listed.add(row.chatId())));
            assertEquals(25, listed.size());
            int conversations = 0;
            for (Conversation one : Pages.conversations(
                    client, ConversationsArgs.of("alice").limit(10))) {
                assertTrue(listed.contains(one.chatId()));
                conversations++;
            }
            assertEquals(25, conversations);
            client.addMembers("g0", List.of("u1", "u2", "u3"));
            List<String> members = new ArrayList<>();
            Pages.members(client, MembersArgs.of("g0").limit(2)).forEach(
                    member -> members.add(member.userId()));
            assertEquals(List.of("alice", "user0", "u1", "u2", "u3"), members);
            exportAndImport(client);
            syncs(client);
        }
    }

    private static void exportAndImport(ChatshardClient client) {
        List<ChatLine> chats = new ArrayList<>();
        List<MemberLine> lines = new ArrayList<>();
        AtomicInteger pages = new AtomicInteger();
        Pages.each(client.async(), ExportArgs.of().limit(20), page -> {
            pages.incrementAndGet();
            chats.addAll(page.chats());
            lines.addAll(page.members());
        }).join();
        assertTrue(pages.get() > 3, "pages " + pages);
        assertEquals(25, chats.size());
        assertEquals(53, lines.size());
        try (ChatshardServer other = ChatshardServer.start();
                ChatshardClient to = other.connect()) {
            ImportReply taken = to.importLines(ImportArgs.of().chats(chats).members(lines));
            assertEquals(25, taken.chats());
            assertEquals(53, taken.members());
            assertEquals(0, to.verify().differences());
        }
        MemberLine line = MemberLine.builder("late", "g0").maxReadSeq(0).isTop(true).build();
        assertEquals(1, client.importLines(ImportArgs.of().members(List.of(line))).members());
    }

    private static void syncs(ChatshardClient client) {
        SyncReply last = null;
        int items = 0;
        for (SyncReply page : Pages.sync(client, SyncArgs.of("alice").limit(10))) {
            assertEquals(false, page.reset());
            items += page.items().size();
            last = page;
        }
        assertEquals(25, items);
        client.setFlags(SetFlagsArgs.of("alice", "g3").isMute(true));
        SyncReply next = client.sync(
                SyncArgs.of("alice").since(new Since(last.log(), last.version())));
        assertEquals(1, next.items().size());
        assertEquals("g3", next.items().get(0).chatId());
        assertTrue(next.items().get(0).isMute());
    }

    @Test
    void eachKeyHasTheConnectionOfItsShard() throws Exception {
        ConcurrentSkipListSet<String> opened = new ConcurrentSkipListSet<>();
        AtomicInteger connections = new AtomicInteger();
        Hooks hooks = new Hooks() {
            @Override
            public void opened(String address) {
                opened.add(address);
                connections.incrementAndGet();
            }
        };
        try (ChatshardServer server = ChatshardServer.start("--shards", "4");
                ChatshardClient client = ChatshardClient.connect(
                        ChatshardOptions.of(server.address()).hooks(hooks));
                ChatshardClient two = ChatshardClient.connect(
                        ChatshardOptions.of(server.address()).connections(2))) {
            List<CompletableFuture<ListReply>> calls = new ArrayList<>();
            for (int i = 0; i < 200; i++) {
                calls.add(client.async().list("user" + i));
                calls.add(two.async().list("user" + i));
            }
            calls.forEach(CompletableFuture::join);
            assertEquals(4, connections.get());
            assertEquals(4 + 2, client.stats().connections());
            assertEquals(List.of(server.address()), List.copyOf(opened));
            for (ShardStats shard : client.stats().shards()) {
                assertTrue(shard.connections() >= 1, shard.toString());
            }
        }
    }

    @Test
    void theOrderOfCallsForAKeyIsKept() throws Exception {
        try (ChatshardServer server = ChatshardServer.start("--shards", "4");
                ChatshardClient client = server.connect()) {
            client.create(CreateArgs.of(ChatType.GROUP, "a", List.of("a")).id("g"));
            List<CompletableFuture<AdvanceReply>> calls = new ArrayList<>();
            for (int i = 1; i <= 3000; i++) {
                calls.add(client.async().advance(AdvanceArgs.of("g").allocate(1)));
            }
            for (int i = 1; i <= 3000; i++) {
                assertEquals(i, calls.get(i - 1).join().lastSequence());
            }
        }
    }

    @Test
    void manyThreadsShareAClient() throws Exception {
        try (ChatshardServer server = ChatshardServer.start("--shards", "2");
                ChatshardClient client = server.connect()) {
            List<CompletableFuture<Void>> threads = new ArrayList<>();
            ExecutorService executor = Executors.newFixedThreadPool(16);
            for (int i = 0; i < 16; i++) {
                String chat = "g" + i;
                threads.add(CompletableFuture.runAsync(() -> {
                    client.create(CreateArgs.of(ChatType.GROUP, chat, List.of(chat)).id(chat));
                    for (int j = 1; j <= 200; j++) {
                        assertEquals(j, client.advance(AdvanceArgs.of(chat).allocate(1))
                                .lastSequence());
                        assertEquals(chat, client.list(chat).items().get(0).chatId());
                    }
                }, executor));
            }
            threads.forEach(CompletableFuture::join);
            executor.shutdown();
        }
    }

    @Test
    void aTokenIsNeededAndMayBeForReads(@TempDir Path directory) throws Exception {
        Path tokens = directory.resolve("tokens");
        Files.writeString(tokens, "full secret-of-16-bytes-or-more-0123456789\n"
                + "read reader-of-16-bytes-or-more-0123456789\n");
        Files.setPosixFilePermissions(tokens,
                java.nio.file.attribute.PosixFilePermissions.fromString("rw-------"));
        try (LocalServer server = new LocalServer("--token-file", tokens.toString())) {
            ChatshardOptions options = ChatshardOptions.of(server.address());
            ChatshardException none = assertThrows(
                    ChatshardException.class, () -> ChatshardClient.connect(options));
            assertEquals(Status.UNAUTHENTICATED, none.status());
            assertEquals(Outcome.REFUSED, none.outcome());
            try (ChatshardClient reader = ChatshardClient.connect(
                    options.token("reader-of-16-bytes-or-more-0123456789"))) {
                assertEquals(List.of(), reader.list("u").items());
                ChatshardException error = assertThrows(ChatshardException.class,
                        () -> reader.advance(AdvanceArgs.of("c").allocate(1)));
                assertEquals(Status.PERMISSION_DENIED, error.status());
            }
        }
    }

    @Test
    void tlsVerifiesTheServer(@TempDir Path directory) throws Exception {
        Path certificate = directory.resolve("cert.pem");
        Path key = directory.resolve("key.pem");
        makeCertificate(directory, certificate, key);
        try (LocalServer server = new LocalServer("--tls-cert", certificate.toString(),
                "--tls-key", key.toString())) {
            ChatshardOptions options = ChatshardOptions.of(server.address())
                    .tls(Tls.trusting(certificate));
            try (ChatshardClient client = ChatshardClient.connect(options);
                    Watch watch = client.watch()) {
                List<String> users = new ArrayList<>();
                for (int i = 0; i < 2000; i++) {
                    users.add("user-with-a-longer-name-" + i);
                }
                client.create(CreateArgs.of(ChatType.GROUP, "a", users).id("g"));
                assertEquals(2000, client.members("g").items().size());
                List<CompletableFuture<AdvanceReply>> calls = new ArrayList<>();
                for (int i = 0; i < 2000; i++) {
                    calls.add(client.async().advance(AdvanceArgs.of("g").allocate(1)));
                }
                calls.forEach(CompletableFuture::join);
                for (int i = 0; i < 4000; i++) {
                    watch.next(Duration.ofSeconds(10));
                }
                assertEquals(2000, calls.get(1999).join().lastSequence());
            }
            assertThrows(ChatshardException.class, () -> ChatshardClient.connect(
                    ChatshardOptions.of(server.address())
                            .tls(javax.net.ssl.SSLContext.getDefault())));
            ChatshardException name = assertThrows(ChatshardException.class,
                    () -> ChatshardClient.connect(ChatshardOptions.of(server.address())
                            .tls(Tls.trusting(certificate), "elsewhere.example")));
            assertTrue(name.getMessage().contains("elsewhere.example"), name.getMessage());
            ChatshardException plain = assertThrows(ChatshardException.class,
                    () -> ChatshardClient.connect(server.address()));
            assertTrue(plain.getMessage().contains("TLS"), plain.getMessage());
        }
    }

    /** A certificate of 127.0.0.1 that signs itself, by the tool of the JDK. */
    private static void makeCertificate(Path directory, Path certificate, Path key)
            throws Exception {
        Path store = directory.resolve("store.p12");
        Process keytool = new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "keytool").toString(),
                "-genkeypair", "-keystore", store.toString(), "-storepass", "password",
                "-storetype", "PKCS12", "-alias", "server", "-keyalg", "EC", "-groupname",
                "secp256r1", "-dname", "CN=test", "-ext", "SAN=IP:127.0.0.1", "-validity", "2")
                .redirectErrorStream(true).start();
        String printed = new String(keytool.getInputStream().readAllBytes());
        assertEquals(0, keytool.waitFor(), printed);
        char[] password = "password".toCharArray();
        KeyStore keys = KeyStore.getInstance(store.toFile(), password);
        Files.writeString(certificate,
                pem("CERTIFICATE", keys.getCertificate("server").getEncoded()));
        Files.writeString(key,
                pem("PRIVATE KEY", keys.getKey("server", password).getEncoded()));
        Files.setPosixFilePermissions(key,
                java.nio.file.attribute.PosixFilePermissions.fromString("rw-------"));
    }

    private static String pem(String name, byte[] bytes) {
        String text = Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(bytes);
        return "-----BEGIN " + name + "-----\n" + text + "\n-----END " + name + "-----\n";
    }

    @Test
    void aUnixSocketIsAnAddress(@TempDir Path directory) throws Exception {
        String address = "unix:" + directory.resolve("door.sock");
        try (ChatshardServer server = ChatshardServer.start("--listen", address);
                ChatshardClient client = ChatshardClient.connect(address)) {
            assertEquals(address, server.address());
            client.create(CreateArgs.of(ChatType.GROUP, "a", List.of("a")).id("g"));
            assertEquals(5, client.advance(AdvanceArgs.of("g").allocate(5)).lastSequence());
        }
    }

    @Test
    void nothingIsLeftAfterTheEnd() throws Exception {
        try (ChatshardServer server = ChatshardServer.start("--shards", "4")) {
            int round = 0;
            long files = 0;
            for (; round < 6; round++) {
                try (ChatshardClient client = server.connect(); Watch watch = client.watch()) {
                    for (int i = 0; i < 20; i++) {
                        client.list("user" + i);
                    }
                    assertEquals(WatchOp.HEARTBEAT, watch.next().op());
                }
                assertEquals(List.of(), threads());
                if (round == 2) {
                    files = openFiles();
                }
            }
            assertEquals(files, openFiles());
            assertThrows(ChatshardException.class,
                    () -> ChatshardClient.connect("127.0.0.1:" + LocalServer.freePort()));
            assertEquals(List.of(), threadsSoon());
        }
    }

    /** The threads of all clients. */
    static List<String> threads() {
        return Thread.getAllStackTraces().keySet().stream().filter(Thread::isAlive)
                .map(Thread::getName).filter(name -> name.startsWith("chatshard")).toList();
    }

    /** A client that could not connect ends its threads without a wait. */
    private static List<String> threadsSoon() {
        for (int i = 0; i < 200 && !threads().isEmpty(); i++) {
            LocalServer.pause(10);
        }
        return threads();
    }

    private static long openFiles() throws Exception {
        try (java.util.stream.Stream<Path> files = Files.list(Path.of("/proc/self/fd"))) {
            return files.count();
        }
    }
}
