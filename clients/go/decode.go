package chatshard

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// nestingMax is how deep the arrays of a frame nest at most. The reply itself is one of them.
const nestingMax = 8

// chunkBytes is how much memory short strings share at most.
const chunkBytes = 256

// listCapacityMax bounds what is allocated for a list before its items are read.
const listCapacityMax = 1024

var (
	errShort   = errors.New("the value ends too early")
	errNesting = errors.New("arrays are nested too deep")
)

// A decodable is the reply of a command, or a record in it.
type decodable interface {
	decode(d *decoder)
}

// A decoder reads values of any width. It keeps the first error, and returns zeros behind it.
type decoder struct {
	bytes []byte
	at    int
	depth int
	err   error
	// chunk is a copy of bytes, from chunkAt on.
	chunk   string
	chunkAt int
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = fmt.Errorf("byte %d: %w", d.at, err)
		// Nothing is left to read, so that every loop ends.
		d.at = len(d.bytes)
	}
}

func (d *decoder) wrong(want string, form byte) {
	d.fail(fmt.Errorf("%s is expected, not a value of the form 0x%02x", want, form))
}

// next takes n bytes; nil if there are fewer.
func (d *decoder) next(n uint64) []byte {
	if n > uint64(len(d.bytes)-d.at) {
		d.fail(errShort)
		return nil
	}
	taken := d.bytes[d.at : d.at+int(n)]
	d.at += int(n)
	return taken
}

func (d *decoder) form() byte {
	if d.at >= len(d.bytes) {
		d.fail(errShort)
		return formNil
	}
	form := d.bytes[d.at]
	d.at++
	return form
}

func (d *decoder) bigEndian(width uint64) uint64 {
	var v uint64
	for _, one := range d.next(width) {
		v = v<<8 | uint64(one)
	}
	return v
}

// null takes a nil, and reports whether there was one.
func (d *decoder) null() bool {
	if d.at < len(d.bytes) && d.bytes[d.at] == formNil {
		d.at++
		return true
	}
	return false
}

func (d *decoder) uint() uint64 {
	// Most integers are small.
	if d.at < len(d.bytes) && d.bytes[d.at] < 0x80 {
		d.at++
		return uint64(d.bytes[d.at-1])
	}
	return d.wideUint()
}

func (d *decoder) wideUint() uint64 {
	form := d.form()
	switch {
	case form >= formUint8 && form <= formUint64:
		return d.bigEndian(1 << (form - formUint8))
	case form >= formInt8 && form <= formInt64:
		width := uint64(1) << (form - formInt8)
		v := d.bigEndian(width)
		if d.err == nil && v>>(8*width-1) != 0 {
			d.fail(errors.New("an integer is negative"))
			return 0
		}
		return v
	}
	d.wrong("an integer", form)
	return 0
}

// uintTo reads an integer that is at most max.
func (d *decoder) uintTo(max uint64) uint64 {
	v := d.uint()
	if v > max {
		d.fail(fmt.Errorf("%d is over the largest value, %d", v, max))
		return 0
	}
	return v
}

func (d *decoder) flag() bool {
	if d.at < len(d.bytes) && d.bytes[d.at] <= 1 {
		d.at++
		return d.bytes[d.at-1] == 1
	}
	return d.uintTo(1) == 1
}

func (d *decoder) boolean() bool {
	switch form := d.form(); form {
	case formTrue:
		return true
	case formFalse:
	default:
		d.wrong("a boolean", form)
	}
	return false
}

// time reads milliseconds since 1970. 0 becomes the zero time.
func (d *decoder) time() time.Time {
	if d.at < len(d.bytes) && d.bytes[d.at] == 0 {
		d.at++
		return time.Time{}
	}
	ms := d.uintTo(integerMax)
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(ms)).UTC()
}

func (d *decoder) text() string {
	form := d.form()
	n := uint64(form & 0x1f)
	switch {
	case form&0xe0 == formFixStr:
	case form >= formStr8 && form <= formStr32:
		n = d.bigEndian(1 << (form - formStr8))
	default:
		d.wrong("a string", form)
		return ""
	}
	start := d.at
	taken := d.next(n)
	if !utf8.Valid(taken) {
		d.fail(errors.New("a string is not UTF-8"))
		return ""
	}
	return d.kept(start, len(taken))
}

