package chatshard

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// defaultSilence is how long a connection with open requests may be silent before a ping, and
	// after it.
	defaultSilence = 5 * time.Second
	tickMin        = 10 * time.Millisecond
	spareBytesMax  = 1 << 20
)

var (
	errStrayReply = errors.New("a reply to no open request")
	errSilent     = errors.New("the server is silent")
	errRetired    = errors.New("the client has left this connection")
)

// A pending is a request of which the reply is awaited.
type pending struct {
	// done gets one value when reply or err is set.
	done  chan struct{}
	reply decodable
	err   *Error
	// bytes is what the request counts in flight; 0 for a ping, which takes no place.
	bytes int
}

// A connection sends requests over one socket, and matches replies by their ids.
//
// Invariants:
//   - A request is in open before its first byte can be sent.
//   - Each pending in open gets done once: by its reply, or when the connection ends.
//   - Places are given in the order in which calls asked for them.
type connection struct {
	link
	options *Options
	shard   int
	born    time.Time
	// heard is when bytes came last, in nanoseconds after born.
	heard atomic.Int64
	// over is set when it takes no more requests.
	over atomic.Bool
	done chan struct{}
	wake chan struct{}
	// waiting counts the waiting calls of the whole client.
	waiting *atomic.Int64

	mu sync.Mutex
	// ended says why the connection is over.
	ended    error
	draining bool
	open     map[uint64]*pending
	lastID   uint64
	// takenID is the last id whose bytes the writer has taken.
	takenID          uint64
	out              []byte
	isWriterAwake    bool
	inFlight         int
	inFlightBytes    int
	inFlightMax      int
	inFlightBytesMax int
	queue            []*placeWaiter
	busySince        int64
	// askedAt is when a ping was sent; 0 if none is open.
	askedAt int64
	ticker  *time.Timer
	// forget takes the connection from what ends with the client.
	forget func() bool
}

type placeWaiter struct {
	ready     chan struct{}
	bytes     int
	isGranted bool
}

// newConnection takes over a link, until ctx ends. The caller runs read and write, each on a
// goroutine.
func newConnection(
	ctx context.Context, opened *link, options *Options, waiting *atomic.Int64,
) *connection {
	limits := &opened.hello.Limits
	c := &connection{
		link: *opened, options: options, shard: int(opened.hello.Shard), waiting: waiting,
		born: time.Now(), done: make(chan struct{}), wake: make(chan struct{}, 1),
		open: make(map[uint64]*pending), lastID: helloID, takenID: helloID,
		// One place is left for a ping, because a server stops reading when all are taken.
		inFlightMax:      int(min(max(limits.InFlight, 2), 1<<20)) - 1,
		inFlightBytesMax: int(min(max(limits.InFlightBytes, 1<<16), 1<<30)),
	}
	options.Hooks.ConnectionOpened(c.address, c.shard)
	c.mu.Lock()
	c.ticker = time.AfterFunc(c.tick(), c.look)
	c.forget = context.AfterFunc(ctx, func() { c.end(ErrClosed) })
	c.mu.Unlock()
	return c
}

// start sends a request, when it has a place in flight. After an error nothing was sent.
func (c *connection) start(p *pending, code byte, arguments []byte, w *wait) *Error {
	size := len(arguments) + requestBytesMax
	if limit := c.hello.Limits.RequestBytes; uint64(size) > limit {
		return refusedLocally(ErrTooLarge,
			fmt.Sprintf("a request of %d bytes is over the server's limit of %d", size, limit))
	}
	c.mu.Lock()
	if c.ended == nil && (len(c.queue) > 0 || !c.hasPlace(size)) {
		if err := c.waitForPlace(size, w); err != nil {
			c.mu.Unlock()
			return err
		}
	} else {
		c.takePlace(size)
	}
	if err := c.endOrDrain(); err != nil {
		c.freePlace(size)
		isLast := c.inFlight == 0
		c.mu.Unlock()
		if isLast {
			c.end(err)
		}
		return notSent(err)
	}
	p.bytes = size
	c.put(p, code, arguments)
	c.mu.Unlock()
	return nil
}

