//! TLS on all doors: which certificates are trusted, what is refused, and certificates that change.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chatshard::client::{Client, ClientOptions, ClientTls, Connection};
use chatshard::command::hello::Hello;
use chatshard::command::ping::Ping;
use chatshard::command::{Call, Command, Kind, Reply};
use serde_json::json;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::common::served::*;

/// A root of its own, and its certificate for `chat.example` and 127.0.0.1.
pub struct Issued {
    pub root: String,
    pub certificate: String,
    pub key: String,
}

impl Issued {
    pub fn new() -> Self {
        Self::until(None)
    }

    /// A certificate that ends in `days` days, which may be negative.
    pub fn ending_in(days: i64) -> Self {
        Self::until(Some(days))
    }

    fn until(days: Option<i64>) -> Self {
        use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
        let root_key = KeyPair::generate().unwrap();
        let mut root = CertificateParams::new(vec![]).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certified = root.self_signed(&root_key).unwrap();
        let issuer = Issuer::new(root, root_key);
        let key = KeyPair::generate().unwrap();
        let names = vec!["chat.example".to_owned(), "127.0.0.1".to_owned()];
        let mut leaf = CertificateParams::new(names).unwrap();
        if let Some(days) = days {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
            let end = now.checked_add_signed(days * 24 * 60 * 60).unwrap();
            leaf.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(end);
        }
        let leaf = leaf.signed_by(&key, &issuer).unwrap();
        Self { root: certified.pem(), certificate: leaf.pem(), key: key.serialize_pem() }
    }
}

pub struct Tls {
    pub root: String,
    arguments: [String; 4],
}

impl Tls {
    pub fn write(files: &Files, issued: &Issued) -> Self {
        let root = files.write("root.pem", &issued.root);
        let certificate = files.write("certificate.pem", &issued.certificate);
        let key = files.write("key.pem", &issued.key);
        Self { root, arguments: ["--tls-cert".into(), certificate, "--tls-key".into(), key] }
    }

    pub fn start(&self, files: &Files, others: &[&str]) -> Served {
        let mut arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        arguments.extend(others);
        Served::start(files, &arguments)
    }

    fn options(&self) -> ClientOptions {
        let tls = ClientTls::trusting(self.root.as_ref()).unwrap();
        ClientOptions { tls: Some(tls), ..Default::default() }
    }

    /// A connection of a client that trusts the root.
    pub fn connect(&self, addr: &str) -> StreamOwned<ClientConnection, TcpStream> {
        connect(&self.root, addr)
    }

    /// Runs `ping` as a client that trusts the root.
    fn ping(&self, addr: &str, others: &[&str]) -> Result<String, String> {
        let arguments = ["call", "ping", "{}", "--addr", addr, "--tls-ca", &self.root];
        client(&[&arguments[..], others].concat())
    }
}

/// A TLS connection before its handshake.
fn connect(root: &str, addr: &str) -> StreamOwned<ClientConnection, TcpStream> {
    use rustls_pki_types::pem::PemObject;
    let mut roots = RootCertStore::empty();
    roots.add(rustls_pki_types::CertificateDer::from_pem_file(root).unwrap()).unwrap();
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let session = ClientConnection::new(Arc::new(config), "chat.example".try_into().unwrap());
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    StreamOwned::new(session.unwrap(), stream)
}