// kept returns bytes as a string. Neighbors share their memory, so one that is kept holds at most
// chunkBytes.
func (d *decoder) kept(start, n int) string {
	at := start - d.chunkAt
	if at+n > len(d.chunk) {
		end := min(start+max(n, chunkBytes), len(d.bytes))
		d.chunk, d.chunkAt, at = string(d.bytes[start:end]), start, 0
	}
	return d.chunk[at : at+n]
}

// open begins an array, and returns how many items it has. Each takes a byte at least. The caller
// ends it with close.
func (d *decoder) open() int {
	form := d.form()
	var n uint64
	switch {
	case form&0xf0 == formFixArr:
		n = uint64(form & 0x0f)
	case form == formArr16:
		n = d.bigEndian(2)
	case form == formArr32:
		n = d.bigEndian(4)
	default:
		d.wrong("an array", form)
		return 0
	}
	if n > uint64(len(d.bytes)-d.at) {
		d.fail(errShort)
		return 0
	}
	if d.depth++; d.depth > nestingMax {
		d.fail(errNesting)
		return 0
	}
	return int(n)
}

func (d *decoder) close() {
	d.depth--
}

// fields begins a record of which the client knows so many fields. It returns how many it has
// beyond them.
func (d *decoder) fields(known int) int {
	n := d.open()
	if n < known {
		d.fail(fmt.Errorf("an array has %d items instead of %d", n, known))
		return 0
	}
	return n - known
}

// end skips the fields of a record that the client does not know, and ends it.
func (d *decoder) end(unknown int) {
	for ; unknown > 0 && d.err == nil; unknown-- {
		d.skip()
	}
	d.close()
}

// skip passes over one value of any kind that the protocol has.
func (d *decoder) skip() {
	if d.at >= len(d.bytes) {
		d.fail(errShort)
		return
	}
	switch form := d.bytes[d.at]; {
	case form == formNil || form == formFalse || form == formTrue:
		d.at++
	case form&0xe0 == formFixStr || form >= formStr8 && form <= formStr32:
		d.text()
	case form&0xf0 == formFixArr || form == formArr16 || form == formArr32:
		d.end(d.open())
	case form >= 0xe0:
		d.at++
	case form >= formInt8 && form <= formInt64:
		d.at++
		d.next(1 << (form - formInt8))
	default:
		d.uint()
	}
}

// What begins with opt reads nil as not given.

func (d *decoder) optText() string {
	if d.null() {
		return ""
	}
	return d.text()
}

func (d *decoder) optTime() time.Time {
	if d.null() {
		return time.Time{}
	}
	return d.time()
}

func (d *decoder) optUintTo(max uint64) uint64 {
	if d.null() {
		return 0
	}
	return d.uintTo(max)
}

func (d *decoder) optUintAt(max uint64) *uint64 {
	if d.null() {
		return nil
	}
	v := d.uintTo(max)
	return &v
}

func (d *decoder) optFlagAt() *bool {
	if d.null() {
		return nil
	}
	v := d.flag()
	return &v
}

func (d *decoder) texts() []string {
	n := d.open()
	list := make([]string, 0, min(n, listCapacityMax))
	for ; n > 0 && d.err == nil; n-- {
		list = append(list, d.text())
	}
	d.close()
	return list
}

// decodeList reads the records of a list.
func decodeList[T any, P interface {
	*T
	decodable
}](d *decoder) []T {
	n := d.open()
	list := make([]T, 0, min(n, listCapacityMax))
	for ; n > 0 && d.err == nil; n-- {
		if len(list) < cap(list) {
			list = list[:len(list)+1]
		} else {
			list = append(list, *new(T))
		}
		P(&list[len(list)-1]).decode(d)
	}
	d.close()
	return list
}

// noReply is the reply of a command that returns nothing: nil.
type noReply struct{}

func (noReply) decode(d *decoder) {
	if !d.null() && d.err == nil {
		d.fail(errors.New("nil is expected"))
	}
}
