package chatshard

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Two nodes take turns as the active. Writes without keys all succeed, because a node that is not the
// active applies nothing, and each is applied once.
func TestCallsFollowTheActive(t *testing.T) {
	var active atomic.Int64
	var applied atomic.Int64
	var nodes [2]*fake
	serve := func(own int64) func(p *peer) {
		return func(p *peer) {
			p.hello()
			for {
				h, ok := p.pong()
				switch {
				case !ok:
					return
				case active.Load() == own:
					applied.Add(1)
					p.reply(h.id, statusOK, func(e *encoder) { e.null() })
				case h.id%2 == 0:
					p.moved(h.id, nodes[1-own].address)
				default:
					p.moved(h.id, "")
				}
			}
		}
	}
	nodes[0], nodes[1] = serveFake(t, serve(0)), serveFake(t, serve(1))
	client := connectTo(t, Options{
		Addresses: []string{nodes[0].address, nodes[1].address}, NoKeys: true,
		CallTimeout: 30 * time.Second, Connections: 3})
	var calls atomic.Int64
	var callers sync.WaitGroup
	began := time.Now()
	for i := 0; i < 16; i++ {
		callers.Add(1)
		go func() {
			defer callers.Done()
			for time.Since(began) < time.Second {
				if err := deleteOne(client, ""); err != nil {
					t.Error(err)
					return
				}
				calls.Add(1)
			}
		}()
	}
	for time.Since(began) < time.Second {
		time.Sleep(20 * time.Millisecond)
		active.Store(1 - active.Load())
	}
	callers.Wait()
	if calls.Load() != applied.Load() || calls.Load() < 100 {
		t.Errorf("%d calls, %d applied", calls.Load(), applied.Load())
	}
	t.Logf("%d calls, %d and %d connections", calls.Load(), nodes[0].connections.Load(),
		nodes[1].connections.Load())
}

func TestAServerComesBackWithOtherShards(t *testing.T) {
	server := keepServer(t)
	client := connectTo(t, at(server.address))
	makeGroup(t, client, "g", "alice", "bob")
	server.kill()
	server.shards = "3"
	server.start()
	for i := 0; i < 50; i++ {
		if _, err := client.Detail(background, DetailArgs{IDs: []string{chatOf(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	places := len(client.node.Load().table.Load().places)
	if shards := client.Hello().Shards; shards != 3 || places != 3 {
		t.Error(shards, places)
	}
}

// The bytes in flight have a bound, so that the buffers of a connection have one.
func TestTheBytesInFlightAreNotExceeded(t *testing.T) {
	const limit = 1 << 16
	var open, most atomic.Int64
	f := serveFake(t, func(p *peer) {
		limits := make([]uint64, 23)
		copy(limits, []uint64{1 << 20, 1 << 24, 1000, 10000, 10000, 1024, 128, 600_000})
		limits[22] = limit
		p.hello(limits...)
		for {
			h, ok := p.pong()
			if !ok {
				return
			}
			if now := open.Add(int64(len(h.arguments[0].(string)))); now > most.Load() {
				most.Store(now)
			}
			time.AfterFunc(5*time.Millisecond, func() {
				open.Add(-int64(len(h.arguments[0].(string))))
				p.reply(h.id, statusOK, func(e *encoder) { e.null() })
			})
		}
	})
	client := connectTo(t, at(f.address))
	name := string(make([]byte, 200))
	ids := make([]string, 50)
	for i := range ids {
		ids[i] = name
	}
	var callers sync.WaitGroup
	for i := 0; i < 100; i++ {
		callers.Add(1)
		go func() {
			defer callers.Done()
			if err := client.Delete(background, DeleteArgs{UserID: name, IDs: ids}); err != nil {
				t.Error(err)
			}
		}()
	}
	callers.Wait()
	// Six requests of about 10 kB fit.
	if most := most.Load(); most > 6*200 || most < 2*200 {
		t.Errorf("%d requests in flight", most/200)
	}
}
