package chatshard

import (
	"errors"
	"fmt"
	"testing"
)

func TestPagesReachTheEnd(t *testing.T) {
	client := connectTo(t, at(startServer(t, "--shards", "2")))
	users := []string{"alice"}
	for i := 0; i < 24; i++ {
		users = append(users, fmt.Sprintf("user-%d", i))
		id := fmt.Sprintf("g-%d", i)
		makeGroup(t, client, id, users...)
	}
	counts := make(map[string]int)
	pages := 0
	list := client.ListPages(ListArgs{UserID: "alice", Limit: 10})
	for ; list.Next(background); pages++ {
		counts["list"] += len(list.Page().Items)
	}
	members := client.MembersPages(MembersArgs{ChatID: "g-23", Limit: 10})
	for ; members.Next(background); pages++ {
		counts["members"] += len(members.Page().Items)
	}
	members.All(background)(func(*MembersReply, error) bool {
		t.Error("a page behind the last one")
		return false
	})
	conversations := client.ConversationsPages(ConversationsArgs{UserID: "alice", Limit: 10})
	conversations.All(background)(func(page *ConversationsReply, err error) bool {
		if err != nil {
			t.Error(err)
			return false
		}
		counts["conversations"] += len(page.Items)
		pages++
		return true
	})
	for export := client.ExportPages(ExportArgs{Limit: 100}); export.Next(background); {
		counts["export"] += len(export.Page().Chats)
	}
	var since Since
	sync := client.SyncPages(SyncArgs{UserID: "alice", Limit: 10})
	for ; sync.Next(background); pages++ {
		counts["sync"] += len(sync.Page().Items)
		since = Since{Log: sync.Page().Log, Version: sync.Page().Version}
	}
	want := "map[conversations:24 export:24 list:24 members:25 sync:24]"
	if got := fmt.Sprint(counts); got != want || pages != 12 {
		t.Error(got, pages)
	}
	mute := SetFlagsArgs{UserID: "alice", ChatID: "g-3", IsMute: Ptr(true)}
	if _, err := client.SetFlags(background, mute); err != nil {
		t.Fatal(err)
	}
	changes := client.SyncPages(SyncArgs{UserID: "alice", Since: &since})
	if !changes.Next(background) {
		t.Fatal(changes.Err())
	}
	page := changes.Page()
	if len(page.Items) != 1 || !page.Items[0].IsMute || page.Items[0].Op != SyncUpsert || page.Reset {
		t.Error(page)
	}
	if changes.Next(background) {
		t.Error(changes.Page())
	}
	none := client.MembersPages(MembersArgs{ChatID: "none"})
	if none.Next(background) || !errors.Is(none.Err(), ErrNotFound) {
		t.Error(none.Err())
	}
}
