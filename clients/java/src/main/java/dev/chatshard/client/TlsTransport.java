package dev.chatshard.client;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLEngineResult;
import javax.net.ssl.SSLEngineResult.HandshakeStatus;
import javax.net.ssl.SSLEngineResult.Status;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLParameters;

/**
 * TLS over a socket that does not block.
 *
 * <p>Between two calls, {@code fromNet} and {@code toNet} hold bytes that were received or are yet
 * to be sent, ready to be read out.
 */
final class TlsTransport implements Transport {
    private static final ByteBuffer NOTHING = ByteBuffer.allocate(0);

    private final SSLEngine engine;
    private ByteBuffer fromNet;
    private ByteBuffer toNet;
    private SocketChannel channel;

    /** Expects a certificate with this name, a host name or an IP address. */
    TlsTransport(SSLContext context, String serverName, int port) {
        engine = context.createSSLEngine(serverName, port);
        engine.setUseClientMode(true);
        SSLParameters parameters = engine.getSSLParameters();
        parameters.setEndpointIdentificationAlgorithm("HTTPS");
        engine.setSSLParameters(parameters);
        int packet = engine.getSession().getPacketBufferSize();
        fromNet = ByteBuffer.allocate(packet).flip();
        toNet = ByteBuffer.allocate(2 * packet).flip();
    }

    @Override
    public synchronized void begin(SocketChannel connected) throws IOException {
        channel = connected;
        engine.beginHandshake();
        write(NOTHING);
    }

    @Override
    public synchronized boolean isBlocked() {
        return toNet.hasRemaining();
    }

    @Override
    public boolean isBuffered() {
        return true;
    }

    @Override
    public synchronized boolean write(ByteBuffer from) throws IOException {
        for (;;) {
            if (!flush()) {
                return false;
            }
            boolean shaking = runTasks();
            if (!from.hasRemaining() && !shaking) {
                return true;
            }
            if (engine.getHandshakeStatus() == HandshakeStatus.NEED_UNWRAP) {
                // The next bytes of the server decide how the handshake continues.
                return !from.hasRemaining();
            }
            SSLEngineResult result = wrap(from);
            if (result.getStatus() == Status.CLOSED) {
                throw new SSLException("the TLS connection is closed");
            }
        }
    }

    @Override
    public synchronized int read(ByteBuffer into) throws IOException {
        int before = into.position();
        for (;;) {
            SSLEngineResult result = engine.unwrap(fromNet, into);
            runTasks();
            if (engine.getHandshakeStatus() == HandshakeStatus.NEED_WRAP) {
                write(NOTHING);
            }
            int read = into.position() - before;
            switch (result.getStatus()) {
                case CLOSED:
                    return read > 0 ? read : -1;
                case BUFFER_OVERFLOW:
                    return read;
                case BUFFER_UNDERFLOW:
                    int got = receive();
                    if (got <= 0) {
                        return read > 0 ? read : got;
                    }
                    break;
                default:
                    if (result.bytesConsumed() == 0 && result.bytesProduced() == 0
                            && engine.getHandshakeStatus() != HandshakeStatus.NEED_UNWRAP) {
                        return read;
                    }
            }
        }
    }

    private SSLEngineResult wrap(ByteBuffer from) throws IOException {
        toNet.compact();
        SSLEngineResult result = engine.wrap(from, toNet);
        if (result.getStatus() == Status.BUFFER_OVERFLOW) {
            toNet = ByteBuffer.allocate(2 * toNet.capacity()).put(toNet.flip());
        }
        toNet.flip();
        return result;
    }

    private boolean flush() throws IOException {
        while (toNet.hasRemaining()) {
            if (channel.write(toNet) == 0) {
                return false;
            }
        }
        return true;
    }

    private int receive() throws IOException {
        fromNet.compact();
        if (!fromNet.hasRemaining()) {
            fromNet = ByteBuffer.allocate(2 * fromNet.capacity()).put(fromNet.flip());
        }
        try {
            return channel.read(fromNet);
        } finally {
            fromNet.flip();
        }
    }

    /** Runs what the engine leaves to others. Returns whether a handshake is under way. */
    private boolean runTasks() {
        while (engine.getHandshakeStatus() == HandshakeStatus.NEED_TASK) {
            engine.getDelegatedTask().run();
        }
        return engine.getHandshakeStatus() != HandshakeStatus.NOT_HANDSHAKING;
    }
}
