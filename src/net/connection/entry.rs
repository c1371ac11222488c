//! Decides which requests of a connection may run: `hello` first, then those that its role allows.
//!
//! Invariants:
//! - A first frame that is no `hello` gets 401, whatever else is wrong with it.
//! - Each `hello` that is rejected ends its connection, a later one too.
//! - A command that the token's role forbids gets 403 before its arguments are checked.

use std::time::Duration;

use super::Connection;
use crate::access::Session;
use crate::command::hello::Hello;
use crate::command::{Error, ErrorCode, Kind, Reply};
use crate::metrics::doors::{Dropped, Refused};
use crate::protocol::{self, CONNECTION_ID};
use crate::throttle::throttled;
use crate::types::{ShardId, wide};

/// The error for a first frame that is not `hello`.
#[cold]
pub(super) fn no_hello() -> Error {
    Error::new(ErrorCode::Unauthenticated, "the first request must be hello")
}

impl Connection {
    pub(super) fn hello(&mut self, id: u64, hello: Hello) {
        let Some(session) = self.config.authenticator.enter(hello.token.as_deref()) else {
            let reason = match hello.token {
                None => Refused::Missing,
                Some(_) => Refused::UnknownToken,
            };
            self.note_refused(reason);
            let error =
                Error::new(ErrorCode::Unauthenticated, "hello: the token is missing or wrong");
            return self.refuse(id, error);
        };
        if !self.guest.let_in() {
            self.guest.meter().count_dropped(Dropped::NoRoom);
            return self.refuse(CONNECTION_ID, Error::no_room());
        }
        if self.session.is_none() {
            throttled!(of 100, info,
                peer = %self.guest.peer(),
                client = hello.client.as_deref().unwrap_or("unnamed"),
                role = session.role().name(),
                "a client connected"
            );
        }
        self.session = Some(session);
        self.stale = hello.stale_ms.map(Duration::from_millis);
        let own = self.local.shard_id();
        match hello.shard.map(ShardId) {
            Some(shard) if shard.0 >= self.local.node().shards.get() => {
                self.refuse(id, Error::invalid(format!("hello: there is no shard {}", shard.0)));
            }
            Some(shard) if shard != own && !self.watches.is_empty() => {
                let error =
                    Error::invalid("hello: the connection watches; cancel that before it moves");
                self.refuse(id, error);
            }
            Some(shard) if shard != own => self.moving = Some((shard, id)),
            _ => self.answer_hello(id),
        }
    }

    pub(super) fn answer_hello(&mut self, id: u64) {
        let mut hello = self.local.node().hello(self.local.shard_id());
        hello.limits.idle_ms = u64::try_from(self.config.idle.as_millis()).unwrap_or(u64::MAX);
        hello.limits.connections = wide(self.guest.places());
        self.replies.push(id, Ok(Reply::Hello(Box::new(hello))));
    }

    /// Replies with an error, and ends the connection after it.
    pub(super) fn refuse(&mut self, id: u64, error: Error) {
        self.replies.push(id, Err(error));
        self.closing = true;
    }

    /// Rejects a frame that is not a request that could run.
    #[cold]
    pub(super) fn refuse_undecoded(&mut self, refused: protocol::RefusedRequest) {
        let protocol::RefusedRequest { id, kind, error } = refused;
        let is_hello = kind == Some(Kind::Hello);
        let forbidden = |session: &Session| kind.and_then(|kind| session.role().check(kind).err());
        match (&self.session, id) {
            (None, id) if !is_hello => self.refuse(id.unwrap_or(CONNECTION_ID), no_hello()),
            (_, None) => self.refuse(CONNECTION_ID, error),
            (_, Some(id)) if is_hello => self.refuse(id, error),
            (session, Some(id)) => {
                let error = session.as_ref().and_then(forbidden).unwrap_or(error);
                self.replies.push(id, Err(error));
            }
        }
    }

    /// Ends a connection whose token is no longer valid. Replies that are due are still sent.
    #[cold]
    pub(super) fn end_session(&mut self) {
        self.note_refused(Refused::RevokedToken);
        let error = Error::new(ErrorCode::Unauthenticated, "the token is no longer good");
        self.watches.end(&error, self.output.end());
        self.refuse(CONNECTION_ID, error);
    }
}
