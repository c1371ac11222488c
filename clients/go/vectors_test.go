package chatshard

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"sync/atomic"
	"testing"
	"time"
)

const referencePath = "../../docs/reference/"

// A vector is a request, a reply, or both, in JSON and in bytes.
type vector struct {
	Name      string
	Command   string
	RequestID uint64 `json:"request_id"`
	Arguments map[string]any
	Request   string
	Status    int
	Body      any
	Compare   string
	Reply     string
}

type vectorFile struct {
	VaryingTexts                                 []string `json:"varying_texts"`
	Conversation, Members, Errors, Events, Forms []vector
	Slots                                        []struct {
		Key      string
		Seed     uint64
		Hash     string
		Slot     uint64
		ShardOf4 uint64 `json:"shard_of_4"`
	}
}

// A schemaField is a field in protocol.json.
type schemaField struct {
	Name     string
	Type     string
	Nullable bool
}

// A schemaFile is what the tests need of protocol.json.
type schemaFile struct {
	Types   []struct{ Name string }
	Records []struct {
		Name   string
		Fields []schemaField
	}
	Commands []struct {
		Name      string
		Code      byte
		Arguments []schemaField
		Reply     []schemaField
	}
}

func readJSON(t testing.TB, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(referencePath + name)
	if err == nil {
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		err = decoder.Decode(into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A vectorTest converts between the JSON of the vectors and the types of the client.
type vectorTest struct {
	file   vectorFile
	schema schemaFile
}

func readVectors(t testing.TB) *vectorTest {
	v := new(vectorTest)
	readJSON(t, "protocol-vectors.json", &v.file)
	readJSON(t, "protocol.json", &v.schema)
	return v
}

func (v *vectorTest) command(name string) (arguments, reply []schemaField, code byte) {
	for _, one := range v.schema.Commands {
		if one.Name == name {
			return one.Arguments, one.Reply, one.Code
		}
	}
	panic("no command " + name)
}

func (v *vectorTest) record(name string) []schemaField {
	for _, one := range v.schema.Records {
		if one.Name == name {
			return one.Fields
		}
	}
	return nil
}

// fill sets the fields of a struct, which stand in the order of the schema, from a JSON object.
func (v *vectorTest) fill(into reflect.Value, fields []schemaField, object map[string]any) {
	for i, field := range fields {
		if value := object[field.Name]; value != nil {
			v.set(into.Field(i), field.Type, value)
		}
	}
}

func (v *vectorTest) set(into reflect.Value, kind string, value any) {
	switch {
	case into.Kind() == reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		v.set(into.Elem(), kind, value)
	case kind[0] == '[':
		for _, item := range value.([]any) {
			one := reflect.New(into.Type().Elem()).Elem()
			v.set(one, kind[1:len(kind)-1], item)
			into.Set(reflect.Append(into, one))
		}
		if into.IsNil() {
			into.Set(reflect.MakeSlice(into.Type(), 0, 0))
		}
	case kind == "time":
		into.Set(reflect.ValueOf(time.UnixMilli(int64(number(value)))))
	case kind == "bool":
		into.SetBool(value.(bool))
	case kind == "flag":
		into.SetBool(number(value) == 1)
	case into.Kind() == reflect.String:
		into.SetString(value.(string))
	case v.record(kind) != nil:
		v.fill(into, v.record(kind), value.(map[string]any))
	default:
		into.SetUint(number(value))
	}
}

func number(value any) uint64 {
	var n uint64
	if _, err := fmt.Sscan(value.(json.Number).String(), &n); err != nil {
		panic(err)
	}
	return n
}

// object makes the JSON of a struct.
func (v *vectorTest) object(from reflect.Value, fields []schemaField) map[string]any {
	object := make(map[string]any)
	for i, field := range fields {
		object[field.Name] = v.value(from.Field(i), field.Type, field.Nullable)
	}
	return object
}

func (v *vectorTest) value(from reflect.Value, kind string, isNullable bool) any {
	switch {
	case isNullable && from.IsZero():
		return nil
	case from.Kind() == reflect.Pointer:
		return v.value(from.Elem(), kind, false)
	case kind[0] == '[':
		list := []any{}
		for i := 0; i < from.Len(); i++ {
			list = append(list, v.value(from.Index(i), kind[1:len(kind)-1], false))
		}
		return list
	case kind == "time":
		at := from.Interface().(time.Time)
		if at.IsZero() {
			return json.Number("0")
		}
		return json.Number(fmt.Sprint(at.UnixMilli()))
	case kind == "bool":
		return from.Bool()
	case kind == "flag":
		if from.Bool() {
			return json.Number("1")
		}
		return json.Number("0")
	case from.Kind() == reflect.String:
		return from.String()
	case v.record(kind) != nil:
		object := v.object(from, v.record(kind))
		if kind == "row" {
			object["id"] = object["chat_id"]
		}
		return object
	}
	return json.Number(fmt.Sprint(from.Uint()))
}

// arguments makes the arguments of a vector.
func (v *vectorTest) arguments(one vector) encodable {
	arguments := vectorTypes[one.Command].arguments()
	if fields, _, _ := v.command(one.Command); len(fields) > 0 {
		v.fill(reflect.ValueOf(arguments).Elem(), fields, one.Arguments)
	}
	return arguments
}

// body makes the JSON of a reply.
func (v *vectorTest) body(command string, reply decodable) any {
	if _, isNil := reply.(noReply); isNil {
		return nil
	}
	_, fields, _ := v.command(command)
	if len(fields) == 0 {
		return map[string]any{}
	}
	return v.object(reflect.ValueOf(reply).Elem(), fields)
}

func frameOf(t testing.TB, text string) []byte {
	t.Helper()
	frame, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

// payloadOf cuts a frame as a connection does.
func payloadOf(t testing.TB, frame []byte) []byte {
	t.Helper()
	frames := &frameReader{source: bytes.NewReader(frame), max: 16 << 20}
	payload, err := frames.next()
	if err != nil || len(payload) != len(frame)-4 {
		t.Fatalf("%x: %v", frame, err)
	}
	return payload
}

func TestRequestsOfTheVectorsAreEncodedByteForByte(t *testing.T) {
	v := readVectors(t)
	count := 0
	for _, one := range append(v.file.Conversation, v.file.Members...) {
		if one.Request == "" {
			continue
		}
		var e encoder
		v.arguments(one).encode(&e)
		_, _, code := v.command(one.Command)
		frame := hex.EncodeToString(appendRequest(nil, one.RequestID, code, e.bytes))
		if frame != one.Request || e.err != nil {
			t.Errorf("%s\n got %s\nwant %s %v", one.Name, frame, one.Request, e.err)
		}
		count++
	}
	if count < 40 {
		t.Errorf("only %d requests", count)
	}
}

func TestRepliesOfTheVectorsAreDecoded(t *testing.T) {
	v := readVectors(t)
	all := append(append(v.file.Conversation, v.file.Members...), v.file.Events...)
	all = append(append(all, v.file.Forms...), v.file.Errors...)
	for _, one := range all {
		if one.Reply == "" {
			continue
		}
		d := decoder{bytes: payloadOf(t, frameOf(t, one.Reply))}
		head := readHead(&d)
		if head.id != one.RequestID || head.status != one.Status {
			t.Errorf("%s: id %d, status %d", one.Name, head.id, head.status)
		}
		var got any
		if head.status == statusOK {
			reply := vectorTypes[one.Command].reply()
			reply.decode(&d)
			got = v.body(one.Command, reply)
		} else {
			got = errorBody(readError(&d, head.status), one.Body.(map[string]any))
		}
		if err := head.finish(&d); err != nil {
			t.Errorf("%s: %v", one.Name, err)
		}
		if !reflect.DeepEqual(got, one.Body) {
			t.Errorf("%s\n got %v\nwant %v", one.Name, got, one.Body)
		}
	}
}

func errorBody(e *Error, want map[string]any) map[string]any {
	body := map[string]any{"error": e.Name, "message": e.Message}
	if want["address"] != nil {
		body["address"] = e.moved
		body["epoch"] = want["epoch"]
	}
	return body
}

func TestErrorsOfTheVectorsHaveTheirOutcomes(t *testing.T) {
	v := readVectors(t)
	want := map[string]Outcome{
		"The node is a standby, and names the active.":                       NotApplied,
		"The server has no place for the connection.":                        NotApplied,
		"The log's queue is full.":                                           NotApplied,
		"Nothing was applied.":                                               NotApplied,
		"The change may or may not survive.":                                 Unknown,
		"A status that this protocol does not have: the outcome is unknown.": Unknown,
	}
	for _, one := range v.file.Errors {
		outcome := want[one.Name]
		if outcome == 0 {
			outcome = Refused
		}
		delete(want, one.Name)
		message := one.Body.(map[string]any)["message"].(string)
		if got := outcomeOf(one.Status, message); got != outcome {
			t.Errorf("%s: %v, not %v", one.Name, got, outcome)
		}
	}
	if len(want) > 0 {
		t.Errorf("no vectors: %v", want)
	}
}

func TestSlotsOfTheVectors(t *testing.T) {
	for _, one := range readVectors(t).file.Slots {
		hash := xxh64(one.Key, one.Seed)
		if got := fmt.Sprintf("%016x", hash); got != one.Hash || hash%4096 != one.Slot {
			t.Errorf("%s: %s, slot %d", one.Key, got, hash%4096)
		}
		wide := &table{hello: &Hello{Shards: 4, Slots: 4096, HashSeed: one.Seed}}
		wide.places = make([]atomic.Pointer[connection], 4)
		if place := wide.placeOf(one.Key); uint64(place) != one.ShardOf4 {
			t.Errorf("%s: place %d", one.Key, place)
		}
	}
}

// The other lengths of xxh64, with the values of its reference implementation.
func TestHashOfLongKeys(t *testing.T) {
	for key, want := range map[string]uint64{
		"":  0xef46db3751d8e999,
		"a": 0xd24ec4f1a98c6e5b,
		"Nobody inspects the spammish repetition": 0xfbcea83c8a378bf1,
	} {
		if got := xxh64(key, 0); got != want {
			t.Errorf("%q: %x", key, got)
		}
	}
}
