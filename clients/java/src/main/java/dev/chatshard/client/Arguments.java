package dev.chatshard.client;

/**
 * The arguments of one command. They are read when the call begins, so the same object may be
 * changed and used again after that.
 *
 * @param <R> the reply of the command
 */
public abstract class Arguments<R> {
    Arguments() {}

    abstract Command<R> command();

    /** Writes the arguments with this idempotency key, which replaces none. */
    abstract void encode(Encoder out, String key);

    /** The idempotency key of the caller; null: none. */
    String key() {
        return null;
    }

    /** The key whose shard serves the request fastest; null: any. */
    String shardKey() {
        return null;
    }

    /** The arguments for the page behind this one; null if it is the last one. */
    Arguments<R> behind(R page) {
        return null;
    }
}
