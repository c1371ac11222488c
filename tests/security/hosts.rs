//! Which heads of requests the HTTP doors accept: one host, which no other site can own, and one
//! framing.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::common::served::{Files, PATIENCE, Served};

/// Sends bytes, and checks that the answer is the envelope. Returns its status.
fn status(door: &str, request: &str) -> u16 {
    let mut stream = TcpStream::connect(door).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let code = answer.split(' ').nth(1).unwrap_or_else(|| panic!("{request}: {answer:?}"));
    let envelope = format!("{{\"code\":{code},\"data\":");
    let is_metrics = request.starts_with("GET /metrics") && code == "200";
    assert!(is_metrics || answer.contains(&envelope), "{request}: {answer}");
    code.parse().unwrap()
}

fn asked(method: &str, path: &str, headers: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\n{headers}x-user-id: alice\r\nconnection: close\r\n\
         content-length: 2\r\n\r\n{{}}"
    )
}

fn ask(door: &str, method: &str, path: &str, host: &str) -> u16 {
    status(door, &asked(method, path, &format!("host: {host}\r\n")))
}

const COMMANDS: [(&str, &str); 2] = [("GET", "/metrics"), ("POST", "/call/ping")];

#[test]
fn a_page_that_points_its_name_to_loopback_reaches_nothing() {
    let files = Files::new();
    let server = Served::start(&files, &["--http-hosts=chat.internal, other"]);
    for host in ["evil.example", "evil.example:7780", "localhost.evil.example"] {
        assert_eq!(ask(&server.http, "POST", "/chat/mine-list", host), 421, "{host}");
        assert_eq!(ask(&server.http, "GET", "/openapi.json", host), 421, "{host}");
        for (method, path) in COMMANDS {
            assert_eq!(ask(&server.admin, method, path, host), 421, "{path} {host}");
        }
        // A supervisor chooses its own name.
        assert_eq!(ask(&server.admin, "GET", "/healthz", host), 200, "{host}");
        assert_eq!(ask(&server.admin, "GET", "/readyz", host), 200, "{host}");
    }
    for host in ["127.0.0.1", "[::1]:1", "LocalHost:7780", "chat.internal", "OTHER:80"] {
        assert_eq!(ask(&server.http, "POST", "/chat/mine-list", host), 200, "{host}");
        for (method, path) in COMMANDS {
            assert_eq!(ask(&server.admin, method, path, host), 200, "{path} {host}");
        }
    }
    server.stop();
}

#[test]
fn a_door_that_asks_for_a_secret_answers_to_any_name() {
    let files = Files::new();
    let secret = files.write("secret", "0123456789abcdef0123456789abcdef");
    let tokens = files.write("tokens", "a-token-of-the-test\n");
    let jwt = ["--http-auth=jwt", "--jwt-secret-file", &secret, "--token-file", &tokens];
    let server = Served::start(&files, &jwt);
    // The secret is missing, and that is all.
    assert_eq!(ask(&server.http, "POST", "/chat/mine-list", "chat.example"), 401);
    assert_eq!(ask(&server.admin, "POST", "/call/ping", "ops.example"), 401);
    server.stop();
}

#[test]
fn a_head_that_two_servers_could_read_in_two_ways_is_refused() {
    let files = Files::new();
    let server = Served::start(&files, &[]);
    for (door, path) in [(&server.http, "/chat/mine-list"), (&server.admin, "/call/ping")] {
        let host = "host: localhost\r\n";
        assert_eq!(status(door, &asked("POST", path, host)), 200);
        assert_eq!(status(door, &asked("POST", path, "")), 400, "no host");
        assert_eq!(status(door, &asked("POST", path, &host.repeat(2))), 400, "two hosts");
        let absolute =
            |host: &str| asked("POST", &format!("http://{host}{path}"), "host: 127.0.0.1\r\n");
        assert_eq!(status(door, &absolute("127.0.0.1:80")), 200);
        assert_eq!(status(door, &absolute("localhost")), 400, "another host in the target");
        for encoding in
            ["gzip, chunked", "chunked, chunked", "chunked\r\ntransfer-encoding: chunked"]
        {
            let request = format!(
                "POST {path} HTTP/1.1\r\n{host}x-user-id: alice\r\nconnection: close\r\n\
                 transfer-encoding: {encoding}\r\n\r\n0\r\n\r\n"
            );
            assert_eq!(status(door, &request), 400, "{encoding}");
        }
    }
    server.stop();
}

#[test]
fn a_head_that_cannot_be_read_is_answered_with_the_envelope() {
    let files = Files::new();
    let server = Served::start(&files, &[]);
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101));
    for door in [&server.http, &server.admin] {
        assert_eq!(status(door, "rubbish\r\n\r\n"), 400);
        assert_eq!(status(door, "GET / HTTP/9.9\r\n\r\n"), 400);
        assert_eq!(status(door, "POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n"), 400);
        assert_eq!(status(door, &many), 431);
        // The answer before it arrives whole.
        let good = "POST /chat/mine-list HTTP/1.1\r\nhost: localhost\r\nx-user-id: a\r\n\
                    content-length: 0\r\n\r\n";
        assert_ne!(status(door, &format!("{good}rubbish\r\n\r\n")), 431);
    }
    server.stop();
}