func (c *connection) endOrDrain() error {
	if c.ended == nil && c.draining {
		return errRetired
	}
	return c.ended
}

// put appends a request to what the writer takes next. The caller holds mu.
func (c *connection) put(p *pending, code byte, arguments []byte) {
	if len(c.open) == 0 {
		c.busySince = c.now()
	}
	c.lastID++
	c.open[c.lastID] = p
	c.out = appendRequest(c.out, c.lastID, code, arguments)
	if !c.isWriterAwake {
		c.isWriterAwake = true
		c.wake <- struct{}{}
	}
}

func (c *connection) hasPlace(size int) bool {
	return c.inFlight < c.inFlightMax &&
		(c.inFlight == 0 || c.inFlightBytes+size <= c.inFlightBytesMax)
}

func (c *connection) takePlace(size int) {
	c.inFlight++
	c.inFlightBytes += size
}

// freePlace gives a place back, and then to those who wait. The caller holds mu.
func (c *connection) freePlace(size int) {
	c.inFlight--
	c.inFlightBytes -= size
	for len(c.queue) > 0 && c.hasPlace(c.queue[0].bytes) {
		first := c.queue[0]
		c.queue[0] = nil
		c.queue = c.queue[1:]
		c.takePlace(first.bytes)
		first.isGranted = true
		close(first.ready)
	}
}

// waitForPlace returns with a place, or with an error. The caller holds mu, which it unlocks while
// it waits.
func (c *connection) waitForPlace(size int, w *wait) *Error {
	if c.waiting.Add(1) > int64(c.options.WaitingCalls) {
		c.waiting.Add(-1)
		return notSent(ErrTooManyCalls)
	}
	defer c.waiting.Add(-1)
	waiter := &placeWaiter{ready: make(chan struct{}), bytes: size}
	c.queue = append(c.queue, waiter)
	c.mu.Unlock()
	err := w.until(waiter.ready)
	c.mu.Lock()
	switch {
	case waiter.isGranted && err == nil:
		return nil
	case waiter.isGranted:
		c.freePlace(size)
	case c.ended != nil:
		return notSent(c.ended)
	}
	for i := range c.queue {
		if c.queue[i] == waiter {
			c.queue = append(c.queue[:i], c.queue[i+1:]...)
			break
		}
	}
	return notSent(fmt.Errorf("no place in flight: %w", err))
}

// write sends what start has put together, until the connection ends.
func (c *connection) write() {
	var spare []byte
	for {
		select {
		case <-c.wake:
		case <-c.done:
			return
		}
		for {
			// Other calls that can run now join this write.
			runtime.Gosched()
			c.mu.Lock()
			full := c.out
			c.out, c.takenID = spare[:0], c.lastID
			c.isWriterAwake = len(full) > 0
			c.mu.Unlock()
			spare = full
			if len(full) == 0 {
				break
			}
			if _, err := c.socket.Write(full); err != nil {
				c.end(err)
				return
			}
			if cap(spare) > spareBytesMax {
				spare = nil
			}
		}
	}
}

// read takes replies until the connection ends.
func (c *connection) read() {
	for {
		payload, err := c.frames.buffered()
		switch {
		case err != nil:
		case payload == nil:
			// The calls that have their replies run first. So the next read finds more.
			runtime.Gosched()
			err = c.frames.fill()
			c.heard.Store(c.now())
		default:
			err = c.take(payload)
		}
		if err != nil {
			c.end(err)
			return
		}
	}
}

