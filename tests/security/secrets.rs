//! Secrets appear in no log line at any level, in no error, and in no metric.

use std::io::{Read, Write};
use std::net::TcpStream;

use rcgen::generate_simple_self_signed;
use serde_json::json;

use crate::common::served::*;

const FULL: &str = "full-token-8f14e45fceea167a";
const READ: &str = "read-token-c9f0f895fb98ab91";
const WRONG: &str = "wrong-token-45c48cce2e2d7fbd";
/// 32 bytes of `7` as base64url.
const KEY: &str = "Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc";

/// Sends one request in the clear, and returns the whole answer.
fn http(addr: &str, head: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request =
        format!("{head}\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn no_secret_is_told() {
    let files = Files::new();
    let tokens = files.write("tokens", &format!("{FULL}\nread {READ}\n"));
    let set = json!({"keys": [{"kty": "oct", "kid": "k", "k": KEY}]}).to_string();
    let set = files.write("jwks", &set);
    let levels = "--log-level=trace";
    let arguments = [levels, "--token-file", &tokens, "--http-auth=jwt", "--jwt-jwks-file", &set];
    let mut server = Served::start(&files, &arguments);
    let mut told = String::new();
    for token in [FULL, READ, WRONG, ""] {
        for command in ["stats", "hello", "ping", "dissolve"] {
            let json = if command == "dissolve" { r#"{"chat_id":"x"}"# } else { "{}" };
            told += &call(&server.tcp, token, command, json).unwrap_or_else(|error| error);
            let head = format!("POST /call/{command} HTTP/1.1\r\nauthorization: Bearer {token}");
            told += &http(&server.admin, &head);
        }
        told += &http(&server.admin, &format!("GET /metrics HTTP/1.1\r\nauthorization: {token}"));
        // Where a user's token belongs, the other door's token does not help.
        let head = format!("POST /chat/unread HTTP/1.1\r\nauthorization: Bearer {token}");
        let answer = http(&server.http, &head);
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        told += &answer;
    }
    server.signal("HUP");
    server.wait_for("the keys of JWTs were read again");
    replace(&files.path("tokens"), &format!("{FULL} {READ} {WRONG}\n"));
    replace(&files.path("jwks"), &format!("{{\"keys\": [{{\"k\": \"{KEY}\""));
    server.signal("HUP");
    server.wait_for("the keys of JWTs are not taken");
    told += &server.stop();
    for secret in [FULL, READ, WRONG, KEY, "77777777"] {
        let at = told.find(secret).map(|at| &told[at.saturating_sub(300)..at]);
        assert_eq!(at, None, "{secret}");
    }
}

#[test]
fn no_key_of_a_certificate_is_told() {
    let files = Files::new();
    let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = made.signing_key.serialize_pem();
    let certificate = files.write("certificate.pem", &made.cert.pem());
    let key_file = files.write("key.pem", &key);
    let arguments = ["--log-level=trace", "--tls-cert", &certificate, "--tls-key", &key_file];
    let mut server = Served::start(&files, &arguments);
    let arguments = ["call", "ping", "{}", "--addr", &server.tcp, "--tls-ca", &certificate];
    client(&[&arguments[..], &["--tls-name", "localhost"]].concat()).unwrap();
    // A line is lost, as with a bad copy.
    let damaged: Vec<&str> = key.lines().filter(|line| !line.contains("END")).collect();
    replace(&files.path("key.pem"), &damaged.join("\n"));
    server.signal("HUP");
    server.wait_for("the old one stays");
    let told = server.stop();
    for line in key.lines().filter(|line| !line.contains("---")) {
        assert!(!told.contains(line));
    }
}
