package dev.chatshard.client;

import java.io.IOException;
import java.net.SocketAddress;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.SocketChannel;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicReference;
import javax.net.ssl.SSLException;

/**
 * The socket of a connection, and its bytes.
 *
 * <p>Invariants:
 * <ul>
 * <li>Only the loop reads.
 * <li>Any thread may write, but one at a time: who made {@code writer} active. It takes along what
 * others add meanwhile.
 * </ul>
 */
final class Wire {
    /** The connection that the socket belongs to. */
    interface Owner {
        /** The socket is connected: the first bytes may be written. */
        void connected();

        /** Bytes were received. Throws {@link ProtocolException} if they break the protocol. */
        void received();

        /** The next bytes to write; null if there are none. */
        ByteBuffer next();

        /** The socket is of no more use. */
        void broken(String why);
    }

    private enum Writer { IDLE, ACTIVE, ACTIVE_WITH_MORE, BLOCKED }

    private static final ByteBuffer NOTHING = ByteBuffer.allocate(0);

    private final Shared shared;
    private final Address address;
    private final Owner owner;
    private final FrameBuffer frames = new FrameBuffer();
    private final AtomicReference<Writer> writer = new AtomicReference<>(Writer.IDLE);
    /** Whether the loop will write soon. Only the loop knows. */
    boolean isQueued;
    private ByteBuffer unsent = NOTHING;
    private volatile SocketChannel channel;
    private volatile Transport transport;
    private volatile SelectionKey selection;
    private volatile boolean paused;
    private boolean closed;

    Wire(Shared shared, Address address, Owner owner) {
        this.shared = shared;
        this.address = address;
        this.owner = owner;
    }

    FrameBuffer frames() {
        return frames;
    }

    /** Begins to connect. */
    void connect() {
        try {
            shared.resolver().execute(this::resolve);
        } catch (RejectedExecutionException error) {
            owner.broken("cannot connect to " + address + ": the client looks up no more names");
        }
    }

    /** Looks up the name, which may block, and hands the socket to the loop. */
    private void resolve() {
        try {
            SocketAddress remote = address.resolved();
            SocketChannel opened = address.isUnix()
                    ? SocketChannel.open(address.family()) : SocketChannel.open();
            if (!keep(opened)) {
                opened.close();
                return;
            }
            opened.configureBlocking(false);
            if (!address.isUnix()) {
                opened.setOption(StandardSocketOptions.TCP_NODELAY, true);
            }
            boolean isConnected = opened.connect(remote);
            shared.loop().execute(() -> register(isConnected));
        } catch (java.nio.channels.UnresolvedAddressException error) {
            owner.broken("cannot connect to " + address + ": the host is not known");
        } catch (IOException | RuntimeException error) {
            cannotConnect(error);
        }
    }

    private synchronized boolean keep(SocketChannel opened) {
        channel = opened;
        return !closed;
    }

    private void cannotConnect(Throwable error) {
        owner.broken("cannot connect to " + address + ": " + reason(error));
    }

    private static String reason(Throwable error) {
        String message = error.getMessage() == null ? error.toString() : error.getMessage();
        return error instanceof SSLException && message.endsWith("handshake_failure")
                ? message + "; a server without TLS replies so" : message;
    }

    private void register(boolean isConnected) {
        try {
            selection = channel.register(
                    shared.loop().selector(), isConnected ? 0 : SelectionKey.OP_CONNECT, this);
            if (isConnected) {
                begin();
            }
        } catch (IOException | RuntimeException error) {
            cannotConnect(error);
        }
    }

    private void begin() throws IOException {
        Transport begun = shared.transport(address);
        begun.begin(channel);
        transport = begun;
        selection.interestOps(SelectionKey.OP_READ);
        owner.connected();
        askIfBlocked();
    }

