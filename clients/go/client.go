// Package chatshard is the client of chatshard, a store of chat metadata beside an IM backend.
//
// A Client may be used by any number of goroutines. It keeps a connection for each shard of the
// server, repeats what can be repeated, and finds the active of several nodes. The context of a
// call bounds it; without a deadline Options.CallTimeout does. Every error of a call is an *Error,
// which says what is known of the request.
//
// Calls of one goroutine for one key are applied in their order.
package chatshard

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// A Client calls a server, or the active among several nodes.
type Client struct {
	options  Options
	isHooked bool
	// ctx ends what the client does on its own.
	ctx     context.Context
	cancel  context.CancelFunc
	hello   atomic.Pointer[Hello]
	waiting atomic.Int64
	gate    gate
	node    atomic.Pointer[node]

	keyPrefix string
	keys      atomic.Uint64

	mu       sync.Mutex
	route    route
	isClosed bool
	watches  map[*Watch]struct{}
	// goroutines are those that spawn began.
	goroutines sync.WaitGroup
}

// A request is a call before its arguments are encoded.
type request struct {
	command *command
	// key decides on the shard; empty for none.
	key string
	// hasKey is set if it has an idempotency key.
	hasKey    bool
	arguments encodable
	reply     decodable
}

// Connect returns a client when a node has accepted it. It tries again while no server listens, for
// at most Options.CallTimeout or until the deadline of the context, which bounds only Connect.
func Connect(ctx context.Context, options Options) (*Client, error) {
	filled, err := options.withDefaults()
	if err != nil {
		refused := refusedLocally(ErrInvalidArgument, err.Error())
		refused.Command = "connect"
		return nil, refused
	}
	c := &Client{options: filled, watches: make(map[*Watch]struct{})}
	_, isUnhooked := filled.Hooks.(NoHooks)
	c.isHooked = !isUnhooked
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.gate.drained = make(chan struct{})
	c.route = route{addresses: filled.Addresses, silence: filled.silence()}
	prefix := make([]byte, 12)
	if _, err := rand.Read(prefix); err != nil {
		return nil, notSent(err)
	}
	c.keyPrefix = hex.EncodeToString(prefix) + "-"
	c.node.Store(newNode(c, c.route.first()))
	if err := c.Ping(ctx); err != nil {
		c.Close()
		var failed *Error
		if errors.As(err, &failed) {
			failed.Command = "connect"
		}
		return nil, err
	}
	return c, nil
}

// Hello returns what the server said of itself on the newest connection: version, shards and
// limits.
func (c *Client) Hello() Hello {
	if hello := c.hello.Load(); hello != nil {
		return *hello
	}
	return Hello{}
}

// Close waits for the calls under way, at most for Options.CallTimeout, and then ends all
// connections and watches. Later calls fail with ErrNotApplied and ErrClosed. It may be called
// again.
func (c *Client) Close() error {
	select {
	case <-c.gate.shut():
	case <-time.After(c.options.CallTimeout):
	}
	c.mu.Lock()
	c.isClosed = true
	watches := c.watches
	c.watches = nil
	c.mu.Unlock()
	c.node.Load().leave(ErrClosed)
	// It ends all connections, also those of nodes that the client has left.
	c.cancel()
	for watch := range watches {
		watch.Close()
	}
	c.goroutines.Wait()
	return nil
}

// spawn runs a goroutine for which Close waits. It reports whether the client is open.
func (c *Client) spawn(run func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isClosed {
		return false
	}
	c.goroutines.Add(1)
	go func() {
		defer c.goroutines.Done()
		run()
	}()
	return true
}

// newKey makes an idempotency key; an empty one if the options turn that off.
func (c *Client) newKey() string {
	if c.options.NoKeys {
		return ""
	}
	return c.keyPrefix + strconv.FormatUint(c.keys.Add(1), 36)
}

var pendingPool = sync.Pool{New: func() any { return &pending{done: make(chan struct{}, 1)} }}

// call sends a request until it has its reply, its error is final, or its time is over.
func (c *Client) call(ctx context.Context, r request) error {
	if !c.gate.enter() {
		err := notSent(ErrClosed)
		err.Command = r.command.name
		return err
	}
	defer c.gate.leave()
	e := encoders.Get().(*encoder)
	defer e.giveBack()
	e.bytes, e.err = e.bytes[:0], nil
	r.arguments.encode(e)
	if e.err != nil {
		err := refusedLocally(ErrInvalidArgument, e.err.Error())
		err.Command = r.command.name
		return err
	}
	one := oneCall{client: c, request: r, arguments: e.bytes}
	one.wait = newWait(ctx, c.options.CallTimeout)
	defer one.wait.release()
	if err := one.run(); err != nil {
		return err
	}
	return nil
}

// A oneCall is a call under way.
type oneCall struct {
	client    *Client
	request   request
	arguments []byte
	wait      wait
	pauses    pauses
	attempts  int
	// mayBeApplied is set if an attempt was sent and got no reply that decides.
	mayBeApplied bool
	// isHop is set if the attempt before went to a node that names another one as the active.
	isHop bool
	// last is the error of the attempt before.
	last *Error
}

