// Package chatshardtest starts servers for tests. Each runs in a directory of its own, which is
// removed when it ends.
//
// The program is found by the variable CHATSHARD_BIN, or else as chatshard on the path.
package chatshardtest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	chatshard "chatshard.dev/go"
)

// startTimeout is how long a server may take until it is ready.
const startTimeout = 30 * time.Second

// stopTimeout is how long a server may take to end after SIGTERM.
const stopTimeout = 10 * time.Second

// A Server is a running chatshard without data.
type Server struct {
	// Address is that of the TCP door, for Options.Addresses.
	Address string
	// HTTP and Admin are the addresses of these doors; empty if they are off.
	HTTP, Admin string

	command *exec.Cmd
	once    sync.Once
}

// Program returns the path of the server's program.
func Program() (string, error) {
	if path := os.Getenv("CHATSHARD_BIN"); path != "" {
		return path, nil
	}
	path, err := exec.LookPath("chatshard")
	if err != nil {
		return "", fmt.Errorf("no chatshard: set CHATSHARD_BIN, or put it on the path: %w", err)
	}
	return path, nil
}

// Start runs a server until the test ends. Flags of serve may follow, such as "--shards", "4". The
// test fails if the server does not start.
func Start(tb testing.TB, flags ...string) *Server {
	tb.Helper()
	server, err := Run(flags...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(server.Stop)
	return server
}

// Client returns a client of the server, which is closed when the test ends.
func (s *Server) Client(tb testing.TB, options chatshard.Options) *chatshard.Client {
	tb.Helper()
	options.Addresses = []string{s.Address}
	client, err := chatshard.Connect(context.Background(), options)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { client.Close() })
	return client
}

// Run starts a server, for a TestMain or an example. Stop it after use.
func Run(flags ...string) (*Server, error) {
	program, err := Program()
	if err != nil {
		return nil, err
	}
	command := exec.Command(program, append([]string{"serve", "--ephemeral"}, flags...)...)
	var messages strings.Builder
	command.Stderr = &messages
	output, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", program, err)
	}
	server := &Server{command: command}
	late := time.AfterFunc(startTimeout, func() { command.Process.Kill() })
	line, err := bufio.NewReader(output).ReadBytes('\n')
	late.Stop()
	var doors struct{ TCP, HTTP, Admin string }
	if err == nil {
		err = json.Unmarshal(line, &doors)
	}
	if err != nil {
		command.Process.Kill()
		command.Wait()
		return nil, fmt.Errorf("%s serve --ephemeral did not start: %s", program, messages.String())
	}
	server.Address, server.HTTP, server.Admin = doors.TCP, doors.HTTP, doors.Admin
	return server, nil
}

// Stop ends the server, and waits for its end.
func (s *Server) Stop() {
	s.once.Do(func() {
		s.command.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(stopTimeout, func() { s.command.Process.Kill() })
		s.command.Wait()
		late.Stop()
	})
}

// Kill ends the server as a crash does.
func (s *Server) Kill() {
	s.once.Do(func() {
		s.command.Process.Kill()
		s.command.Wait()
	})
}
