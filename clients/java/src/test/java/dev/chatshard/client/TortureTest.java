package dev.chatshard.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** A server is killed and started under load. */
class TortureTest {
    private static final int KILLS = 20;
    private static final int CHATS = 8;
    private static final int DEPTH = 4;

    private final AtomicBoolean over = new AtomicBoolean();
    private final Map<String, AtomicLong> acknowledged = new ConcurrentHashMap<>();
    private final Map<String, Set<Long>> handedOut = new ConcurrentHashMap<>();

    @Test
    @Timeout(120)
    void noAcknowledgedWriteIsLostAndNoneIsAppliedTwice() throws Exception {
        long seed = System.nanoTime();
        Random random = new Random(seed);
        try (LocalServer server = new LocalServer("--shards", "2");
                ChatshardClient client = ChatshardClient.connect(
                        ChatshardOptions.of(server.address()).callTimeout(Duration.ofSeconds(30)));
                Watch watch = client.watch()) {
            List<CompletableFuture<Void>> writers = new ArrayList<>();
            for (int i = 0; i < CHATS; i++) {
                String chat = "g" + i;
                client.create(CreateArgs.of(ChatType.GROUP, "a", List.of("a")).id(chat));
                acknowledged.put(chat, new AtomicLong());
                handedOut.put(chat, ConcurrentHashMap.newKeySet());
                for (int j = 0; j < DEPTH; j++) {
                    writers.add(write(client.async(), chat));
                }
            }
            Map<String, Set<Long>> watched = new TreeMap<>();
            Thread watcher = new Thread(() -> follow(watch, watched), "watcher");
            watcher.start();
            for (int i = 0; i < KILLS; i++) {
                LocalServer.pause(random.nextInt(300));
                server.kill();
                LocalServer.pause(random.nextInt(50));
                server.start();
            }
            LocalServer.pause(200);
            over.set(true);
            for (CompletableFuture<Void> writer : writers) {
                writer.join();
            }
            check(client, watched, watcher, seed);
        }
        assertEquals(List.of(), ServerTest.threads());
    }

    /** Writes messages one after the other. A call that fails ends the test. */
    private CompletableFuture<Void> write(AsyncCommands client, String chat) {
        if (over.get()) {
            return CompletableFuture.completedFuture(null);
        }
        CompletableFuture<AdvanceReply> call = client.advance(AdvanceArgs.of(chat).allocate(1));
        return call.thenComposeAsync(reply -> {
            acknowledged.get(chat).incrementAndGet();
            assertTrue(handedOut.get(chat).add(reply.lastSequence()), "handed out twice");
            return write(client, chat);
        });
    }

    private static void follow(Watch watch, Map<String, Set<Long>> watched) {
        for (Event event : watch) {
            if (event.op() == WatchOp.ADVANCE) {
                synchronized (watched) {
                    watched.computeIfAbsent(event.chatId(), chat -> new HashSet<>())
                            .add(event.lastSequence());
                }
            }
        }
    }

    private void check(ChatshardClient client, Map<String, Set<Long>> watched, Thread watcher,
            long seed) throws InterruptedException {
        long all = 0;
        for (Map.Entry<String, AtomicLong> one : acknowledged.entrySet()) {
            Chat chat = client.detail(List.of(one.getKey())).items().get(0);
            assertEquals(one.getValue().get(), chat.lastSequence(), "seed " + seed);
            all += chat.lastSequence();
        }
        assertTrue(all > 5 * KILLS, "only " + all + " writes");
        long until = System.nanoTime() + Duration.ofSeconds(10).toNanos();
        for (;;) {
            synchronized (watched) {
                if (watched.equals(new TreeMap<>(handedOut))) {
                    break;
                }
                assertTrue(System.nanoTime() < until, "events are missing, seed " + seed);
            }
            LocalServer.pause(10);
        }
        System.out.println("torture: " + all + " writes over " + KILLS + " kills, seed " + seed);
        assertTrue(watcher.isAlive());
    }
}
