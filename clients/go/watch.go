package chatshard

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"
)

const (
	// defaultWatchSilence is after which silence a watch connects anew. The server sends a
	// heartbeat every 10 s.
	defaultWatchSilence = 30 * time.Second
	watchID             = helloID + 1
)

// A Watch is a stream of the changes of a node, or of all nodes of a journal. It has a connection
// of its own, and continues over lost connections and failovers. An event may come twice then, and
// none is missing.
//
// One goroutine at a time may call Next. Offset and Close may be called by any.
type Watch struct {
	client *Client
	route  route
	pauses pauses
	// final is the error that ended the stream.
	final *Error
	// address is where the next connection goes.
	address string
	isHop   bool

	mu       sync.Mutex
	offset   string
	link     *link
	isClosed bool
}

// Watch begins a stream of changes behind an offset, or now if that is empty. It returns when the
// stream has begun: what is read later is not older than the stream. To follow all changes of a
// state, begin the watch, read the state, and then take the events.
//
// The context, or Options.CallTimeout, bounds only the beginning. Close the watch after use.
func (c *Client) Watch(ctx context.Context, from string) (*Watch, error) {
	if !c.gate.enter() {
		return nil, watchError(notSent(ErrClosed))
	}
	defer c.gate.leave()
	if _, hasDeadline := ctx.Deadline(); !hasDeadline {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.options.CallTimeout)
		defer cancel()
	}
	w := &Watch{client: c, offset: from, address: c.node.Load().address}
	c.mu.Lock()
	w.route = c.route
	if !c.isClosed {
		c.watches[w] = struct{}{}
	}
	c.mu.Unlock()
	// The first event is a heartbeat.
	if _, err := w.event(ctx); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// Next waits for the next change. An error of the context leaves the stream as it is, and a later
// Next continues. Any other error is the end of the stream: ErrConflict if the offset is not kept
// any more, or what the server refused.
//
// Op may be one that this client does not know, of a newer server. Pass over it.
func (w *Watch) Next(ctx context.Context) (*Event, error) {
	for {
		event, err := w.event(ctx)
		if err != nil || event.Op != OpHeartbeat {
			return event, err
		}
	}
}

// Offset returns where to continue behind the newest event that Next returned, or behind a later
// heartbeat. Store it, and give it to Client.Watch after a restart.
func (w *Watch) Offset() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.offset
}

// Close ends the stream and its connection. Next then returns an error with the cause ErrClosed.
func (w *Watch) Close() error {
	w.mu.Lock()
	w.isClosed = true
	opened := w.link
	w.mu.Unlock()
	if opened != nil {
		closeSocket(opened.socket)
	}
	w.client.mu.Lock()
	delete(w.client.watches, w)
	w.client.mu.Unlock()
	return nil
}

// event returns the next event, of a heartbeat too.
func (w *Watch) event(ctx context.Context) (*Event, error) {
	for w.final == nil {
		event, err := w.attempt(ctx)
		if err == nil {
			w.pauses, w.isHop = pauses{}, false
			return event, nil
		}
		if w.ended() {
			w.drop()
			closed := watchError(notSent(ErrClosed))
			if w.client.ctx.Err() == nil {
				closed.Message = "the watch is closed"
			}
			return nil, closed
		}
		if ctx.Err() != nil {
			return nil, interrupted(ctx, err)
		}
		w.drop()
		if w.goOn(err) {
			continue
		}
		if w.final == nil && w.pauses.wait(&wait{ctx: ctx}) != nil {
			return nil, interrupted(ctx, err)
		}
	}
	return nil, w.final
}

// interrupted is the error of a Next whose context ended. It says what the last attempt met.
func interrupted(ctx context.Context, err error) *Error {
	return watchError(&Error{Outcome: NotApplied, Message: err.Error(), cause: ctx.Err()})
}

func watchError(err *Error) *Error {
	err.Command, err.Attempts = commandWatch.name, 1
	if err.Outcome == Unknown {
		err.Outcome = NotApplied
	}
	return err
}

// goOn chooses where to connect next. It reports whether that is to be done at once.
func (w *Watch) goOn(err error) bool {
	var refused *Error
	if !errors.As(err, &refused) {
		if errors.Is(err, errSilent) || errors.Is(err, errNoConnection) {
			w.route.markSilent(w.address)
		}
		w.address = w.route.after(w.address, "")
		return false
	}
	if refused.Outcome == Refused {
		copied := *refused
		w.final = watchError(&copied)
		return false
	}
	named := refused.moved
	if !w.client.options.mayKnowToken(named) {
		named = ""
	}
	w.isHop = named != "" && named != w.address && !w.isHop
	w.address = w.route.after(w.address, named)
	return w.isHop
}

func (w *Watch) ended() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.isClosed
}

func (w *Watch) drop() {
	w.mu.Lock()
	opened := w.link
	w.link = nil
	w.mu.Unlock()
	if opened != nil {
		closeSocket(opened.socket)
	}
}

// attempt returns the next event of the connection, and makes one if there is none.
func (w *Watch) attempt(ctx context.Context) (*Event, error) {
	if w.link == nil {
		if err := w.open(ctx); err != nil {
			return nil, err
		}
	}
	payload, err := w.receive(ctx)
	if err != nil {
		return nil, err
	}
	event := new(Event)
	if err := readReply(payload, watchID, event); err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.offset = event.Offset
	w.mu.Unlock()
	return event, nil
}

func (w *Watch) open(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Closing the client ends the connect.
	defer context.AfterFunc(w.client.ctx, cancel)()
	opened, err := connect(ctx, &w.client.options, w.address, anyPlace)
	if err != nil {
		return err
	}
	w.mu.Lock()
	if w.isClosed || w.client.ctx.Err() != nil {
		w.isClosed = true
		w.mu.Unlock()
		closeSocket(opened.socket)
		return ErrClosed
	}
	w.link = opened
	w.mu.Unlock()
	return opened.send(watchID, &commandWatch, &watchArgs{From: w.Offset()})
}

// receive returns the payload of the next reply. If the context ends, the connection stays usable.
func (w *Watch) receive(ctx context.Context) ([]byte, error) {
	opened := w.link
	for {
		payload, err := opened.frames.buffered()
		if payload != nil || err != nil {
			return payload, err
		}
		opened.socket.SetReadDeadline(time.Now().Add(w.client.options.watchSilence()))
		fired := make(chan struct{})
		stop := context.AfterFunc(ctx, func() {
			opened.socket.SetReadDeadline(longAgo)
			close(fired)
		})
		err = opened.frames.fill()
		if !stop() {
			<-fired
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, errSilent
		}
		if err != nil {
			return nil, err
		}
	}
}
