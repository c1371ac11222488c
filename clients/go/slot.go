package chatshard

import (
	"encoding/binary"
	"math/bits"
)

// The primes of xxh64. See github.com/Cyan4973/xxHash, doc/xxhash_spec.md.
const (
	prime1 uint64 = 0x9e3779b185ebca87
	prime2 uint64 = 0xc2b2ae3d27d4eb4f
	prime3 uint64 = 0x165667b19e3779f9
	prime4 uint64 = 0x85ebca77c2b2ae63
	prime5 uint64 = 0x27d4eb2f165667c5
)

// xxh64 returns the XXH64 hash of a key.
func xxh64(key string, seed uint64) uint64 {
	b := []byte(key)
	n := uint64(len(b))
	h := seed + prime5
	if len(b) >= 32 {
		h, b = xxh64Stripes(b, seed)
	}
	h += n
	for ; len(b) >= 8; b = b[8:] {
		h = bits.RotateLeft64(h^round(0, binary.LittleEndian.Uint64(b)), 27)*prime1 + prime4
	}
	if len(b) >= 4 {
		h ^= uint64(binary.LittleEndian.Uint32(b)) * prime1
		h = bits.RotateLeft64(h, 23)*prime2 + prime3
		b = b[4:]
	}
	for _, one := range b {
		h = bits.RotateLeft64(h^uint64(one)*prime5, 11) * prime1
	}
	h = (h ^ h>>33) * prime2
	h = (h ^ h>>29) * prime3
	return h ^ h>>32
}

// xxh64Stripes takes the stripes of 32 bytes, and returns what is left.
func xxh64Stripes(b []byte, seed uint64) (uint64, []byte) {
	lanes := [4]uint64{seed + prime1 + prime2, seed + prime2, seed, seed - prime1}
	for ; len(b) >= 32; b = b[32:] {
		for i := range lanes {
			lanes[i] = round(lanes[i], binary.LittleEndian.Uint64(b[8*i:]))
		}
	}
	h := bits.RotateLeft64(lanes[0], 1) + bits.RotateLeft64(lanes[1], 7) +
		bits.RotateLeft64(lanes[2], 12) + bits.RotateLeft64(lanes[3], 18)
	for _, lane := range lanes {
		h = (h^round(0, lane))*prime1 + prime4
	}
	return h, b
}

func round(lane, input uint64) uint64 {
	return bits.RotateLeft64(lane+input*prime2, 31) * prime1
}
