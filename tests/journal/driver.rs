//! The contract's calls through a port, whatever engine is behind it.

use std::collections::VecDeque;
use std::time::Duration;

use chatshard::journal::client::EnginePort;
use chatshard::journal::engine::{EngineProfile, EngineReply, EngineRequest};

use super::contract::EngineDriver;

/// An engine that is served behind a port.
pub trait Served {
    /// Longest time until a reply.
    const PATIENCE: Duration;
    /// Time since any beginning.
    fn now(&self) -> Duration;
    /// Waits for the next reply that comes to the port, about until then.
    fn receive(&mut self, port: &EnginePort, until: Duration) -> Option<(u64, EngineReply)>;
    /// Number of members that can be restarted.
    fn members(&self) -> u16;
    /// Restarts a member, and waits until it is back.
    fn restart(&mut self, member: u16);
}

/// Calls of one engine, one after the other, through one port.
pub struct PortDriver<E> {
    pub engine: E,
    profile: EngineProfile,
    port: EnginePort,
    next_id: u64,
    following: u64,
    delivered: VecDeque<EngineReply>,
}

impl<E: Served> PortDriver<E> {
    pub fn new(engine: E, profile: EngineProfile, port: EnginePort) -> Self {
        Self { engine, profile, port, next_id: 1, following: 0, delivered: VecDeque::new() }
    }

    fn send(&mut self, request: EngineRequest) -> u64 {
        self.next_id += 1;
        self.port.send(self.next_id, request);
        self.next_id
    }

    /// Waits for a reply to `id`, and keeps the deliveries of the follow.
    fn wait(&mut self, id: u64) -> EngineReply {
        let until = self.engine.now() + E::PATIENCE;
        while let Some((replied, reply)) = self.engine.receive(&self.port, until) {
            if replied == id {
                return reply;
            }
            if replied == self.following {
                self.delivered.push_back(reply);
            }
        }
        EngineReply::Unknown
    }
}

impl<E: Served> EngineDriver for PortDriver<E> {
    fn profile(&self) -> EngineProfile {
        self.profile
    }

    fn call(&mut self, request: EngineRequest) -> EngineReply {
        let id = self.send(request);
        self.wait(id)
    }

    fn call_unheard(&mut self, request: EngineRequest) {
        self.send(request);
    }

    fn follow(&mut self, from: u64) {
        self.delivered.clear();
        self.following = self.send(EngineRequest::Follow { from });
    }

    fn followed(&mut self) -> EngineReply {
        match self.delivered.pop_front() {
            Some(delivered) => delivered,
            None => self.wait(self.following),
        }
    }

    fn members(&self) -> u16 {
        self.engine.members()
    }

    fn restart(&mut self, member: u16) {
        self.engine.restart(member);
    }
}
