//! A node whose engine is silent when the node starts.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::common::program::chatshard;
use super::process::PATIENCE;

/// The engine is waited for longer than this.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn a_node_that_waits_for_its_engine_replies_to_operators_and_stops() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let journal = format!("etcd://{}/im", silent.local_addr().unwrap());
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let admin = free.local_addr().unwrap();
    drop(free);
    let directory = TempDir::new().unwrap();
    let mut command = chatshard();
    command.args(["serve", "--init", "--listen", "127.0.0.1:0", "--http", "off", "--pin=false"]);
    command.args(["--admin", &admin.to_string(), "--journal", &journal, "--data-dir"]);
    command.arg(directory.path()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut node = command.spawn().unwrap();
    let begun = Instant::now();

    let mut stream = loop {
        match TcpStream::connect(admin) {
            Ok(stream) => break stream,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.0 503"), "{reply}");
    assert!(reply.contains("the server is starting"), "{reply}");

    let asked = Instant::now();
    kill_process(Pid::from_child(&node), Signal::TERM).unwrap();
    let status = node.wait().unwrap();
    assert!(status.success() && asked.elapsed() < SOON, "{status} after {:?}", asked.elapsed());
}
