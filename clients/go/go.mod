module chatshard.dev/go

go 1.21
