//! Any bytes on an HTTP connection get the envelope as their answer, unless they are no HTTP at
//! all. They never cause an internal error of the server.
//!
//! Input: which door, then the bytes from the client.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use chatshard::access::{Authenticator, JwtFile, JwtRules, JwtVerifier, Tokens};
use chatshard::admission::{Admission, Budget, Door, Guest, Peer};
use chatshard::command::{Call, Command, Kind, Outcome};
use chatshard::http::head::Hosts;
use chatshard::http::serve::ServeConfig;
use chatshard::http::{
    Admin, App, DocsDoor, UserAuth, admin_router, app_router, docs_router, serve, with_cors,
};
use chatshard::metrics::doors::DoorMeter;
use chatshard::metrics::{MetricsInput, SharedMeter};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};

use super::bytes::Bytes;
use crate::common::SimNode;

/// The key that signs tokens of users.
pub const SECRET: &str = "a secret of more than thirty-two bytes";
/// The admin's token, at doors that demand one.
pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Sends the bytes to a door, and checks every answer.
pub fn run(input: &[u8]) {
    thread_local! {
        static RUNTIME: Runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        static VERIFIER: Arc<JwtVerifier> = verifier();
    }
    let mut input = Bytes(input);
    let store = Store(Arc::new(Mutex::new(node())));
    let router = match input.byte() % 4 {
        0 => app(store, UserAuth::Header),
        1 => app(store, UserAuth::Jwt(VERIFIER.with(Arc::clone))),
        2 => admin(store, ""),
        _ => admin(store, TOKEN),
    };
    let sent = std::io::Cursor::new(input.0.to_vec());
    let answers = RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let (server, mut client) = tokio::io::duplex(64 << 10);
            let (_running, stop) = watch::channel(false);
            let budget = || Budget::new(1 << 20, Duration::ZERO);
            let reads = Arc::new(Semaphore::new(1));
            let hosts = Hosts::Only(["a".to_owned()].into());
            let config = ServeConfig { incomplete: budget(), unread: budget(), reads, hosts, stop };
            let connection =
                serve::connection(tokio::io::join(sent, server), router, guest(), config);
            let mut answers = Vec::new();
            let (_, read) = tokio::join!(connection, client.read_to_end(&mut answers));
            read.map(|_| answers).unwrap()
        })
    });
    assert!(answers.is_empty() || answers.starts_with(b"HTTP/1."));
}

/// A place at a door of its own.
fn guest() -> Guest {
    let door = Door::new(Arc::new(DoorMeter::new("http")), 1, Vec::new());
    match Arc::new(door).enter(Peer::Gone) {
        Admission::Open(guest) => guest,
        Admission::Full | Admission::Later => panic!("no room"),
    }
}

/// A node with some chats.
fn node() -> SimNode {
    let mut node = SimNode::new(1, 7);
    let import = json!({
        "chats": [
            {"id": "g", "type": 2, "creator_id": "ann", "last_sequence": 9, "last_time": 99},
            {"id": "s", "type": 1, "creator_id": "bob", "last_sequence": 3},
        ],
        "members": [
            {"user_id": "ann", "chat_id": "g", "max_read_seq": 4},
            {"user_id": "bob", "chat_id": "g"},
            {"user_id": "ann", "chat_id": "s"},
            {"user_id": "bob", "chat_id": "s", "is_top": 1},
        ],
    });
    node.run(Command::from_json(Kind::Import, import).unwrap()).unwrap();
    node
}

#[derive(Clone)]
struct Store(Arc<Mutex<SimNode>>);

impl Call for Store {
    async fn call(&self, command: Command) -> Outcome {
        self.0.lock().unwrap().run(command)
    }
}

fn verifier() -> Arc<JwtVerifier> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), SECRET).unwrap();
    JwtVerifier::load(JwtFile::Secret(file.path().to_owned()), JwtRules::default()).unwrap()
}

fn app(store: Store, auth: UserAuth) -> Router {
    let router = app_router(App { store, auth, meter: SharedMeter::default() })
        .merge(docs_router(DocsDoor::App));
    with_cors(router.layer(from_fn(checked)), &["https://app.example".parse().unwrap()])
}

fn admin(store: Store, tokens: &str) -> Router {
    let admin = Admin {
        store,
        readiness: Arc::new(|_| Ok("ready")),
        metrics: Arc::new(|| Box::pin(async { MetricsInput::default() })),
        authenticator: Authenticator::new(Tokens::parse(tokens).unwrap()),
        meter: SharedMeter::default(),
    };
    admin_router(admin).layer(from_fn(checked))
}

/// Checks every answer of a router.
async fn checked(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let (head, body) = next.run(request).await.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let is_page = method == Method::GET && head.status == StatusCode::OK;
    if method != Method::HEAD && !(is_page && path != "/healthz" && path != "/readyz") {
        assert_envelope(head.status, &body);
    }
    assert_ne!(head.status, StatusCode::INTERNAL_SERVER_ERROR, "{method} {path}: {body:?}");
    Response::from_parts(head, Body::from(body))
}

fn assert_envelope(status: StatusCode, body: &[u8]) {
    let envelope: Value = serde_json::from_slice(body).expect("the answer is no JSON");
    assert_eq!(envelope["code"], status.as_u16());
    let (is_ok, message) = (status == StatusCode::OK, envelope["msg"].as_str().unwrap());
    assert_eq!(message.is_empty(), is_ok, "{envelope}");
    assert!(is_ok || envelope["data"].is_null(), "{envelope}");
    assert!(is_ok || status.is_client_error() || status == StatusCode::SERVICE_UNAVAILABLE);
}
