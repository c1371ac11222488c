//! Requests through both doors over loopback: a real server in this process, on one shard, without
//! a log.
//!
//! ```text
//! cargo bench --bench end_to_end
//! ```
//!
//! TCP carries sixteen requests at a time on one connection; HTTP carries one after the other. The
//! client runs in this process too, so the figures are not those of the server alone.
//! `benches/side-by-side` measures the server alone.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]
// The test server is shared with the tests, which use more of it.
#![allow(dead_code)]

#[path = "../tests/common/server.rs"]
mod server;

use chatshard::client::{ClientOptions, Connection};
use chatshard::command::{Command, Kind};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};
use server::{HttpConnection, TestServer};
use tokio::runtime::Builder;

const USERS: usize = 100;
const ROWS: usize = 50;
const CHATS: usize = USERS * ROWS;
const PIPELINED: u64 = 16;

fn chat_id(number: usize) -> String {
    format!("g_{:016x}", number % CHATS)
}

fn user_id(number: usize) -> String {
    format!("u_{:016x}", number % USERS)
}

fn command(kind: Kind, arguments: Value) -> Command {
    Command::from_json(kind, arguments).unwrap()
}

/// The `number`-th request of a kind, drawn from all data.
fn request(kind: Kind, number: usize) -> Command {
    // A step that has no common divisor with the sizes above.
    let user = number * 37 % USERS;
    let chat = |nth: usize| chat_id(user + nth * USERS);
    let arguments = match kind {
        Kind::List => json!({"user_id": user_id(user)}),
        Kind::Detail => {
            json!({"ids": (0..20).map(chat).collect::<Vec<_>>(), "user_id": user_id(user)})
        }
        Kind::MarkRead => {
            json!({"user_id": user_id(user), "chat_id": chat(number), "seq": number % 1000})
        }
        _ => json!({"chat_id": chat(number), "allocate": 1}),
    };
    command(kind, arguments)
}

/// Sends requests at once and waits for all replies. None may be an error.
async fn ask(connection: &mut Connection, commands: impl IntoIterator<Item = Command>) {
    for command in commands {
        connection.send(&command).unwrap();
    }
    connection.flush().await.unwrap();
    while connection.in_flight() > 0 {
        connection.receive().await.unwrap().outcome.unwrap();
    }
}

async fn fill(connection: &mut Connection) {
    let numbers: Vec<usize> = (0..CHATS).collect();
    for numbers in numbers.chunks(1000) {
        let chats: Vec<Value> = numbers
            .iter()
            .map(|&chat| json!({"id": chat_id(chat), "creator_id": user_id(chat), "type": 2, "last_sequence": 1000, "created_at": 1}))
            .collect();
        let members: Vec<Value> = numbers
            .iter()
            .map(|&chat| json!({"user_id": user_id(chat), "chat_id": chat_id(chat)}))
            .collect();
        let import = command(Kind::Import, json!({"chats": chats, "members": members}));
        ask(connection, [import]).await;
    }
}

fn doors(criterion: &mut Criterion) {
    let server = TestServer::start(&[("shards", "1"), ("log", "off")]);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (mut connection, _) =
        runtime.block_on(Connection::connect(server.tcp(), &ClientOptions::default())).unwrap();
    runtime.block_on(fill(&mut connection));
    let mut number = 0;

    let mut group = criterion.benchmark_group("tcp");
    group.throughput(Throughput::Elements(PIPELINED));
    let cases = [
        ("list of 50", Kind::List),
        ("detail of 20", Kind::Detail),
        ("advance", Kind::Advance),
        ("mark_read", Kind::MarkRead),
    ];
    for (name, kind) in cases {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let commands = (0..PIPELINED).map(|_| {
                    number += 1;
                    request(kind, number)
                });
                runtime.block_on(ask(&mut connection, commands));
            });
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("http");
    group.throughput(Throughput::Elements(1));
    let mut http = HttpConnection::open(server.http());
    group.bench_function("mine-list of 50", |bencher| {
        bencher.iter(|| {
            number += 1;
            let (status, body) = http.post_as(&user_id(number), "/chat/mine-list", "{}");
            assert_eq!(status, 200);
            body.len()
        });
    });
    group.finish();
}

criterion_group!(benches, doors);
criterion_main!(benches);
