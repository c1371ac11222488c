package chatshard

// A ChatType is the type of a chat. A newer server may have more.
type ChatType uint8

// The types of chats.
const (
	ChatSingle   ChatType = 1
	ChatGroup    ChatType = 2
	ChatOfficial ChatType = 3
)

// A ChatStatus is the status of a chat. A newer server may have more.
type ChatStatus uint8

// The statuses of chats. A disabled one refuses messages.
const (
	StatusNormal   ChatStatus = 1
	StatusDisabled ChatStatus = 2
)

// What happened to a row, in SyncItem.Op.
const (
	// SyncUpsert: the row is in the list, with these fields.
	SyncUpsert = "upsert"
	// SyncRemove: it is not.
	SyncRemove = "remove"
)

// Ptr returns a pointer to a value, for arguments that may be left out although 0 is a value of
// them.
func Ptr[T any](value T) *T {
	return &value
}

// A command is what a client knows of one, whatever its arguments.
type command struct {
	code byte
	name string
	// isRead is set if it changes nothing, so that it can be repeated.
	isRead bool
}

// noArguments are the arguments of a command without any.
type noArguments struct{}

func (noArguments) encode(e *encoder) {
	e.array(0)
}

// firstOf returns the first text that is not empty.
func firstOf(texts ...string) string {
	for _, one := range texts {
		if one != "" {
			return one
		}
	}
	return ""
}
