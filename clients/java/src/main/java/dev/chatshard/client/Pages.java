package dev.chatshard.client;

import java.util.Collections;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import java.util.function.Function;

/**
 * All pages of a reply that comes in pages: each is asked for when the one before is done.
 *
 * <pre>{@code
 * for (Member member : Pages.members(client, MembersArgs.of("g_team"))) { ... }
 * }</pre>
 *
 * <p>What changes between two pages may be missing or come twice, as the protocol says for each
 * command. An iterator throws the {@link ChatshardException} of its page.
 */
public final class Pages {
    private Pages() {}

    /** The rows of a user's list. The limit of the arguments is the size of a page. */
    public static Iterable<Row> list(Commands client, ListArgs arguments) {
        return items(client, arguments, ListReply::items);
    }

    /** A user's conversations. */
    public static Iterable<Conversation> conversations(
            Commands client, ConversationsArgs arguments) {
        return items(client, arguments, ConversationsReply::items);
    }

    /** The members of a chat. */
    public static Iterable<Member> members(Commands client, MembersArgs arguments) {
        return items(client, arguments, MembersReply::items);
    }

    /** Everything, as pages that {@code import} takes in this order. */
    public static Iterable<ExportReply> export(Commands client, ExportArgs arguments) {
        return of(client, arguments);
    }

    /**
     * What changed in a user's list, as pages. Take the items of a page, and then store its
     * {@code log} and {@code version}: with these as {@code since} the next run continues.
     */
    public static Iterable<SyncReply> sync(Commands client, SyncArgs arguments) {
        return of(client, arguments);
    }

    /**
     * Gives each page to a function, one after the other.
     *
     * @param first {@link ListArgs}, {@link ConversationsArgs}, {@link MembersArgs},
     *     {@link ExportArgs} or {@link SyncArgs}
     * @return completes behind the last page, or with the error of a page or of the function
     */
    public static <P> CompletableFuture<Void> each(
            AsyncCommands client, Arguments<P> first, Consumer<P> page) {
        CompletableFuture<Void> done = new CompletableFuture<>();
        ask(client, first, page, done);
        return done;
    }

    private static <P> void ask(AsyncCommands client, Arguments<P> arguments, Consumer<P> page,
            CompletableFuture<Void> done) {
        client.call(arguments).whenComplete((reply, error) -> {
            if (error != null) {
                done.completeExceptionally(error);
                return;
            }
            try {
                page.accept(reply);
                Arguments<P> next = arguments.behind(reply);
                if (next == null) {
                    done.complete(null);
                } else {
                    ask(client, next, page, done);
                }
            } catch (RuntimeException failed) {
                done.completeExceptionally(failed);
            }
        });
    }

    private static <P> Iterable<P> of(Commands client, Arguments<P> first) {
        return () -> new Iterator<>() {
            private Arguments<P> next = first;

            @Override
            public boolean hasNext() {
                return next != null;
            }

            @Override
            public P next() {
                if (next == null) {
                    throw new NoSuchElementException();
                }
                P page = client.call(next);
                next = next.behind(page);
                return page;
            }
        };
    }

    private static <P, T> Iterable<T> items(Commands client, Arguments<P> first,
            Function<P, ? extends Iterable<T>> items) {
        return () -> new Iterator<>() {
            private final Iterator<P> pages = of(client, first).iterator();
            private Iterator<T> page = Collections.emptyIterator();

            @Override
            public boolean hasNext() {
                while (!page.hasNext() && pages.hasNext()) {
                    page = items.apply(pages.next()).iterator();
                }
                return page.hasNext();
            }

            @Override
            public T next() {
                if (!hasNext()) {
                    throw new NoSuchElementException();
                }
                return page.next();
            }
        };
    }
}
