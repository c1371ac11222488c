//! The simulated engine behind the ports of nodes, for tests.
//!
//! Each client is one node of the engine's network. Nothing happens but in [`SimServer::turn`]: a
//! simulation calls it with times of its choice, a test with threads calls it with real ones.

use std::collections::BTreeMap;
use std::time::Duration;

use super::client::{EngineCaller, EngineCalls, EngineClient};
use super::engine::EngineProfile;
use super::sim::{SimDelivery, SimEngine};

/// Where the replies to one request of the engine go.
struct Waiting {
    node: u32,
    caller: EngineCaller,
    /// The id that the port's owner gave the request.
    id: u64,
}

/// Serves ports of nodes with a simulated engine.
pub struct SimServer {
    /// The engine, whose network and contract a test may break.
    pub engine: SimEngine,
    calls: Vec<(u32, EngineCalls)>,
    waiting: BTreeMap<u64, Waiting>,
    next_id: u64,
}

impl SimServer {
    /// Serves this engine.
    #[must_use]
    pub fn new(engine: SimEngine) -> Self {
        Self { engine, calls: Vec::new(), waiting: BTreeMap::new(), next_id: 1 }
    }

    /// Begins the life of a node's process. What an earlier one waited for is forgotten; its
    /// requests may still arrive.
    pub fn connect(&mut self, node: u32, profile: EngineProfile) -> EngineClient {
        self.engine.forget(node);
        self.calls.retain(|(other, _)| *other != node);
        self.waiting.retain(|_, waiting| waiting.node != node);
        let (client, calls) = EngineClient::new(profile);
        self.calls.push((node, calls));
        client
    }

    /// Takes the requests that were sent, lets time pass up to `until`, and brings the replies.
    pub fn turn(&mut self, until: Duration) {
        for (node, calls) in &mut self.calls {
            while let Some(call) = calls.try_next() {
                let (node, id) = (*node, self.next_id);
                self.next_id += 1;
                self.waiting.insert(id, Waiting { node, caller: call.caller, id: call.id });
                self.engine.send(node, id, call.request);
            }
        }
        while let Some(SimDelivery { id, reply, .. }) = self.engine.next(until) {
            if let Some(waiting) = self.waiting.get(&id) {
                waiting.caller.reply(waiting.id, reply);
            }
        }
    }
}
