#!/usr/bin/env bash
# Smoke test of a built binary, from outside: generate, import, the three routes, export, kill -9,
# SIGTERM, a snapshot, another number of shards. Usage: tests/smoke.sh [target/release/chatshard]
#
# Needs curl and jq. Ports are the system's choice; everything is in a throw-away directory.
set -euo pipefail

binary=$(realpath "${1:-target/release/chatshard}")
work=$(mktemp -d)
server=
cleanup() {
    if [[ -n $server ]]; then kill -KILL "$server" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap cleanup EXIT
cd "$work"
unset "${!CHATSHARD_@}"

say() { printf 'smoke: %s\n' "$*"; }
fail() {
    printf 'smoke: FAILED: %s\n' "$*" >&2
    if [[ -f messages ]]; then tail -n 20 messages >&2; fi
    exit 1
}

# start SHARDS: serves ./data and waits until it is ready; sets tcp, http and admin.
start() {
    : >messages
    "$binary" serve --data-dir data --shards "$1" --listen 127.0.0.1:0 --http 127.0.0.1:0 \
        --admin 127.0.0.1:0 --log-format json 2>messages &
    server=$!
    local ready
    for _ in $(seq 1200); do
        ready=$(jq -cRr 'fromjson? | select(.fields.message == "ready") | .fields' messages)
        if [[ -n $ready ]]; then break; fi
        kill -0 "$server" 2>/dev/null || fail "the server ended"
        sleep 0.05
    done
    [[ -n $ready ]] || fail "the server does not get ready"
    tcp=$(jq -r '.tcp' <<<"$ready")
    # Optional doors are told as Some(ADDR).
    http=$(jq -r '.http | sub("^Some\\("; "") | sub("\\)$"; "")' <<<"$ready")
    admin=$(jq -r '.admin | sub("^Some\\("; "") | sub("\\)$"; "")' <<<"$ready")
}

stop() {
    kill -TERM "$server"
    local status=0
    wait "$server" || status=$?
    server=
    [[ $status -eq 0 ]] || fail "SIGTERM ended with exit code $status"
}

crash() {
    kill -KILL "$server"
    wait "$server" 2>/dev/null || true
    server=
}

# route NAME BODY: the answer of a route to $user.
route() {
    curl -fsS -X POST "http://$http/chat/$1" -H "X-User-Id: $user" -H 'Content-Type: application/json' -d "$2"
}

answers() {
    route mine-list '{}'
    echo
    route detail "{\"ids\":[\"$chat\",\"$gone\"]}"
    echo
}

# same FILE COMMAND...: the command's output must be what FILE holds.
same() {
    local expected=$1
    shift
    "$@" >now || fail "$*"
    cmp -s "$expected" now || fail "$* differs from $expected: $(diff "$expected" now | head -n 5)"
}

# Where a chat lies decides its place in an export, so that lines are compared, not their order.
export_sorted() { "$binary" export --addr "$tcp" - | LC_ALL=C sort; }

say "generate and import"
"$binary" bench generate --users 500 --chats 2000 --memberships 10000 --seed 7 --out set.jsonl
start 2
"$binary" import --addr "$tcp" set.jsonl
user=$(jq -r 'select(.member) | .member.user_id' set.jsonl | sort | uniq -c | sort -rn | awk 'NR == 1 {print $2}')

say "the three routes"
route mine-list '{}' >list
jq -e '.code == 200 and .msg == "" and (.data.items | length) > 1 and
    (.data.items[0] | keys_unsorted) == ["id", "chat_id", "is_top", "is_mute", "is_show", "is_hide",
    "max_read_seq", "last_online_time"]' list >/dev/null || fail "mine-list: $(head -c 300 list)"
chat=$(jq -r '.data.items[0].id' list)
gone=$(jq -r '.data.items[1].id' list)
route detail "{\"ids\":[\"$chat\"]}" >detail
jq -e '.code == 200 and .msg == "" and (.data.items[0] | keys_unsorted) == ["id", "creator_id", "type",
    "status", "is_enc", "last_read_sequence", "last_sequence", "last_time", "created_at"]' \
    detail >/dev/null || fail "detail: $(head -c 300 detail)"
[[ $(route delete "{\"ids\":[\"$gone\"]}") == '{"code":200,"data":null,"msg":""}' ]] || fail "delete"
route mine-list '{}' | jq -e --arg gone "$gone" '.data.items | all(.id != $gone)' >/dev/null || fail "deleted and listed"
curl -fsS "http://$admin/healthz" >/dev/null || fail "healthz"
curl -fsS "http://$admin/readyz" >/dev/null || fail "readyz"
curl -fsS "http://$admin/metrics" >metrics || fail "metrics"
grep -q '^chatshard_chats 2000$' metrics || fail "metrics: $(head -c 300 metrics)"
curl -fsS -X POST "http://$admin/call/advance" -d "{\"chat_id\":\"$chat\",\"allocate\":3}" |
    jq -e '.code == 200 and .data.last_sequence == .data.first_sequence + 2' >/dev/null || fail "call/advance"
answers >answers_before
export_sorted >export_before

say "kill -9, and the same answers"
crash
start 2
same answers_before answers
same export_before export_sorted

say "SIGTERM, another number of shards, and the same answers"
stop
"$binary" inspect data >/dev/null || fail "inspect"
start 3
same answers_before answers
same export_before export_sorted

say "a snapshot, kill -9, one shard, and the same answers"
"$binary" call snapshot --addr "$tcp" | jq -e '.bytes > 0' >/dev/null || fail "snapshot"
crash
start 1
same answers_before answers
same export_before export_sorted

say "the export in an empty store is the same store"
"$binary" export --addr "$tcp" all.jsonl
stop
mv data data.first
start 2
"$binary" import --addr "$tcp" all.jsonl
same answers_before answers
same export_before export_sorted
stop
say "passed"
