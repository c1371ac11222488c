package chatshard

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// connectFails connects, and returns the error. It has time only if the error comes by itself.
func connectFails(t *testing.T, options Options) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(background, 20*time.Second)
	defer cancel()
	began := time.Now()
	client, err := Connect(ctx, options)
	if err == nil {
		client.Close()
		t.Fatal("it connected")
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if !errors.Is(err, ErrNotApplied) && !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
	return err
}

// connectTimesOut is like connectFails, for an error that could go away.
func connectTimesOut(t *testing.T, address string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(background, 500*time.Millisecond)
	defer cancel()
	began := time.Now()
	client, err := Connect(ctx, Options{
		Addresses: []string{address}, ConnectTimeout: 200 * time.Millisecond})
	if err == nil {
		client.Close()
		t.Fatal("it connected")
	}
	took := time.Since(began)
	if !errors.Is(err, ErrNotApplied) || !errors.Is(err, context.DeadlineExceeded) ||
		took > 3*time.Second {
		t.Error(err, took)
	}
	return err
}

func expect(t *testing.T, err error, text string) {
	t.Helper()
	if !strings.Contains(fmt.Sprint(err), text) {
		t.Errorf("%v\nhas not: %s", err, text)
	}
}

func TestNoServer(t *testing.T) {
	expect(t, connectTimesOut(t, freeAddress(t)), "connect: not applied: ")
	for _, address := range []string{"nowhere", "", "unix:", "127.0.0.1:", "127.0.0.1:99999",
		"127.0.0.1:7700/", "http://127.0.0.1:7700"} {
		err := connectFails(t, at(address))
		expect(t, err, "write HOST:PORT or unix:PATH")
		if !errors.Is(err, ErrRefused) {
			t.Error(err)
		}
	}
	expect(t, connectTimesOut(t, "unix:/nowhere/socket"), "no such file")
}

func TestHTTPServer(t *testing.T) {
	f := serveFake(t, func(p *peer) {
		io.WriteString(p.socket, "HTTP/1.1 400 Bad Request\r\n\r\n")
		io.Copy(io.Discard, p.socket)
	})
	expect(t, connectFails(t, at(f.address)), "an HTTP server listens there")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler()}
	go server.Serve(listener)
	defer server.Close()
	connectTimesOut(t, listener.Addr().String())
}

func TestServerWithTLSAndWithout(t *testing.T) {
	f := serveFake(t, func(p *peer) {
		p.request()
		p.socket.Write([]byte{0x15, 3, 3, 0, 2, 2, 10})
	})
	expect(t, connectFails(t, at(f.address)), "the server speaks TLS")
	plainChatshard := serveFake(t, func(p *peer) {
		p.socket.Write([]byte{0x15, 3, 3, 0, 2, 2, 40})
		io.Copy(io.Discard, p.socket)
	})
	expect(t, connectFails(t, Options{Addresses: []string{plainChatshard.address},
		TLS: &tls.Config{}}), "a server without TLS replies so")
	plain := serveFake(t, func(p *peer) {
		p.error(0, statusUnauthenticated, "unauthenticated", "the first request must be hello")
	})
	expect(t, connectFails(t, Options{Addresses: []string{plain.address}, TLS: &tls.Config{}}), "TLS: ")
}

func TestGarbage(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewSource(seed))
	for i := 0; i < 10; i++ {
		noise := make([]byte, 100+random.Intn(1000))
		random.Read(noise)
		noise[0] |= 0x80
		f := serveFake(t, func(p *peer) {
			p.request()
			p.socket.Write(noise)
		})
		expect(t, connectFails(t, at(f.address)), "not chatshard, or damaged")
	}
}

