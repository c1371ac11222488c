// Command bench compares the client with a raw loop on the same server: frames that are made by
// hand, and replies of which only the length is read. Both use one connection.
//
//	go run ./bench [-seconds 1] [-address HOST:PORT]
//
// Without an address it starts a server with its log off.
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"runtime/debug"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	chatshard "chatshard.dev/go"
	"chatshard.dev/go/chatshardtest"
)

const (
	user  = "alice"
	rows  = 50
	depth = 64
	// rounds is how often each way is measured.
	rounds = 15
)

// A load is one command, in both ways.
type load struct {
	name string
	call func(ctx context.Context, client *chatshard.Client) error
	// code and arguments are the request of the raw loop.
	code      byte
	arguments []byte
}

func text(s string) []byte {
	return append([]byte{0xa0 | byte(len(s))}, s...)
}

func join(parts ...[]byte) []byte {
	var all []byte
	for _, part := range parts {
		all = append(all, part...)
	}
	return all
}

var loads = []load{
	{"list50", func(ctx context.Context, client *chatshard.Client) error {
		reply, err := client.List(ctx, chatshard.ListArgs{UserID: user})
		if err == nil && len(reply.Items) != rows {
			err = fmt.Errorf("%d rows", len(reply.Items))
		}
		return err
	}, 16, join([]byte{0x93}, text(user), []byte{0xc0, 0xc0})},
	{"detail1", func(ctx context.Context, client *chatshard.Client) error {
		_, err := client.Detail(ctx, chatshard.DetailArgs{IDs: []string{first}, UserID: user})
		return err
	}, 17, join([]byte{0x92, 0x91}, text(first), text(user))},
	{"advance", func(ctx context.Context, client *chatshard.Client) error {
		_, err := client.Advance(ctx, chatshard.AdvanceArgs{ChatID: first, Allocate: 1})
		return err
	}, 32, join([]byte{0x98}, text(first), []byte{0xc0, 1, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0})},
}

func chat(i int) string {
	return fmt.Sprintf("g_0123456789%02d", i)
}

// first is the chat that detail1 and advance ask for.
var first = chat(0)

func main() {
	address := flag.String("address", "", "a running server")
	seconds := flag.Float64("seconds", 1, "how long to measure each way")
	flag.Parse()
	// With the tiny heap of this program the collector would run a hundred times a second.
	debug.SetGCPercent(1000)
	if *address == "" {
		server, err := chatshardtest.Run("--log", "off")
		if err != nil {
			log.Fatal(err)
		}
		defer server.Stop()
		*address = server.Address
	}
	ctx := context.Background()
	options := chatshard.Options{Addresses: []string{*address}, Connections: 1, NoKeys: true}
	client, err := chatshard.Connect(ctx, options)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	for i := 0; i < rows; i++ {
		client.Create(ctx, chatshard.CreateArgs{
			ID: chat(i), Type: chatshard.ChatGroup, CreatorID: user, UserIDs: []string{user}})
	}
	// The raw loop is on the same core of the server.
	shard := byte(client.Hello().Shard)
	measured := time.Duration(*seconds * float64(time.Second))
	fmt.Println("| command | depth | client, calls/s | raw loop, calls/s | ratio |")
	fmt.Println("|---|---|---|---|---|")
	for _, one := range loads {
		for _, inFlight := range []int{1, depth} {
			// Both ways take turns, so that a busy machine disturbs both.
			var own, raw, ratios []float64
			for i := 0; i < rounds; i++ {
				own = append(own, withClient(ctx, client, one, inFlight, measured/rounds))
				raw = append(raw, withoutClient(*address, shard, one, inFlight, measured/rounds))
				ratios = append(ratios, own[i]/raw[i])
			}
			fmt.Printf("| %s | %d | %.0f | %.0f | %.2f |\n", one.name, inFlight,
				median(own), median(raw), median(ratios))
		}
	}
}

func median(values []float64) float64 {
	sort.Float64s(values)
	return values[len(values)/2]
}

// withClient returns how many calls in a second so many goroutines make.
func withClient(
	ctx context.Context, client *chatshard.Client, one load, inFlight int, measured time.Duration,
) float64 {
	var count atomic.Int64
	var callers sync.WaitGroup
	began := time.Now()
	for i := 0; i < inFlight; i++ {
		callers.Add(1)
		go func() {
			defer callers.Done()
			n := int64(0)
			for time.Since(began) < measured {
				if err := one.call(ctx, client); err != nil {
					log.Fatal(err)
				}
				n++
			}
			count.Add(n)
		}()
	}
	callers.Wait()
	return float64(count.Load()) / time.Since(began).Seconds()
}

func request(id uint64, code byte, arguments []byte) []byte {
	frame := binary.BigEndian.AppendUint32(nil, uint32(11+len(arguments)))
	frame = binary.BigEndian.AppendUint64(append(frame, 0x93, 0xcf), id)
	return append(append(frame, code), arguments...)
}

// withoutClient keeps so many requests in flight from one goroutine.
func withoutClient(
	address string, shard byte, one load, inFlight int, measured time.Duration,
) float64 {
	socket, err := net.Dial("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	defer socket.Close()
	replies := bufio.NewReaderSize(socket, 64<<10)
	id, out := uint64(1), request(1, 1, []byte{0x93, 0xc0, 0xc0, shard})
	socket.Write(out)
	skip(replies)
	out = out[:0]
	for i := 0; i < inFlight; i++ {
		id++
		out = append(out, request(id, one.code, one.arguments)...)
	}
	count, began := 0, time.Now()
	for time.Since(began) < measured {
		socket.Write(out)
		out = out[:0]
		for isFirst := true; isFirst || replies.Buffered() > 0; isFirst = false {
			skip(replies)
			count++
			id++
			start := len(out)
			out = append(out, request(0, one.code, one.arguments)...)
			binary.BigEndian.PutUint64(out[start+6:], id)
		}
	}
	return float64(count) / time.Since(began).Seconds()
}

func skip(replies *bufio.Reader) {
	var length [4]byte
	if _, err := io.ReadFull(replies, length[:]); err != nil {
		log.Fatal(err)
	}
	if _, err := replies.Discard(int(binary.BigEndian.Uint32(length[:]))); err != nil {
		log.Fatal(err)
	}
}
