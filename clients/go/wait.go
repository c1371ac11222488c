package chatshard

import (
	"context"
	"math/rand"
	"sync"
	"time"
)

const (
	pauseFirst = 50 * time.Millisecond
	pauseMax   = 2 * time.Second
)

var timers = sync.Pool{}

// A wait bounds a call by its context or, if that has no deadline, by a timeout.
type wait struct {
	ctx context.Context
	// timer is nil if the context has a deadline.
	timer  *time.Timer
	isOver bool
}

func newWait(ctx context.Context, timeout time.Duration) wait {
	w := wait{ctx: ctx}
	if _, hasDeadline := ctx.Deadline(); hasDeadline {
		return w
	}
	if timer, ok := timers.Get().(*time.Timer); ok {
		timer.Reset(timeout)
		w.timer = timer
	} else {
		w.timer = time.NewTimer(timeout)
	}
	return w
}

// release gives the timer back, unless it has run out: then its channel may get a value later.
func (w *wait) release() {
	if w.timer != nil && w.timer.Stop() {
		timers.Put(w.timer)
	}
}

// until waits for a channel. The error is that of the context, or context.DeadlineExceeded.
func (w *wait) until(ready <-chan struct{}) error {
	if w.isOver {
		return context.DeadlineExceeded
	}
	if w.timer == nil {
		select {
		case <-ready:
			return nil
		case <-w.ctx.Done():
			return w.ctx.Err()
		}
	}
	select {
	case <-ready:
		return nil
	case <-w.ctx.Done():
		return w.ctx.Err()
	case <-w.timer.C:
		w.isOver = true
		return context.DeadlineExceeded
	}
}

// pauses are the times between the attempts of a call.
type pauses struct {
	bound time.Duration
}

// wait waits for a random time, whose upper bound doubles each time.
func (p *pauses) wait(w *wait) error {
	p.bound = min(max(2*p.bound, pauseFirst), pauseMax)
	over := make(chan struct{})
	timer := time.AfterFunc(time.Duration(rand.Int63n(int64(p.bound))), func() { close(over) })
	defer timer.Stop()
	return w.until(over)
}
