//! Doors that are unix sockets: their files, their modes, and what a stop or a kill leaves behind.

use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use crate::common::served::*;

fn unix(path: &Path) -> String {
    format!("unix:{}", path.display())
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

fn get(path: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn every_door_may_be_one_and_its_file_says_who_may_come_in() {
    let files = Files::new();
    let [tcp, http, admin] = ["tcp", "http", "admin"].map(|name| files.path(name));
    let doors = [
        format!("--listen={}", unix(&tcp)),
        format!("--http={}", unix(&http)),
        format!("--admin={}", unix(&admin)),
    ];
    let mut arguments: Vec<&str> = doors.iter().map(String::as_str).collect();
    arguments.push("--socket-mode=0640");
    let server = Served::start(&files, &arguments);
    assert_eq!(server.tcp, unix(&tcp));
    for path in [&tcp, &http, &admin] {
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640, "{}", path.display());
    }
    let create = r#"{"id":"g","type":2,"creator_id":"a","user_ids":["a"]}"#;
    call(&server.tcp, "", "create", create).unwrap();
    // The connection moves between cores like any other.
    for shard in ["0", "1"] {
        let hello = call(&server.tcp, "", "hello", &format!("{{\"shard\":{shard}}}")).unwrap();
        assert!(hello.contains(&format!("\"shard\":{shard}")), "{hello}");
    }
    let asked = "POST /chat/mine-list HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-user-id: a\r\n\
                 content-length: 0\r\n\r\n";
    assert!(get(&http, asked).contains(r#""chat_id":"g""#));
    let asked = "GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert!(get(&admin, asked).contains("ready"));
    server.stop();
    for path in [&tcp, &http, &admin] {
        assert!(!path.exists(), "{} is left behind", path.display());
    }
}

#[test]
fn tokens_are_asked_for_where_there_are_any() {
    let files = Files::new();
    let tokens = files.write("tokens", "the-token\n");
    let door = format!("--listen={}", unix(&files.path("tcp")));
    let server = Served::start(&files, &[&door, "--token-file", &tokens]);
    assert!(call(&server.tcp, "", "ping", "{}").unwrap_err().contains("unauthenticated"));
    call(&server.tcp, "the-token", "ping", "{}").unwrap();
    let told = server.stop();
    assert!(told.contains("\"peer\":\"unix, user "), "{told}");
}

#[test]
fn what_a_dead_process_left_is_taken_over_and_nothing_else() {
    let files = Files::new();
    let path = files.path("tcp");
    let door = format!("--listen={}", unix(&path));
    let mut killed = Served::start(&files, &[&door]);
    killed.signal("KILL");
    assert!(!killed.wait().success());
    assert!(is_socket(&path), "it had no time to clear up");
    let server = Served::start(&files, &[&door]);
    call(&server.tcp, "", "ping", "{}").unwrap();

    // Another process listens there, or it is no socket: both stay as they are.
    let data = files.path("other").to_str().unwrap().to_owned();
    let refused = |door: &str| {
        client(&["serve", door, "--http=off", "--admin=off", "--data-dir", &data]).unwrap_err()
    };
    assert!(refused(&door).contains("somebody listens there"));
    call(&server.tcp, "", "ping", "{}").unwrap();
    server.stop();
    let file = files.write("file", "of a user");
    assert!(refused(&format!("--listen=unix:{file}")).contains("is no socket"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "of a user");
    let long = files.path(&"x".repeat(200));
    assert!(refused(&format!("--listen={}", unix(&long))).contains("cannot listen on unix:"));
    assert!(refused("--listen=unix:").contains("names no file"));
    assert!(client(&["serve", "--socket-mode=999"]).unwrap_err().contains("no mode of a file"));

    // A socket that took the place meanwhile is not removed by the server.
    let server = Served::start(&files, &[&door]);
    std::fs::remove_file(&path).unwrap();
    let _another = UnixListener::bind(&path).unwrap();
    server.stop();
    assert!(is_socket(&path));
}
