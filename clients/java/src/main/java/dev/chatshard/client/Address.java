package dev.chatshard.client;

import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.util.Objects;

/** Where a node listens: {@code HOST:PORT} or {@code unix:PATH}. */
record Address(String text) {
    private static final String UNIX = "unix:";

    /** Checks the form of an address. */
    static Address of(String text) {
        Objects.requireNonNull(text, "address");
        Address address = new Address(text);
        if (!address.isUnix()) {
            address.port();
        } else if (text.length() == UNIX.length()) {
            throw address.wrong();
        }
        return address;
    }

    boolean isUnix() {
        return text.startsWith(UNIX);
    }

    /** The host without the brackets of an IPv6 address. */
    String host() {
        String host = text.substring(0, Math.max(0, text.lastIndexOf(':')));
        return host.startsWith("[") && host.endsWith("]")
                ? host.substring(1, host.length() - 1) : host;
    }

    int port() {
        try {
            int port = Integer.parseInt(text.substring(text.lastIndexOf(':') + 1));
            String host = host();
            if (port > 0 && port <= 0xffff && !host.isEmpty() && !host.contains("/")) {
                return port;
            }
        } catch (NumberFormatException error) {
            // The message below says what an address looks like.
        }
        throw wrong();
    }

    /** Looks up the name of the host, which may take its time. */
    SocketAddress resolved() {
        return isUnix()
                ? UnixDomainSocketAddress.of(text.substring(UNIX.length()))
                : new InetSocketAddress(host(), port());
    }

    StandardProtocolFamily family() {
        return isUnix() ? StandardProtocolFamily.UNIX : null;
    }

    private IllegalArgumentException wrong() {
        return new IllegalArgumentException(
                "an address is HOST:PORT or unix:PATH, not \"" + text + "\"");
    }

    @Override
    public String toString() {
        return text;
    }
}
