package chatshard

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// ownGoroutines returns the stacks of goroutines that run code of this package outside its tests.
func ownGoroutines() string {
	buffer := make([]byte, 1<<20)
	buffer = buffer[:runtime.Stack(buffer, true)]
	var own []string
	for _, stack := range strings.Split(string(buffer), "\n\n") {
		if strings.Contains(stack, "chatshard.dev/go.") && !strings.Contains(stack, "_test.go") {
			own = append(own, stack)
		}
	}
	return strings.Join(own, "\n\n")
}

func openFiles(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc")
	}
	return len(entries)
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	address := startServer(t, "--shards", "4")
	if left := ownGoroutines(); left != "" {
		t.Fatal(left)
	}
	files := openFiles(t)
	for i := 0; i < 5; i++ {
		client, err := Connect(background, at(address))
		if err != nil {
			t.Fatal(err)
		}
		watch, err := client.Watch(background, "")
		if err != nil {
			t.Fatal(err)
		}
		waiting := make(chan error)
		go func() {
			_, err := watch.Next(background)
			waiting <- err
		}()
		ctx, cancel := context.WithTimeout(background, time.Microsecond)
		client.Stats(ctx)
		cancel()
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		if err := <-waiting; !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		err = client.Ping(background)
		if !errors.Is(err, ErrClosed) || !errors.Is(err, ErrNotApplied) {
			t.Error(err)
		}
		if _, err := client.Watch(background, ""); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		client.Close()
	}
	// A timer or a hook of a context may still end.
	for i := 0; i < 100 && (ownGoroutines() != "" || openFiles(t) > files); i++ {
		time.Sleep(10 * time.Millisecond)
	}
	if left := ownGoroutines(); left != "" {
		t.Error(left)
	}
	if now := openFiles(t); now > files {
		t.Errorf("%d files are open, and were %d", now, files)
	}
}

func TestCloseWaitsForCallsUnderWay(t *testing.T) {
	came := make(chan bool)
	f := serveFake(t, func(p *peer) {
		p.hello()
		if h, ok := p.pong(); ok {
			close(came)
			time.Sleep(100 * time.Millisecond)
			p.reply(h.id, statusOK, func(e *encoder) { e.null() })
		}
		io.Copy(io.Discard, p.socket)
	})
	client := connectTo(t, at(f.address))
	result := make(chan error)
	go func() { result <- deleteOne(client, "") }()
	<-came
	client.Close()
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestCloseWaitsNoLongerThanACall(t *testing.T) {
	came := make(chan bool)
	f := serveFake(t, func(p *peer) {
		p.hello()
		p.pong()
		close(came)
		io.Copy(io.Discard, p.socket)
	})
	client := connectTo(t, Options{
		Addresses: []string{f.address}, CallTimeout: 500 * time.Millisecond})
	result := make(chan error)
	go func() {
		ctx, cancel := context.WithTimeout(background, time.Minute)
		defer cancel()
		result <- client.Delete(ctx, DeleteArgs{UserID: "u"})
	}()
	<-came
	began := time.Now()
	client.Close()
	if err := <-result; !errors.Is(err, ErrUnknown) || time.Since(began) > 3*time.Second {
		t.Error(err, time.Since(began))
	}
}

// A node that the client has left still owes a reply, and does not hold Close up.
func TestCloseEndsTheConnectionsOfOtherNodes(t *testing.T) {
	notes := new(journal)
	active := script(t, notes)
	standby := serveFake(t, func(p *peer) {
		p.hello()
		p.pong()
		h, ok := p.pong()
		if ok {
			p.moved(h.id, "")
		}
		p.pong()
	})
	client := connectTo(t, at(standby.address, active.address))
	ctx, cancel := context.WithTimeout(background, 30*time.Millisecond)
	defer cancel()
	_, err := client.List(ctx, ListArgs{UserID: "u"})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if err := deleteOne(client, ""); err != nil || len(notes.came) != 1 {
		t.Error(err)
	}
	began := time.Now()
	client.Close()
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
}
