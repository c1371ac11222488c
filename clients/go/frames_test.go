package chatshard

import (
	"bytes"
	"errors"
	"io"
	"math/rand"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func frameWith(payload []byte) []byte {
	n := len(payload)
	return append([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, payload...)
}

func TestFramesComeInAnyPieces(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewSource(seed))
	var stream []byte
	var payloads [][]byte
	for i := 0; i < 50; i++ {
		payload := make([]byte, 1+random.Intn(1<<random.Intn(19)))
		random.Read(payload)
		payloads = append(payloads, payload)
		stream = append(stream, frameWith(payload)...)
	}
	for name, source := range map[string]io.Reader{
		"whole": bytes.NewReader(stream),
		"bytes": iotest.OneByteReader(bytes.NewReader(stream)),
		"half":  iotest.HalfReader(bytes.NewReader(stream)),
	} {
		frames := &frameReader{source: source, max: 1 << 20}
		for i := range payloads {
			payload, err := frames.next()
			if err != nil || !bytes.Equal(payload, payloads[i]) {
				t.Fatalf("%s: frame %d: %d bytes, %v", name, i, len(payload), err)
			}
		}
		if _, err := frames.next(); !errors.Is(err, errServerClosed) {
			t.Error(err)
		}
	}
}

func TestAClaimedLengthAllocatesNothing(t *testing.T) {
	claimed := append([]byte{0, 0xff, 0xff, 0xff}, make([]byte, 100)...)
	frames := &frameReader{source: bytes.NewReader(claimed), max: 16 << 20}
	_, err := frames.next()
	if !errors.Is(err, errServerClosed) || len(frames.buffer) > 2*readBytes {
		t.Error(err, len(frames.buffer))
	}
	for _, length := range []byte{0, 2} {
		frames = &frameReader{source: bytes.NewReader([]byte{length, 0, 0, 0, 0}), max: 16 << 20}
		if _, err := frames.next(); err == nil || !isForeign(err) {
			t.Error(err)
		}
	}
	// A list that claims many records.
	d := decoder{bytes: append([]byte{formArr32, 0, 0, 0xff, 0xff}, make([]byte, 1<<16)...)}
	if list := decodeList[Row](&d); d.err == nil || cap(list) > listCapacityMax {
		t.Error(d.err, cap(list))
	}
}

// What is written can be read, in the shortest form and in wider ones.
func TestValuesOfAllWidths(t *testing.T) {
	var numbers []uint64
	for shift := 0; shift < 64; shift++ {
		numbers = append(numbers, 1<<shift-1, 1<<shift, 1<<shift+1)
	}
	var e encoder
	for _, n := range numbers {
		e.uint(n)
	}
	d := decoder{bytes: e.bytes}
	for _, n := range numbers {
		if got := d.uint(); got != n {
			t.Fatalf("%d instead of %d: %v", got, n, d.err)
		}
	}
	for _, n := range []int{0, 1, 31, 32, 255, 256, 65_535, 65_536} {
		text := strings.Repeat("会", n/3) + strings.Repeat("x", n%3)
		e = encoder{}
		e.texts([]string{text, "", text})
		d = decoder{bytes: e.bytes}
		if got := d.texts(); d.err != nil || !reflect.DeepEqual(got, []string{text, "", text}) {
			t.Errorf("%d: %v", n, d.err)
		}
		list := make([]string, n)
		e = encoder{}
		e.texts(list)
		d = decoder{bytes: e.bytes}
		if got := d.texts(); d.err != nil || len(got) != n {
			t.Errorf("%d: %d, %v", n, len(got), d.err)
		}
	}
	for _, wrong := range [][]byte{{0xff}, {formInt8, 0x80}, {formUint16, 1}, {0xa1, 0xff}, {0xca, 0, 0, 0, 0}} {
		d = decoder{bytes: wrong}
		if wrong[0] == 0xa1 {
			d.text()
		} else {
			d.uint()
		}
		if d.err == nil {
			t.Errorf("%x was read", wrong)
		}
	}
}