func (o *oneCall) run() *Error {
	for {
		o.attempts++
		from, err := o.hooked()
		if err == nil {
			return nil
		}
		if o.last != nil && err.Outcome == NotApplied && isContext(err.cause) {
			// The attempt before says more than that the time was over before this one was sent.
			o.last.cause = errors.Join(err.cause, o.last.cause)
			return o.final(o.last)
		}
		if err.Outcome == Unknown && o.request.command.isRead {
			err.Outcome = NotApplied
		}
		mayGoOn, isAtOnce := o.client.learn(from, err, o)
		// Only 401 and 403 say nothing of the attempts before.
		if o.mayBeApplied && !err.decidesAll() {
			err.coverEarlier()
		}
		o.mayBeApplied = err.Outcome == Unknown
		if !mayGoOn {
			return o.final(err)
		}
		o.last = err
		if !isAtOnce {
			if over := o.pauses.wait(&o.wait); over != nil {
				err.cause = errors.Join(over, err.cause)
				return o.final(err)
			}
		}
	}
}

func (o *oneCall) final(err *Error) *Error {
	err.Command, err.Attempts = o.request.command.name, o.attempts
	return err
}

// hooked makes an attempt, and calls the hook after it.
func (o *oneCall) hooked() (*node, *Error) {
	if !o.client.isHooked {
		return o.attempt()
	}
	began := time.Now()
	from, err := o.attempt()
	about := Attempt{Command: o.request.command.name, Address: from.address, Number: o.attempts,
		Time: time.Since(began)}
	if err != nil {
		copied := *err
		copied.Command, copied.Attempts = about.Command, about.Number
		about.Err = &copied
	}
	o.client.options.Hooks.AfterAttempt(o.wait.ctx, about)
	return from, err
}

// attempt sends the request once, and waits for its reply. It returns the node that it tried.
func (o *oneCall) attempt() (*node, *Error) {
	for {
		from := o.client.node.Load()
		if err := o.wait.ctx.Err(); err != nil {
			return from, notSent(err)
		}
		connection, err := from.connectionFor(o.request.key, &o.wait)
		if errors.Is(err, errRetired) {
			continue
		}
		if err != nil {
			return from, notSent(err)
		}
		p := pendingPool.Get().(*pending)
		p.reply, p.err = o.request.reply, nil
		failed := connection.start(p, o.request.command.code, o.arguments, &o.wait)
		if failed != nil {
			if connection.over.Load() && !isContext(failed) {
				continue
			}
			return from, failed
		}
		if err := o.wait.until(p.done); err != nil {
			return from, lost(fmt.Errorf("no reply: %w", err))
		}
		failed = p.err
		p.reply, p.err = nil, nil
		pendingPool.Put(p)
		return from, failed
	}
}

// learn draws the conclusions of a failed attempt. It reports whether the call may go on, and
// whether at once.
func (c *Client) learn(from *node, err *Error, o *oneCall) (mayGoOn, isAtOnce bool) {
	if err.Status == statusMoved {
		return c.follow(from, err, o)
	}
	o.isHop = false
	switch {
	case errors.Is(err, errSilent) || errors.Is(err, errNoConnection):
		c.moveOn(from, "", true)
	case err.Status == statusUnavailable, err.isUnreachable():
		c.moveOn(from, "", false)
	}
	isFinal := isContext(err.cause) || errors.Is(err.cause, ErrClosed) ||
		errors.Is(err.cause, ErrTooManyCalls)
	if isFinal || err.isUnreachable() && isForeign(err) && c.route.isAlone() {
		return false, false
	}
	return (o.request.command.isRead || o.request.hasKey) && err.mayRepeat(), false
}

// follow goes where the active is, after a node has said that it is not the one.
func (c *Client) follow(from *node, err *Error, o *oneCall) (mayGoOn, isAtOnce bool) {
	named := err.moved
	if named != "" && !c.options.mayKnowToken(named) {
		if c.route.isAlone() {
			err.Message += "; add it to Options.Addresses: without TLS the token goes to no other one"
			return false, false
		}
		named = ""
	}
	hasMoved := c.moveOn(from, named, false)
	isAtOnce = hasMoved && named != "" && !o.isHop
	o.isHop = isAtOnce
	return true, isAtOnce
}

// moveOn leaves a node for another one, if there is one. It reports whether the calls go elsewhere
// now.
func (c *Client) moveOn(from *node, named string, isSilent bool) bool {
	c.mu.Lock()
	if isSilent {
		c.route.markSilent(from.address)
	}
	if c.node.Load() != from || c.isClosed {
		c.mu.Unlock()
		return true
	}
	next := c.route.after(from.address, named)
	if next == from.address {
		c.mu.Unlock()
		return false
	}
	c.node.Store(newNode(c, next))
	c.mu.Unlock()
	from.leave(errRetired)
	return true
}

// A gate counts the calls under way, and closes.
type gate struct {
	count   atomic.Int64
	once    sync.Once
	drained chan struct{}
}

// gateShut is added to the count by shut.
const gateShut = 1 << 40

func (g *gate) enter() bool {
	if g.count.Add(1) > gateShut {
		g.leave()
		return false
	}
	return true
}

func (g *gate) leave() {
	if g.count.Add(-1) == gateShut {
		g.once.Do(func() { close(g.drained) })
	}
}

// shut lets no call in any more, and returns what closes when none is under way.
func (g *gate) shut() <-chan struct{} {
	for {
		count := g.count.Load()
		if count >= gateShut {
			return g.drained
		}
		if g.count.CompareAndSwap(count, count+gateShut) {
			if count == 0 {
				g.once.Do(func() { close(g.drained) })
			}
			return g.drained
		}
	}
}
