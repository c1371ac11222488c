//! Requests and replies between the threads of a node and an engine.

use std::time::Duration;

use bytes::Bytes;
use chatshard::journal::client::{EngineClient, EnginePort};
use chatshard::journal::engine::{Condition, EngineReply, EngineRequest, StoredEntry};
use chatshard::journal::sim::{SimEngine, SimFaults};
use chatshard::journal::sim_server::SimServer;
use chatshard::limits::{JOURNAL_BACKLOG_BYTES_MAX, JOURNAL_ENTRY_BYTES_MAX};

use super::node::profile;

const MS: Duration = Duration::from_millis(1);

fn server() -> SimServer {
    SimServer::new(SimEngine::new(1, Condition::Checked, 3, SimFaults::default()))
}

/// Lets the engine work, and gives the replies that came to a port.
fn replies(server: &mut SimServer, port: &EnginePort) -> Vec<(u64, EngineReply)> {
    server.turn(server.engine.now() + 100 * MS);
    std::iter::from_fn(|| port.try_receive()).collect()
}

fn append(expect: u64) -> EngineRequest {
    EngineRequest::Append { expect, entry: Bytes::from_static(b"entry") }
}

#[test]
fn ports_with_the_same_ids_get_their_own_replies() {
    let mut server = server();
    let client = server.connect(0, profile(Condition::Checked));
    let (log, follower) = (client.port(), client.port());
    log.send(7, append(0));
    follower.send(7, EngineRequest::Endpoints);
    assert_eq!(replies(&mut server, &log), [(7, EngineReply::Appended { seq: 1 })]);
    assert_eq!(replies(&mut server, &follower), [(7, EngineReply::Endpoints(3))]);
}

#[test]
fn a_process_that_begins_again_hears_nothing_of_its_life_before() {
    let mut server = server();
    let before = server.connect(0, profile(Condition::Checked)).port();
    before.send(1, append(0));
    before.send(2, EngineRequest::Follow { from: 1 });
    server.turn(Duration::ZERO);
    let after = server.connect(0, profile(Condition::Checked)).port();
    after.send(1, EngineRequest::Tail);
    let tail = EngineReply::Tail { seq: 1 };
    assert_eq!(replies(&mut server, &after), [(1, tail)], "the entry is there");
    assert!(before.receive(MS).is_none_or(|(id, _)| id == 1));
}

#[test]
fn without_an_adapter_nothing_is_known() {
    let (client, calls) = EngineClient::new(profile(Condition::Checked));
    let port = client.port();
    drop(calls);
    port.send(3, append(0));
    assert_eq!(port.receive(MS), Some((3, EngineReply::Unknown)));
}

#[test]
fn an_adapter_learns_that_nobody_takes_its_replies() {
    let (client, mut calls) = EngineClient::new(profile(Condition::Checked));
    let port = client.port();
    port.send(1, EngineRequest::Follow { from: 1 });
    let caller = calls.try_next().unwrap().caller;
    let entry = StoredEntry { seq: 1, bytes: vec![0; JOURNAL_ENTRY_BYTES_MAX].into() };
    let delivery = EngineReply::Entries(vec![entry]);
    let mut delivered = 0;
    while caller.has_room() {
        assert!(caller.reply(1, delivery.clone()));
        delivered += 1;
    }
    assert_eq!(delivered, JOURNAL_BACKLOG_BYTES_MAX / JOURNAL_ENTRY_BYTES_MAX);
    assert!(port.try_receive().is_some());
    assert!(caller.has_room(), "what was taken makes room");
    drop(port);
    assert!(!caller.reply(1, EngineReply::FollowEnded));
    drop(client);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    drop(caller);
    assert!(runtime.block_on(calls.next()).is_none(), "the adapter ends with the last port");
}
