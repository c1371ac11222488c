//! Strangers hold little, for seconds, and keep no other client out.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;

use chatshard::command::{ErrorCode, Kind};
use chatshard::limits::{HELLO_BYTES_MAX, STRANGERS_MAX, STRANGERS_MIN};
use serde_json::json;

use crate::common::raw::Raw;
use crate::common::served::*;

fn address(door: &str) -> SocketAddr {
    door.parse().unwrap()
}

/// A connection that sends these bytes and no more.
fn stuck(door: &str, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(door).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A connection that is evicted at once is as good.
    drop(stream.write_all(bytes));
    stream
}

/// Sends one request on a connection of its own, and returns the whole answer.
fn ask(door: &str, request: &str) -> String {
    let mut stream = stuck(door, request.as_bytes());
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer));
    answer
}

fn get(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n{more}\r\n")
}

/// The value of a line of `/metrics`, with the labels in this order.
fn metric(admin: &str, name: &str, more: &str) -> u64 {
    let page = ask(admin, &get("/metrics", more));
    let line = page.lines().find(|line| line.starts_with(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in {page}"));
    line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64
}

fn dropped(admin: &str, door: &str, reason: &str) -> u64 {
    let name =
        format!("chatshard_connections_dropped_total{{door=\"{door}\",reason=\"{reason}\"}}");
    metric(admin, &name, "")
}

#[test]
fn a_connection_without_hello_is_closed_within_seconds_whether_tokens_are_set_or_not() {
    let files = Files::new();
    let tokens = files.write("tokens", "the-token\n");
    let open_files = Files::new();
    let open = Served::start(&open_files, &[]);
    let guarded = Served::start(&files, &["--token-file", &tokens]);
    let mut silent = Vec::new();
    for server in [&open, &guarded] {
        for bytes in [&b""[..], &[0, 0], &[0, 0, 0, 100, 0x93, 1]] {
            let mut raw = Raw::open(address(&server.tcp));
            raw.stream.write_all(bytes).unwrap();
            silent.push(raw);
        }
    }
    for raw in &mut silent {
        raw.assert_refused(0, ErrorCode::Unauthenticated);
    }
    assert_eq!(dropped(&open.admin, "tcp", "not_authenticated"), 3);
    assert!(open.stop().contains("a connection without hello was closed"));
    guarded.stop();
}

#[test]
fn the_first_frame_has_some_kib_and_later_ones_may_be_long() {
    // The directory must be there until the server has stopped.
    let files = Files::new();
    let server = Served::start(&files, &[]);
    let mut raw = Raw::open(address(&server.tcp));
    let claimed = u32::try_from(HELLO_BYTES_MAX + 1).unwrap();
    raw.stream.write_all(&claimed.to_be_bytes()).unwrap();
    raw.assert_refused(0, ErrorCode::Unauthenticated);
    // The longest token and name fit, and a long request may follow at once.
    let mut raw = Raw::open(address(&server.tcp));
    let text = "x".repeat(4096);
    let users: Vec<String> = (0..2000).map(|number| format!("user-{number:0>40}")).collect();
    raw.send(&[
        (1, Kind::Hello, json!({"token": text, "client": text})),
        (2, Kind::Create, json!({"id": "g", "type": 2, "creator_id": "a", "user_ids": users})),
    ]);
    let replies = raw.receive_all(2);
    assert!(replies.values().all(Result::is_ok), "{replies:?}");
    server.stop();
}

#[test]
fn silent_connections_keep_nobody_out() {
    let files = Files::new();
    let socket = files.path("tcp");
    let unix = format!("unix:{}", socket.display());
    let server = Served::start(&files, &["--connections-max=4"]);
    let other = Files::new();
    let at_unix = Served::start(&other, &["--connections-max=4", &format!("--listen={unix}")]);
    let silent: Vec<TcpStream> =
        (0..2 * STRANGERS_MIN).map(|_| stuck(&server.tcp, &[0, 0])).collect();
    let silent_http: Vec<TcpStream> =
        (0..2 * STRANGERS_MIN).map(|_| stuck(&server.http, b"POST /chat/")).collect();
    let silent_unix: Vec<UnixStream> =
        (0..2 * STRANGERS_MIN).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    // Connections that were accepted stay, and new ones come in up to the limit.
    let mut known: Vec<Raw> = (0..3).map(|_| Raw::greeted(address(&server.tcp))).collect();
    call(&server.tcp, "", "ping", "{}").unwrap();
    call(&at_unix.tcp, "", "ping", "{}").unwrap();
    let list = "POST /chat/mine-list HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\
                x-user-id: a\r\ncontent-length: 0\r\n\r\n";
    let answer = ask(&server.http, list);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    for raw in &mut known {
        assert!(raw.call(2, Kind::Ping, json!({})).is_ok());
    }
    assert!(dropped(&server.admin, "tcp", "not_authenticated_evicted") >= 1);
    assert!(dropped(&server.admin, "http", "not_authenticated_evicted") >= 1);
    drop((silent, silent_http, silent_unix));
    server.stop();
    at_unix.stop();
}

#[test]
fn health_is_answered_beside_half_requests_and_full_places() {
    let files = Files::new();
    let server = Served::start(&files, &[]);
    let healthy = |when: &str| {
        for path in ["/healthz", "/readyz"] {
            let answer = ask(&server.admin, &get(path, ""));
            assert!(answer.starts_with("HTTP/1.1 200 "), "{path} {when}: {answer}");
        }
    };
    let half: Vec<TcpStream> =
        (0..400).map(|_| stuck(&server.admin, b"GET /healthz HTTP/1.1\r\nhost:")).collect();
    healthy("beside half requests");
    // These connections have sent a request, and keep their places.
    let mut kept = Vec::new();
    let full = loop {
        let mut stream = stuck(&server.admin, b"GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).unwrap();
        kept.push(stream);
        if &begin != b"HTTP/1.1 200" {
            break begin;
        }
        assert!(kept.len() < 1000, "there is no bound");
    };
    assert_eq!(&full, b"HTTP/1.1 429");
    healthy("beside full places");
    drop((half, kept));
    server.stop();
}

#[test]
fn a_half_head_is_dropped_within_seconds_and_counted() {
    // The directory must be there until the server has stopped.
    let files = Files::new();
    let server = Served::start(&files, &[]);
    let mut half = stuck(&server.http, b"POST /chat/mine-list HTTP/1.1\r\nx-user-id: a");
    // A health check does not authenticate, so its connection ends in seconds too.
    let mut asked = stuck(&server.admin, b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
    let mut answer = Vec::new();
    half.read_to_end(&mut answer).unwrap();
    asked.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{answer:?}");
    assert_eq!(dropped(&server.admin, "http", "not_authenticated"), 1);
    assert_eq!(dropped(&server.admin, "admin", "not_authenticated"), 1);
    server.stop();
}

/// Frames and bodies that come in parts share one budget, of 16 MiB here.
#[test]
fn half_requests_are_bounded_for_the_whole_node() {
    // The directory must be there until the server has stopped.
    let files = Files::new();
    let server = Served::start(&files, &["--memory-max=64MiB"]);
    let part = vec![0x90; 900 << 10];
    let mut half: Vec<Raw> = (0..20).map(|_| Raw::greeted(address(&server.tcp))).collect();
    for raw in &mut half {
        raw.stream.write_all(&(1_u32 << 20).to_be_bytes()).unwrap();
        drop(raw.stream.write_all(&part));
    }
    let head = "POST /chat/detail HTTP/1.1\r\nhost: 127.0.0.1\r\nx-user-id: a\r\n\
                content-length: 1000000\r\n\r\n";
    let bodies: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = stuck(&server.http, head.as_bytes());
            drop(stream.write_all(&part));
            stream
        })
        .collect();
    let evicted = |door| dropped(&server.admin, door, "incomplete_request_evicted");
    // 40 times 900 KiB are offered, and 16 MiB are taken.
    wait_until("half requests are dropped", || evicted("tcp") + evicted("http") >= 20);
    // A whole request of the same size gets through beside them.
    let users: Vec<String> = (0..7000).map(|number| format!("user-{number:0>110}")).collect();
    let create = json!({"id": "g", "type": 2, "creator_id": "a", "user_ids": users});
    wait_until("a long request is taken", || {
        let mut raw = Raw::greeted(address(&server.tcp));
        drop(raw.try_send(&[(2, Kind::Create, create.clone())]));
        match raw.receive() {
            Some((2, outcome)) => outcome.map(|_| true).unwrap(),
            // A part was there while nothing of the budget was left.
            _ => false,
        }
    });
    drop((half, bodies));
    server.stop();
}

#[test]
fn a_door_has_a_quarter_as_many_places_for_strangers() {
    assert_eq!(chatshard::admission::door::strangers_max(1), STRANGERS_MIN);
    assert_eq!(chatshard::admission::door::strangers_max(400), 100);
    assert_eq!(chatshard::admission::door::strangers_max(10_000), STRANGERS_MAX);
}
