package dev.chatshard.client.bench;

import com.sun.management.OperatingSystemMXBean;
import dev.chatshard.client.AdvanceArgs;
import dev.chatshard.client.ChatType;
import dev.chatshard.client.ChatshardAsyncClient;
import dev.chatshard.client.ChatshardOptions;
import dev.chatshard.client.CreateArgs;
import dev.chatshard.client.testing.ChatshardServer;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Calls per second of the client beside a raw loop: frames made beforehand on a plain socket, and
 * replies that are only skipped by their length.
 *
 * <p>{@code clients/java/bench/run [SECONDS]}: so long for each figure, 1 s by default. The last
 * two columns are processor time of this process for a call, in µs. A busy machine changes them
 * less.
 */
public final class Speed {
    private static final int ROUNDS = 3;
    private static final byte[] HELLO = {0, 0, 0, 4, (byte) 0x93, 1, 1, (byte) 0x90};

    private Speed() {}

    /** One kind of call, with the bytes of its request behind the id. */
    private record Kind(String name, byte[] request, Call call) {}

    private interface Call {
        CompletableFuture<?> on(ChatshardAsyncClient client);
    }

    public static void main(String[] arguments) throws Exception {
        double seconds = arguments.length > 0 ? Double.parseDouble(arguments[0]) : 1;
        List<Kind> kinds = List.of(
                new Kind("list50", bytes(0x93, 1, 0x10, 0x91, "user"),
                        client -> client.list("user")),
                new Kind("detail1", bytes(0x93, 1, 0x11, 0x91, 0x91, "chat0"),
                        client -> client.detail(List.of("chat0"))),
                new Kind("advance", bytes(0x93, 1, 0x20, 0x93, "chat0", 0xc0, 1),
                        client -> client.advance(AdvanceArgs.of("chat0").allocate(1))));
        try (ChatshardServer server = ChatshardServer.start("--shards", "1");
                ChatshardAsyncClient client = ChatshardAsyncClient.connect(
                        ChatshardOptions.of(server.address()).keys(false)).join()) {
            for (int i = 0; i < 50; i++) {
                client.create(CreateArgs.of(ChatType.GROUP, "user", List.of("user"))
                        .id("chat" + i)).join();
            }
            System.out.println("| call | depth | raw, calls/s | client, calls/s | ratio"
                    + " | raw, µs | client, µs |");
            System.out.println("|---|---|---|---|---|---|---|");
            for (Kind kind : kinds) {
                for (int depth : new int[] {1, 64}) {
                    compare(server.address(), client, kind, depth, seconds);
                }
            }
        }
    }

    /** Measures both in turn, and takes the best of each. */
    private static void compare(String address, ChatshardAsyncClient client, Kind kind, int depth,
            double seconds) throws Exception {
        Figure raw = new Figure(0, Double.MAX_VALUE);
        Figure ours = raw;
        for (int round = 0; round < ROUNDS; round++) {
            raw = raw.better(measured(() -> raw(address, kind.request(), depth, seconds)));
            ours = ours.better(measured(() -> depth == 1
                    ? oneByOne(client, kind, seconds) : pipelined(client, kind, depth, seconds)));
        }
        System.out.printf(Locale.ROOT, "| %s | %d | %.0f | %.0f | %.2f | %.1f | %.1f |%n",
                kind.name(), depth, raw.rate(), ours.rate(), ours.rate() / raw.rate(),
                raw.cpu(), ours.cpu());
    }

    /** Calls per second, and processor time of a call in µs. */
    private record Figure(double rate, double cpu) {
        Figure better(Figure other) {
            return new Figure(Math.max(rate, other.rate), Math.min(cpu, other.cpu));
        }
    }

    /** What makes calls for a while, and returns how many. */
    private interface Run {
        long calls() throws Exception;
    }

    private static Figure measured(Run run) throws Exception {
        OperatingSystemMXBean system = (OperatingSystemMXBean)
                ManagementFactory.getOperatingSystemMXBean();
        long cpu = system.getProcessCpuTime();
        long began = System.nanoTime();
        long calls = run.calls();
        double seconds = (System.nanoTime() - began) / 1e9;
        return new Figure(calls / seconds, (system.getProcessCpuTime() - cpu) / 1e3 / calls);
    }

    private static byte[] bytes(Object... parts) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        for (Object part : parts) {
            if (part instanceof String text) {
                bytes.write(0xa0 | text.length());
                bytes.writeBytes(text.getBytes(StandardCharsets.UTF_8));
            } else {
                bytes.write((Integer) part);
            }
        }
        return bytes.toByteArray();
    }

    private static long raw(String address, byte[] request, int depth, double seconds)
            throws IOException {
        int colon = address.lastIndexOf(':');
        try (Socket socket = new Socket(address.substring(0, colon),
                Integer.parseInt(address.substring(colon + 1)))) {
            socket.setTcpNoDelay(true);
            ByteArrayOutputStream batch = new ByteArrayOutputStream();
            DataOutputStream frames = new DataOutputStream(batch);
            for (int i = 0; i < depth; i++) {
                byte[] one = request.clone();
                one[1] = (byte) (i + 1);
                frames.writeInt(one.length);
                frames.write(one);
            }
            OutputStream out = socket.getOutputStream();
            DataInputStream in = new DataInputStream(
                    new java.io.BufferedInputStream(socket.getInputStream(), 1 << 16));
            out.write(HELLO);
            skip(in, 1);
            long until = System.nanoTime() + (long) (seconds * 1e9);
            long calls = 0;
            while (System.nanoTime() < until) {
                out.write(batch.toByteArray());
                skip(in, depth);
                calls += depth;
            }
            return calls;
        }
    }

    private static void skip(DataInputStream in, int replies) throws IOException {
        for (int i = 0; i < replies; i++) {
            int length = in.readInt();
            while (length > 0) {
                length -= (int) ((InputStream) in).skip(length);
            }
        }
    }

    private static long oneByOne(ChatshardAsyncClient client, Kind kind, double seconds) {
        long until = System.nanoTime() + (long) (seconds * 1e9);
        long calls = 0;
        for (; System.nanoTime() < until; calls++) {
            kind.call().on(client).join();
        }
        return calls;
    }

    private static long pipelined(ChatshardAsyncClient client, Kind kind, int depth,
            double seconds) {
        long until = System.nanoTime() + (long) (seconds * 1e9);
        Pipeline pipeline = new Pipeline(client, kind, until, depth);
        for (int i = 0; i < depth; i++) {
            pipeline.next();
        }
        pipeline.done.join();
        return pipeline.calls.get();
    }

    /** Begins a call as soon as another one has its reply. */
    private static final class Pipeline {
        final CompletableFuture<Void> done = new CompletableFuture<>();
        final AtomicInteger calls = new AtomicInteger();
        private final ChatshardAsyncClient client;
        private final Kind kind;
        private final long until;
        private final AtomicInteger open;

        Pipeline(ChatshardAsyncClient client, Kind kind, long until, int depth) {
            this.client = client;
            this.kind = kind;
            this.until = until;
            open = new AtomicInteger(depth);
        }

        void next() {
            kind.call().on(client).whenComplete((reply, error) -> {
                if (error != null) {
                    done.completeExceptionally(new UncheckedIOException(new IOException(error)));
                }
                calls.incrementAndGet();
                if (System.nanoTime() < until) {
                    next();
                } else if (open.decrementAndGet() == 0) {
                    done.complete(null);
                }
            });
        }
    }
}
