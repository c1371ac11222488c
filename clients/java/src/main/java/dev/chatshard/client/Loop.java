package dev.chatshard.client;

import java.io.IOException;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;

/** The one thread of a client that reads from all its connections. */
final class Loop implements Runnable {
    private final Selector selector;
    private final Queue<Runnable> tasks = new ConcurrentLinkedQueue<>();
    /** Sockets for which requests were added by this thread, in the order of the first one. */
    private final List<Wire> unwritten = new ArrayList<>();
    private final Thread thread;
    private volatile boolean stopped;

    Loop() throws IOException {
        selector = Selector.open();
        thread = new Thread(this, "chatshard-io");
        thread.setDaemon(true);
        thread.start();
    }

    boolean isCurrent() {
        return Thread.currentThread() == thread;
    }

    Selector selector() {
        return selector;
    }

    /** Runs a task on this thread soon. Each connection has at most a few. */
    void execute(Runnable task) {
        tasks.add(task);
        selector.wakeup();
    }

    /** Writes the requests of a connection when all replies at hand are done: in one go. */
    void writeLater(Wire wire) {
        if (!wire.isQueued) {
            wire.isQueued = true;
            unwritten.add(wire);
        }
    }

    /** Ends the thread. Connections are closed before. */
    void stop() {
        stopped = true;
        selector.wakeup();
    }

    void join(long millis) throws InterruptedException {
        thread.join(millis);
    }

    @Override
    public void run() {
        try (Selector open = selector) {
            while (!stopped) {
                open.select();
                Iterator<SelectionKey> ready = open.selectedKeys().iterator();
                while (ready.hasNext()) {
                    SelectionKey key = ready.next();
                    ready.remove();
                    ((Wire) key.attachment()).ready(key);
                }
                runTasks();
                for (int i = 0; i < unwritten.size(); i++) {
                    Wire wire = unwritten.get(i);
                    wire.isQueued = false;
                    wire.write();
                }
                unwritten.clear();
            }
            // Releases the descriptors of the connections that were closed last.
            open.selectNow();
        } catch (IOException error) {
            throw new java.io.UncheckedIOException(error);
        }
    }

    private void runTasks() {
        for (Runnable task = tasks.poll(); task != null; task = tasks.poll()) {
            try {
                task.run();
            } catch (RuntimeException error) {
                // A task ends its own connection when it fails; the others continue.
            }
        }
    }
}
