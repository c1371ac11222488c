package chatshard

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// The package chatshardtest imports this one, so the tests inside it start servers themselves.

func program(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("CHATSHARD_BIN"); path != "" {
		return path
	}
	path, err := exec.LookPath("chatshard")
	if err != nil {
		t.Fatal("no chatshard: set CHATSHARD_BIN, or put it on the path")
	}
	return path
}

// startServer runs an empty server until the test ends, and returns its address.
func startServer(t testing.TB, flags ...string) string {
	t.Helper()
	command := exec.Command(program(t), append([]string{"serve", "--ephemeral"}, flags...)...)
	command.Stderr = os.Stderr
	command.Env = append(os.Environ(), "CHATSHARD_LOG_LEVEL=error")
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		command.Process.Signal(syscall.SIGTERM)
		command.Wait()
	})
	line, err := bufio.NewReader(output).ReadBytes('\n')
	var doors struct{ TCP string }
	if err == nil {
		err = json.Unmarshal(line, &doors)
	}
	if err != nil {
		t.Fatalf("the server did not start: %v", err)
	}
	return doors.TCP
}

// A keptServer has a directory, and can be killed and started again at its address.
type keptServer struct {
	t         testing.TB
	directory string
	address   string
	shards    string
	command   *exec.Cmd
}

func keepServer(t testing.TB) *keptServer {
	s := &keptServer{t: t, address: freeAddress(t), shards: "2"}
	s.directory = filepath.Join(t.TempDir(), "data")
	s.start()
	t.Cleanup(s.kill)
	return s
}

func freeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func (s *keptServer) start() {
	s.command = exec.Command(program(s.t), "serve", "--data-dir", s.directory,
		"--listen", s.address, "--http", "off", "--admin", "off", "--shards", s.shards)
	if err := s.command.Start(); err != nil {
		s.t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		socket, err := net.Dial("tcp", s.address)
		if err == nil {
			socket.Close()
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	s.t.Fatal("the server did not start")
}

func (s *keptServer) kill() {
	s.command.Process.Kill()
	s.command.Wait()
}

// at names the addresses, with the defaults of all else.
func at(addresses ...string) Options {
	return Options{Addresses: addresses}
}

// makeGroup makes a chat whose creator is the first user.
func makeGroup(t testing.TB, client *Client, id string, users ...string) {
	t.Helper()
	args := CreateArgs{ID: id, Type: ChatGroup, CreatorID: users[0], UserIDs: users}
	if _, err := client.Create(context.Background(), args); err != nil {
		t.Fatal(err)
	}
}

// connectTo returns a client that is closed when the test ends.
func connectTo(t testing.TB, options Options) *Client {
	t.Helper()
	client, err := Connect(context.Background(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}
