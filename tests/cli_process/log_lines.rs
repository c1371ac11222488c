//! What the server writes about itself: lines that repeat are bounded.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::common::program::chatshard;
use crate::tools::{Files, Served};

/// Most lines of one kind that this time may bring: one at once, and one each ten seconds.
fn lines_max(since: Instant) -> usize {
    1 + usize::try_from(since.elapsed().as_secs() / 10).unwrap()
}

#[test]
fn an_accept_that_fails_again_and_again_is_one_line_in_ten_seconds() {
    let files = Files::new();
    let mut shell = std::process::Command::new("sh");
    // Few descriptors for the server, hard limit and all; this test has enough to use them up.
    let serve = "ulimit -n 48; exec \"$0\" serve --listen 127.0.0.1:0 --http off --admin off \
                 --shards 1 --fsync never --log-format json --pin=false --data-dir \"$1\"";
    shell.args(["-c", serve]).arg(chatshard().get_program()).arg(files.path("data"));
    let mut server = Served::of(&mut shell);
    let start = Instant::now();
    let guests: Vec<TcpStream> =
        (0..80).map(|_| TcpStream::connect(&server.tcp).unwrap()).collect();
    server.wait_for("could not be accepted");
    std::thread::sleep(Duration::from_secs(1));
    drop(guests);
    let lines = server.lines_with("could not be accepted");
    assert!((1..=lines_max(start)).contains(&lines.len()), "{lines:#?}");
}

#[test]
fn connections_that_find_no_room_are_one_line_in_ten_seconds() {
    let files = Files::new();
    let mut server = Served::start(&files, &["--connections-max=1"]);
    let start = Instant::now();
    let _guest = crate::common::raw::Raw::greeted(server.tcp.parse().unwrap());
    // The limit counts what it leaves out; two seconds are two lines for a limit of one second.
    while start.elapsed() < Duration::from_secs(2) {
        drop(TcpStream::connect(&server.tcp).unwrap());
        std::thread::sleep(Duration::from_millis(5));
    }
    server.wait_for("too many connections");
    let lines = server.lines_with("too many connections");
    assert!((1..=lines_max(start)).contains(&lines.len()), "{lines:#?}");
}
