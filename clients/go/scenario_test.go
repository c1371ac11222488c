package chatshard

import (
	"context"
	"reflect"
	"testing"
)

// The conversation of the vectors, with a fresh server. It is sent as the vectors have it, over one
// link, because it has a watch and its end in between.
func TestScenarioOfTheVectors(t *testing.T) {
	v := readVectors(t)
	options, _ := Options{Name: "doc/1"}.withDefaults()
	opened, err := connect(context.Background(), &options, startServer(t, "--shards", "2"), anyPlace)
	if err != nil {
		t.Fatal(err)
	}
	defer closeSocket(opened.socket)
	logs := make(map[string]any)
	watch := uint64(0)
	for _, one := range v.file.Conversation[1:] {
		if since, ok := one.Arguments["since"].(map[string]any); ok && logs[since["log"].(string)] != nil {
			since["log"] = logs[since["log"].(string)]
		}
		_, _, code := v.command(one.Command)
		if err := opened.send(one.RequestID, &command{code: code}, v.arguments(one)); err != nil {
			t.Fatal(err)
		}
		status, body := v.reply(t, opened, one, watch)
		if one.Command == "watch" {
			watch = one.RequestID
		}
		if one.Command == "sync" {
			logs[one.Body.(map[string]any)["log"].(string)] = body.(map[string]any)["log"]
		}
		v.compare(t, one, status, body)
	}
}

// reply reads the reply to a vector, and passes over further events of a watch.
func (v *vectorTest) reply(t *testing.T, opened *link, one vector, watch uint64) (int, any) {
	t.Helper()
	for {
		payload, err := opened.frames.next()
		if err != nil {
			t.Fatalf("%s: %v", one.Name, err)
		}
		d := decoder{bytes: payload}
		head := readHead(&d)
		if head.id == watch && watch != 0 {
			continue
		}
		if head.id != one.RequestID {
			t.Fatalf("%s: a reply to %d", one.Name, head.id)
		}
		var body any
		if head.status == statusOK {
			reply := vectorTypes[one.Command].reply()
			reply.decode(&d)
			body = v.body(one.Command, reply)
		} else {
			body = errorBody(readError(&d, head.status), nil)
		}
		if err := head.finish(&d); err != nil {
			t.Fatalf("%s: %v", one.Name, err)
		}
		return head.status, body
	}
}

func (v *vectorTest) compare(t *testing.T, one vector, status int, body any) {
	t.Helper()
	if status != one.Status {
		t.Errorf("%s: status %d, %v", one.Name, status, body)
		return
	}
	got, isObject := body.(map[string]any)
	want, _ := one.Body.(map[string]any)
	switch one.Compare {
	case "message":
		if got["error"] != want["error"] {
			t.Errorf("%s: %v", one.Name, got)
		}
		return
	case "texts":
		for _, name := range v.file.VaryingTexts {
			delete(got, name)
			delete(want, name)
		}
	case "fields":
		for name := range want {
			if _, has := got[name]; isObject && !has {
				t.Errorf("%s: no %s", one.Name, name)
			}
		}
		return
	}
	if !reflect.DeepEqual(body, one.Body) {
		t.Errorf("%s\n got %v\nwant %v", one.Name, body, one.Body)
	}
}
