//! Tests the client against a small server whose every step a test decides.

#![allow(clippy::panic)]

use std::net::SocketAddr;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::command::Reply;
use crate::command::delete::Delete;
use crate::command::hello::Limits;
use crate::command::list::{List, ListReply};
use crate::command::ping::{Ping, PingReply};
use crate::limits::REQUEST_BYTES_MAX;
use crate::protocol::{CONNECTION_ID, Request, decode_request, encode_reply, frame};
use crate::types::UserId;

pub(super) struct Peer {
    stream: TcpStream,
    input: BytesMut,
}

impl Peer {
    pub(super) async fn accept(listener: &TcpListener) -> Self {
        Self { stream: listener.accept().await.unwrap().0, input: BytesMut::new() }
    }

    /// Accepts a connection and replies to its `hello`.
    pub(super) async fn greet(listener: &TcpListener, limits: Limits) -> Self {
        let mut peer = Self::accept(listener).await;
        let hello = peer.request().await.unwrap();
        assert!(matches!(hello.command, Command::Hello(_)));
        peer.reply(hello.id, &Ok(hello_reply(limits))).await;
        peer
    }

    /// Reads the next request; `None` when the client has disconnected.
    pub(super) async fn request(&mut self) -> Option<Request> {
        loop {
            if let Some(payload) = frame::next(&mut self.input, REQUEST_BYTES_MAX).unwrap() {
                return Some(decode_request(&payload).unwrap());
            }
            if self.stream.read_buf(&mut self.input).await.ok()? == 0 {
                return None;
            }
        }
    }

    pub(super) async fn reply(&mut self, id: u64, outcome: &Outcome) {
        let mut out = BytesMut::new();
        encode_reply(id, outcome, &mut out);
        self.stream.write_all(&out).await.unwrap();
    }
}

pub(super) fn hello_reply(limits: Limits) -> Reply {
    Reply::Hello(Box::new(HelloReply {
        server: "fake".into(),
        version: "0".into(),
        protocol: 1,
        shards: 1,
        slots: 4096,
        hash_seed: 0,
        shard: 0,
        limits,
        ..HelloReply::default()
    }))
}

/// Runs `script` as the server of one connection.
pub(super) async fn serve<F, T>(
    script: impl FnOnce(TcpListener) -> F,
) -> (SocketAddr, JoinHandle<T>)
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, tokio::spawn(script(listener)))
}

pub(super) fn list(user: usize) -> Command {
    let user_id = UserId::new(&format!("u{user}")).unwrap();
    List { user_id, limit: None, cursor: None }.into()
}

fn delete() -> Command {
    Delete { user_id: UserId::new("u").unwrap(), ids: vec![], up_to: None, idempotency_key: None }
        .into()
}

/// A reply that names the user of the request, so that a test notices a reply to another request.
fn echo(command: &Command) -> Outcome {
    let Command::List(list) = command else { panic!("only lists are asked") };
    Ok(Reply::List(ListReply { items: vec![], next_cursor: Some(list.user_id.to_string()) }))
}

fn unavailable(outcome: Outcome) -> String {
    let error = outcome.unwrap_err();
    assert_eq!(error.code, crate::command::ErrorCode::Unavailable);
    error.message.into_owned()
}

#[tokio::test]
async fn answers_in_any_order_find_their_callers() {
    let (address, server) = serve(|listener| async move {
        let mut peer = Peer::greet(&listener, Limits::of_this_build()).await;
        for _ in 0..10 {
            let mut requests = Vec::new();
            for _ in 0..50 {
                requests.push(peer.request().await.unwrap());
            }
            assert!(requests.is_sorted_by_key(|request| request.id));
            for request in requests.iter().rev() {
                peer.reply(request.id, &echo(&request.command)).await;
            }
        }
        assert_eq!(peer.request().await, None, "the connection ends with the last client");
    })
    .await;
    let client = Client::connect(address, ClientOptions::default()).await.unwrap();
    assert_eq!(client.hello().server, "fake");
    let mut calls = tokio::task::JoinSet::new();
    for user in 0..500 {
        let client = client.clone();
        calls.spawn(async move { assert_eq!(client.call(list(user)).await, echo(&list(user))) });
    }
    drop(client);
    while let Some(call) = calls.join_next().await {
        call.unwrap();
    }
    server.await.unwrap();
}

#[tokio::test]
async fn a_request_that_the_server_would_not_take_is_not_sent() {
    let limits = Limits { request_bytes: 30, ..Limits::of_this_build() };
    let (address, server) = serve(|listener| async move {
        let mut peer = Peer::greet(&listener, limits).await;
        let request = peer.request().await.unwrap();
        peer.reply(request.id, &echo(&request.command)).await;
        assert_eq!(peer.request().await, None);
    })
    .await;
    let client = Client::connect(address, ClientOptions::default()).await.unwrap();
    let long = List { user_id: UserId::new(&"u".repeat(40)).unwrap(), limit: None, cursor: None };
    let error = client.call(long.into()).await.unwrap_err();
    assert_eq!(error.code, crate::command::ErrorCode::TooLarge, "{error}");
    assert_eq!(client.call(list(7)).await, echo(&list(7)));
    drop(client);
    server.await.unwrap();
}

