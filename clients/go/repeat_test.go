package chatshard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"
	"testing"
	"time"
)

// A journalOf notes the requests that came to fakes.
type journal struct {
	mu   sync.Mutex
	came []heard
}

func (j *journal) note(h heard) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.came = append(j.came, h)
}

func (j *journal) keys() []any {
	j.mu.Lock()
	defer j.mu.Unlock()
	var keys []any
	for _, h := range j.came {
		keys = append(keys, h.arguments[len(h.arguments)-1])
	}
	return keys
}

// script serves one connection for each step, which says what to do with its first request. Behind
// the steps every delete succeeds.
func script(t *testing.T, notes *journal, steps ...func(p *peer, h heard)) *fake {
	return serveFake(t, func(p *peer) {
		if !p.hello() {
			return
		}
		for {
			h, ok := p.pong()
			if !ok {
				return
			}
			notes.note(h)
			if int(p.number) <= len(steps) {
				steps[p.number-1](p, h)
				return
			}
			p.reply(h.id, statusOK, func(e *encoder) { e.null() })
		}
	})
}

func lose(*peer, heard) {}

func fail(status int, name, message string) func(*peer, heard) {
	return func(p *peer, h heard) { p.error(h.id, status, name, message) }
}

func deleteOne(client *Client, key string) error {
	return client.Delete(background, DeleteArgs{
		UserID: "u", IDs: []string{"c"}, IdempotencyKey: key})
}

func asError(t *testing.T, err error) *Error {
	t.Helper()
	var of *Error
	if !errors.As(err, &of) {
		t.Fatalf("no *Error: %v", err)
	}
	return of
}

func TestLostWritesAreRepeatedWithTheirKey(t *testing.T) {
	notes := new(journal)
	f := script(t, notes, lose, fail(503, "unavailable", "not applied: starting"),
		fail(503, "unavailable", "outcome unknown: the disk"), fail(429, "busy", "a queue is full"))
	client := connectTo(t, at(f.address))
	if err := deleteOne(client, ""); err != nil {
		t.Fatal(err)
	}
	keys := notes.keys()
	if len(keys) != 5 || len(keys[0].(string)) < 20 {
		t.Fatal(keys)
	}
	for _, key := range keys {
		if key != keys[0] {
			t.Error(keys)
		}
	}
	if err := deleteOne(client, "own"); err != nil || notes.keys()[5] != "own" {
		t.Error(err, notes.keys())
	}
	if err := deleteOne(client, ""); err != nil || notes.keys()[6] == keys[0] {
		t.Error(err, notes.keys())
	}
}

func TestWritesWithoutAKeyAreNotRepeated(t *testing.T) {
	for _, one := range []struct {
		step    func(*peer, heard)
		outcome error
		status  int
	}{
		{lose, ErrUnknown, 0},
		{fail(503, "unavailable", "not applied: starting"), ErrNotApplied, 503},
		{fail(503, "unavailable", "outcome unknown: the disk"), ErrUnknown, 503},
		{fail(429, "busy", "a queue is full"), ErrNotApplied, 429},
		{fail(507, "new_failure", "of a newer server"), ErrUnknown, 507},
		{fail(451, "new_refusal", "of a newer server"), ErrRefused, 451},
	} {
		notes := new(journal)
		f := script(t, notes, one.step)
		client := connectTo(t, Options{Addresses: []string{f.address}, NoKeys: true})
		err := asError(t, deleteOne(client, ""))
		isRight := errors.Is(err, one.outcome) && err.Status == one.status && err.Attempts == 1
		if !isRight || len(notes.keys()) != 1 {
			t.Error(err, notes.keys())
		}
	}
}

func TestLostReadsAreRepeated(t *testing.T) {
	notes := new(journal)
	f := serveFake(t, func(p *peer) {
		p.hello()
		for {
			h, ok := p.pong()
			if !ok {
				return
			}
			if notes.note(h); p.number == 1 {
				return
			}
			p.reply(h.id, statusOK, func(e *encoder) { e.array(2); e.array(0); e.null() })
		}
	})
	client := connectTo(t, Options{Addresses: []string{f.address}, NoKeys: true})
	list, err := client.List(background, ListArgs{UserID: "u"})
	if err != nil || len(list.Items) != 0 {
		t.Error(list, err)
	}
	if len(notes.came) != 2 {
		t.Error(notes.came)
	}
}

