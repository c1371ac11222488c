package chatshard

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

const (
	readBytes       = 64 << 10
	helloReplyBytes = 64 << 10
	helloID         = 1
	protocolVersion = 1
)

var (
	errServerClosed = errors.New("the server closed the connection")
	errHTTP         = foreignError("an HTTP server listens there; name the address of the TCP " +
		"door, whose port is 7700 unless it was changed")
	errWantsTLS = foreignError("the server speaks TLS; set Options.TLS")
	// longAgo as a deadline ends what waits for a socket.
	longAgo = time.Unix(1, 0)
)

// A frameReader cuts what a server sends into frames. Its buffer grows with the bytes that are
// there, not with the length that a frame claims.
type frameReader struct {
	source io.Reader
	// max is the largest payload.
	max        int
	buffer     []byte
	start, end int
}

// buffered returns the next payload if all of it was read; nil if not. It is valid until fill.
func (r *frameReader) buffered() ([]byte, error) {
	have := r.buffer[r.start:r.end]
	if len(have) < 4 {
		return nil, nil
	}
	n := uint64(binary.BigEndian.Uint32(have))
	if n == 0 || n > uint64(r.max) {
		return nil, foreign(have, n)
	}
	if uint64(len(have)) < 4+n {
		return nil, nil
	}
	r.start += 4 + int(n)
	return have[4 : 4+n : 4+n], nil
}

// fill reads what the socket has, and waits if that is nothing.
func (r *frameReader) fill() error {
	if r.start == r.end {
		r.start, r.end = 0, 0
		if len(r.buffer) > 16*readBytes {
			r.buffer = nil
		}
	}
	if r.end == len(r.buffer) {
		r.makeRoom()
	}
	n, err := r.source.Read(r.buffer[r.end:])
	r.end += n
	if n > 0 {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return errServerClosed
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

func (r *frameReader) makeRoom() {
	have := r.buffer[r.start:r.end]
	if r.start == 0 || len(have) > len(r.buffer)/2 {
		r.buffer = make([]byte, max(readBytes, 2*len(have)))
	}
	r.end = copy(r.buffer, have)
	r.start = 0
}

// next returns the next payload, and waits for it.
func (r *frameReader) next() ([]byte, error) {
	for {
		payload, err := r.buffered()
		if payload != nil || err != nil {
			return payload, err
		}
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
}

func foreign(have []byte, length uint64) error {
	switch {
	case bytes.HasPrefix(have, []byte("HTTP")):
		return errHTTP
	case bytes.HasPrefix(have, []byte{0x15, 3}):
		return errWantsTLS
	}
	return foreignError(fmt.Sprintf("not chatshard, or damaged: a frame of %d bytes", length))
}

// A foreignError says that another program or another version listens there.
type foreignError string

func (e foreignError) Error() string {
	return string(e)
}

// isForeign reports whether it is useless to connect again. A server without TLS, or with another
// certificate, is foreign too.
func isForeign(err error) bool {
	var foreign foreignError
	var noTLS tls.RecordHeaderError
	var unverified *tls.CertificateVerificationError
	return errors.As(err, &foreign) || errors.As(err, &noTLS) || errors.As(err, &unverified)
}

// A replyHead is the beginning of a reply.
type replyHead struct {
	id     uint64
	status int
	// unknown is how many items of the reply the client does not know.
	unknown int
}

func readHead(d *decoder) replyHead {
	unknown := d.fields(3)
	id := d.uint()
	return replyHead{id: id, status: int(d.uintTo(1<<16 - 1)), unknown: unknown}
}

// readError reads the body of a reply whose status is not 200.
func readError(d *decoder, status int) *Error {
	extra := d.fields(2)
	name := d.text()
	e := replyError(status, name, d.text())
	if status == statusMoved && extra > 0 {
		e.moved = d.text()
		extra--
	}
	d.end(extra)
	return e
}

// finish ends the reading of a reply, and returns what was wrong with it.
func (h replyHead) finish(d *decoder) error {
	d.end(h.unknown)
	if d.err == nil && d.at != len(d.bytes) {
		d.fail(errors.New("the reply has bytes behind its end"))
	}
	if d.err != nil {
		return fmt.Errorf("a reply cannot be read: %w", d.err)
	}
	return nil
}

// readReply reads the only reply that a connection awaits. The error is a refusal of the server, or
// says what is wrong with the reply.
func readReply(payload []byte, id uint64, reply decodable) error {
	d := decoder{bytes: payload}
	head := readHead(&d)
	var refused *Error
	switch {
	case d.err == nil && head.id != id && head.id != 0:
		return errStrayReply
	case head.status == statusOK && head.id == id:
		reply.decode(&d)
	default:
		refused = readError(&d, head.status)
	}
	if err := head.finish(&d); err != nil {
		return err
	}
	if refused != nil {
		return refused
	}
	return nil
}

// A link is a socket whose hello was accepted, without anything behind it.
type link struct {
	address string
	socket  net.Conn
	frames  *frameReader
	hello   *Hello
}

// connect opens a socket and sends hello, within the connect timeout. Shard -1 is any.
func connect(ctx context.Context, o *Options, address string, shard int) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, o.ConnectTimeout)
	defer cancel()
	opened, err := greet(ctx, o, address, shard)
	if err == nil {
		return opened, nil
	}
	var refused *Error
	if errors.As(err, &refused) {
		return nil, err
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("%w within %v", errNoConnection, o.ConnectTimeout)
	}
	return nil, &connectError{address, err}
}

// errNoConnection says that a server was silent while the client connected.
var errNoConnection = errors.New("no connection and no reply to hello")

func greet(ctx context.Context, o *Options, address string, shard int) (*link, error) {
	socket, err := o.dial(ctx, address)
	if err != nil {
		return nil, err
	}
	// The deadline ends reads and writes, also if it is set while they wait.
	stop := context.AfterFunc(ctx, func() { socket.SetDeadline(longAgo) })
	opened := &link{address: address, socket: socket, hello: new(Hello)}
	opened.frames = &frameReader{source: socket, max: helloReplyBytes}
	err = opened.sayHello(o, shard)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		closeSocket(socket)
		return nil, err
	}
	opened.frames.max = int(min(max(opened.hello.Limits.ReplyBytes, helloReplyBytes), 1<<30))
	return opened, nil
}

func (l *link) sayHello(o *Options, shard int) error {
	arguments := helloArgs{Token: o.Token, Client: o.Name, StaleMs: uint64(o.Stale.Milliseconds())}
	if shard >= 0 {
		wanted := uint64(shard)
		arguments.Shard = &wanted
	}
	if err := l.send(helloID, &commandHello, &arguments); err != nil {
		return err
	}
	payload, err := l.frames.next()
	if err != nil {
		return err
	}
	if err := readReply(payload, helloID, l.hello); err != nil {
		return err
	}
	if l.hello.Server != "chatshard" || l.hello.Protocol != protocolVersion {
		return foreignError(fmt.Sprintf("a %q with protocol %d listens there, not a chatshard with %d",
			l.hello.Server, l.hello.Protocol, protocolVersion))
	}
	return nil
}

func (l *link) send(id uint64, command *command, arguments encodable) error {
	var e encoder
	arguments.encode(&e)
	if e.err != nil {
		return e.err
	}
	_, err := l.socket.Write(appendRequest(nil, id, command.code, e.bytes))
	return err
}

// closeSocket closes without the farewell of TLS, which could wait for the peer.
func closeSocket(socket net.Conn) {
	if secured, ok := socket.(interface{ NetConn() net.Conn }); ok {
		socket = secured.NetConn()
	}
	socket.Close()
}
