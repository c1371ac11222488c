package dev.chatshard.client;

/**
 * The error of a call. {@link #outcome} says what is known of the request.
 *
 * <p>A call of an asynchronous client ends with it as the cause of a
 * {@link java.util.concurrent.CompletionException}; a blocking call throws it.
 */
public final class ChatshardException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final String command;
    private final Outcome outcome;
    private final int status;
    private final String error;
    private final transient String address;

    private ChatshardException(String command, Outcome outcome, int status, String error,
            String message, String address) {
        // An asynchronous call has no stack worth its cost.
        super(message, null, false, false);
        this.command = command;
        this.outcome = outcome;
        this.status = status;
        this.error = error;
        this.address = address;
    }

    private ChatshardException(ChatshardException cause) {
        super(cause.getMessage(), cause);
        this.command = cause.command;
        this.outcome = cause.outcome;
        this.status = cause.status;
        this.error = cause.error;
        this.address = cause.address;
    }

    /** Reads the body of a reply with an error. */
    static ChatshardException decode(Decoder in, int status) {
        int more = in.record(2);
        String error = in.string();
        String message = in.string();
        String address = "";
        if (status == Status.MOVED && more > 0) {
            address = in.string();
            more--;
        }
        in.skip(more);
        Outcome outcome = Outcomes.of(status, message);
        return new ChatshardException("", outcome, status, error, message, address);
    }

    /** Nothing was sent, or what was sent changes nothing. */
    static ChatshardException notApplied(String message) {
        return new ChatshardException("", Outcome.NOT_APPLIED, 0, "unavailable", message, "");
    }

    /** A change was sent and got no reply. */
    static ChatshardException unknown(String message) {
        return new ChatshardException("", Outcome.UNKNOWN, 0, "unavailable", message, "");
    }

    /** The client refuses to send a request that the server would refuse. */
    static ChatshardException refused(String error, String message) {
        return new ChatshardException("", Outcome.REFUSED, 0, error, message, "");
    }

    /** The same error with another outcome. */
    ChatshardException as(Outcome other) {
        return new ChatshardException(command, other, status, error, getMessage(), address);
    }

    /** The same error as that of a call of this command. */
    ChatshardException in(String command) {
        return new ChatshardException(command, outcome, status, error, getMessage(), address);
    }

    /** The same error with the stack of the caller who waited. */
    ChatshardException thrown() {
        return new ChatshardException(this);
    }

    /** The command of the call, such as {@code mark_read}; empty if there is none. */
    public String command() {
        return command;
    }

    /** What is known of the request. */
    public Outcome outcome() {
        return outcome;
    }

    /** The status of the server's reply, such as 404; 0 without a reply. */
    public int status() {
        return status;
    }

    /** The name of the error, such as {@code not_found}. */
    public String error() {
        return error;
    }

    /** Where the active is that a 421 names, as {@code HOST:PORT}; empty if it names none. */
    String address() {
        return address == null ? "" : address;
    }

    /** The error with its command, outcome and status, for people. */
    @Override
    public String toString() {
        String what = switch (outcome) {
            case REFUSED -> "refused";
            case NOT_APPLIED -> "not applied";
            case UNKNOWN -> "outcome unknown";
        };
        String number = status == 0 ? "" : status + " ";
        String call = command.isEmpty() ? "" : command + ": ";
        // The server's message may begin with the outcome too.
        String message = getMessage().startsWith(what + ": ")
                ? getMessage().substring(what.length() + 2) : getMessage();
        return "chatshard: " + call + what + ": " + number + error + ": " + message;
    }
}
