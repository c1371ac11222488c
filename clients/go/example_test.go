package chatshard_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	chatshard "chatshard.dev/go"
	"chatshard.dev/go/chatshardtest"
)

// server starts a server for an example.
func server() (address string, stop func()) {
	started, err := chatshardtest.Run("--shards", "2")
	if err != nil {
		log.Fatal(err)
	}
	return started.Address, started.Stop
}

func Example() {
	address, stop := server()
	defer stop()
	ctx := context.Background()

	client, err := chatshard.Connect(ctx, chatshard.Options{Addresses: []string{address}})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	watch, err := client.Watch(ctx, "") // "": from now on
	if err != nil {
		log.Fatal(err)
	}
	defer watch.Close()

	chat, err := client.Create(ctx, chatshard.CreateArgs{
		Type: chatshard.ChatGroup, CreatorID: "alice", UserIDs: []string{"alice", "bob"}})
	if err != nil {
		log.Fatal(err)
	}
	// Alice sends a message. The server hands out its sequence.
	message, err := client.Advance(ctx, chatshard.AdvanceArgs{
		ChatID: chat.ID, Allocate: 1, SenderID: "alice"})
	if err != nil {
		log.Fatal(err)
	}
	page, err := client.Conversations(ctx, chatshard.ConversationsArgs{UserID: "bob", Limit: 20})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("unread to bob:", page.Items[0].Unread)
	read, err := client.MarkRead(ctx, chatshard.MarkReadArgs{
		UserID: "bob", ChatID: chat.ID, Seq: message.LastSequence})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("then:", read.Unread)
	for i := 0; i < 5; i++ {
		event, err := watch.Next(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.Op)
	}
	// Output:
	// unread to bob: 1
	// then: 0
	// create
	// join
	// join
	// advance
	// read
}

func ExampleError() {
	address, stop := server()
	defer stop()
	ctx := context.Background()
	client, err := chatshard.Connect(ctx, chatshard.Options{Addresses: []string{address}})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	_, err = client.MarkRead(ctx, chatshard.MarkReadArgs{UserID: "bob", ChatID: "g_none", Seq: 1})
	switch {
	case errors.Is(err, chatshard.ErrNotFound): // one status
		fmt.Println("no such chat")
	case errors.Is(err, chatshard.ErrRefused): // nothing was applied, and it fails again
	case errors.Is(err, chatshard.ErrNotApplied): // nothing was applied, and it may succeed later
	case errors.Is(err, chatshard.ErrUnknown): // send the same again, with the same key
	}
	var failed *chatshard.Error
	if errors.As(err, &failed) {
		fmt.Println(failed.Status, failed.Name, failed.Outcome)
	}
	// Output:
	// no such chat
	// 404 not_found refused
}

func ExampleClient_SyncPages() {
	address, stop := server()
	defer stop()
	ctx := context.Background()
	client, err := chatshard.Connect(ctx, chatshard.Options{Addresses: []string{address}})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	args := chatshard.CreateArgs{
		ID: "g_team", Type: chatshard.ChatGroup, CreatorID: "alice", UserIDs: []string{"alice"}}
	if _, err := client.Create(ctx, args); err != nil {
		log.Fatal(err)
	}

	rows := make(map[string]chatshard.SyncItem)
	var since *chatshard.Since // stored with the rows
	changes := client.SyncPages(chatshard.SyncArgs{UserID: "alice", Since: since})
	for changes.Next(ctx) {
		page := changes.Page()
		if page.Reset {
			rows = make(map[string]chatshard.SyncItem)
		}
		for _, item := range page.Items {
			if item.Op == chatshard.SyncRemove {
				delete(rows, item.ChatID)
			} else {
				rows[item.ChatID] = item
			}
		}
		since = &chatshard.Since{Log: page.Log, Version: page.Version}
	}
	if err := changes.Err(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(rows), since.Version)
	// Output: 1 1
}