#[tokio::test]
async fn a_lost_connection_says_what_is_known() {
    let limits = Limits { in_flight: 2, ..Limits::of_this_build() };
    let (address, server) = serve(|listener| async move {
        let mut peer = Peer::greet(&listener, limits).await;
        peer.request().await.unwrap();
        peer.request().await.unwrap();
    })
    .await;
    let client = Client::connect(address, ClientOptions::default()).await.unwrap();
    let (write, read, waiting) =
        tokio::join!(client.call(delete()), client.call(list(1)), client.call(delete()));
    server.await.unwrap();
    assert!(unavailable(write).starts_with("outcome unknown: connection lost"));
    assert!(unavailable(read).starts_with("not applied: connection lost"));
    // The server accepts two requests at a time. The third call waited for one of them, and was
    // never sent.
    assert!(unavailable(waiting).starts_with("not applied"));
    assert!(client.is_closed());
    assert!(unavailable(client.call(delete()).await).starts_with("not applied"));
}

#[tokio::test]
async fn a_silent_server_ends_the_call_and_not_the_connection() {
    let (address, server) = serve(|listener| async move {
        let mut peer = Peer::greet(&listener, Limits::of_this_build()).await;
        let first = peer.request().await.unwrap();
        let second = peer.request().await.unwrap();
        peer.reply(first.id, &Ok(Reply::Delete(()))).await;
        peer.reply(second.id, &echo(&second.command)).await;
        assert_eq!(peer.request().await, None);
    })
    .await;
    let options =
        ClientOptions { call_timeout: Duration::from_secs(2), ..ClientOptions::default() };
    let client = Client::connect(address, options).await.unwrap();
    assert!(unavailable(client.call(delete()).await).starts_with("outcome unknown: no answer"));
    // The client skips the late reply to the first call.
    assert_eq!(client.call(list(7)).await, echo(&list(7)));
    drop(client);
    server.await.unwrap();
}

#[tokio::test]
async fn a_refused_hello_is_told() {
    let (address, _server) = serve(|listener| async move {
        let mut peer = Peer::accept(&listener).await;
        peer.request().await.unwrap();
        let error = Error::new(crate::command::ErrorCode::Unauthenticated, "bad token");
        peer.reply(CONNECTION_ID, &Err(error)).await;
    })
    .await;
    let refused = Client::connect(address, ClientOptions::default()).await.unwrap_err();
    assert!(matches!(refused, ClientError::Refused(error) if error.message == "bad token"));
}

#[tokio::test]
async fn connecting_does_not_take_forever() {
    let (address, _server) = serve(|listener| async move {
        let _peer = Peer::accept(&listener).await;
        std::future::pending::<()>().await;
    })
    .await;
    let options =
        ClientOptions { connect_timeout: Duration::from_millis(30), ..ClientOptions::default() };
    assert!(matches!(Client::connect(address, options).await, Err(ClientError::Timeout(_))));
}

#[tokio::test]
async fn a_quiet_connection_is_kept_open() {
    let limits = Limits { idle_ms: 40, ..Limits::of_this_build() };
    let (address, server) = serve(|listener| async move {
        let mut peer = Peer::greet(&listener, limits).await;
        for _ in 0..3 {
            let request = peer.request().await.unwrap();
            assert_eq!(request.command, Ping {}.into());
            peer.reply(request.id, &Ok(Reply::Ping(PingReply {}))).await;
        }
    })
    .await;
    let _client = Client::connect(address, ClientOptions::default()).await.unwrap();
    server.await.unwrap();
}

#[tokio::test]
async fn a_connection_sends_many_before_it_receives() {
    let (address, server) = serve(|listener| async move {
        let mut peer = Peer::greet(&listener, Limits::of_this_build()).await;
        while let Some(request) = peer.request().await {
            peer.reply(request.id, &echo(&request.command)).await;
        }
    })
    .await;
    let options = ClientOptions::default();
    let (mut connection, hello) = Connection::connect(address, &options).await.unwrap();
    assert_eq!(hello.server, "fake");
    let first = connection.send(&list(0)).unwrap();
    for user in 1..100 {
        connection.send(&list(user)).unwrap();
    }
    assert_eq!(connection.in_flight(), 100);
    connection.flush().await.unwrap();
    for _ in 0..100 {
        let answer = connection.receive().await.unwrap();
        let user = usize::try_from(answer.id - first).unwrap();
        assert_eq!(answer.outcome, echo(&list(user)));
    }
    assert_eq!(connection.in_flight(), 0);
    drop(connection);
    server.await.unwrap();
}

#[tokio::test]
async fn the_client_refuses_a_request_over_the_limit() {
    let (address, _server) = serve(|listener| async move {
        let mut peer = Peer::greet(&listener, Limits::of_this_build()).await;
        peer.request().await
    })
    .await;
    let client = Client::connect(address, ClientOptions::default()).await.unwrap();
    let user_ids = vec![UserId::new(&"x".repeat(128)).unwrap(); 9000];
    let chat_id = crate::types::ChatId::new("c").unwrap();
    let command = crate::command::add_members::AddMembers {
        chat_id,
        user_ids,
        idempotency_key: None,
        if_version: None,
    }
    .into();
    let error = client.call(command).await.unwrap_err();
    assert_eq!(error.code, crate::command::ErrorCode::TooLarge);
}

#[test]
fn the_secret_is_not_printed() {
    let options = ClientOptions { token: Some("hush".into()), ..ClientOptions::default() };
    assert!(!format!("{options:?}").contains("hush"));
}
