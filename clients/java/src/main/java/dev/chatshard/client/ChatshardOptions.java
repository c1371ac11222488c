package dev.chatshard.client;

import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.function.Consumer;
import javax.net.ssl.SSLContext;

/**
 * How a client connects and calls. Each method returns other options with one change, so options
 * can be shared.
 *
 * <pre>{@code
 * ChatshardOptions.of("10.0.0.1:7700", "10.0.0.2:7700").token(secret).callTimeout(ofSeconds(2))
 * }</pre>
 */
public final class ChatshardOptions {
    /** Name and version of this client. */
    static final String NAME = "chatshard-java/0.1.0";
    /** Most connections to a node, if the options name no other number. */
    private static final int CONNECTIONS = 16;
    private static final Duration LONGEST = Duration.ofDays(36_500);

    private final List<Address> addresses;
    private String token;
    private String name = NAME;
    private SSLContext tls;
    private String tlsName;
    private Duration stale;
    private Duration connectTimeout = Duration.ofSeconds(5);
    private Duration callTimeout = Duration.ofSeconds(10);
    private int connections = CONNECTIONS;
    private int waitingCalls = 10_000;
    private boolean keys = true;
    private Hooks hooks = Hooks.NONE;
    private Duration silence = Duration.ofSeconds(5);
    private Duration watchSilence = Duration.ofSeconds(30);

    private ChatshardOptions(List<Address> addresses) {
        this.addresses = addresses;
    }

    private ChatshardOptions(ChatshardOptions other) {
        addresses = other.addresses;
        token = other.token;
        name = other.name;
        tls = other.tls;
        tlsName = other.tlsName;
        stale = other.stale;
        connectTimeout = other.connectTimeout;
        callTimeout = other.callTimeout;
        connections = other.connections;
        waitingCalls = other.waitingCalls;
        keys = other.keys;
        hooks = other.hooks;
        silence = other.silence;
        watchSilence = other.watchSilence;
    }

    /** The defaults, for a server at {@code 127.0.0.1:7700}. */
    public static ChatshardOptions defaults() {
        return of("127.0.0.1:7700");
    }

    /**
     * The defaults, for these addresses.
     *
     * @param addresses {@code HOST:PORT} or {@code unix:PATH}; of several nodes of a journal, all
     * @throws IllegalArgumentException if there is none, or one has another form
     */
    public static ChatshardOptions of(String... addresses) {
        if (addresses.length == 0) {
            throw new IllegalArgumentException("a client needs an address");
        }
        return new ChatshardOptions(List.of(addresses).stream().map(Address::of).toList());
    }

    private ChatshardOptions with(Consumer<ChatshardOptions> change) {
        ChatshardOptions changed = new ChatshardOptions(this);
        change.accept(changed);
        return changed;
    }

    /** The secret, if the server wants one; null: none. */
    public ChatshardOptions token(String token) {
        return with(changed -> changed.token = token);
    }

    /** Name and version of the program, for the server's log. */
    public ChatshardOptions name(String name) {
        return with(changed -> changed.name = Objects.requireNonNull(name, "name"));
    }

    /** Speaks TLS. The server's certificate must have the host of the address. */
    public ChatshardOptions tls(SSLContext context) {
        return tls(context, null);
    }

    /**
     * Speaks TLS.
     *
     * @param context which authorities to trust; {@link Tls#trusting} makes one
     * @param serverName the name that the certificate must have; null: the host of the address
     */
    public ChatshardOptions tls(SSLContext context, String serverName) {
        return with(changed -> {
            changed.tls = context;
            changed.tlsName = serverName;
        });
    }

    /**
     * How old the state of a standby may be that replies to reads.
     *
     * @param stale 1 ms to 10 minutes; null: only the active replies
     */
    public ChatshardOptions stale(Duration stale) {
        return with(changed -> changed.stale = stale);
    }

    /** The time for connecting, TLS and {@code hello} together; 5 s by default. */
    public ChatshardOptions connectTimeout(Duration timeout) {
        return with(changed -> changed.connectTimeout = positive("connectTimeout", timeout));
    }

    /** The time for a call with all its repeats; 10 s by default. */
    public ChatshardOptions callTimeout(Duration timeout) {
        return with(changed -> changed.callTimeout = positive("callTimeout", timeout));
    }

    /** Most connections to one node; by default as many as it has shards, at most 16. */
    public ChatshardOptions connections(int connections) {
        return with(changed -> changed.connections = positive("connections", connections));
    }

    /** Most calls that may wait for a place in flight; 10 000 by default. */
    public ChatshardOptions waitingCalls(int calls) {
        return with(changed -> changed.waitingCalls = positive("waitingCalls", calls));
    }

    /** Whether each write without an idempotency key gets one, so that it can be repeated. */
    public ChatshardOptions keys(boolean keys) {
        return with(changed -> changed.keys = keys);
    }

    /** What to call after each attempt, and when a connection opens or ends. */
    public ChatshardOptions hooks(Hooks hooks) {
        return with(changed -> changed.hooks = Objects.requireNonNull(hooks, "hooks"));
    }

    /** Shorter times of silence, for tests. */
    ChatshardOptions silence(Duration silence, Duration watchSilence) {
        return with(changed -> {
            changed.silence = silence;
            changed.watchSilence = watchSilence;
        });
    }

    private static Duration positive(String option, Duration timeout) {
        if (timeout.isNegative() || timeout.isZero()) {
            throw new IllegalArgumentException(option + " must be longer than 0");
        }
        return bounded(timeout);
    }

    /** A time that nanoseconds can count: one that is longer than a life is as good as forever. */
    static Duration bounded(Duration time) {
        return time.compareTo(LONGEST) > 0 ? LONGEST : time;
    }

    private static int positive(String option, int number) {
        if (number < 1) {
            throw new IllegalArgumentException(option + " must be at least 1, not " + number);
        }
        return number;
    }

    List<Address> addresses() {
        return addresses;
    }

    String token() {
        return token;
    }

    String name() {
        return name;
    }

    SSLContext tls() {
        return tls;
    }

    String tlsName() {
        return tlsName;
    }

    Long staleMs() {
        return stale == null ? null : stale.toMillis();
    }

    Duration connectTimeout() {
        return connectTimeout;
    }

    Duration callTimeout() {
        return callTimeout;
    }

    int connections() {
        return connections;
    }

    int waitingCalls() {
        return waitingCalls;
    }

    boolean keys() {
        return keys;
    }

    Hooks hooks() {
        return hooks;
    }

    long silenceNanos() {
        return silence.toNanos();
    }

    long watchSilenceNanos() {
        return watchSilence.toNanos();
    }

    /** The addresses and times, and never the token. */
    @Override
    public String toString() {
        return "ChatshardOptions[addresses=" + addresses
                + ", token=" + (token == null ? "none" : "(secret)")
                + ", tls=" + (tls != null) + ", connectTimeout=" + connectTimeout
                + ", callTimeout=" + callTimeout + "]";
    }
}
