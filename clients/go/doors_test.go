package chatshard

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestAUnixSocket(t *testing.T) {
	address := startServer(t, "--listen", "unix:"+filepath.Join(t.TempDir(), "door"))
	client := connectTo(t, at(address))
	if _, err := client.Stats(background); err != nil {
		t.Error(err)
	}
}

func TestTokens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	const full, reader = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
	if err := os.WriteFile(path, []byte(full+"\nread:"+reader+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	address := startServer(t, "--token-file", path)
	client := connectTo(t, Options{Addresses: []string{address}, Token: full})
	if err := client.Delete(background, DeleteArgs{UserID: "u", IDs: []string{"c"}}); err != nil {
		t.Error(err)
	}
	expect(t, connectFails(t, Options{Addresses: []string{address}, Token: "wrong"}), "401 unauthenticated")
}

// tlsFake is a fake behind TLS, with the certificate of httptest.
func tlsFake(t *testing.T, serve func(p *peer)) (string, *x509.CertPool) {
	server := httptest.NewTLSServer(nil)
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: server.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			socket, err := listener.Accept()
			if err != nil {
				return
			}
			go func(socket net.Conn) {
				defer socket.Close()
				serve(&peer{t: t, socket: socket, frames: &frameReader{source: socket, max: 1 << 20}})
			}(socket)
		}
	}()
	return listener.Addr().String(), roots
}

func TestTLS(t *testing.T) {
	address, roots := tlsFake(t, func(p *peer) {
		p.hello()
		for {
			h, ok := p.pong()
			if !ok {
				return
			}
			if h.code == commandWatch.code {
				p.event(h.id, "h1")
				time.Sleep(100 * time.Millisecond)
				p.event(h.id, "a2")
				continue
			}
			p.reply(h.id, statusOK, func(e *encoder) { e.null() })
		}
	})
	client := connectTo(t, Options{Addresses: []string{address}, TLS: &tls.Config{RootCAs: roots}})
	if err := deleteOne(client, ""); err != nil {
		t.Error(err)
	}
	// A read that ended with its context leaves TLS usable.
	watch, err := client.Watch(background, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(background, 20*time.Millisecond)
	defer cancel()
	if _, err := watch.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if event := nextEvent(t, watch); event.Offset != "a2" {
		t.Error(event)
	}
	expect(t, connectFails(t, Options{Addresses: []string{address}, TLS: &tls.Config{}}), "TLS: ")
	err = connectFails(t, Options{
		Addresses: []string{address}, TLS: &tls.Config{RootCAs: roots, ServerName: "other"}})
	if expect(t, err, "other"); !errors.Is(err, ErrNotApplied) {
		t.Error(err)
	}
	connectTo(t, Options{
		Addresses: []string{address}, TLS: &tls.Config{RootCAs: roots, ServerName: "example.com"}})
}
