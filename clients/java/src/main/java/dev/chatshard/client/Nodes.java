package dev.chatshard.client;

import java.util.List;

/**
 * The nodes of a journal, of which one is in use.
 *
 * <p>The token goes to an address that only a server named if TLS verifies who is there.
 */
final class Nodes {
    private final Shared shared;
    private final List<Address> addresses;
    private volatile Node current;
    private int next;

    Nodes(Shared shared) {
        this.shared = shared;
        addresses = shared.options().addresses();
        use(addresses.get(0));
    }

    Node current() {
        return current;
    }

    /** How many addresses an attempt may try. */
    int number() {
        return addresses.size();
    }

    /**
     * Leaves a node that cannot serve, for the address that it named or for the next one.
     *
     * @param named {@code HOST:PORT}, or empty
     * @return whether another node is in use now
     */
    boolean leave(Node node, String named) {
        synchronized (this) {
            if (current != node) {
                return true;
            }
            Address target = allowed(named);
            if (target == null || target.equals(node.address())) {
                target = addresses.get(next);
                if (target.equals(node.address())) {
                    target = addresses.get((next + 1) % addresses.size());
                }
            }
            if (target.equals(node.address())) {
                return false;
            }
            use(target);
        }
        node.retire();
        return true;
    }

    private void use(Address address) {
        current = new Node(shared, address);
        int known = addresses.indexOf(address);
        if (known >= 0) {
            next = (known + 1) % addresses.size();
        }
    }

    /** The address that a server named, if the token may go there; else null. */
    private Address allowed(String named) {
        if (named.isEmpty()) {
            return null;
        }
        try {
            Address address = Address.of(named);
            ChatshardOptions options = shared.options();
            boolean isTrusted = addresses.contains(address) || options.tls() != null
                    || options.token() == null;
            return isTrusted ? address : null;
        } catch (IllegalArgumentException error) {
            return null;
        }
    }
}
