//! Clients at the wrong door, or at none: they get an explanation in their own protocol.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::common::served::{Files, Served, client};

/// Sends bytes; all that comes back until the door closes.
fn said(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // Bytes before a reset count too.
    drop(stream.read_to_end(&mut answer));
    answer
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

fn port(address: &str) -> &str {
    address.rsplit_once(':').unwrap().1
}

const GET: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
/// `hello` without arguments.
const HELLO: &[u8] = b"\0\0\0\x04\x93\x01\x01\x90";
/// The begin of a ClientHello.
const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03";
/// A fatal alert of TLS: handshake_failure.
const ALERT: &[u8] = &[0x15, 3, 3, 0, 2, 2, 40];

#[test]
fn each_plain_door_answers_strangers_in_their_protocol() {
    let files = Files::new();
    let server = Served::start(&files, &[]);
    let answer = text(said(&server.tcp, GET));
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    let wanted = format!(
        "this is the TCP door, which speaks frames of MessagePack; HTTP for apps is on port {}, \
         HTTP for operators and /call is on port {}\n",
        port(&server.http),
        port(&server.admin)
    );
    assert!(answer.ends_with(&wanted), "{answer}");
    for door in [&server.tcp, &server.http, &server.admin] {
        assert_eq!(said(door, CLIENT_HELLO), ALERT, "{door}");
    }
    for (door, own) in [(&server.http, "HTTP door of apps"), (&server.admin, "admin listener")] {
        let answer = text(said(door, HELLO));
        assert!(answer.contains("invalid_argument") && answer.contains(own), "{answer}");
        let tcp = format!("the TCP door is on port {}", port(&server.tcp));
        assert!(answer.contains(&tcp), "{answer}");
        // The door's own protocol works as before, and other bytes are refused as before.
        assert!(
            text(said(door, b"GET /x HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"))
                .starts_with("HTTP/1.1 404")
        );
    }
    // The client recognizes these answers.
    let error = client(&["call", "ping", "--addr", &server.http]).unwrap_err();
    assert!(error.contains("this is the HTTP door of apps"), "{error}");
    let cert = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let ca = files.write("ca.pem", &cert.cert.pem());
    let error = client(&["call", "ping", "--addr", &server.tcp, "--tls-ca", &ca]).unwrap_err();
    assert!(error.contains("leave --tls-ca out"), "{error}");
    server.stop();
}

#[test]
fn a_tls_door_tells_clients_in_clear_text() {
    let files = Files::new();
    let cert = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let cert_file = files.write("cert.pem", &cert.cert.pem());
    let key = files.write("key.pem", &cert.signing_key.serialize_pem());
    let server = Served::start(&files, &["--tls-cert", &cert_file, "--tls-key", &key]);
    for door in [&server.tcp, &server.http, &server.admin] {
        let answer = text(said(door, GET));
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert!(answer.contains("this door speaks TLS"), "{answer}");
        let answer = text(said(door, HELLO));
        assert!(answer.contains("this door speaks TLS"), "{answer}");
    }
    let error = client(&["call", "ping", "--addr", &server.tcp]).unwrap_err();
    assert!(error.contains("this door speaks TLS"), "{error}");
    client(&["call", "ping", "--addr", &server.tcp, "--tls-ca", &cert_file]).unwrap();
    server.stop();
}

#[test]
fn errors_of_the_system_say_what_to_do() {
    let files = Files::new();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let error = client(&["call", "ping", "--addr", &free]).unwrap_err();
    assert!(error.contains(&format!("cannot connect to {free}: ")), "{error}");
    assert!(error.contains("start it with `chatshard serve`"), "{error}");
    let error = client(&["call", "ping", "--addr", "unix:/no/such/socket"]).unwrap_err();
    assert!(error.contains("there is no such socket"), "{error}");
    let error = client(&["call", "ping", "--addr", "here"]).unwrap_err();
    assert!(error.contains("write HOST:PORT or unix:PATH"), "{error}");

    let server = Served::start(&files, &[]);
    let serve = |listen: &str| {
        let data = files.path("other");
        let data = data.to_str().unwrap();
        let listen = format!("--listen={listen}");
        client(&["serve", &listen, "--http=off", "--admin=off", "--data-dir", data]).unwrap_err()
    };
    let error = serve(&server.tcp);
    assert!(error.contains("--listen: cannot listen on "), "{error}");
    assert!(error.contains("another process listens there"), "{error}");
    let error = serve("unix:/no/such/directory/socket");
    assert!(error.contains("make the directory of the socket first"), "{error}");
    server.stop();
}
