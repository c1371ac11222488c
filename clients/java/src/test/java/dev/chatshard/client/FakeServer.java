package dev.chatshard.client;

import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;

/** A server that does what a test says. It replies to hello itself. */
final class FakeServer implements AutoCloseable {
    /** What to do with a request; {@code arguments} stand behind its code. */
    interface Handler {
        void request(Peer peer, long id, int code, Decoder arguments) throws IOException;
    }

    final AtomicInteger connections = new AtomicInteger();
    final List<Integer> codes = new CopyOnWriteArrayList<>();
    final Set<Socket> sockets = ConcurrentHashMap.newKeySet();
    int inFlight = 1024;
    int shards = 1;
    long idleMs = 600_000;
    private final ServerSocket listener;
    private final Handler handler;

    FakeServer(Handler handler) throws IOException {
        this.handler = handler;
        listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        daemon(this::accept);
    }

    private static void daemon(Runnable task) {
        Thread thread = new Thread(task, "fake-server");
        thread.setDaemon(true);
        thread.start();
    }

    String address() {
        return "127.0.0.1:" + listener.getLocalPort();
    }

    private void accept() {
        try {
            for (;;) {
                Socket socket = listener.accept();
                connections.incrementAndGet();
                sockets.add(socket);
                daemon(() -> serve(socket));
            }
        } catch (IOException closed) {
            return;
        }
    }

    private void serve(Socket socket) {
        try (socket) {
            Peer peer = new Peer(socket.getOutputStream(), socket);
            DataInputStream in = new DataInputStream(socket.getInputStream());
            for (;;) {
                byte[] payload = new byte[in.readInt()];
                in.readFully(payload);
                Decoder request = new Decoder(payload);
                request.record(3);
                long id = request.integer();
                int code = request.u16();
                if (code == HelloArgs.COMMAND.code()) {
                    hello(peer, id);
                } else {
                    codes.add(code);
                    handler.request(peer, id, code, request);
                }
            }
        } catch (EOFException ended) {
            sockets.remove(socket);
        } catch (IOException error) {
            sockets.remove(socket);
        }
    }

    private void hello(Peer peer, long id) throws IOException {
        long[] limits = {1 << 20, 1 << 24, 1000, 10000, 10000, inFlight, 128, idleMs};
        peer.reply(id, out -> {
            out.array(12);
            out.string("chatshard");
            out.string("0");
            out.integer(1);
            out.integer(shards);
            out.integer(4096);
            out.integer(0);
            out.integer(0);
            out.array(limits.length);
            for (long limit : limits) {
                out.integer(limit);
            }
            out.string("active");
            out.string("");
            out.integer(0);
            out.integer(0);
        });
    }

    /** Accepts no more connections; those that are there stay. */
    void refuse() throws IOException {
        listener.close();
    }

    /** Ends all connections, and accepts others. */
    void drop() throws IOException {
        for (Socket socket : sockets) {
            socket.close();
        }
    }

    @Override
    public void close() throws IOException {
        listener.close();
        drop();
    }

    /** The client's end of a connection. */
    static final class Peer {
        final Socket socket;
        private final OutputStream out;

        Peer(OutputStream out, Socket socket) {
            this.out = out;
            this.socket = socket;
        }

        void reply(long id, Consumer<Encoder> body) throws IOException {
            send(id, 200, body);
        }

        void advanced(long id, long sequence) throws IOException {
            reply(id, to -> {
                to.array(3);
                to.integer(sequence);
                to.integer(sequence);
                to.integer(1);
            });
        }

        void pong(long id) throws IOException {
            reply(id, to -> to.array(0));
        }

        void error(long id, int status, String message) throws IOException {
            send(id, status, to -> {
                to.array(2);
                to.string("error");
                to.string(message);
            });
        }

        void moved(long id, String address) throws IOException {
            send(id, 421, to -> {
                to.array(5);
                to.string("moved");
                to.string("not the active");
                to.string(address);
                to.integer(0);
                to.integer(2);
            });
        }

        void send(long id, int status, Consumer<Encoder> body) throws IOException {
            Encoder payload = new Encoder(64);
            payload.array(3);
            payload.integer(id);
            payload.integer(status);
            body.accept(payload);
            raw(framed(payload.copy()));
        }

        synchronized void raw(byte[] bytes) throws IOException {
            out.write(bytes);
            out.flush();
        }

        static byte[] framed(byte[] payload) {
            byte[] frame = new byte[payload.length + 4];
            for (int i = 0; i < 4; i++) {
                frame[i] = (byte) (payload.length >>> 24 - 8 * i);
            }
            System.arraycopy(payload, 0, frame, 4, payload.length);
            return frame;
        }
    }
}
