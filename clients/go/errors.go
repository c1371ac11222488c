package chatshard

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// An Outcome says what is known of the request of a failed call.
type Outcome uint8

const (
	// Refused: nothing was applied, and the same request fails again.
	Refused Outcome = iota + 1
	// NotApplied: nothing was applied. The same request may succeed later.
	NotApplied
	// Unknown: the change may or may not have been applied.
	Unknown
)

// String returns the outcome in words.
func (o Outcome) String() string {
	switch o {
	case Refused:
		return "refused"
	case NotApplied:
		return "not applied"
	case Unknown:
		return "outcome unknown"
	}
	return fmt.Sprintf("Outcome(%d)", uint8(o))
}

// Every error of a call matches exactly one of these with errors.Is.
var (
	ErrRefused    error = outcomeError(Refused)
	ErrNotApplied error = outcomeError(NotApplied)
	ErrUnknown    error = outcomeError(Unknown)
)

var (
	// ErrClosed is the cause of an error of a call after Close.
	ErrClosed = errors.New("the client is closed")
	// ErrTooManyCalls is the cause of an error of a call that found Options.WaitingCalls before it.
	ErrTooManyCalls = errors.New(
		"too many calls wait for a place in flight (Options.WaitingCalls)")
)

type outcomeError Outcome

func (e outcomeError) Error() string {
	return Outcome(e).String()
}

// A statusError stands for all errors with its name. The generated ones have the statuses of the
// protocol.
type statusError struct {
	status int
	name   string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%d %s", e.status, e.name)
}

// An Error is the error of a call. errors.Is compares it with the outcomes (ErrNotApplied) and with
// the errors of the protocol (ErrNotFound). It unwraps to its cause, such as
// context.DeadlineExceeded.
type Error struct {
	// Command is the name of the command; "connect" for Connect, and empty for a connection.
	Command string
	// Outcome says what is known of the request, all its attempts together.
	Outcome Outcome
	// Status is that of the reply; 0 without one.
	Status int
	// Name is the error's name in the reply, such as "not_found"; empty without one.
	Name string
	// Message is for people, and may change.
	Message string
	// Attempts is how often the call was tried.
	Attempts int

	cause error
	// moved is the address of the active in a reply with status 421.
	moved string
}

// Error returns the outcome, the status and the message.
func (e *Error) Error() string {
	var text strings.Builder
	if e.Command != "" {
		text.WriteString(e.Command + ": ")
	}
	text.WriteString(e.Outcome.String())
	if e.Status != 0 {
		fmt.Fprintf(&text, ": %d %s", e.Status, e.Name)
	}
	text.WriteString(": " + strings.TrimPrefix(e.Message, e.Outcome.String()+": "))
	if e.Attempts > 1 {
		fmt.Fprintf(&text, " (attempt %d)", e.Attempts)
	}
	return text.String()
}

// Unwrap returns the cause, if it is not the server's reply.
func (e *Error) Unwrap() error {
	return e.cause
}

// Is reports whether target is the outcome or the kind of this error.
func (e *Error) Is(target error) bool {
	switch target := target.(type) {
	case outcomeError:
		return e.Outcome == Outcome(target)
	case *statusError:
		return e.Name == target.name
	}
	return false
}

// replyError is the error of a reply with this status.
func replyError(status int, name, message string) *Error {
	return &Error{Outcome: outcomeOf(status, message), Status: status, Name: name, Message: message}
}

func outcomeOf(status int, message string) Outcome {
	switch {
	case status == statusMoved || status == statusBusy:
		return NotApplied
	case status == statusUnavailable && strings.HasPrefix(message, messageNotApplied):
		return NotApplied
	case status >= 400 && status < 500:
		return Refused
	}
	return Unknown
}

// lost is the error of an attempt without a reply. Only what was sent can be unknown.
func lost(cause error) *Error {
	return &Error{Outcome: Unknown, Message: cause.Error(), cause: cause}
}

// notSent is the error of an attempt that no server has seen.
func notSent(cause error) *Error {
	var refused *Error
	if errors.As(cause, &refused) && refused.Status != 0 {
		// The server refused the connection.
		copied := *refused
		return &copied
	}
	return &Error{Outcome: NotApplied, Message: cause.Error(), cause: cause}
}

// refusedLocally is the error of a request that the client does not send.
func refusedLocally(kind error, message string) *Error {
	name := ""
	var of *statusError
	if errors.As(kind, &of) {
		name = of.name
	}
	return &Error{Outcome: Refused, Name: name, Message: message}
}

// coverEarlier makes the error one of all attempts, of which an earlier one may have been applied.
func (e *Error) coverEarlier() {
	if e.Outcome != Unknown {
		own := e.Outcome.String()
		e.Message = "an earlier attempt may have been applied; the last one: " + own + ": " +
			strings.TrimPrefix(e.Message, own+": ")
	}
	e.Outcome = Unknown
}

// decidesAll reports whether an error says of all attempts with one idempotency key that they
// changed nothing. The server looks at credentials before the key, so 401 and 403 say it of one
// attempt only.
func (e *Error) decidesAll() bool {
	return e.Outcome == Refused && e.Status != statusUnauthenticated &&
		e.Status != statusPermissionDenied
}

// mayRepeat reports whether the same request may succeed on another attempt.
func (e *Error) mayRepeat() bool {
	return e.Status == 0 && e.Outcome != Refused || e.Status == statusBusy ||
		e.Status == statusUnavailable || e.Status == statusMoved
}

// isUnreachable reports whether no connection could be made.
func (e *Error) isUnreachable() bool {
	var failed *connectError
	return errors.As(e.cause, &failed)
}

// A connectError says why no connection was made.
type connectError struct {
	address string
	cause   error
}

func (e *connectError) Error() string {
	return e.address + ": " + e.cause.Error()
}

func (e *connectError) Unwrap() error {
	return e.cause
}

// isContext reports whether an error is that of a context.
func isContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
