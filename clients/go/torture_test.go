package chatshard

import (
	"errors"
	"fmt"
	"math/rand"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	tortureKills   = 20
	tortureWriters = 16
)

// A server is killed and started again under load. Each writer counts up chats of its own. In the
// end each chat has as many messages as were acknowledged: none is lost, and none was applied
// twice.
func TestTorture(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewSource(seed))
	server := keepServer(t)
	client, err := Connect(background, Options{
		Addresses: []string{server.address}, CallTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < tortureWriters; i++ {
		makeGroup(t, client, chatOf(i), "u")
	}
	watch, err := client.Watch(background, "")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan map[string]uint64)
	go followAll(t, watch, seen)
	var isOver atomic.Bool
	var calls atomic.Int64
	var writers sync.WaitGroup
	acknowledged := make([]uint64, tortureWriters)
	for i := range acknowledged {
		writers.Add(1)
		go func(i int) {
			defer writers.Done()
			for !isOver.Load() {
				advanced, err := client.Advance(background, AdvanceArgs{
					ChatID: chatOf(i), Allocate: 1})
				if err != nil || advanced.FirstSequence != acknowledged[i]+1 {
					t.Errorf("%s: %v, %v after %d", chatOf(i), advanced, err, acknowledged[i])
					return
				}
				acknowledged[i]++
				calls.Add(1)
			}
		}(i)
	}
	for i := 0; i < tortureKills; i++ {
		time.Sleep(time.Duration(50+random.Intn(400)) * time.Millisecond)
		server.kill()
		server.start()
	}
	time.Sleep(100 * time.Millisecond)
	isOver.Store(true)
	writers.Wait()
	// The end of the stream is a change that comes behind all others.
	disable := SetStatusArgs{ChatID: chatOf(0), Status: StatusDisabled}
	if _, err := client.SetStatus(background, disable); err != nil {
		t.Error(err)
	}
	last := <-seen
	for i, count := range acknowledged {
		detail, err := client.Detail(background, DetailArgs{IDs: []string{chatOf(i)}})
		if err != nil || detail.Items[0].LastSequence != count || last[chatOf(i)] != count {
			t.Errorf("%s: %v, %v, %d acknowledged, %d seen",
				chatOf(i), detail, err, count, last[chatOf(i)])
		}
	}
	t.Logf("%d writes, %d kills", calls.Load(), tortureKills)
	watch.Close()
	client.Close()
	for i := 0; i < 100 && ownGoroutines() != ""; i++ {
		time.Sleep(10 * time.Millisecond)
	}
	if left := ownGoroutines(); left != "" {
		t.Error(left)
	}
}

func chatOf(i int) string {
	return fmt.Sprintf("g_%d", i)
}

// followAll takes events until a chat is disabled, and gives the last sequence of each chat. No
// sequence may be missing.
func followAll(t *testing.T, watch *Watch, seen chan<- map[string]uint64) {
	last := make(map[string]uint64)
	defer func() { seen <- last }()
	for {
		event, err := watch.Next(background)
		if err != nil {
			if !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
			return
		}
		switch event.Op {
		case OpAdvance:
			if *event.LastSequence > last[event.ChatID]+1 {
				t.Errorf("%d comes after %v", *event.LastSequence, last)
			}
			last[event.ChatID] = max(last[event.ChatID], *event.LastSequence)
		case OpStatus:
			return
		}
	}
}
