package chatshard

import (
	"errors"
	"fmt"
	"testing"
)

func TestPagesReachTheEnd(t *testing.T) {
	client := connectTo(t, Options{Addresses: []string{startServer(t, "--shards", "2")}})
	users := []string{"alice"}
	for i := 0; i < 24; i++ {
		users = append(users, fmt.Sprintf("user-%d", i))
		id := fmt.Sprintf("g-%d", i)
		if _, err := client.Create(background, CreateArgs{ID: id, Type: ChatGroup, CreatorID: "alice", UserIDs: users}); err != nil {
			t.Fatal(err)
		}
	}
	counts := make(map[string]int)
	pages := 0
	for list := client.ListPages(ListArgs{UserID: "alice", Limit: 10}); list.Next(background); pages++ {
		counts["list"] += len(list.Page().Items)
	}
	members := client.MembersPages(MembersArgs{ChatID: "g-23", Limit: 10})
	for ; members.Next(background); pages++ {
		counts["members"] += len(members.Page().Items)
	}
	members.All(background)(func(*MembersReply, error) bool { t.Error("a page behind the last one"); return false })
	client.ConversationsPages(ConversationsArgs{UserID: "alice", Limit: 10}).All(background)(func(page *ConversationsReply, err error) bool {
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
	for sync := client.SyncPages(SyncArgs{UserID: "alice", Limit: 10}); sync.Next(background); pages++ {
		counts["sync"] += len(sync.Page().Items)
		since = Since{Log: sync.Page().Log, Version: sync.Page().Version}
	}
	if got := fmt.Sprint(counts); got != "map[conversations:24 export:24 list:24 members:25 sync:24]" || pages != 12 {
		t.Error(got, pages)
	}
	if _, err := client.SetFlags(background, SetFlagsArgs{UserID: "alice", ChatID: "g-3", IsMute: Ptr(true)}); err != nil {
		t.Fatal(err)
	}
	changes := client.SyncPages(SyncArgs{UserID: "alice", Since: &since})
	if !changes.Next(background) || len(changes.Page().Items) != 1 || !changes.Page().Items[0].IsMute ||
		changes.Page().Items[0].Op != SyncUpsert || changes.Page().Reset || changes.Next(background) {
		t.Error(changes.Page(), changes.Err())
	}
	none := client.MembersPages(MembersArgs{ChatID: "none"})
	if none.Next(background) || !errors.Is(none.Err(), ErrNotFound) {
		t.Error(none.Err())
	}
}