func TestSilentSlowAndEndingServers(t *testing.T) {
	silent := serveFake(t, func(p *peer) { io.Copy(io.Discard, p.socket) })
	expect(t, connectTimesOut(t, silent.address), "no reply to hello within 200ms")
	slow := serveFake(t, func(p *peer) {
		for i := 0; i < 100; i++ {
			p.socket.Write([]byte{0})
			if i == 2 {
				p.socket.Write([]byte{100})
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	expect(t, connectTimesOut(t, slow.address), "no reply to hello within 200ms")
	ending := serveFake(t, func(p *peer) { p.request() })
	expect(t, connectTimesOut(t, ending.address), "the server closed the connection")
	half := serveFake(t, func(p *peer) {
		p.request()
		p.socket.Write([]byte{0, 0, 0, 100, 0x93, 1})
	})
	expect(t, connectTimesOut(t, half.address), "the server closed the connection")
}

func TestOtherServersAndRefusals(t *testing.T) {
	other := serveFake(t, func(p *peer) {
		h, _ := p.request()
		p.reply(h.id, statusOK, func(e *encoder) {
			e.array(12)
			e.text("chatshard")
			e.text("9.0.0")
			for _, n := range []uint64{2, 1, 4096, 0, 0} {
				e.uint(n)
			}
			e.array(0)
			e.text("active")
			e.text("")
			e.uint(1)
			e.uint(2)
		})
	})
	expect(t, connectFails(t, at(other.address)), "with protocol 2")
	refusing := serveFake(t, func(p *peer) {
		h, _ := p.request()
		p.error(h.id, statusUnauthenticated, "unauthenticated", "hello: the token is missing or wrong")
	})
	err := connectFails(t, at(refusing.address))
	if !errors.Is(err, ErrUnauthenticated) || !errors.Is(err, ErrRefused) ||
		refusing.connections.Load() != 1 {
		t.Error(err, refusing.connections.Load())
	}
	full := serveFake(t, func(p *peer) {
		p.error(0, statusBusy, "busy", "too many connections; try again later")
	})
	err = connectTimesOut(t, full.address)
	if !errors.Is(err, ErrBusy) || !errors.Is(err, ErrNotApplied) || full.connections.Load() < 2 {
		t.Error(err, full.connections.Load())
	}
}

// Each reply ends the connection, with an error that says why. The call is not known to be applied.
func TestWrongRepliesEndTheConnection(t *testing.T) {
	deep := append([]byte{0x94, 1, 1, 1}, bytes.Repeat([]byte{0x91}, 2000)...)
	for name, one := range map[string]struct {
		body []byte
		text string
	}{
		"a wrong type":    {[]byte{0xa1, 'x'}, "an array is expected"},
		"too few fields":  {[]byte{0x91, 1}, "1 items instead of 3"},
		"a wrong field":   {[]byte{0x93, 1, formTrue, 1}, "an integer is expected"},
		"a huge number":   {[]byte{0x93, 1, formUint64, 1, 2, 3, 4, 5, 6, 7, 8}, "over the largest"},
		"a claimed array": {[]byte{formArr32, 0xff, 0xff, 0xff, 0xff}, "ends too early"},
		"a deep array":    {deep, "nested too deep"},
		"a map":           {[]byte{0x94, 1, 1, 1, 0x80}, "form 0x80"},
		"bytes behind":    {[]byte{0x93, 1, 1, 1, 1}, "bytes behind its end"},
	} {
		f := serveFake(t, func(p *peer) {
			p.hello()
			if h, ok := p.pong(); ok {
				p.reply(h.id, statusOK, func(e *encoder) { e.bytes = append(e.bytes, one.body...) })
				io.Copy(io.Discard, p.socket)
			}
		})
		client := connectTo(t, Options{Addresses: []string{f.address}, NoKeys: true})
		_, err := client.Advance(background, AdvanceArgs{ChatID: "c", Allocate: 1})
		if !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %v", name, err)
		}
		expect(t, err, one.text)
		// The next call has a new connection.
		if err := client.Ping(background); err != nil || f.connections.Load() != 2 {
			t.Errorf("%s: %v, %d connections", name, err, f.connections.Load())
		}
	}
}

func TestReplyToNoRequestEndsTheConnection(t *testing.T) {
	f := serveFake(t, func(p *peer) {
		p.hello()
		if _, ok := p.pong(); ok {
			p.done(4711)
			io.Copy(io.Discard, p.socket)
		}
	})
	client := connectTo(t, Options{Addresses: []string{f.address}, NoKeys: true})
	expect(t, client.Delete(background, DeleteArgs{UserID: "u"}), "a reply to no open request")
}

// Random changes of good replies never hang or panic, and allocate little.
func TestDamagedRepliesAreErrorsOrReplies(t *testing.T) {
	v := readVectors(t)
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewSource(seed))
	rejected := 0
	for i := 0; i < 30_000; i++ {
		one := v.file.Conversation[random.Intn(len(v.file.Conversation))]
		payload := frameOf(t, one.Reply)[4:]
		for n := random.Intn(4); n >= 0; n-- {
			payload[random.Intn(len(payload))] = byte(random.Intn(256))
		}
		payload = payload[:len(payload)-random.Intn(2)]
		d := decoder{bytes: payload}
		head := readHead(&d)
		if head.status == statusOK {
			vectorTypes[one.Command].reply().decode(&d)
		} else {
			readError(&d, head.status)
		}
		if head.finish(&d) != nil {
			rejected++
		}
	}
	if rejected < 10_000 {
		t.Errorf("only %d were rejected", rejected)
	}
}
