#!/usr/bin/env bash
# The programs of examples/ against the demo: each prints what it should.
# Usage: tests/examples.sh [target/debug], with the binary and examples/ in that directory.
set -euo pipefail

built=$(realpath "${1:-target/debug}")
work=$(mktemp -d)
server=
watching=
cleanup() {
    if [[ -n $watching ]]; then kill -KILL "$watching" 2>/dev/null || true; fi
    # SIGTERM: the demo removes its directory.
    if [[ -n $server ]]; then kill -TERM "$server" 2>/dev/null && wait "$server" || true; fi
    rm -rf "$work"
}
trap cleanup EXIT
unset "${!CHATSHARD_@}"
export CHATSHARD_ADDR="unix:$work/socket"

fail() {
    printf 'examples: FAILED: %s\n' "$*" >&2
    exit 1
}

# prints NAME EXPECTED ARGUMENTS...: the example prints these lines.
prints() {
    local name=$1 expected=$2
    shift 2
    local said
    said=$("$built/examples/$name" "$@" 2>"$work/errors") || fail "$name: $(cat "$work/errors")"
    [[ $said == "$expected" ]] || fail "$name prints: $said"
    printf 'examples: %s is right\n' "$name"
}

"$built/chatshard" serve --demo --listen "$CHATSHARD_ADDR" --http off --admin off >"$work/out" 2>&1 &
server=$!
for _ in $(seq 600); do
    if grep -q 'demo with throw-away data is ready' "$work/out"; then break; fi
    kill -0 "$server" 2>/dev/null || fail "the demo ended: $(cat "$work/out")"
    sleep 0.05
done

# It ends after the changes of send_and_read: two joins, the chat, its message, a read mark, and more.
"$built/examples/watch" 5 >"$work/changes" 2>"$work/watching" &
watching=$!
for _ in $(seq 200); do
    if grep -q 'watching from offset' "$work/watching"; then break; fi
    sleep 0.05
done

prints send_and_read 'the first attempt: the message has sequence 1
a second attempt: the message has sequence 1
bob'"'"'s newest chat has 1 unread message
bob has read up to 1: 0 unread
the chat is dissolved'

for _ in $(seq 200); do
    if ! kill -0 "$watching" 2>/dev/null; then break; fi
    sleep 0.05
done
kill -0 "$watching" 2>/dev/null && fail "watch waits for more than: $(cat "$work/changes")"
wait "$watching" || fail "watch: $(cat "$work/watching")"
watching=
for change in Create Join Advance; do
    grep -q "^$change g_example_" "$work/changes" || fail "watch lacks $change: $(cat "$work/changes")"
done
printf 'examples: watch is right\n'

prints sync_device 'first sync: 2 changes, 2 chats
after a pin and a delete: 2 changes, 1 chat, 1 pinned
nothing new: 0 changes'
printf 'examples: passed\n'
