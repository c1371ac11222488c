package main

import (
	"context"
	"errors"
	"testing"
	"time"

	chatshard "chatshard.dev/go"
	"chatshard.dev/go/chatshardtest"
)

func TestTheBackendRuns(t *testing.T) {
	client := chatshardtest.Start(t).Client(t, chatshard.Options{})
	if err := run(context.Background(), client); err != nil {
		t.Fatal(err)
	}
}

// The second server has another log, because an ephemeral one forgets all.
func TestPushesGoOnAfterARestart(t *testing.T) {
	first := chatshardtest.Start(t)
	client := first.Client(t, chatshard.Options{})
	backend := &Backend{client: client, messages: make(map[string]string)}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	watch, err := client.Watch(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	pushed, missed := make(chan *chatshard.Event, 1), make(chan bool, 1)
	end := make(chan error)
	following, stop := context.WithCancel(ctx)
	go func() {
		push := func(event *chatshard.Event) { pushed <- event }
		end <- backend.FollowPushes(following, watch, push, func() { missed <- true })
	}()
	send := func() {
		args := chatshard.CreateArgs{
			ID: "g", Type: chatshard.ChatGroup, CreatorID: "alice", UserIDs: []string{"alice"}}
		if _, err := client.Create(ctx, args); err != nil {
			t.Fatal(err)
		}
		if _, err := backend.Send(ctx, "1", "g", "alice", "hello"); err != nil {
			t.Fatal(err)
		}
		if event := <-pushed; *event.LastSequence != 1 || event.UserID != "alice" {
			t.Error(event)
		}
	}
	send()
	first.Kill()
	chatshardtest.Start(t, "--listen", first.Address)
	<-missed
	send()
	stop()
	if err := <-end; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
