//! Credentials that are refused, that expire, and that change on the disk; and the rights of the
//! data's files.

use std::fs::Permissions;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::tls::{Issued, Tls};
use crate::common::HttpConnection;
use crate::common::served::*;

fn page(admin: &str, token: &str) -> String {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\n\
         connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

fn refused(page: &str, door: &str, reason: &str) -> u64 {
    let name =
        format!("chatshard_credentials_refused_total{{door=\"{door}\",reason=\"{reason}\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap_or_else(|| panic!("no {name} in {page}")).parse().unwrap()
}

#[test]
fn refused_credentials_are_counted_and_logged_and_never_shown() {
    let files = Files::new();
    let tokens = files.write("tokens", "the-good-token\n");
    let secret = files.write("secret", &"a-secret-of-more-than-thirty-two-bytes".repeat(2));
    let jwt = ["--http-auth=jwt", "--jwt-secret-file", &secret, "--token-file", &tokens];
    let server = Served::start(&files, &jwt);
    for token in ["the-wrong-token", "another-wrong-token"] {
        assert!(call(&server.tcp, token, "ping", "{}").unwrap_err().contains("unauthenticated"));
    }
    assert!(client(&["call", "ping", "{}", "--addr", &server.tcp]).is_err());
    let ask = |door: &str, headers: &[(&str, &str)]| {
        let mut http = HttpConnection::open(door.parse().unwrap());
        let path = if door == server.admin { "/call/ping" } else { "/chat/mine-list" };
        http.post(path, headers, "").0
    };
    assert_eq!(ask(&server.admin, &[("authorization", "Bearer the-wrong-token")]), 401);
    assert_eq!(ask(&server.admin, &[("authorization", "Basic the-wrong-token")]), 401);
    assert_eq!(ask(&server.admin, &[]), 401);
    let evil = [("origin", "http://evil.example"), ("authorization", "Bearer the-good-token")];
    assert_eq!(ask(&server.admin, &evil), 403);
    // {"alg":"HS256"}.{"sub":"a"}, and no signature of ours.
    let forged = "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIiwiZXhwIjo5OTk5OTk5OTk5fQ.c2lnbmVk";
    assert_eq!(ask(&server.http, &[("authorization", forged)]), 401);
    assert_eq!(ask(&server.http, &[("authorization", "Bearer the-wrong-token")]), 401);
    assert_eq!(ask(&server.http, &[]), 401);

    let page = page(&server.admin, "the-good-token");
    for (door, reason, count) in [
        ("tcp", "unknown_token", 2),
        ("tcp", "missing", 1),
        ("admin", "unknown_token", 1),
        ("admin", "malformed", 1),
        ("admin", "missing", 1),
        ("admin", "foreign_page", 1),
        ("http", "wrong_signature", 1),
        ("http", "malformed", 1),
        ("http", "missing", 1),
    ] {
        assert_eq!(refused(&page, door, reason), count, "{door} {reason}");
    }
    let told = server.stop();
    let lines: Vec<&str> = told.lines().filter(|line| line.contains("was refused\"")).collect();
    assert!(lines.len() >= 9, "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("\"peer\":\"127.0.0.1:")), "{lines:?}");
    for secret in ["wrong-token", "good-token", "eyJ", "thirty-two"] {
        assert!(!told.contains(secret), "{told}");
    }
}

#[test]
fn a_gateways_bad_headers_are_counted() {
    let files = Files::new();
    let server = Served::start(&files, &[]);
    let ask = |headers: &[(&str, &str)]| {
        let mut http = HttpConnection::open(server.http.parse().unwrap());
        http.post("/chat/mine-list", headers, "").0
    };
    assert_eq!(ask(&[]), 401);
    assert_eq!(ask(&[("x-user-id", "a"), ("x-user-id", "b")]), 401);
    assert_eq!(ask(&[("x-user-id", &"x".repeat(200))]), 400);
    let page = page(&server.admin, "");
    assert_eq!((refused(&page, "http", "missing"), refused(&page, "http", "malformed")), (1, 2));
    server.stop();
}

