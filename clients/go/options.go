package chatshard

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"
)

// Version is the version of this module.
const Version = "0.2.0"

const (
	defaultAddress        = "127.0.0.1:7700"
	defaultConnectTimeout = 5 * time.Second
	defaultCallTimeout    = 10 * time.Second
	defaultWaitingCalls   = 10_000
	connectionsMax        = 16
)

// Options say how a client connects and calls. The zero value has the defaults.
type Options struct {
	// Addresses are HOST:PORT or unix:PATH; of several nodes of a journal, all of them. The default
	// is 127.0.0.1:7700.
	Addresses []string
	// Token is the secret, if the server wants one.
	Token string
	// Name is for the server's log. The default is chatshard-go/VERSION.
	Name string
	// TLS says which authorities to trust, and as ServerName which name the certificate must have.
	// The default of ServerName is the host of the address. Nil: no TLS.
	TLS *tls.Config
	// Stale is how old the state of a standby may be that replies to reads. 0: only the active
	// replies. The server takes whole milliseconds, up to 10 minutes.
	Stale time.Duration
	// ConnectTimeout is for connecting, TLS and hello together. The default is 5 s.
	ConnectTimeout time.Duration
	// CallTimeout is for a call with all its repeats, unless its context has a deadline. The
	// default is 10 s.
	CallTimeout time.Duration
	// Connections is how many connections one node gets. The default is as many as the server has
	// shards, at most 16.
	Connections int
	// WaitingCalls is how many calls may wait for a place in flight. One more fails with
	// ErrNotApplied. The default is 10,000.
	WaitingCalls int
	// NoKeys turns off that each write gets an idempotency key if it has none. A write without a
	// key is not repeated.
	NoKeys bool
	// Hooks are called after each attempt, and when a connection opens or ends.
	Hooks Hooks

	// silenceAfter replaces defaultSilence in tests.
	silenceAfter time.Duration
	// watchSilenceAfter replaces defaultWatchSilence in tests.
	watchSilenceAfter time.Duration
}

// String shows the options without the token.
func (o Options) String() string {
	return fmt.Sprintf("chatshard.Options{Addresses: %v, Token: %t, TLS: %t}", o.Addresses,
		o.Token != "", o.TLS != nil)
}

// GoString is like String, so that no format shows the token.
func (o Options) GoString() string {
	return o.String()
}

func (o Options) withDefaults() (Options, error) {
	if len(o.Addresses) == 0 {
		o.Addresses = []string{defaultAddress}
	}
	o.Addresses = append([]string(nil), o.Addresses...)
	for _, address := range o.Addresses {
		if err := checkAddress(address); err != nil {
			return o, err
		}
	}
	if o.Name == "" {
		o.Name = "chatshard-go/" + Version
	}
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = defaultConnectTimeout
	}
	if o.CallTimeout <= 0 {
		o.CallTimeout = defaultCallTimeout
	}
	if o.WaitingCalls <= 0 {
		o.WaitingCalls = defaultWaitingCalls
	}
	if o.Hooks == nil {
		o.Hooks = NoHooks{}
	}
	return o, nil
}

func (o *Options) silence() time.Duration {
	if o.silenceAfter > 0 {
		return o.silenceAfter
	}
	return defaultSilence
}

func (o *Options) watchSilence() time.Duration {
	if o.watchSilenceAfter > 0 {
		return o.watchSilenceAfter
	}
	return defaultWatchSilence
}

// connections returns how many connections a node with so many shards gets.
func (o *Options) connections(shards int) int {
	if o.Connections > 0 {
		return o.Connections
	}
	return max(1, min(shards, connectionsMax))
}

// mayKnowToken reports whether an address that a server named may get the token.
func (o *Options) mayKnowToken(address string) bool {
	for _, own := range o.Addresses {
		if own == address {
			return true
		}
	}
	return o.Token == "" || o.TLS != nil && !o.TLS.InsecureSkipVerify
}

const unixPrefix = "unix:"

func checkAddress(address string) error {
	if path, isUnix := strings.CutPrefix(address, unixPrefix); isUnix && path != "" {
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil || port == "" || strings.Contains(host, "/") {
		return fmt.Errorf("address %q: write HOST:PORT or unix:PATH", address)
	}
	return nil
}

// dial opens a socket, with TLS if the options have it.
func (o *Options) dial(ctx context.Context, address string) (net.Conn, error) {
	network, target := "tcp", address
	if path, isUnix := strings.CutPrefix(address, unixPrefix); isUnix {
		network, target = "unix", path
	}
	var dialer net.Dialer
	socket, err := dialer.DialContext(ctx, network, target)
	if err != nil || o.TLS == nil {
		return socket, err
	}
	config := o.TLS.Clone()
	if config.ServerName == "" && network == "tcp" {
		config.ServerName, _, _ = net.SplitHostPort(address)
	}
	secured := tls.Client(socket, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		socket.Close()
		if strings.HasSuffix(err.Error(), "handshake failure") {
			return nil, foreignError("TLS: " + err.Error() + "; a server without TLS replies so")
		}
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return secured, nil
}
