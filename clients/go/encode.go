package chatshard

import (
	"errors"
	"sync"
	"time"
)

// What encoder and decoder know of MessagePack: nil, booleans, integers, strings and arrays.
const (
	formNil    = 0xc0
	formFalse  = 0xc2
	formTrue   = 0xc3
	formUint8  = 0xcc
	formUint16 = 0xcd
	formUint32 = 0xce
	formUint64 = 0xcf
	formInt8   = 0xd0
	formInt16  = 0xd1
	formInt32  = 0xd2
	formInt64  = 0xd3
	formStr8   = 0xd9
	formStr16  = 0xda
	formStr32  = 0xdb
	formArr16  = 0xdc
	formArr32  = 0xdd
	formFixStr = 0xa0
	formFixArr = 0x90
)

// integerMax is the largest sequence, time and version: 2^53-1.
const integerMax = 1<<53 - 1

var errTime = errors.New("a time before 1970, or too far ahead")

// An encodable is the arguments of a command, or a record in them.
type encodable interface {
	encode(e *encoder)
}

// An encoder appends values in their shortest form. It keeps the first error.
type encoder struct {
	bytes []byte
	err   error
}

var encoders = sync.Pool{New: func() any { return new(encoder) }}

// giveBack lets another call use the encoder, unless it has grown large.
func (e *encoder) giveBack() {
	if cap(e.bytes) <= spareBytesMax {
		encoders.Put(e)
	}
}

func (e *encoder) null() {
	e.bytes = append(e.bytes, formNil)
}

func (e *encoder) boolean(value bool) {
	if value {
		e.bytes = append(e.bytes, formTrue)
	} else {
		e.bytes = append(e.bytes, formFalse)
	}
}

func (e *encoder) uint(v uint64) {
	switch {
	case v < 0x80:
		e.bytes = append(e.bytes, byte(v))
	case v <= 0xff:
		e.bytes = append(e.bytes, formUint8, byte(v))
	case v <= 0xffff:
		e.bytes = append(e.bytes, formUint16, byte(v>>8), byte(v))
	case v <= 0xffffffff:
		e.bytes = append(e.bytes, formUint32, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
	default:
		e.bytes = append(e.bytes, formUint64, byte(v>>56), byte(v>>48), byte(v>>40), byte(v>>32),
			byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
	}
}

func (e *encoder) text(s string) {
	n := len(s)
	switch {
	case n < 32:
		e.bytes = append(e.bytes, formFixStr|byte(n))
	case n <= 0xff:
		e.bytes = append(e.bytes, formStr8, byte(n))
	case n <= 0xffff:
		e.bytes = append(e.bytes, formStr16, byte(n>>8), byte(n))
	default:
		e.bytes = append(e.bytes, formStr32, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	e.bytes = append(e.bytes, s...)
}

func (e *encoder) array(n int) {
	switch {
	case n < 16:
		e.bytes = append(e.bytes, formFixArr|byte(n))
	case n <= 0xffff:
		e.bytes = append(e.bytes, formArr16, byte(n>>8), byte(n))
	default:
		e.bytes = append(e.bytes, formArr32, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
}

func (e *encoder) flag(value bool) {
	if value {
		e.bytes = append(e.bytes, 1)
	} else {
		e.bytes = append(e.bytes, 0)
	}
}

// time appends milliseconds since 1970, and 0 for the zero time.
func (e *encoder) time(t time.Time) {
	if t.IsZero() {
		e.uint(0)
		return
	}
	ms := t.UnixMilli()
	if ms < 0 || ms > integerMax {
		e.fail(errTime)
		return
	}
	e.uint(uint64(ms))
}

func (e *encoder) texts(list []string) {
	e.array(len(list))
	for _, one := range list {
		e.text(one)
	}
}

// What begins with opt appends nil for a value that is not given.

func (e *encoder) optText(s string) {
	if s == "" {
		e.null()
	} else {
		e.text(s)
	}
}

func (e *encoder) optUint(v uint64) {
	if v == 0 {
		e.null()
	} else {
		e.uint(v)
	}
}

func (e *encoder) optUintAt(v *uint64) {
	if v == nil {
		e.null()
	} else {
		e.uint(*v)
	}
}

func (e *encoder) optTime(t time.Time) {
	if t.IsZero() {
		e.null()
	} else {
		e.time(t)
	}
}

func (e *encoder) optTrue(value bool) {
	if value {
		e.boolean(true)
	} else {
		e.null()
	}
}

// optSet appends 1 for true and nil for false.
func (e *encoder) optSet(value bool) {
	if value {
		e.flag(true)
	} else {
		e.null()
	}
}

func (e *encoder) optFlagAt(value *bool) {
	if value == nil {
		e.null()
	} else {
		e.flag(*value)
	}
}

func (e *encoder) optTexts(list []string) {
	if list == nil {
		e.null()
	} else {
		e.texts(list)
	}
}

func (e *encoder) fail(err error) {
	if e.err == nil {
		e.err = err
	}
}

// encodeList appends the records of a list.
func encodeList[T any, P interface {
	*T
	encodable
}](e *encoder, list []T) {
	e.array(len(list))
	for i := range list {
		P(&list[i]).encode(e)
	}
}

// encodeOptList is like encodeList, with nil for a nil list.
func encodeOptList[T any, P interface {
	*T
	encodable
}](e *encoder, list []T) {
	if list == nil {
		e.null()
		return
	}
	encodeList[T, P](e, list)
}

// appendRequest appends a whole frame of a request whose arguments are encoded.
func appendRequest(frame []byte, id uint64, code byte, arguments []byte) []byte {
	start := len(frame)
	e := encoder{bytes: append(frame, 0, 0, 0, 0)}
	e.array(3)
	e.uint(id)
	e.uint(uint64(code))
	e.bytes = append(e.bytes, arguments...)
	n := len(e.bytes) - start - 4
	copy(e.bytes[start:], []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	return e.bytes
}

// requestBytesMax is what a request needs beside its arguments: array, id and code.
const requestBytesMax = 1 + 9 + 2
