// Command backend is a tiny IM backend: messages, a list with badges, a device that syncs, and
// pushes.
//
//	go run .
//
// CHATSHARD_ADDR names the TCP door of a server. Without it the program starts an empty one, which
// CHATSHARD_BIN or the path has.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	chatshard "chatshard.dev/go"
	"chatshard.dev/go/chatshardtest"
)

// A Backend stores messages, and leaves their metadata to chatshard.
type Backend struct {
	client   *chatshard.Client
	messages map[string]string
}

// Send stores a message under the next sequence of its chat. The id of the message makes the call
// repeatable, also after a crash of the backend.
func (b *Backend) Send(ctx context.Context, id, chat, sender, text string) (uint64, error) {
	sent, err := b.client.Advance(ctx, chatshard.AdvanceArgs{
		ChatID: chat, Allocate: 1, SenderID: sender, IdempotencyKey: "message-" + id})
	if err != nil {
		return 0, err
	}
	b.messages[fmt.Sprintf("%s/%d", chat, sent.FirstSequence)] = text
	return sent.FirstSequence, nil
}

// Show prints the list of a user, with a badge at each chat.
func (b *Backend) Show(ctx context.Context, user string) error {
	pages := b.client.ConversationsPages(chatshard.ConversationsArgs{UserID: user, Limit: 20})
	for pages.Next(ctx) {
		for _, one := range pages.Page().Items {
			last := b.messages[fmt.Sprintf("%s/%d", one.ChatID, one.LastSequence)]
			fmt.Printf("%s: %s (%d) %s\n", user, one.ChatID, one.Unread, last)
		}
	}
	return pages.Err()
}

// A Device keeps a copy of its user's list.
type Device struct {
	rows  map[string]chatshard.SyncItem
	since *chatshard.Since
}

// Sync takes what has changed since the last time.
func (d *Device) Sync(ctx context.Context, client *chatshard.Client, user string) error {
	changes := client.SyncPages(chatshard.SyncArgs{UserID: user, Since: d.since})
	for changes.Next(ctx) {
		page := changes.Page()
		if page.Reset || d.rows == nil {
			d.rows = make(map[string]chatshard.SyncItem)
		}
		for _, item := range page.Items {
			if item.Op == chatshard.SyncRemove {
				delete(d.rows, item.ChatID)
			} else {
				d.rows[item.ChatID] = item
			}
		}
		// A device stores these together with the rows.
		d.since = &chatshard.Since{Log: page.Log, Version: page.Version}
	}
	return changes.Err()
}

// FollowPushes gives each new message of a stream to push, until the context ends. The stream
// continues over restarts of the server. If the server has another log then, the stream begins
// again, and missed is called: devices must sync.
func (b *Backend) FollowPushes(
	ctx context.Context, watch *chatshard.Watch, push func(*chatshard.Event), missed func(),
) error {
	defer func() { watch.Close() }()
	for {
		event, err := watch.Next(ctx)
		switch {
		case err == nil && event.Op == chatshard.OpAdvance:
			// A worker stores event.Offset when the push is done.
			push(event)
		case err == nil:
		case errors.Is(err, chatshard.ErrConflict):
			again, err := b.client.Watch(ctx, "")
			if err != nil {
				return err
			}
			watch.Close()
			watch = again
			missed()
		default:
			return err
		}
	}
}

func run(ctx context.Context, client *chatshard.Client) error {
	backend := &Backend{client: client, messages: make(map[string]string)}
	pushed := make(chan *chatshard.Event, 10)
	following, stop := context.WithCancel(ctx)
	defer stop()
	watch, err := client.Watch(ctx, "")
	if err != nil {
		return err
	}
	push := func(event *chatshard.Event) { pushed <- event }
	go backend.FollowPushes(following, watch, push, func() {})

	chat, err := client.Create(ctx, chatshard.CreateArgs{
		Type: chatshard.ChatGroup, CreatorID: "alice", UserIDs: []string{"alice", "bob"}})
	if err != nil {
		return err
	}
	var last uint64
	for i, text := range []string{"hello", "is anybody there?"} {
		id := fmt.Sprintf("%s-%d", chat.ID, i)
		if last, err = backend.Send(ctx, id, chat.ID, "alice", text); err != nil {
			return err
		}
	}
	event := <-pushed
	fmt.Printf("push: %s %d of %s\n", event.ChatID, *event.LastSequence, event.UserID)
	if err := backend.Show(ctx, "bob"); err != nil {
		return err
	}
	read := chatshard.MarkReadArgs{UserID: "bob", ChatID: chat.ID, Seq: last}
	if _, err := client.MarkRead(ctx, read); err != nil {
		return err
	}
	if err := backend.Show(ctx, "bob"); err != nil {
		return err
	}
	device := new(Device)
	if err := device.Sync(ctx, client, "bob"); err != nil {
		return err
	}
	row := device.rows[chat.ID]
	fmt.Printf("bob's device: %d chats, read up to %d\n", len(device.rows), row.MaxReadSeq)
	return nil
}

func main() {
	ctx := context.Background()
	address := os.Getenv("CHATSHARD_ADDR")
	if address == "" {
		server, err := chatshardtest.Run()
		if err != nil {
			log.Fatal(err)
		}
		defer server.Stop()
		address = server.Address
	}
	client, err := chatshard.Connect(ctx, chatshard.Options{Addresses: []string{address}})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	if err := run(ctx, client); err != nil {
		log.Print(err)
	}
}