#[test]
fn files_that_change_are_read_again_without_a_signal() {
    let files = Files::new();
    let (first, second) = (Issued::new(), Issued::new());
    let tls = Tls::write(&files, &first);
    let tokens = files.write("tokens", "token-one\n");
    let keys = files.write("keys", &format!("{{\"keys\":[{}]}}", octet_key("one", 7)));
    let mut server =
        tls.start(&files, &["--token-file", &tokens, "--http-auth=jwt", "--jwt-jwks-file", &keys]);
    // Rewritten in place, as an editor may do it.
    std::fs::write(&tokens, "token-two\nread token-three\n").unwrap();
    server.wait_for("the token file was read again");
    let ping = |token: &str, root: &str| {
        client(&["call", "ping", "{}", "--addr", &server.tcp, "--tls-ca", root, "--token", token])
    };
    assert!(ping("token-one", &tls.root).is_err());
    ping("token-two", &tls.root).unwrap();

    let keys_path = files.path("keys");
    replace(&keys_path, &format!("{{\"keys\":[{}]}}", octet_key("two", 8)));
    server.wait_for("the keys of JWTs were read again");

    // The certificate comes first, and its key a while later.
    replace(&files.path("certificate.pem"), &second.certificate);
    server.wait_for("the certificate is not taken; the old one stays");
    replace(&files.path("key.pem"), &second.key);
    server.wait_for("the certificate was read again");
    let root = files.write("second-root.pem", &second.root);
    client(&[
        "call",
        "ping",
        "{}",
        "--addr",
        &server.tcp,
        "--tls-ca",
        &root,
        "--token",
        "token-two",
    ])
    .unwrap();

    // Broken or missing files are reported once, and the old credentials stay.
    replace(&keys_path, "{}");
    server.wait_for("the keys of JWTs are not taken; the old ones stay");
    std::fs::remove_file(&tokens).unwrap();
    server.wait_for("the token file is not taken; the old tokens stay");
    replace(&keys_path, &format!("{{\"keys\":[{}]}}", octet_key("three", 9)));
    server.wait_for("the keys of JWTs were read again");
    let told = server.stop();
    assert_eq!(told.matches("the old tokens stay").count(), 1, "{told}");
    assert_eq!(told.matches("the keys of JWTs are not taken").count(), 1, "{told}");
    assert!(!told.contains("token-t"), "{told}");
}

/// A secret in a JWK set: 32 times `byte`.
fn octet_key(kid: &str, byte: u8) -> String {
    use jsonwebtoken::jwk::Jwk;
    let key = jsonwebtoken::EncodingKey::from_secret(&[byte; 32]);
    let mut key = Jwk::from_encoding_key(&key, jsonwebtoken::Algorithm::HS256).unwrap();
    key.common.key_id = Some(kid.to_owned());
    serde_json::to_string(&key).unwrap()
}

#[test]
fn a_certificate_that_ends_is_warned_of_and_its_end_is_a_metric() {
    let end = |page: &str| -> u64 {
        let name = "chatshard_tls_certificate_end_timestamp_seconds ";
        page.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
    };
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let files = Files::new();
    let tls = Tls::write(&files, &Issued::ending_in(90));
    let mut server = tls.start(&files, &[]);
    let quiet = server.messages.join("\n");
    assert!(!quiet.contains("the certificate"), "{quiet}");

    let replace_with = |issued: &Issued| {
        replace(&files.path("certificate.pem"), &issued.certificate);
        replace(&files.path("key.pem"), &issued.key);
        replace(&files.path("root.pem"), &issued.root);
    };
    replace_with(&Issued::ending_in(3));
    server.signal("HUP");
    let told = server.wait_for("the certificate ends soon");
    assert!(told.contains("certificate.pem") && told.contains("\"level\":\"WARN\""), "{told}");
    let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let left = end(&super::tls::https(&tls.root, &server.admin, request)).saturating_sub(now());
    assert!((2 * 86_400..=3 * 86_400).contains(&left), "{left}");

    replace_with(&Issued::ending_in(-1));
    server.signal("HUP");
    let told = server.wait_for("the certificate has ended");
    assert!(told.contains("\"level\":\"WARN\""), "{told}");
    server.stop();

    // The start reports it too, and continues.
    let mut server = tls.start(&files, &[]);
    let told = server.messages.join("\n");
    assert!(told.contains("the certificate has ended"), "{told}");
    server.signal("TERM");
    assert!(server.wait().success());
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_data_is_its_owners_alone_and_rights_of_others_are_warned_of() {
    let files = Files::new();
    let data = files.path("data");
    let server = Served::start(&files, &[]);
    let create = r#"{"id":"g","type":2,"creator_id":"a","user_ids":["a"]}"#;
    call(&server.tcp, "", "create", create).unwrap();
    call(&server.tcp, "", "snapshot", "{}").unwrap();
    let told = server.stop();
    assert!(!told.contains("may reach the data"), "{told}");
    assert_eq!(mode(&data), 0o700);
    let mut count = 0;
    for entry in std::fs::read_dir(&data).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        count += 1;
    }
    assert!(count >= 4, "identity, lock, log and snapshot: {count}");

    std::fs::set_permissions(&data, Permissions::from_mode(0o750)).unwrap();
    let server = Served::start(&files, &[]);
    let told = server.stop();
    assert!(told.contains("may reach the data") && told.contains("0750"), "{told}");
    assert_eq!(mode(&data), 0o750, "who owns it decides");
}
