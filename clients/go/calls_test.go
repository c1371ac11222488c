package chatshard

import (
	"context"
	"errors"
	"testing"
	"time"
)

var background = context.Background()

func TestCallsOfEachKind(t *testing.T) {
	client := connectTo(t, at(startServer(t, "--shards", "2")))
	created, err := client.Create(background, CreateArgs{
		Type: ChatGroup, CreatorID: "alice", UserIDs: []string{"alice", "bob"}})
	if err != nil || !created.Created {
		t.Fatal(created, err)
	}
	advanced, err := client.Advance(background, AdvanceArgs{
		ChatID: created.ID, Allocate: 2, SenderID: "alice"})
	if err != nil || advanced.FirstSequence != 1 || advanced.LastSequence != 2 ||
		time.Since(advanced.LastTime) > time.Minute {
		t.Fatal(advanced, err)
	}
	page, err := client.Conversations(background, ConversationsArgs{
		UserID: "bob", UnreadOnly: true})
	if err != nil || len(page.Items) != 1 || page.Items[0].Unread != 2 {
		t.Fatal(page, err)
	}
	read, err := client.MarkRead(background, MarkReadArgs{
		UserID: "bob", ChatID: created.ID, Seq: 2})
	if err != nil || read.Unread != 0 {
		t.Fatal(read, err)
	}
	flags, err := client.SetFlags(background, SetFlagsArgs{
		UserID: "bob", ChatID: created.ID, IsTop: Ptr(true)})
	if err != nil || !flags.Row.IsTop || flags.Row.IsMute {
		t.Fatal(flags, err)
	}
	err = client.Delete(background, DeleteArgs{UserID: "bob", IDs: []string{created.ID}})
	if err != nil {
		t.Fatal(err)
	}
	list, err := client.List(background, ListArgs{UserID: "bob"})
	if err != nil || list.Items == nil || len(list.Items) != 0 {
		t.Fatal(list, err)
	}
	if err := client.Dissolve(background, DissolveArgs{ChatID: created.ID}); err != nil {
		t.Fatal(err)
	}
	hello := client.Hello()
	if hello.Server != "chatshard" || hello.Shards != 2 || hello.Limits.IDs != 1000 {
		t.Error(hello)
	}
}

func TestErrorsSayWhatIsKnown(t *testing.T) {
	client := connectTo(t, at(startServer(t)))
	_, err := client.Members(background, MembersArgs{ChatID: "g_none"})
	var of *Error
	if !errors.As(err, &of) || !errors.Is(err, ErrNotFound) || !errors.Is(err, ErrRefused) ||
		errors.Is(err, ErrConflict) || errors.Is(err, ErrUnknown) ||
		of.Status != 404 || of.Attempts != 1 ||
		of.Error() != "members: refused: 404 not_found: there is no such chat" {
		t.Error(err)
	}
	_, err = client.Unread(background, UnreadArgs{UserIDs: make([]string, 100_000)})
	if !errors.Is(err, ErrInvalidArgument) && !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	large := make([]string, 20_000)
	for i := range large {
		large[i] = "a user whose name is so long that not so many of them are in one request"
	}
	_, err = client.Unread(background, UnreadArgs{UserIDs: large})
	if !errors.Is(err, ErrTooLarge) || !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
	before := time.Date(1960, 1, 1, 0, 0, 0, 0, time.UTC)
	_, err = client.Touch(background, TouchArgs{UserID: "u", Time: before})
	if !errors.Is(err, ErrInvalidArgument) {
		t.Error(err)
	}
	over, cancel := context.WithCancel(background)
	cancel()
	_, err = client.Stats(over)
	if !errors.Is(err, context.Canceled) || !errors.Is(err, ErrNotApplied) {
		t.Error(err)
	}
	if err := client.Ping(background); err != nil {
		t.Error(err)
	}
}

func TestKeysGoToTheConnectionsOfTheirShards(t *testing.T) {
	client := connectTo(t, at(startServer(t, "--shards", "3")))
	var table *table
	for table == nil || table.at(0) == nil || table.at(1) == nil || table.at(2) == nil {
		time.Sleep(time.Millisecond)
		table = client.node.Load().table.Load()
	}
	for i, key := range []string{"alice", "bob", "carol", "dave", "g_team", "g_old"} {
		w := newWait(background, time.Second)
		found, err := client.node.Load().connectionFor(key, &w)
		shard := int(xxh64(key, client.Hello().HashSeed) % 4096 % 3)
		if err != nil || found.shard != shard {
			t.Errorf("%d %s: %v instead of %d", i, key, found.shard, shard)
		}
		w.release()
	}
}
