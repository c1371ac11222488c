//! A client's connection to a node of the simulation: requests take the ways that the TCP door
//! gives them.

use std::rc::Rc;

use bytes::{Buf, BytesMut};
use chatshard::command::{Command, Error, Kind, Outcome, Reply};
use chatshard::limits::REPLY_BYTES_MAX;
use chatshard::net::fast_path::{Destination, FastPath};
use chatshard::net::order::{Going, Order, OrderKey};
use chatshard::node::responder::{ReadyReply, ReplyBody, ReplyQueue, RequestInfo, Responder};
use chatshard::node::worker::LocalWorker;
use chatshard::protocol::{decode_reply, encode_request, fast_path, frame};
use serde_json::Value;

use super::world::World;

/// A client's connection. It ends with its node.
#[derive(Default)]
pub struct Connection {
    core: usize,
    replies: Rc<ReplyQueue>,
    order: Order,
    /// The start of the node that it belongs to.
    run: u64,
    /// The command of each request; the id of a request is its place, from 1 on.
    asked: Vec<Kind>,
}

/// Submits a request to a core, as a connection does.
fn submit(Going { asked, work, order_key }: Going, replies: &Rc<ReplyQueue>, local: &LocalWorker) {
    let mark = OrderKey::mark(order_key, false);
    local.submit(Responder::of_connection(replies, asked, work.kind(), mark), work);
}

/// The reply in a frame.
fn decoded(kind: Kind, bytes: &[u8]) -> Outcome {
    decode_reply(&bytes[frame::HEADER_BYTES..], |_| Some(kind)).unwrap().outcome
}

impl World {
    /// Opens a connection to a random core.
    pub fn connect(&mut self) -> Connection {
        let cores = self.node().info.mailboxes.len() as u64;
        let core = usize::try_from(self.random.below(cores)).unwrap();
        Connection { core, run: self.starts, ..Connection::default() }
    }

    /// Sends a request. Returns its id, or the error for a request that no node accepts.
    pub fn send(
        &mut self,
        connection: &mut Connection,
        name: &str,
        arguments: &Value,
    ) -> Result<u64, Error> {
        let id = self.put(connection, name, arguments)?;
        self.flush(connection);
        Ok(id)
    }

    /// Whether no reply and no request of a connection waits.
    pub fn is_quiet(&self, connection: &Connection) -> bool {
        connection.replies.is_empty() && !connection.order.has_ready()
    }

    /// Sends the requests that were put into a connection.
    pub fn flush(&mut self, connection: &Connection) {
        self.node().core(connection.core).flush();
    }

    /// Puts a request into a connection. Others may follow before all are sent together.
    pub fn put(
        &mut self,
        connection: &mut Connection,
        name: &str,
        arguments: &Value,
    ) -> Result<u64, Error> {
        let kind = Kind::from_name(name).unwrap();
        let command = Command::from_json(kind, arguments.clone())?;
        command.check()?;
        connection.asked.push(kind);
        let id = connection.asked.len() as u64;
        self.tally.commands += 1;
        self.event(format!("{name} {arguments}"));
        let local = self.node().core(connection.core);
        let hasher = self.node().info.hasher;
        let Connection { replies, order, .. } = connection;
        let asked = RequestInfo { id, started: self.began, bytes: 0 };
        let mut payload = BytesMut::new();
        encode_request(id, &command, &mut payload).unwrap();
        payload.advance(frame::HEADER_BYTES);
        // As a connection does it: requests on the fast path are answered in place or passed on,
        // where that is possible.
        local.tick();
        let mut out = BytesMut::new();
        let went = fast_path::read(&payload, hasher).map_or(Destination::Router, |plain| {
            let ticket = |_, mark| Responder::of_connection(replies, asked, kind, mark);
            FastPath::default().take(plain, &payload, &local, order, ticket, &mut out)
        });
        match went {
            Destination::OwnShard => self.tally.fast += 1,
            Destination::OtherCore { .. } => self.tally.passed_on += 1,
            Destination::Router => {
                let going = order.take(asked, command.into(), hasher);
                going.into_iter().for_each(|going| submit(going, replies, &local));
            }
        }
        if !out.is_empty() {
            replies.push(id, decoded(kind, &out));
        }
        Ok(id)
    }

    /// Takes the replies that are ready.
    pub fn receive(&mut self, connection: &mut Connection) -> Vec<(u64, Outcome)> {
        let mut replies = self.replies(connection);
        while connection.run == self.starts && connection.order.has_ready() {
            let local = self.node().core(connection.core);
            local.tick();
            while let Some(going) = connection.order.release() {
                self.tally.held += 1;
                submit(going, &connection.replies, &local);
            }
            local.flush();
            replies.extend(self.replies(connection));
        }
        replies
    }

    fn replies(&mut self, connection: &mut Connection) -> Vec<(u64, Outcome)> {
        let kind = |id: u64| connection.asked.get(usize::try_from(id).unwrap() - 1).copied();
        let mut replies: Vec<(u64, Outcome)> = Vec::new();
        while let Some(ReadyReply { body, mark }) = connection.replies.pop() {
            if let (Some(way), _) = OrderKey::of_mark(mark) {
                connection.order.done(way);
            }
            match body {
                ReplyBody::Outcome { request_id, outcome } => replies.push((request_id, outcome)),
                ReplyBody::Frames { mut bytes, count } => {
                    let before = replies.len();
                    while let Some(payload) = frame::next(&mut bytes, REPLY_BYTES_MAX).unwrap() {
                        let answer = decode_reply(&payload, kind).unwrap();
                        replies.push((answer.id, answer.outcome));
                    }
                    assert_eq!(replies.len() - before, count);
                }
            }
        }
        for (_, outcome) in &replies {
            match outcome {
                // `stats` reports on the machine too, so the digest leaves it out.
                Ok(Reply::Stats(_)) => {}
                Ok(told) => self.event(format!("-> {}", serde_json::to_string(told).unwrap())),
                Err(error) => self.event(format!("-> {} {error}", error.code.status())),
            }
        }
        replies
    }
}
