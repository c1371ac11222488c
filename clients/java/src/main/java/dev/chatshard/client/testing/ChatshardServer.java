package dev.chatshard.client.testing;

import dev.chatshard.client.ChatshardClient;
import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A server for tests: empty, in a directory that is removed at the end, on free ports. It ends with
 * {@link #close}, or with this process.
 *
 * <pre>{@code
 * try (ChatshardServer server = ChatshardServer.start();
 *         ChatshardClient client = server.connect()) {
 *     client.create(ChatType.GROUP, "alice", List.of("alice", "bob"));
 * }
 * }</pre>
 */
public final class ChatshardServer implements AutoCloseable {
    private static final Pattern TCP = Pattern.compile("\"tcp\":\\s*\"([^\"]+)\"");
    private static final String PROGRAM = "CHATSHARD_BIN";
    private static final long START_SECONDS = 20;

    private final Process process;
    private final String address;
    private final Path log;

    private ChatshardServer(Process process, String address, Path log) {
        this.process = process;
        this.address = address;
        this.log = log;
    }

    /**
     * Starts {@code chatshard serve --ephemeral}. The program is that of the variable
     * {@code CHATSHARD_BIN}, or else {@code chatshard} on the path.
     *
     * @param arguments further ones, such as {@code --shards}, {@code 4}
     * @throws IllegalStateException if it does not start; the message has what it printed
     * @throws UncheckedIOException if there is no such program
     */
    public static ChatshardServer start(String... arguments) {
        List<String> command = new ArrayList<>(List.of(program(), "serve", "--ephemeral"));
        command.addAll(List.of(arguments));
        try {
            Path log = Files.createTempFile("chatshard-", ".log");
            // The server ends when the pipe to its stdin does, also if this process crashes.
            ProcessBuilder builder = new ProcessBuilder(command).redirectError(log.toFile());
            // It is no setting of the server, which would warn.
            builder.environment().remove(PROGRAM);
            Process process = builder.start();
            try {
                return new ChatshardServer(process, address(process), log);
            } catch (IOException | RuntimeException error) {
                process.destroyForcibly();
                String printed = Files.readString(log);
                Files.deleteIfExists(log);
                throw new IllegalStateException("the server does not start: " + printed, error);
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    /** The program that {@link #start} runs. */
    public static String program() {
        String set = System.getenv(PROGRAM);
        return set == null || set.isEmpty() ? "chatshard" : set;
    }

    private static String address(Process process) throws IOException {
        BufferedReader out = process.inputReader(StandardCharsets.UTF_8);
        try {
            String line = CompletableFuture.supplyAsync(() -> firstLine(out))
                    .get(START_SECONDS, TimeUnit.SECONDS);
            Matcher tcp = TCP.matcher(line);
            if (tcp.find()) {
                return tcp.group(1);
            }
            throw new IOException("it printed no address: " + line);
        } catch (InterruptedException | ExecutionException | TimeoutException error) {
            throw new IOException("it printed no address within " + START_SECONDS + " s", error);
        }
    }

    private static String firstLine(BufferedReader out) {
        try {
            String line = out.readLine();
            return line == null ? "" : line;
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    /** Where it listens: {@code HOST:PORT}. */
    public String address() {
        return address;
    }

    /** A client of it, with the defaults of all other options. */
    public ChatshardClient connect() {
        return ChatshardClient.connect(address);
    }

    /** Stops the server, and removes its data. */
    @Override
    public void close() {
        process.destroy();
        try {
            if (!process.waitFor(5, TimeUnit.SECONDS)) {
                process.destroyForcibly();
            }
        } catch (InterruptedException error) {
            process.destroyForcibly();
            Thread.currentThread().interrupt();
        }
        File file = log.toFile();
        if (!file.delete()) {
            file.deleteOnExit();
        }
    }
}