/// Sends one request by HTTPS, and returns the whole answer.
pub fn https(root: &str, addr: &str, request: &str) -> String {
    let mut stream = connect(root, addr);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn all_doors_speak_it_to_those_who_can_tell_that_they_are_meant() {
    let files = Files::new();
    let tls = Tls::write(&files, &Issued::new());
    let tokens = files.write("tokens", "the-token\n");
    let server = tls.start(&files, &["--token-file", &tokens]);
    let token = ["--token", "the-token"];
    tls.ping(&server.tcp, &token).unwrap();
    let named = ["--token", "the-token", "--tls-name", "chat.example"];
    tls.ping(&server.tcp, &named).unwrap();

    // Another name, another root, no TLS at all, and a token that is wrong inside it.
    let refused = tls.ping(&server.tcp, &["--tls-name", "bank.example"]).unwrap_err();
    assert!(refused.contains("TLS: ") && refused.contains("not valid for name"), "{refused}");
    let stranger = files.write("stranger.pem", &Issued::new().root);
    let addr = ["--addr", &server.tcp];
    let ping = ["call", "ping", "{}"];
    let refused = client(&[&ping[..], &addr, &["--tls-ca", &stranger]].concat()).unwrap_err();
    assert!(refused.contains("UnknownIssuer") || refused.contains("certificate"), "{refused}");
    let refused = client(&[&ping[..], &addr].concat()).unwrap_err();
    assert!(refused.contains("--tls-ca"), "{refused}");
    assert!(tls.ping(&server.tcp, &["--token", "x"]).unwrap_err().contains("unauthenticated"));
    let none = files.write("none.pem", "nothing");
    let refused = client(&[&ping[..], &addr, &["--tls-ca", &none]].concat()).unwrap_err();
    assert!(refused.contains("none.pem: holds no certificate"), "{refused}");

    // The HTTP doors.
    let list = "POST /chat/mine-list HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-user-id: a\r\n\
                content-length: 0\r\n\r\n";
    let answer = https(&tls.root, &server.http, list);
    assert!(answer.ends_with(r#"{"code":200,"data":{"items":[]},"msg":""}"#), "{answer}");
    assert!(https(&tls.root, &server.admin, &get("/readyz", "")).contains("ready"));
    let answer = https(&tls.root, &server.admin, &get("/metrics", ""));
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    let bearer = "authorization: Bearer the-token\r\n";
    let answer = https(&tls.root, &server.admin, &get("/metrics", bearer));
    assert!(answer.contains("chatshard_chats"), "{answer}");
    // In the clear the door says that it speaks TLS, and runs nothing.
    for door in [&server.tcp, &server.http, &server.admin] {
        let mut plain = TcpStream::connect(door).unwrap();
        plain.set_read_timeout(Some(PATIENCE)).unwrap();
        plain.write_all(list.as_bytes()).unwrap();
        let mut answer = Vec::new();
        drop(plain.read_to_end(&mut answer));
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("speaks TLS"), "{answer}");
    }
    let told = server.stop();
    assert!(!told.contains("the-token") && !told.contains("PRIVATE"), "{told}");
}

#[test]
fn much_goes_through_it_in_both_directions_and_across_cores() {
    let files = Files::new();
    let tls = Tls::write(&files, &Issued::new());
    let server = tls.start(&files, &[]);
    runtime().block_on(async {
        let (mut connection, _) = Connection::connect(&server.tcp, &tls.options()).await.unwrap();
        let users: Vec<String> = (0..5000).map(|number| format!("user-{number:0>90}")).collect();
        let create = json!({"id": "g", "type": 2, "creator_id": "a", "user_ids": users});
        let create = Command::from_json(Kind::Create, create).unwrap();
        connection.send(&create).unwrap();
        connection.flush().await.unwrap();
        assert!(connection.receive().await.unwrap().outcome.is_ok());
        for round in 0..6_u16 {
            // Half a megabyte each: more than sockets hold, and the server sends as fast as the
            // client reads.
            let members = Command::from_json(Kind::Members, json!({"chat_id": "g"})).unwrap();
            for _ in 0..8 {
                connection.send(&members).unwrap();
                connection.send(&Ping {}.into()).unwrap();
            }
            let hello = Hello { shard: Some(round % 2), ..Default::default() };
            connection.send(&hello.into()).unwrap();
            connection.flush().await.unwrap();
            for _ in 0..17 {
                match connection.receive().await.unwrap().outcome.unwrap() {
                    Reply::Members(reply) => assert_eq!(reply.items.len(), 5000),
                    Reply::Hello(hello) => assert_eq!(hello.shard, round % 2),
                    Reply::Ping(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        let client = Client::connect(&server.tcp, tls.options()).await.unwrap();
        assert!(client.call(Ping {}.into()).await.is_ok());
    });
    server.stop();
}

#[test]
fn certificates_are_replaced_and_open_connections_stay() {
    let files = Files::new();
    let (first, second) = (Issued::new(), Issued::new());
    let tls = Tls::write(&files, &first);
    let mut server = tls.start(&files, &[]);
    runtime().block_on(async {
        let open = Client::connect(&server.tcp, tls.options()).await.unwrap();

        // A certificate that does not match its key: the one before stays.
        replace(&files.path("certificate.pem"), &second.certificate);
        server.signal("HUP");
        let told = server.wait_for("the old one stays");
        assert!(told.contains("key.pem: is not the key of"), "{told}");
        tls.ping(&server.tcp, &[]).unwrap();

        replace(&files.path("key.pem"), &second.key);
        server.signal("HUP");
        server.wait_for("the certificate was read again");
        assert!(tls.ping(&server.tcp, &[]).unwrap_err().contains("TLS"));
        assert!(open.call(Ping {}.into()).await.is_ok());
        replace(&files.path("root.pem"), &second.root);
        tls.ping(&server.tcp, &[]).unwrap();
        assert!(https(&tls.root, &server.admin, &get("/healthz", "")).contains("ok"));
    });
    server.stop();
}

#[test]
fn who_does_not_finish_the_handshake_keeps_nobody_out() {
    let files = Files::new();
    let tls = Tls::write(&files, &Issued::new());
    let server = tls.start(&files, &["--connections-max=6"]);
    // Silent and slow ones, more than the door has places for.
    let mut slow: Vec<TcpStream> = Vec::new();
    for round in 0..2 * chatshard::limits::STRANGERS_MIN {
        let mut stream = TcpStream::connect(&server.tcp).unwrap();
        if round % 2 == 0 {
            stream.write_all(&[0x16, 3, 1, 2, 0]).unwrap();
        }
        slow.push(stream);
        if round % 30 == 29 {
            tls.ping(&server.tcp, &[]).unwrap();
        }
    }
    // The oldest were evicted for others.
    let mut oldest = slow.remove(0);
    oldest.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(matches!(oldest.read(&mut [0; 16]), Ok(0) | Err(_)));
    drop(slow);
    server.stop();
}

#[test]
fn the_load_tool_measures_doors_with_tls() {
    let files = Files::new();
    let tls = Tls::write(&files, &Issued::new());
    let server = tls.start(&files, &[]);
    let data = ["--chats", "200", "--users", "20"];
    let bench = |what: &str, addr: &str, others: &[&str]| {
        client(&[&["bench", what, "--addr", addr][..], &data, others].concat())
    };
    let trusting = ["--tls-ca", &tls.root];
    bench("fill", &server.tcp, &trusting).unwrap();
    let load = ["--requests", "300", "--connections", "3", "--depth", "4", "--check", "--json"];
    for (target, addr) in [("chatshard", &server.tcp), ("http", &server.http)] {
        for work in ["list50", "mark_read", "detail20"] {
            let asked = ["--target", target, "--work", work];
            let said = bench("run", addr, &[&load[..], &asked, &trusting].concat()).unwrap();
            let report: serde_json::Value = serde_json::from_str(&said).unwrap();
            let counted = (report["requests"].as_u64(), report["errors"].as_u64());
            assert_eq!(counted, (Some(300), Some(0)), "{report}");
        }
    }
    // A server that is not the intended one gets no load.
    let stranger = files.write("stranger.pem", &Issued::new().root);
    let refused = bench("run", &server.tcp, &[&load[..], &["--tls-ca", &stranger]].concat());
    assert!(refused.unwrap_err().contains("TLS: "));
    let named = ["--tls-name", "bank.example", "--tls-ca", &tls.root];
    let http = ["--target", "http", "--work", "list50"];
    let refused = bench("run", &server.http, &[&load[..], &http, &named].concat());
    assert!(refused.unwrap_err().contains("not valid for name"));
}
