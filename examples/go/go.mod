module chatshard.dev/examples/go

go 1.21

require chatshard.dev/go v0.0.0

replace chatshard.dev/go => ../../clients/go
