package chatshard

import "time"

// A route chooses among the addresses of a journal's nodes.
type route struct {
	addresses []string
	at        int
	// silent is the address that did not reply last, and silentSince is when that was seen. It is
	// the last one to be tried for a while, even if a standby names it as the active's.
	silent      string
	silentSince time.Time
	silence     time.Duration
}

func (r *route) first() string {
	return r.addresses[0]
}

func (r *route) isAlone() bool {
	return len(r.addresses) == 1
}

func (r *route) markSilent(address string) {
	r.silent, r.silentSince = address, time.Now()
}

func (r *route) isSilent(address string) bool {
	return address == r.silent && time.Since(r.silentSince) < r.silence
}

// after returns where to go from an address: to the one that a server named, or else to the next
// one.
func (r *route) after(current, named string) string {
	if named != "" && named != current && !r.isSilent(named) {
		return named
	}
	next, from := "", r.at
	for i := 1; i <= len(r.addresses); i++ {
		at := (from + i) % len(r.addresses)
		address := r.addresses[at]
		if address == current || next != "" && !r.isSilent(next) {
			continue
		}
		if next == "" || !r.isSilent(address) {
			next, r.at = address, at
		}
	}
	if next == "" {
		return current
	}
	return next
}
