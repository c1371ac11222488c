package chatshard

import (
	"net"
	"sync/atomic"
	"testing"
)

// A fake is a server whose replies a test decides.
type fake struct {
	address     string
	listener    net.Listener
	connections atomic.Int64
}

// A peer is a connection of a fake.
type peer struct {
	t      testing.TB
	socket net.Conn
	frames *frameReader
	// number counts the connections of the fake from 1.
	number int64
}

// A heard is a request that came to a fake.
type heard struct {
	id   uint64
	code byte
	// arguments are the texts and integers among them, in their order.
	arguments []any
}

// serveFake runs serve on each connection until the test ends.
func serveFake(t testing.TB, serve func(p *peer)) *fake {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{address: listener.Addr().String(), listener: listener}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			socket, err := listener.Accept()
			if err != nil {
				return
			}
			p := &peer{t: t, socket: socket, number: f.connections.Add(1)}
			p.frames = &frameReader{source: socket, max: 1 << 20}
			go func() {
				defer socket.Close()
				serve(p)
			}()
		}
	}()
	return f
}

func (p *peer) request() (heard, bool) {
	payload, err := p.frames.next()
	if err != nil {
		return heard{}, false
	}
	d := decoder{bytes: payload}
	d.fields(3)
	h := heard{id: d.uint(), code: byte(d.uint())}
	for n := d.open(); n > 0 && d.err == nil; n-- {
		switch form := d.bytes[d.at]; {
		case form&0xe0 == formFixStr || form == formStr8:
			h.arguments = append(h.arguments, d.text())
		case form < 0x80 || form >= formUint8 && form <= formUint64:
			h.arguments = append(h.arguments, d.uint())
		default:
			d.skip()
			h.arguments = append(h.arguments, nil)
		}
	}
	return h, true
}

func (p *peer) reply(id uint64, status int, body func(e *encoder)) {
	e := encoder{bytes: make([]byte, 4)}
	e.array(3)
	e.uint(id)
	e.uint(uint64(status))
	body(&e)
	n := len(e.bytes) - 4
	copy(e.bytes, []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	p.socket.Write(e.bytes)
}

func (p *peer) error(id uint64, status int, name, message string) {
	p.reply(id, status, func(e *encoder) { e.texts([]string{name, message}) })
}

func (p *peer) moved(id uint64, address string) {
	p.reply(id, statusMoved, func(e *encoder) {
		e.array(5)
		e.text("moved")
		e.text("this node is not the active")
		e.text(address)
		e.uint(0)
		e.uint(2)
	})
}

// done replies to a ping.
func (p *peer) done(id uint64) {
	p.reply(id, statusOK, func(e *encoder) { e.array(0) })
}

// hello accepts a hello, as a server with one shard. It reports whether one came.
func (p *peer) hello(limits ...uint64) bool {
	h, ok := p.request()
	if ok {
		p.greet(h.id, 1, limits...)
	}
	return ok
}

func (p *peer) greet(id uint64, shards uint64, limits ...uint64) {
	p.reply(id, statusOK, func(e *encoder) {
		e.array(12)
		e.text("chatshard")
		e.text("0.2.0")
		for _, n := range []uint64{1, shards, 4096, 0, 0} {
			e.uint(n)
		}
		e.array(len(limits))
		for _, n := range limits {
			e.uint(n)
		}
		e.text("active")
		e.text("")
		e.uint(1)
		e.uint(2)
	})
}

// pong replies to pings until another request comes.
func (p *peer) pong() (heard, bool) {
	for {
		h, ok := p.request()
		if !ok || h.code != commandPing.code {
			return h, ok
		}
		p.done(h.id)
	}
}
