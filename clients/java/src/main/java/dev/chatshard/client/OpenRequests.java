package dev.chatshard.client;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The requests of a connection that have no reply, by id. Ids rise, and pass over those whose place
 * in the table is taken. So a look-up is one look.
 */
final class OpenRequests {
    private final long[] ids;
    private final Exchange[] requests;
    private final int mask;
    private long lastId;
    private int size;

    /**
     * Makes a table.
     *
     * @param places most requests that are open together
     * @param lastId the id that was used last
     */
    OpenRequests(int places, long lastId) {
        int length = Integer.highestOneBit(Math.max(1, places)) << 2;
        ids = new long[length];
        requests = new Exchange[length];
        mask = length - 1;
        this.lastId = lastId;
    }

    int size() {
        return size;
    }

    /** Adds a request and returns its id. */
    long add(Exchange request) {
        do {
            lastId++;
        } while (requests[(int) lastId & mask] != null);
        ids[(int) lastId & mask] = lastId;
        requests[(int) lastId & mask] = request;
        size++;
        return lastId;
    }

    /** The request with this id; null if none is open. */
    Exchange get(long id) {
        int at = (int) id & mask;
        return ids[at] == id ? requests[at] : null;
    }

    /** Takes the request with this id; null if none is open. */
    Exchange remove(long id) {
        Exchange request = get(id);
        if (request != null) {
            requests[(int) id & mask] = null;
            size--;
        }
        return request;
    }

    /** Takes all, in the order of their places. */
    List<Exchange> removeAll() {
        List<Exchange> all = new ArrayList<>(size);
        for (Exchange request : requests) {
            if (request != null) {
                all.add(request);
            }
        }
        Arrays.fill(requests, null);
        size = 0;
        return all;
    }
}
