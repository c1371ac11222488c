# The commands of this project. `.ci/run` uses them too. `just` alone lists them.

set shell := ["bash", "-euo", "pipefail", "-c"]

# Features besides the default ones: `just features=journal-etcd test`
features := ""

default:
    @just --list --unsorted

# A server with a few chats on a throw-away directory
demo:
    cargo run --release -- serve --demo

# All tests, with real processes that are killed under load
test:
    cargo test --locked --workspace --features "{{features}}"

# One test binary, or some tests of it: just suite rules scenarios::read
suite name *filter:
    cargo test --locked --features "{{features}}" --test {{name}} {{filter}}

# What the pre-commit hook runs: format, spelling, house rules
quick: format typos tidy

# Whether the code is formatted
format:
    cargo fmt --all --check

# Clippy on everything, with warnings as errors
lint:
    cargo clippy --locked --workspace --all-targets --features "{{features}}" -- -D warnings

# Spelling of code and documents
typos:
    typos

# Layers, names, sizes, and documents that keep up with the code
tidy:
    cargo test --locked --test tidy

# The documentation of the code, with warnings as errors
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --workspace --features "{{features}}"

# Licenses, bans and sources of the dependencies
dependencies:
    cargo deny --offline check --hide-inclusion-graph bans licenses sources

# Whether the simulation finds the faults that are planted for it
planted-faults:
    cargo test --locked --features planted-faults --test simulation --test journal --test members faults

# Whether the fuzz targets compile; `fuzz/run` runs one, with a nightly compiler
fuzz-targets:
    cargo check --locked --manifest-path fuzz/Cargo.toml --target-dir target/fuzz

# Whether the program compiles for macOS, without a Mac
mac:
    .ci/mac --features "{{features}}"

# Whether the benchmarks work; the figures mean nothing
benches-once:
    CHATSHARD_BENCH_CHATS=1000 cargo test --locked --features "{{features}}" --bench frame --bench shard --bench log --bench end_to_end --bench giants --bench neighbors --bench scaling

# A stripped `dist` build as an archive with its checksum, in target/release-tarball
release-tarball:
    cargo build --locked --profile dist --features journal-etcd
    .ci/pack "${CARGO_TARGET_DIR:-target}/dist/chatshard" target/release-tarball

# The tests of the clients in all languages, or of those that are named: just clients go java
clients *languages="go java typescript python":
    cargo build --locked --bin chatshard --features "{{features}}"
    for language in {{languages}}; do CHATSHARD_BIN=$(realpath "${CARGO_TARGET_DIR:-target}/debug/chatshard") "clients/$language/test"; done

# Writes the schema of the protocol, and what is generated from it in the clients
generate-clients:
    cargo run --locked --quiet -- schema >target/protocol.json
    mv target/protocol.json docs/reference/protocol.json
    python3 clients/generate

# Whether the generated files of the clients are those of the schema
generated:
    python3 clients/generate --check

# The programs of examples/ against the demo
examples:
    cargo build --locked --examples --bin chatshard
    tests/examples.sh target/debug

# etcd for the tests and for `just cluster`, into target/engine
engine:
    tests/cluster/engine

# An engine of three members and three nodes on loopback until Ctrl-C, with all messages in one directory
cluster: engine
    cargo build --locked --release --features journal-etcd
    tests/cluster/run

# 100 rounds of members of a journal and of the engine that are killed or stand still under load
long-cluster: engine
    CHATSHARD_CLUSTER_ROUNDS=100 cargo test --release --features journal-etcd --test cluster -- --nocapture

# Every cut of the network 3 times, between machines in namespaces, about 15 minutes
long-network: engine
    CHATSHARD_NETWORK_ROUNDS=3 cargo test --release --features journal-etcd --test cluster -- --nocapture network

# Appends of 200 B, 8 KiB and 64 KiB through the adapter to three members on loopback
engine-latency: engine
    CHATSHARD_ENGINE_APPENDS=1000 cargo test --release --features journal-etcd --test journal -- --nocapture appends_are_timed

# What a journal costs, and how long its members need; `--quick` and `--parts` measure less
high-availability *options: engine
    benches/high-availability {{options}}

# A built binary from outside: import, the routes, kill -9, another number of shards
smoke binary="target/debug/chatshard":
    tests/smoke.sh {{binary}}

# Instructions of the hot commands; `--against OTHER --bound 0.5` compares with another build
instructions *options:
    benches/instructions {{options}}

# CPU time per request beside Valkey and ready bytes
side-by-side *options:
    benches/side-by-side {{options}}

# 500 rounds of kill -9 under load, about 8 minutes
long-kills:
    CHATSHARD_KILL_ROUNDS=500 cargo test --release --test disk -- --nocapture kill_9

# 50 000 seeds of the simulation
long-simulation:
    CHATSHARD_SIM_SEEDS=50000 cargo test --release --test simulation -- --nocapture

# 1000 random histories of three members of a journal
long-members:
    CHATSHARD_MEMBERS_SEEDS=1000 cargo test --release --test members -- --nocapture history

# 5000 histories of three members on an engine that breaks its contract
long-broken-engine:
    CHATSHARD_BROKEN_SEEDS=5000 cargo test --release --test members -- --nocapture broken_engine

# 100 000 random histories of a journal, on engines with and without a condition
long-journal:
    CHATSHARD_JOURNAL_HISTORIES=100000 cargo test --release --test journal -- --nocapture histories

# Clients that ask too much, 10 s each
long-overload:
    CHATSHARD_OVERLOAD_SECONDS=10 cargo test --release --test overload -- --nocapture --test-threads 1

# 100 000 random sequences against the model
long-model:
    PROPTEST_CASES=100000 cargo test --release --test rules model::

# Everything that a change must pass
ci:
    .ci/run

# Runs `just quick` before each commit of this clone
hooks:
    git config core.hooksPath .githooks