    /** The socket can do something. Only the loop calls it. */
    void ready(SelectionKey key) {
        boolean isConnecting = transport == null;
        try {
            int ready = key.readyOps();
            if ((ready & SelectionKey.OP_CONNECT) != 0) {
                channel.finishConnect();
                begin();
            }
            if ((ready & SelectionKey.OP_READ) != 0) {
                read();
            }
            if ((ready & SelectionKey.OP_WRITE) != 0) {
                key.interestOpsAnd(~SelectionKey.OP_WRITE);
                continueWriting();
            }
        } catch (IOException | RuntimeException | Error error) {
            // Even without memory the thread goes on: other connections need it.
            if (isConnecting) {
                cannotConnect(error);
            } else {
                broken(error);
            }
        }
    }

    private void broken(Throwable error) {
        owner.broken(error instanceof ProtocolException
                ? "the server at " + address + " broke the protocol: " + reason(error)
                : "the connection to " + address + " is lost: " + reason(error));
    }

    private void read() throws IOException {
        do {
            ByteBuffer space = frames.space();
            int bytes = transport.read(space);
            if (bytes < 0) {
                owner.broken(
                        frames.hint("the server at " + address + " closed the connection"));
                return;
            }
            if (bytes > 0) {
                frames.took(bytes);
                owner.received();
            }
            if (bytes == 0 || !transport.isBuffered() && space.hasRemaining()) {
                break;
            }
        } while (!paused);
        if (transport.isBuffered()) {
            // What the handshake held back may go now.
            continueWriting();
        }
    }

    /** Writes the owner's bytes, unless somebody does already: then that one takes them too. */
    void write() {
        Writer before = writer.getAndUpdate(now -> switch (now) {
            case IDLE -> Writer.ACTIVE;
            case ACTIVE -> Writer.ACTIVE_WITH_MORE;
            default -> now;
        });
        if (before == Writer.IDLE) {
            writeAll();
        }
    }

    /** Only who made the writer active calls it. */
    private void writeAll() {
        try {
            for (;;) {
                ByteBuffer bytes = unsent.hasRemaining() ? unsent : owner.next();
                if (bytes == null) {
                    if (writer.compareAndSet(Writer.ACTIVE, Writer.IDLE)) {
                        return;
                    }
                    writer.set(Writer.ACTIVE);
                } else {
                    unsent = bytes;
                    if (!transport.write(bytes)) {
                        writer.set(Writer.BLOCKED);
                        askIfBlocked();
                        return;
                    }
                }
            }
        } catch (IOException | RuntimeException error) {
            broken(error);
        }
    }

    private void askIfBlocked() {
        if (transport.isBlocked()) {
            selection.interestOpsOr(SelectionKey.OP_WRITE);
            if (!shared.loop().isCurrent()) {
                shared.loop().selector().wakeup();
            }
        }
    }

    /** The socket takes more, or a handshake has moved on. Only the loop calls it. */
    private void continueWriting() throws IOException {
        if (writer.compareAndSet(Writer.BLOCKED, Writer.ACTIVE)) {
            writeAll();
        } else if (transport.isBuffered()) {
            transport.write(NOTHING);
            askIfBlocked();
        }
    }

    boolean isPaused() {
        return paused;
    }

    /** Stops to read. Only the loop calls it. */
    void pause() {
        paused = true;
        selection.interestOpsAnd(~SelectionKey.OP_READ);
    }

    /** Reads again, from what was received already. */
    void resume() {
        shared.loop().execute(() -> {
            if (!paused) {
                return;
            }
            paused = false;
            try {
                owner.received();
                if (!paused) {
                    selection.interestOpsOr(SelectionKey.OP_READ);
                    if (transport.isBuffered()) {
                        read();
                    }
                }
            } catch (IOException | RuntimeException error) {
                broken(error);
            }
        });
    }

    /** Closes the socket. */
    void close() {
        synchronized (this) {
            closed = true;
        }
        try {
            if (channel != null) {
                channel.close();
            }
        } catch (IOException error) {
            // The socket is gone in any case.
        }
        // The descriptor is released when the loop looks at its keys again.
        shared.loop().selector().wakeup();
    }
}
