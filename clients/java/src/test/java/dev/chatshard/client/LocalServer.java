package dev.chatshard.client;

import dev.chatshard.client.testing.ChatshardServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** A server with a directory and a port of its own, which can be killed and started again. */
final class LocalServer implements AutoCloseable {
    private final Path directory;
    private final int port;
    private final List<String> arguments;
    private Process process;

    LocalServer(String... arguments) throws IOException {
        this.arguments = List.of(arguments);
        directory = Files.createTempDirectory("chatshard-java-");
        port = freePort();
        start();
    }

    static int freePort() throws IOException {
        try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return socket.getLocalPort();
        }
    }

    String address() {
        return "127.0.0.1:" + port;
    }

    Path directory() {
        return directory;
    }

    void start() throws IOException {
        List<String> command = new ArrayList<>(List.of(ChatshardServer.program(), "serve",
                "--data-dir", directory.resolve("data").toString(), "--listen", address(),
                "--http", "off", "--admin", "off", "--log-level", "warn"));
        if (!Files.exists(directory.resolve("data"))) {
            command.add("--init");
        }
        command.addAll(arguments);
        Path log = directory.resolve("log");
        process = new ProcessBuilder(command).redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.appendTo(log.toFile())).start();
        long until = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
        while (!listens()) {
            if (!process.isAlive() || System.nanoTime() > until) {
                throw new IOException("the server does not start: " + Files.readString(log));
            }
        }
    }

    private boolean listens() {
        try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), port)) {
            return socket.isConnected();
        } catch (IOException error) {
            pause(10);
            return false;
        }
    }

    static void pause(long millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException error) {
            throw new AssertionError(error);
        }
    }

    /** Ends the process as a crash does. */
    void kill() {
        process.destroyForcibly().onExit().join();
    }

    @Override
    public void close() throws IOException {
        kill();
        try (Stream<Path> files = Files.walk(directory)) {
            for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(file);
            }
        }
    }
}
