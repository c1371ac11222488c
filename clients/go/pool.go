package chatshard

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// reopenAfter is how long a place whose connection failed is left alone, while others serve.
	reopenAfter = time.Second
	// redialAfter is how long the error of a connect holds for all calls.
	redialAfter = 20 * time.Millisecond
	// anyPlace asks for a connection whose shard the server chooses.
	anyPlace = -1
)

// A node has the connections to one address.
type node struct {
	client  *Client
	address string
	table   atomic.Pointer[table]

	mu       sync.Mutex
	openings map[int]*opening
	// gone is set when the client has left the node, or is closed.
	gone error
}

// A table says which connection serves which shard.
type table struct {
	hello  *Hello
	places []atomic.Pointer[connection]
}

// An opening is a connect that is under way, or failed.
type opening struct {
	done     chan struct{}
	err      error
	failedAt time.Time
}

func newNode(client *Client, address string) *node {
	return &node{client: client, address: address, openings: make(map[int]*opening)}
}

func newTable(hello *Hello, options *Options) *table {
	places := options.connections(int(hello.Shards))
	return &table{hello: hello, places: make([]atomic.Pointer[connection], places)}
}

// fits reports whether a server has its keys on the same shards.
func (t *table) fits(hello *Hello) bool {
	return t != nil && t.hello.Shards == hello.Shards && t.hello.Slots == hello.Slots &&
		t.hello.HashSeed == hello.HashSeed
}

// placeOf returns the place of a key. A key always has the same one, so its requests keep their
// order.
func (t *table) placeOf(key string) int {
	places, shards := len(t.places), int(t.hello.Shards)
	if key == "" || places == 1 || shards == 0 || t.hello.Slots == 0 {
		return 0
	}
	slot := int(xxh64(key, t.hello.HashSeed) % t.hello.Slots)
	shard := slot % shards
	if places <= shards {
		return shard % places
	}
	// Several connections serve the shard.
	return shard + slot/shards%((places-shard-1)/shards+1)*shards
}

// at returns the connection at a place; nil if it is lost.
func (t *table) at(place int) *connection {
	if c := t.places[place].Load(); c != nil && !c.over.Load() {
		return c
	}
	return nil
}

// other returns a connection that is open, the next one behind a place; nil if there is none.
func (t *table) other(place int) *connection {
	for i := range t.places {
		if c := t.at((place + i) % len(t.places)); c != nil {
			return c
		}
	}
	return nil
}

// connectionFor returns the connection of a key's shard, or another one if that is lost. It
// connects if there is none.
func (n *node) connectionFor(key string, w *wait) (*connection, error) {
	if t := n.table.Load(); t != nil {
		if c := t.at(t.placeOf(key)); c != nil {
			return c, nil
		}
	}
	for {
		found, awaited, err := n.find(key)
		if found != nil || err != nil {
			return found, err
		}
		if err := w.until(awaited.done); err != nil {
			return nil, err
		}
		if awaited.err != nil {
			return nil, awaited.err
		}
	}
}

// find returns an open connection, or the opening of one to wait for.
func (n *node) find(key string) (*connection, *opening, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.gone != nil {
		return nil, nil, n.gone
	}
	if t := n.table.Load(); t != nil {
		place := t.placeOf(key)
		if other := t.other(place); other != nil {
			if t.at(place) == nil {
				n.open(place, reopenAfter)
			}
			return other, nil, nil
		}
	}
	return nil, n.open(anyPlace, redialAfter), nil
}

// open begins to connect, unless that is under way or failed just now. The caller holds mu.
func (n *node) open(place int, after time.Duration) *opening {
	last := n.openings[place]
	if last != nil && (last.failedAt.IsZero() || time.Since(last.failedAt) < after) {
		return last
	}
	next := &opening{done: make(chan struct{})}
	shard := place
	if t := n.table.Load(); place != anyPlace && t.hello.Shards > 0 {
		shard = place % int(t.hello.Shards)
	}
	isStarted := n.client.spawn(func() {
		opened, err := connect(n.client.ctx, &n.client.options, n.address, shard)
		n.finish(next, place, opened, err)
	})
	if !isStarted {
		next.err, next.failedAt = ErrClosed, time.Now()
		close(next.done)
	}
	n.openings[place] = next
	return next
}

// finish takes the result of a connect.
func (n *node) finish(of *opening, place int, opened *link, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	defer close(of.done)
	if err == nil && n.gone != nil {
		err = n.gone
		closeSocket(opened.socket)
	}
	if err != nil {
		of.err, of.failedAt = err, time.Now()
		return
	}
	delete(n.openings, place)
	n.place(opened, place)
}

// place puts a new connection into the table. The caller holds mu.
func (n *node) place(opened *link, place int) {
	client := n.client
	client.hello.Store(opened.hello)
	t := n.table.Load()
	isNew := !t.fits(opened.hello)
	if isNew {
		t.retire()
		t = newTable(opened.hello, &client.options)
	}
	if isNew || place == anyPlace {
		place = int(opened.hello.Shard) % len(t.places)
	}
	c := newConnection(client.ctx, opened, &client.options, &client.waiting)
	if !client.spawn(c.read) || !client.spawn(c.write) || t.at(place) != nil {
		c.end(errRetired)
		return
	}
	t.places[place].Store(c)
	if isNew {
		n.table.Store(t)
		for i := range t.places {
			if i != place {
				n.open(i, reopenAfter)
			}
		}
	}
}

func (t *table) retire() {
	if t == nil {
		return
	}
	for i := range t.places {
		if c := t.places[i].Load(); c != nil {
			c.retire()
		}
	}
}

// leave ends the node for new requests. Those in flight get their replies, unless the client ends.
func (n *node) leave(why error) {
	n.mu.Lock()
	n.gone = why
	t := n.table.Load()
	n.mu.Unlock()
	if errors.Is(why, errRetired) {
		t.retire()
	}
}
