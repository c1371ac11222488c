package chatshard

import (
	"context"
	"time"
)

// Hooks learn what a client does. They run on the goroutine of the call or of the connection, so
// they must be quick, and must not call the client. Embed NoHooks to implement only some.
type Hooks interface {
	// AfterAttempt is called after each attempt of a call, with the context of the call.
	AfterAttempt(ctx context.Context, attempt Attempt)
	// ConnectionOpened is called after hello was accepted.
	ConnectionOpened(address string, shard int)
	// ConnectionEnded is called once for each connection that opened. The error is never nil.
	ConnectionEnded(address string, shard int, err error)
}

// An Attempt is one try of a call.
type Attempt struct {
	// Command is its name, such as "advance".
	Command string
	// Address is that of the node that was tried.
	Address string
	// Number counts from 1.
	Number int
	// Time is how long it took, waiting for a place in flight and connecting included.
	Time time.Duration
	// Err is nil after a reply with status 200. Its Outcome is that of this attempt alone.
	Err *Error
}

// NoHooks does nothing.
type NoHooks struct{}

// AfterAttempt does nothing.
func (NoHooks) AfterAttempt(context.Context, Attempt) {}

// ConnectionOpened does nothing.
func (NoHooks) ConnectionOpened(string, int) {}

// ConnectionEnded does nothing.
func (NoHooks) ConnectionEnded(string, int, error) {}