// take hands a reply to its call.
func (c *connection) take(payload []byte) error {
	d := decoder{bytes: payload}
	head := readHead(&d)
	if d.err == nil && head.id == 0 {
		refused := readError(&d, head.status)
		if err := head.finish(&d); err != nil {
			return err
		}
		return refused
	}
	if d.err != nil {
		return head.finish(&d)
	}
	p, isLast := c.settle(head.id)
	if p == nil {
		return errStrayReply
	}
	if head.status == statusOK {
		p.reply.decode(&d)
	} else {
		p.err = readError(&d, head.status)
	}
	err := head.finish(&d)
	if err != nil {
		p.err = lost(err)
	}
	p.done <- struct{}{}
	if isLast && err == nil {
		return errRetired
	}
	return err
}

// settle removes an open request; nil if there is none. It reports whether it was the last one of a
// connection that was retired.
func (c *connection) settle(id uint64) (*pending, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.open[id]
	if p == nil {
		return nil, false
	}
	delete(c.open, id)
	if p.bytes > 0 {
		c.freePlace(p.bytes)
	}
	return p, c.draining && c.inFlight == 0
}

// retire ends the connection when the requests in flight have their replies.
func (c *connection) retire() {
	c.over.Store(true)
	c.mu.Lock()
	c.draining = true
	isIdle := c.inFlight == 0
	c.mu.Unlock()
	if isIdle {
		c.end(errRetired)
	}
}

// end closes the connection. Each open request gets an error, and so does each call that waits for
// a place.
func (c *connection) end(cause error) {
	c.mu.Lock()
	if c.ended != nil {
		c.mu.Unlock()
		return
	}
	c.ended = cause
	c.over.Store(true)
	open, queue := c.open, c.queue
	c.open, c.queue, c.out = nil, nil, nil
	takenID := c.takenID
	c.ticker.Stop()
	c.forget()
	c.mu.Unlock()
	close(c.done)
	closeSocket(c.socket)
	for id, p := range open {
		if p.err = lost(fmt.Errorf("connection to %s: %w", c.address, cause)); id > takenID {
			p.err.Outcome = NotApplied
		}
		p.done <- struct{}{}
	}
	for _, waiter := range queue {
		close(waiter.ready)
	}
	c.options.Hooks.ConnectionEnded(c.address, c.shard, cause)
}

// now is the time in nanoseconds after born.
func (c *connection) now() int64 {
	return int64(time.Since(c.born))
}

func (c *connection) idle() time.Duration {
	if c.hello.Limits.IdleMs == 0 {
		return time.Hour
	}
	ms := min(c.hello.Limits.IdleMs, uint64(time.Hour/time.Millisecond))
	return time.Duration(ms) * time.Millisecond
}

// tick is the time between two looks at a connection.
func (c *connection) tick() time.Duration {
	return max(min(c.options.silence()/5, c.idle()/8), tickMin)
}

// look sends a ping when one is due, and ends a connection that is silent.
func (c *connection) look() {
	c.mu.Lock()
	if c.ended != nil {
		c.mu.Unlock()
		return
	}
	due := c.due()
	isDead := due <= 0 && c.askedAt != 0
	if due <= 0 && !isDead {
		c.askedAt, due = c.now(), c.options.silence()
		ping := &pending{done: make(chan struct{}, 1), reply: noFields{}}
		c.put(ping, commandPing.code, []byte{formFixArr})
	}
	c.ticker.Reset(max(min(due, c.tick()), tickMin))
	c.mu.Unlock()
	if isDead {
		c.end(errSilent)
	}
}

// due returns the time until a ping is due or, if one is open, until its reply is. The caller holds
// mu.
func (c *connection) due() time.Duration {
	now, heard := c.now(), c.heard.Load()
	if heard > c.askedAt {
		c.askedAt = 0
	}
	switch {
	case c.askedAt != 0:
		return c.options.silence() - time.Duration(now-c.askedAt)
	case len(c.open) > 0:
		return c.options.silence() - time.Duration(now-max(heard, c.busySince))
	}
	return c.idle()/2 - time.Duration(now-heard)
}

// noFields is the reply to ping: an empty array.
type noFields struct{}

func (noFields) decode(d *decoder) {
	d.end(d.fields(0))
}