// What an attempt leaves unknown stays unknown, unless a later reply decides.
func TestUnknownStaysUnknown(t *testing.T) {
	for _, one := range []struct {
		last    func(*peer, heard)
		outcome error
	}{
		{fail(403, "permission_denied", "the token may only read"), ErrUnknown},
		{fail(410, "gone", "the chat was dissolved"), ErrRefused},
	} {
		f := script(t, new(journal), lose, one.last)
		client := connectTo(t, at(f.address))
		if err := deleteOne(client, ""); !errors.Is(err, one.outcome) {
			t.Error(err)
		}
	}
	busy := fail(429, "busy", "a queue is full")
	f := script(t, new(journal), lose, busy, busy, busy, busy, busy, busy, busy, busy, busy)
	client := connectTo(t, Options{
		Addresses: []string{f.address}, CallTimeout: 200 * time.Millisecond})
	err := asError(t, deleteOne(client, ""))
	if err.Outcome != Unknown || !errors.Is(err, context.DeadlineExceeded) || err.Attempts < 2 {
		t.Error(err)
	}
	expect(t, err, "outcome unknown: 429 busy: an earlier attempt may have been applied; "+
		"the last one: not applied: a queue is full")
}

func TestCallsEndWithinTheirDeadline(t *testing.T) {
	f := serveFake(t, func(p *peer) {
		p.hello()
		p.pong()
		io.Copy(io.Discard, p.socket)
	})
	client := connectTo(t, Options{
		Addresses: []string{f.address}, CallTimeout: 150 * time.Millisecond})
	for _, one := range []struct{ timeout, atMost time.Duration }{{0, 150}, {50, 50}, {250, 250}} {
		ctx, cancel := background, context.CancelFunc(func() {})
		if one.timeout > 0 {
			ctx, cancel = context.WithTimeout(background, one.timeout*time.Millisecond)
		}
		began := time.Now()
		_, err := client.Advance(ctx, AdvanceArgs{ChatID: "c", Allocate: 1})
		took := time.Since(began)
		if !errors.Is(err, ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) ||
			took > one.atMost*time.Millisecond+2*time.Second {
			t.Errorf("%v: %v after %v", one.timeout, err, took)
		}
		if _, err := client.List(ctx, ListArgs{UserID: "u"}); !errors.Is(err, ErrNotApplied) {
			t.Error(err)
		}
		cancel()
	}
}

