package chatshardtest_test

import (
	"context"
	"net"
	"testing"

	chatshard "chatshard.dev/go"
	"chatshard.dev/go/chatshardtest"
)

func TestStart(t *testing.T) {
	server := chatshardtest.Start(t, "--shards", "2")
	client := server.Client(t, chatshard.Options{})
	stats, err := client.Stats(context.Background())
	if err != nil || len(stats.Shards) != 2 || stats.Chats != 0 {
		t.Fatal(stats, err)
	}
	server.Kill()
	server.Stop()
	if socket, err := net.Dial("tcp", server.Address); err == nil {
		socket.Close()
		t.Error("the server listens still")
	}
}

func TestAServerThatDoesNotStartSaysWhy(t *testing.T) {
	if _, err := chatshardtest.Run("--no-such-flag"); err == nil {
		t.Error("it started")
	} else {
		t.Log(err)
	}
}
