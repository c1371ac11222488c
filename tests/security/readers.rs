//! HTTP clients that send requests and do not read: they are held back, dropped in time, bounded
//! and counted.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::json;

use super::tls::{Issued, Tls};
use crate::common::served::*;

/// Gives a user a list of this many rows, of about 150 bytes each.
fn fill_list(files: &Files, tcp: &str, rows: usize, more: &[&str]) {
    let mut lines = String::new();
    for number in 0..rows {
        let id = format!("chat-{number:016x}");
        let chat = json!({"chat": {"id": id, "type": 2, "creator_id": "m"}});
        let member = json!({"member": {"user_id": "long", "chat_id": id}});
        lines.push_str(&format!("{chat}\n{member}\n"));
    }
    let lines = files.write("lines", &lines);
    client(&[&["import", &lines, "--addr", tcp], more].concat()).unwrap();
}

const LIST: &str = "POST /chat/mine-list HTTP/1.1\r\nhost: 127.0.0.1\r\nx-user-id: long\r\n\
                    content-length: 0\r\n\r\n";

/// Sends requests without reading, until the server takes no more.
fn ask_until_stuck(stream: &mut impl Write, request: &str) {
    for _ in 0..200 {
        match stream.write_all(request.as_bytes()) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return;
            }
            // It was already dropped for another connection.
            Err(_) => return,
        }
    }
}

fn page(admin: &str) -> String {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = "GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn value(page: &str, name: &str) -> u64 {
    let line = page.lines().find(|line| line.starts_with(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in {page}"));
    line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64
}

fn dropped(page: &str, door: &str) -> u64 {
    let of = |reason| {
        let labels = format!("{{door=\"{door}\",reason=\"{reason}\"}}");
        value(page, &format!("chatshard_connections_dropped_total{labels}"))
    };
    of("unread_replies") + of("unread_replies_evicted")
}

/// Every way in: plain, TLS and unix sockets, at the app's door and the admin listener.
#[test]
fn http_clients_that_do_not_read_are_dropped_at_every_door() {
    let all_files = [Files::new(), Files::new(), Files::new()];
    let [files, _, _] = &all_files;
    let (http, admin) = (files.path("http"), files.path("admin"));
    let doors =
        ["http", "admin"].map(|door| format!("--{door}=unix:{}", files.path(door).display()));
    let at_unix = Served::start(files, &[&doors[0], &doors[1]]);
    fill_list(files, &at_unix.tcp, 4000, &[]);
    let [_, files, _] = &all_files;
    let plain = Served::start(files, &[]);
    fill_list(files, &plain.tcp, 4000, &[]);
    let [_, _, files] = &all_files;
    let tls = Tls::write(files, &Issued::new());
    let in_tls = tls.start(files, &[]);
    fill_list(files, &in_tls.tcp, 4000, &["--tls-ca", &tls.root]);
    let body = r#"{"user_id":"long"}"#;
    let call = format!(
        "POST /call/list HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let short = Some(Duration::from_millis(300));
    let plain_reader = |door: &str, request: &str| {
        let mut stream = TcpStream::connect(door).unwrap();
        stream.set_write_timeout(short).unwrap();
        ask_until_stuck(&mut stream, request);
        stream
    };
    let unix_reader = |door: &std::path::Path, request: &str| {
        let mut stream = UnixStream::connect(door).unwrap();
        stream.set_write_timeout(short).unwrap();
        ask_until_stuck(&mut stream, request);
        stream
    };
    let tls_reader = |door: &str, request: &str| {
        let mut stream = tls.connect(door);
        stream.sock.set_write_timeout(short).unwrap();
        ask_until_stuck(&mut stream, request);
        stream
    };
    let kept = (
        plain_reader(&plain.http, LIST),
        plain_reader(&plain.admin, &call),
        unix_reader(&http, LIST),
        unix_reader(&admin, &call),
        tls_reader(&in_tls.http, LIST),
        tls_reader(&in_tls.admin, &call),
    );
    wait_until("the plain readers are dropped", || {
        let page = page(&plain.admin);
        dropped(&page, "http") == 1 && dropped(&page, "admin") == 1
    });
    for mut server in [plain, at_unix, in_tls] {
        let is_told = |line: &String| {
            line.contains("an HTTP connection was dropped") && line.contains("\"unread_replies\"")
        };
        // The plain ones' may have been read already.
        while server.messages.iter().filter(|line| is_told(line)).count() < 2 {
            server.wait_for("an HTTP connection was dropped");
        }
        server.stop();
    }
    drop(kept);
}

/// 64 readers at a door of 64 places. Each requests answers of about 3 MB.
#[test]
fn unread_answers_take_a_bounded_part_of_the_memory_and_places_for_a_bounded_time() {
    let files = Files::new();
    let server = Served::start(&files, &["--connections-max=64", "--memory-max=256MiB"]);
    fill_list(&files, &server.tcp, 20_000, &[]);
    let figures = || {
        let page = page(&server.admin);
        ["chatshard_memory_bytes", "chatshard_memory_live_bytes"].map(|name| value(&page, name))
    };
    let before = figures();
    let deaf: Vec<TcpStream> = (0..64)
        .map(|_| {
            let mut stream = TcpStream::connect(&server.http).unwrap();
            stream.write_all(LIST.repeat(4).as_bytes()).unwrap();
            stream
        })
        .collect();
    // Meanwhile there is memory, and chats can be created.
    let (mut most, mut number) = ([0; 2], 0);
    wait_until("a reader is served again", || {
        number += 1;
        let create = format!(r#"{{"id":"g{number}","type":2,"creator_id":"a","user_ids":["a"]}}"#);
        call(&server.tcp, "", "create", &create).unwrap();
        let now = figures();
        most = std::array::from_fn(|at| now[at].max(most[at]));
        is_served(&server.http)
    });
    assert!(dropped(&page(&server.admin), "http") > 0);
    // Without a bound these would be 64 times 12 MB. An eighth of the memory is for replies that
    // are not read; two cores make more at once, and the allocator keeps some of what was freed.
    let [grown, live] = std::array::from_fn(|at| most[at].saturating_sub(before[at]) >> 20);
    println!("64 readers: {grown} MiB more, {live} MiB more allocated");
    assert!(grown.max(live) < 160, "{grown} MiB, {live} MiB allocated");
    drop(deaf);
    server.stop();
}

/// Whether a client that reads gets a whole long answer.
fn is_served(http: &str) -> bool {
    let mut stream = TcpStream::connect(http).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = LIST.replace("content-length", "connection: close\r\ncontent-length");
    let mut answer = Vec::new();
    stream.write_all(request.as_bytes()).is_ok()
        && stream.read_to_end(&mut answer).is_ok()
        && answer.starts_with(b"HTTP/1.1 200 ")
        && answer.len() > 1 << 20
}