func TestThePlacesInFlightAreNotExceeded(t *testing.T) {
	const limit = 5
	release := make(chan struct{})
	var mu sync.Mutex
	open, most := 0, 0
	f := serveFake(t, func(p *peer) {
		p.hello(1<<20, 1<<24, 1000, 10000, 10000, limit)
		for {
			h, ok := p.pong()
			if !ok {
				return
			}
			mu.Lock()
			open++
			most = max(most, open)
			mu.Unlock()
			go func() {
				<-release
				mu.Lock()
				open--
				p.reply(h.id, statusOK, func(e *encoder) { e.null() })
				mu.Unlock()
			}()
		}
	})
	client := connectTo(t, Options{Addresses: []string{f.address}, WaitingCalls: 10})
	results := make(chan error)
	for i := 0; i < 20; i++ {
		go func() { results <- deleteOne(client, "") }()
	}
	// Four are in flight and ten wait. The others fail.
	for i := 0; i < 6; i++ {
		if err := <-results; !errors.Is(err, ErrTooManyCalls) || !errors.Is(err, ErrNotApplied) {
			t.Error(err)
		}
	}
	close(release)
	for i := 0; i < 14; i++ {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if most != limit-1 {
		t.Errorf("%d in flight", most)
	}
	if err := deleteOne(client, ""); err != nil || client.waiting.Load() != 0 {
		t.Error(err)
	}
}

func TestACallThatWaitsForAPlaceEndsInTime(t *testing.T) {
	came := make(chan bool, 1)
	f := serveFake(t, func(p *peer) {
		p.hello(1<<20, 1<<24, 1000, 10000, 10000, 2)
		p.pong()
		came <- true
		io.Copy(io.Discard, p.socket)
	})
	client := connectTo(t, Options{
		Addresses: []string{f.address}, CallTimeout: 500 * time.Millisecond})
	go deleteOne(client, "")
	<-came
	ctx, cancel := context.WithTimeout(background, 50*time.Millisecond)
	defer cancel()
	err := client.Delete(ctx, DeleteArgs{UserID: "u"})
	if !errors.Is(err, ErrNotApplied) || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	expect(t, err, "no place in flight")
}

func TestA421GoesToTheNodeThatIsNamed(t *testing.T) {
	notes := new(journal)
	active := script(t, notes)
	var standby *fake
	standby = serveFake(t, func(p *peer) {
		for p.hello() {
			for {
				h, ok := p.pong()
				if !ok {
					return
				}
				p.moved(h.id, active.address)
			}
		}
	})
	// A write without a key goes on too, because nothing was applied.
	client := connectTo(t, Options{Addresses: []string{standby.address}, NoKeys: true})
	if err := deleteOne(client, ""); err != nil || len(notes.came) != 1 {
		t.Error(err, notes.came)
	}
	// With a token it goes only where the options say.
	secret := connectTo(t, Options{Addresses: []string{standby.address}, Token: "secret"})
	err := asError(t, deleteOne(secret, ""))
	if !errors.Is(err, ErrMoved) || err.Outcome != NotApplied || err.Attempts != 1 ||
		len(notes.came) != 1 {
		t.Error(err, notes.came)
	}
	expect(t, err, "Options.Addresses")
	both := connectTo(t, Options{
		Addresses: []string{standby.address, active.address}, Token: "secret"})
	if err := deleteOne(both, ""); err != nil || len(notes.came) != 2 {
		t.Error(err, notes.came)
	}
}

func TestNodesOfWhichNoneIsTheActive(t *testing.T) {
	standby := func() string {
		return serveFake(t, func(p *peer) {
			p.hello()
			for {
				h, ok := p.pong()
				if !ok {
					return
				}
				p.moved(h.id, "")
			}
		}).address
	}
	client := connectTo(t, Options{
		Addresses: []string{standby(), standby()}, CallTimeout: 300 * time.Millisecond})
	err := asError(t, deleteOne(client, ""))
	if !errors.Is(err, ErrMoved) || err.Outcome != NotApplied ||
		!errors.Is(err, context.DeadlineExceeded) || err.Attempts < 3 {
		t.Error(err)
	}
}

func TestASilentNodeIsLeftForTheNextOne(t *testing.T) {
	notes := new(journal)
	next := script(t, notes)
	pings := make(chan struct{}, 10)
	silent := serveFake(t, func(p *peer) {
		p.hello()
		p.pong()
		for h, ok := p.request(); ok; h, ok = p.request() {
			if h.code == commandPing.code {
				pings <- struct{}{}
			}
		}
	})
	client := connectTo(t, Options{
		Addresses: []string{silent.address, next.address}, silenceAfter: 100 * time.Millisecond})
	began := time.Now()
	err := deleteOne(client, "")
	took := time.Since(began)
	if err != nil || took < 200*time.Millisecond || took > 2*time.Second || len(pings) != 1 {
		t.Error(err, took, len(pings))
	}
}

func TestAnIdleConnectionGetsPings(t *testing.T) {
	pings := make(chan heard, 10)
	f := serveFake(t, func(p *peer) {
		p.hello(1<<20, 1<<24, 1000, 10000, 10000, 1024, 128, 200)
		for {
			h, ok := p.request()
			if !ok {
				return
			}
			pings <- h
			p.done(h.id)
		}
	})
	connectTo(t, at(f.address))
	began := time.Now()
	for i := 0; i < 4; i++ {
		if h := <-pings; h.code != commandPing.code {
			t.Error(h)
		}
	}
	took := time.Since(began)
	if took < 250*time.Millisecond || took > 2*time.Second || f.connections.Load() != 1 {
		t.Error(took)
	}
}

func TestHooksSeeEachAttempt(t *testing.T) {
	f := script(t, new(journal), lose, fail(429, "busy", "a queue is full"))
	hooks := new(noting)
	client := connectTo(t, Options{Addresses: []string{f.address}, Hooks: hooks})
	if err := deleteOne(client, ""); err != nil {
		t.Fatal(err)
	}
	client.Close()
	want := []string{
		"opened", "ping 1 <nil>", "ended",
		"delete 1 outcome unknown", "delete 2 not applied", "delete 3 <nil>",
	}
	hooks.mu.Lock()
	defer hooks.mu.Unlock()
	counts := make(map[string]int)
	for _, one := range hooks.came {
		counts[one]++
	}
	for _, one := range want {
		if counts[one] == 0 {
			t.Errorf("%q is not in %q", one, hooks.came)
		}
	}
	if counts["opened"] != counts["ended"] || !reflect.DeepEqual(counts["opened"], 3) {
		t.Error(hooks.came)
	}
}

type noting struct {
	NoHooks
	mu   sync.Mutex
	came []string
}

func (n *noting) note(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.came = append(n.came, text)
}

func (n *noting) AfterAttempt(_ context.Context, a Attempt) {
	result := "<nil>"
	if a.Err != nil {
		result = a.Err.Outcome.String()
	}
	n.note(fmt.Sprintf("%s %d %s", a.Command, a.Number, result))
}

func (n *noting) ConnectionOpened(string, int)       { n.note("opened") }
func (n *noting) ConnectionEnded(string, int, error) { n.note("ended") }
