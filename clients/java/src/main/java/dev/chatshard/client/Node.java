package dev.chatshard.client;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * The connections to one node, and which of them a key goes to.
 *
 * <p>The first connection learns how many shards there are. Each further one opens when a call
 * needs it. Of n connections, number i serves the shards whose number modulo n is i.
 */
final class Node {
    /** How long calls take other connections after one could not be opened. */
    private static final long PAUSE = TimeUnit.SECONDS.toNanos(1);

    private final Shared shared;
    private final Address address;
    private volatile HelloReply hello;
    private Connection first;
    /** The only connection of a node with one; it needs no look at the key. */
    private volatile Connection only;
    private Connection[] slots = new Connection[0];
    private long[] failedAt = new long[0];
    private int turn;
    private boolean retired;

    Node(Shared shared, Address address) {
        this.shared = shared;
        this.address = address;
    }

    Address address() {
        return address;
    }

    HelloReply hello() {
        return hello;
    }

    /**
     * Sends a request on the connection of its key's shard.
     *
     * @return the connection that took it; null if this node is left
     */
    Connection submit(Exchange request, String key) {
        for (;;) {
            Connection connection = choose(key);
            if (connection == null || connection.submit(request)) {
                return connection;
            }
        }
    }

    private Connection choose(String key) {
        Connection opening = only;
        if (isUsable(opening)) {
            return opening;
        }
        synchronized (this) {
            if (retired) {
                return null;
            }
            if (hello == null) {
                if (isUsable(first)) {
                    return first;
                }
                first = connection(-1, null);
                opening = first;
            } else {
                int slot = key == null ? anyOpen() : slot(key);
                if (isUsable(slots[slot])) {
                    return slots[slot];
                }
                boolean failed = failedAt[slot] != 0 && System.nanoTime() - failedAt[slot] < PAUSE;
                int other = anyOpen();
                if (failed && isUsable(slots[other])) {
                    return slots[other];
                }
                slots[slot] = connection(slot, slot);
                opening = slots[slot];
            }
        }
        opening.connect();
        return opening;
    }

    private static boolean isUsable(Connection connection) {
        return connection != null && connection.isUsable();
    }

    /** The next open connection in turn; the next slot if none is open. */
    private int anyOpen() {
        turn = (turn + 1) % slots.length;
        for (int i = 0; i < slots.length; i++) {
            int slot = (turn + i) % slots.length;
            if (slots[slot] != null && slots[slot].isOpen()) {
                return slot;
            }
        }
        return turn;
    }

    private int slot(String key) {
        if (slots.length == 1) {
            return 0;
        }
        return shard(key, hello.hashSeed(), hello.slots(), hello.shards()) % slots.length;
    }

    /** The shard of a key. */
    static int shard(String key, long seed, int slots, int shards) {
        long hash = XxHash64.hash(key.getBytes(StandardCharsets.UTF_8), seed);
        return (int) (Long.remainderUnsigned(hash, slots) % shards);
    }

    private Connection connection(int slot, Integer shard) {
        Connection[] made = new Connection[1];
        made[0] = new Connection(shared, address, shard, shared.options().silenceNanos(), true,
                reply -> opened(made[0], reply), cause -> ended(slot, made[0]));
        return made[0];
    }

    private void opened(Connection connection, HelloReply reply) {
        List<Connection> strays = new ArrayList<>();
        boolean wasFirst;
        synchronized (this) {
            int wanted = Math.max(1, Math.min(shared.options().connections(), reply.shards()));
            wasFirst = connection == first;
            boolean isOther = hello == null || hello.shards() != reply.shards()
                    || hello.hashSeed() != reply.hashSeed() || hello.slots() != reply.slots();
            if (isOther) {
                // A server that started anew may have other shards: the old connections are gone.
                for (Connection old : slots) {
                    if (old != null && old != connection) {
                        strays.add(old);
                    }
                }
                slots = new Connection[wanted];
                failedAt = new long[wanted];
            }
            hello = reply;
            int slot = reply.shard() % slots.length;
            if (slots[slot] == null || isOther) {
                slots[slot] = connection;
            }
            only = slots.length == 1 ? slots[0] : null;
            if (retired) {
                strays.add(connection);
            }
        }
        strays.forEach(Connection::retire);
        if (wasFirst) {
            // Each of them has its own connection now.
            connection.takeWaiting().forEach(request -> request.lost(false, null));
        }
    }

    private synchronized void ended(int slot, Connection connection) {
        if (slot >= 0 && slot < slots.length && slots[slot] == connection) {
            failedAt[slot] = System.nanoTime();
        }
        boolean anyLeft = false;
        for (Connection one : slots) {
            anyLeft |= isUsable(one);
        }
        if (!anyLeft) {
            // The next connection learns anew how many shards there are.
            hello = null;
            if (first == connection) {
                first = null;
            }
        }
    }

    /** Whether a connection is open or about to be. */
    synchronized boolean isConnected() {
        for (Connection one : slots) {
            if (one != null && one.isOpen()) {
                return true;
            }
        }
        return false;
    }

    /** Takes no more requests; those in flight get their replies. */
    void retire() {
        all().forEach(Connection::retire);
    }

    private synchronized List<Connection> all() {
        retired = true;
        List<Connection> all = new ArrayList<>();
        for (Connection one : slots) {
            if (one != null) {
                all.add(one);
            }
        }
        if (first != null) {
            all.add(first);
        }
        return all;
    }
}
