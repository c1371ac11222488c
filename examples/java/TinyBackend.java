import dev.chatshard.client.AdvanceArgs;
import dev.chatshard.client.ChatType;
import dev.chatshard.client.ChatshardClient;
import dev.chatshard.client.ChatshardException;
import dev.chatshard.client.ChatshardOptions;
import dev.chatshard.client.Conversation;
import dev.chatshard.client.CreateArgs;
import dev.chatshard.client.Event;
import dev.chatshard.client.Member;
import dev.chatshard.client.MembersArgs;
import dev.chatshard.client.Pages;
import dev.chatshard.client.Since;
import dev.chatshard.client.Status;
import dev.chatshard.client.SyncArgs;
import dev.chatshard.client.SyncItem;
import dev.chatshard.client.SyncOp;
import dev.chatshard.client.SyncReply;
import dev.chatshard.client.Watch;
import dev.chatshard.client.WatchOp;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * A tiny IM backend. It keeps the texts of messages, and chatshard keeps everything about chats:
 * sequences, lists, unread counts, changes.
 *
 * <p>{@code java TinyBackend ADDRESS}, for example of {@code chatshard serve --ephemeral}. The
 * script {@code run} beside it also kills the server in between.
 */
public final class TinyBackend {
    private static final int MESSAGES = 12;

    private final ChatshardClient chats;
    /** The texts of messages, by chat and sequence. */
    private final Map<String, String> texts = new ConcurrentSkipListMap<>();
    /** Messages that no push was sent for yet. */
    private final CountDownLatch unpushed = new CountDownLatch(MESSAGES);

    private TinyBackend(ChatshardClient chats) {
        this.chats = chats;
    }

    public static void main(String[] arguments) throws Exception {
        ChatshardOptions options =
                ChatshardOptions.of(arguments[0]).callTimeout(Duration.ofSeconds(30));
        try (ChatshardClient client = ChatshardClient.connect(options)) {
            new TinyBackend(client).run();
        }
    }

    private void run() throws InterruptedException {
        String team = chats.create(CreateArgs.of(
                ChatType.GROUP, "alice", List.of("alice", "bob", "carol"))).id();
        Device phone = new Device("bob");
        phone.update();

        // The stream begins before the first message, so that none is missing.
        Watch stream = chats.watch();
        Thread pusher = new Thread(() -> push(stream), "pusher");
        pusher.setDaemon(true);
        pusher.start();
        for (int i = 1; i <= MESSAGES; i++) {
            send(team, i % 3 == 0 ? "carol" : "alice", "message " + i);
            Thread.sleep(150);
        }

        show("bob");
        chats.markRead("bob", team, MESSAGES - 2);
        show("bob");
        phone.update();

        if (!unpushed.await(20, TimeUnit.SECONDS)) {
            throw new IllegalStateException(unpushed.getCount() + " pushes are missing");
        }
        System.out.println("all " + MESSAGES + " pushes were sent");
    }

    /** Stores a message. Its id is the key, so a client that sends it again gets its sequence. */
    private void send(String chat, String sender, String text) {
        String id = UUID.randomUUID().toString();
        long sequence = chats.advance(AdvanceArgs.of(chat).allocate(1).senderId(sender)
                .idempotencyKey(id)).lastSequence();
        texts.put(chat + "/" + sequence, sender + ": " + text);
    }

    /** Shows a list with unread badges. */
    private void show(String user) {
        System.out.println("the list of " + user + ":");
        for (Conversation one : chats.conversations(user).items()) {
            String newest = texts.getOrDefault(one.chatId() + "/" + one.lastSequence(), "");
            System.out.println("  (" + one.unread() + ") " + one.chatId() + "  " + newest);
        }
    }

    /** Sends a push for each message, to all but its sender. The stream goes on over restarts. */
    private void push(Watch stream) {
        try (stream) {
            for (Event event : stream) {
                if (event.op() == WatchOp.ADVANCE) {
                    pushTo(event);
                }
                // A real worker stores event.offset() now, and begins there after its own restart.
            }
        } catch (ChatshardException error) {
            if (error.status() == Status.CONFLICT) {
                // The server does not keep the offset: begin now, and read the state again.
                push(chats.watch());
            } else {
                System.out.println("the stream ended: " + error);
            }
        }
    }

    private void pushTo(Event event) {
        StringBuilder users = new StringBuilder();
        for (Member member : Pages.members(chats, MembersArgs.of(event.chatId()))) {
            if (!member.userId().equals(event.userId())) {
                users.append(' ').append(member.userId());
            }
        }
        System.out.println("push of message " + event.lastSequence() + " to" + users);
        unpushed.countDown();
    }

    /** A device that keeps a copy of its user's list. */
    private final class Device {
        private final String user;
        private final Map<String, SyncItem> rows = new TreeMap<>();
        private Since since;

        Device(String user) {
            this.user = user;
        }

        void update() {
            SyncArgs arguments = SyncArgs.of(user);
            if (since != null) {
                arguments.since(since);
            }
            int changes = 0;
            for (SyncReply page : Pages.sync(chats, arguments)) {
                if (page.reset()) {
                    rows.clear();
                }
                for (SyncItem item : page.items()) {
                    if (item.op() == SyncOp.UPSERT) {
                        rows.put(item.chatId(), item);
                    } else {
                        rows.remove(item.chatId());
                    }
                    changes++;
                }
                since = new Since(page.log(), page.version());
            }
            System.out.println("the device of " + user + " took " + changes + " changes and has "
                    + rows.size() + " rows");
        }
    }
}
