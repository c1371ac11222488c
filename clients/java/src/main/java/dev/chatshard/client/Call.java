package dev.chatshard.client;

import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;

/**
 * One call with all its attempts.
 *
 * <p>Invariants:
 * <ul>
 * <li>Every attempt sends the same arguments, with the same idempotency key.
 * <li>If an attempt may have been applied, no later error says "not applied". One that comes from
 * the look at the request does: with its key the server would have given the first reply.
 * <li>A write without a key is sent again only after a 421, because nothing was applied.
 * </ul>
 */
final class Call<R> implements Exchange {
    private static final String CLOSED = "the client is closed";

    /** Bytes of a request's payload beside its arguments, at most. */
    private static final int HEAD = 12;

    private final Shared shared;
    private final Nodes nodes;
    private final Command<R> command;
    private final Encoder body;
    private final String shardKey;
    private final boolean mayRepeat;
    private final Duration patience;
    private final long deadline;
    private final CompletableFuture<R> future = new CompletableFuture<>();

    // Guarded by the list of the calls that are under way.
    Call<?> older;
    Call<?> newer;
    boolean isListed;

    // Changed only by who begins or ends an attempt; there is one at a time.
    private int attempt = 1;
    private final Backoff backoff = new Backoff();
    private int unreachable;
    private volatile long began;

    private volatile Node node;
    private volatile Connection connection;
    /** Whether the server may have the request of the present attempt. */
    private volatile boolean isSent;
    /** The error of an attempt that may have been applied. */
    private volatile ChatshardException unknown;
    private volatile ChatshardException last;

    Call(Shared shared, Nodes nodes, Arguments<R> arguments, String key, Duration patience,
            boolean mayRepeat) {
        this.shared = shared;
        this.nodes = nodes;
        this.patience = ChatshardOptions.bounded(patience);
        began = System.nanoTime();
        deadline = began + this.patience.toNanos();
        command = arguments.command();
        body = new Encoder(64);
        arguments.encode(body, key);
        shardKey = arguments.shardKey();
        this.mayRepeat = mayRepeat;
    }

    CompletableFuture<R> start() {
        HelloReply hello = nodes.current().hello();
        long largest = hello == null ? Protocol.REQUEST_BYTES : hello.limits().requestBytes();
        if (body.size() + HEAD > largest) {
            fail(ChatshardException.refused("too_large", "a request of " + body.size()
                    + " bytes is over the limit of " + largest));
            return future;
        }
        if (patience.isZero() || patience.isNegative()) {
            fail(ChatshardException.notApplied("its deadline was over before it began"));
            return future;
        }
        if (shared.underWay().add(this)) {
            submit();
        } else {
            fail(ChatshardException.notApplied(CLOSED));
        }
        return future;
    }

    boolean isLate(long now) {
        return now - deadline >= 0;
    }

    private void submit() {
        for (;;) {
            Node chosen = nodes.current();
            node = chosen;
            connection = chosen.submit(this, shardKey);
            if (connection != null) {
                return;
            }
            if (chosen == nodes.current()) {
                fail(ChatshardException.notApplied(CLOSED));
                return;
            }
        }
    }

    @Override
    public Command<?> command() {
        return command;
    }

    @Override
    public Encoder body() {
        return body;
    }

    @Override
    public boolean isAbandoned() {
        return future.isDone();
    }

    @Override
    public void sending() {
        isSent = true;
    }

    @Override
    @SuppressWarnings("unchecked")
    public void replied(Object reply) {
        tell(null, 200);
        shared.underWay().remove(this);
        future.complete((R) reply);
    }

    @Override
    public void failed(ChatshardException error) {
        isSent = false;
        ChatshardException known = error;
        if (error.outcome() == Outcome.UNKNOWN && command.isRead()) {
            known = error.as(Outcome.NOT_APPLIED);
        }
        tell(known.outcome(), error.status());
        note(known);
        switch (error.status()) {
            case 421 -> {
                if (nodes.leave(node, error.address())) {
                    again(backoff.isFresh());
                } else {
                    fail(known);
                }
            }
            case 429, 503 -> repeat(known, error.status() == 503);
            default -> fail(known);
        }
    }

    @Override
    public void lost(boolean wasSent, ChatshardException cause) {
        isSent = false;
        if (cause == null) {
            submit();
        } else if (wasSent) {
            ChatshardException known = command.isRead()
                    ? ChatshardException.notApplied(cause.getMessage())
                    : ChatshardException.unknown(cause.getMessage());
            tell(known.outcome(), 0);
            note(known);
            repeat(known, true);
        } else if (cause.outcome() == Outcome.REFUSED) {
            tell(cause.outcome(), cause.status());
            fail(cause);
        } else if (node.isConnected() || ++unreachable < nodes.number() && nodes.leave(node, "")) {
            // Nothing was sent, so the attempt goes on elsewhere.
            submit();
        } else {
            ChatshardException known = cause.as(Outcome.NOT_APPLIED);
            tell(known.outcome(), cause.status());
            note(known);
            repeat(known, true);
        }
    }

    private void note(ChatshardException error) {
        last = error;
        if (error.outcome() == Outcome.UNKNOWN) {
            unknown = error;
        }
    }

    private void repeat(ChatshardException error, boolean isNodeBad) {
        if (!mayRepeat || shared.isClosed()) {
            fail(error);
            return;
        }
        if (isNodeBad) {
            nodes.leave(node, "");
        }
        again(false);
    }

    /** Begins another attempt, at once or after a pause. */
    private void again(boolean atOnce) {
        long drawn = backoff.next();
        long pause = atOnce ? 0 : drawn;
        try {
            shared.timer().schedule(this::resubmit, pause, TimeUnit.NANOSECONDS);
        } catch (RejectedExecutionException error) {
            fail(last);
        }
    }

    private void resubmit() {
        if (!future.isDone()) {
            attempt++;
            unreachable = 0;
            began = System.nanoTime();
            submit();
        }
    }

    /** Ends the call at its deadline, or forgets one that its caller has ended. */
    void tooLate() {
        if (future.isDone()) {
            shared.underWay().remove(this);
            return;
        }
        end((isSent ? "no reply within " : "not sent within ") + patience.toMillis() + " ms");
    }

    /** Ends the call without a reply, with what is known. */
    void end(String why) {
        Connection waitsAt = connection;
        if (waitsAt != null) {
            waitsAt.withdraw(this);
        }
        ChatshardException error = last;
        if (isSent || error == null) {
            error = isSent && !command.isRead()
                    ? ChatshardException.unknown(why) : ChatshardException.notApplied(why);
            tell(error.outcome(), 0);
        }
        fail(error);
    }

    /** Ends the call with an error, or with the one of an attempt that may have been applied. */
    private void fail(ChatshardException error) {
        ChatshardException before = unknown;
        // A server that rejects the credentials does not look whether it has applied the request.
        boolean saysNothing = error.outcome() == Outcome.NOT_APPLIED
                || error.status() == Status.UNAUTHENTICATED
                || error.status() == Status.PERMISSION_DENIED;
        shared.underWay().remove(this);
        ChatshardException known = saysNothing && before != null ? before : error;
        future.completeExceptionally(known.in(command.name()));
    }

    private void tell(Outcome outcome, int status) {
        if (!shared.hasHooks() || future.isDone()) {
            return;
        }
        Duration time = Duration.ofNanos(System.nanoTime() - began);
        Hooks.Attempt ended = new Hooks.Attempt(command.name(), attempt, time, outcome, status);
        shared.hook(hooks -> hooks.attempted(ended));
    }
}
