package chatshard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"
)

func nextEvent(t *testing.T, w *Watch) *Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(background, 15*time.Second)
	defer cancel()
	event, err := w.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return event
}

func TestAWatchContinuesOverAKilledServer(t *testing.T) {
	server := keepServer(t)
	client := connectTo(t, Options{
		Addresses: []string{server.address}, CallTimeout: 20 * time.Second})
	watch, err := client.Watch(background, "")
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	makeGroup(t, client, "g", "alice")
	for _, op := range []string{OpCreate, OpJoin} {
		event := nextEvent(t, watch)
		if event.Op != op || event.ChatID != "g" || event.UserID != "alice" ||
			event.Offset != watch.Offset() {
			t.Error(event)
		}
	}
	server.kill()
	advanced := make(chan error)
	go func() {
		_, err := client.Advance(background, AdvanceArgs{ChatID: "g", Allocate: 1})
		advanced <- err
	}()
	server.start()
	event := nextEvent(t, watch)
	if event.Op != OpAdvance || *event.LastSequence != 1 || event.IsTop != nil ||
		event.LastTime.IsZero() {
		t.Error(event)
	}
	if err := <-advanced; err != nil {
		t.Error(err)
	}
	// Behind a stored offset, with a watch of its own.
	later, err := client.Watch(background, event.Offset)
	if err != nil {
		t.Fatal(err)
	}
	defer later.Close()
	if err := client.Dissolve(background, DissolveArgs{ChatID: "g"}); err != nil {
		t.Fatal(err)
	}
	for _, one := range []*Watch{watch, later} {
		if event := nextEvent(t, one); event.Op != OpDissolve {
			t.Error(event)
		}
	}
	_, err = client.Watch(background, "no offset")
	if !errors.Is(err, ErrInvalidArgument) || !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
}

// streamer serves watches, one connection for each step. It sends the events of the step, and ends
// the connection or, with a status, the stream.
type streamed struct {
	events  []string
	status  int
	message string
	moved   string
	// isSilent keeps the connection without a word.
	isSilent bool
}

func streamer(t *testing.T, asked chan<- any, steps ...streamed) *fake {
	served := make(chan streamed, len(steps))
	for _, step := range steps {
		served <- step
	}
	return serveFake(t, func(p *peer) {
		p.hello()
		h, ok := p.pong()
		if !ok || h.code != commandWatch.code {
			return
		}
		step := <-served
		if asked != nil {
			asked <- h.arguments[0]
		}
		for _, offset := range step.events {
			p.event(h.id, offset)
		}
		switch {
		case step.isSilent:
			io.Copy(io.Discard, p.socket)
		case step.status == statusMoved:
			p.moved(h.id, step.moved)
		case step.status != 0:
			p.error(h.id, step.status, "name", step.message)
		}
	})
}

// event sends a heartbeat if the offset begins with h, and else an advance.
func (p *peer) event(id uint64, offset string) {
	op := OpAdvance
	if offset[0] == 'h' {
		op = OpHeartbeat
	}
	p.reply(id, statusOK, func(e *encoder) {
		e.array(12)
		e.text(offset)
		e.null()
		e.text("chat")
		e.text(op)
		for i := 0; i < 8; i++ {
			e.null()
		}
	})
}

func TestAWatchContinuesBehindItsOffset(t *testing.T) {
	asked := make(chan any, 10)
	f := streamer(t, asked,
		streamed{events: []string{"h1", "a2"}},
		streamed{events: []string{"h2", "a3", "h4"}, status: 429, message: "too slow"},
		streamed{status: 503, message: "not applied: stopping"},
		streamed{events: []string{"h4"}, isSilent: true},
		streamed{events: []string{"h4", "a5"}, status: 409, message: "from: the oldest is 9"})
	client := connectTo(t, Options{
		Addresses: []string{f.address}, watchSilenceAfter: 100 * time.Millisecond})
	watch, err := client.Watch(background, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, offset := range []string{"a2", "a3", "a5"} {
		if event := nextEvent(t, watch); event.Offset != offset || watch.Offset() != offset {
			t.Error(event)
		}
	}
	for i := 0; i < 2; i++ {
		event, err := watch.Next(background)
		of := asError(t, err)
		if event != nil || of.Status != 409 || of.Outcome != Refused || of.Command != "watch" {
			t.Error(event, err)
		}
	}
	close(asked)
	var from []any
	for one := range asked {
		from = append(from, one)
	}
	if got := fmt.Sprint(from); got != "[<nil> a2 h4 h4 h4]" {
		t.Error(got)
	}
	watch.Close()
}

func TestAWatchGoesToTheNodeThatIsNamed(t *testing.T) {
	active := streamer(t, nil, streamed{events: []string{"h1", "a2"}, isSilent: true})
	standby := streamer(t, nil, streamed{status: statusMoved, moved: active.address})
	client := connectTo(t, at(standby.address, active.address))
	watch, err := client.Watch(background, "a0")
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	if event := nextEvent(t, watch); event.Offset != "a2" {
		t.Error(event)
	}
}

func TestNextEndsWithItsContextAndContinues(t *testing.T) {
	release := make(chan struct{})
	f := serveFake(t, func(p *peer) {
		p.hello()
		h, ok := p.pong()
		if !ok {
			return
		}
		p.event(h.id, "h1")
		<-release
		p.event(h.id, "a2")
		io.Copy(io.Discard, p.socket)
	})
	client := connectTo(t, at(f.address))
	watch, err := client.Watch(background, "")
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < 3; i++ {
		ctx, cancel := context.WithTimeout(background, 30*time.Millisecond)
		if _, err := watch.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		cancel()
	}
	close(release)
	if event := nextEvent(t, watch); event.Offset != "a2" || f.connections.Load() > 3 {
		t.Error(event, f.connections.Load())
	}
	go func() {
		time.Sleep(30 * time.Millisecond)
		watch.Close()
	}()
	_, err = watch.Next(background)
	if !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	expect(t, err, "the watch is closed")
}
