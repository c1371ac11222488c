package chatshard

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

func TestASilentAddressIsTriedLast(t *testing.T) {
	r := &route{addresses: []string{"a", "b", "c"}, silence: time.Minute}
	for _, one := range []struct{ current, named, want string }{
		{"a", "", "b"}, {"b", "", "c"}, {"c", "", "a"}, {"a", "d", "d"}, {"d", "", "b"}, {"b", "b", "c"},
	} {
		if got := r.after(one.current, one.named); got != one.want {
			t.Errorf("%v: %s", one, got)
		}
	}
	r.markSilent("a")
	for _, one := range []struct{ current, named, want string }{
		{"c", "", "b"}, {"b", "a", "c"}, {"c", "a", "b"}, {"a", "", "c"},
	} {
		if got := r.after(one.current, one.named); got != one.want {
			t.Errorf("%v: %s", one, got)
		}
	}
	two := &route{addresses: []string{"a", "b"}, silence: time.Minute}
	two.markSilent("a")
	if got := two.after("b", ""); got != "a" {
		t.Error(got)
	}
	alone := &route{addresses: []string{"a"}}
	if got := alone.after("a", ""); got != "a" || !alone.isAlone() {
		t.Error(got)
	}
}

// With more connections than shards, several serve a shard, and with fewer some serve several.
func TestPlacesOfKeys(t *testing.T) {
	hello := &Hello{Shards: 3, Slots: 4096}
	for _, places := range []int{1, 2, 3, 4, 8} {
		table := &table{hello: hello, places: make([]atomic.Pointer[connection], places)}
		used := make(map[int]bool)
		for i := 0; i < 1000; i++ {
			key := fmt.Sprintf("key-%d", i)
			place := table.placeOf(key)
			shard := int(xxh64(key, 0) % 4096 % 3)
			if place >= places || places >= 3 && place%3 != shard || places < 3 && place != shard%places {
				t.Fatalf("%d places: %s of shard %d has place %d", places, key, shard, place)
			}
			used[place] = true
		}
		if len(used) != places {
			t.Errorf("%d of %d places are used", len(used), places)
		}
	}
}
