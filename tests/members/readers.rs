//! Readers that take the state of standbys, in histories: no state is older than a reader allows,
//! and none goes back on one connection.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use chatshard::command::{Kind, Outcome, Reply};
use chatshard::node::NodeInfo;
use chatshard::node::membership::MemberRole;
use serde_json::json;
use tokio::sync::oneshot::error::TryRecvError;

use super::world::{Asked, Fault, World};

/// Clocks of members go up to 5 % slower than the world's.
const CLOCK_RATE: f64 = 0.95;
/// A clock shows whole ms.
const CLOCK_STEP: Duration = Duration::from_millis(2);
/// Ages that readers allow, in ms.
const STALE_MS: [u64; 4] = [10, 30, 100, 1000];

/// What was acknowledged, and when.
#[derive(Default)]
pub struct Promises(BTreeMap<String, Vec<(Duration, u64)>>);

impl Promises {
    /// Notes that a client knows a chat to have at least this sequence.
    pub fn note(&mut self, now: Duration, chat: &str, sequence: u64) {
        let noted = self.0.entry(chat.to_owned()).or_default();
        if noted.last().is_none_or(|(_, last)| *last < sequence) {
            noted.push((now, sequence));
        }
    }

    /// The sequence that a chat had at least at this time.
    pub fn at(&self, time: Duration, chat: &str) -> u64 {
        let noted = self.0.get(chat).map(Vec::as_slice).unwrap_or_default();
        let until = noted.partition_point(|(at, _)| *at <= time);
        until.checked_sub(1).map_or(0, |last| noted[last].1)
    }
}

/// A client that reads one chat after the other, on one connection until it breaks.
pub struct Reader {
    stale: Duration,
    /// The node at the other end.
    connected: Option<(usize, Weak<NodeInfo>)>,
    open: Option<Open>,
    /// What this connection has seen.
    seen: BTreeMap<String, u64>,
}

struct Open {
    asked: Asked,
    chat: String,
    /// What the reply must have at least, for the age that the reader allows.
    promised: u64,
    /// Whether the node was not the active.
    of_standby: bool,
}

impl Reader {
    pub fn new(number: usize) -> Self {
        let stale = Duration::from_millis(STALE_MS[number % STALE_MS.len()]);
        Self { stale, connected: None, open: None, seen: BTreeMap::new() }
    }

    /// Sends the next read, or looks for the reply to the last one. Returns whether a standby has
    /// replied.
    pub fn turn(&mut self, world: &mut World, promises: &Promises) -> Result<bool, Fault> {
        let Some(open) = &mut self.open else {
            self.ask(world, promises);
            return Ok(false);
        };
        let outcome = match open.asked.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(TryRecvError::Empty) => return Ok(false),
            Err(TryRecvError::Closed) => None,
        };
        let open = self.open.take().expect("it is open");
        match outcome {
            Some(outcome) => self.replied(open, outcome),
            None => {
                self.connected = None;
                Ok(false)
            }
        }
    }

    /// The member at the other end of the connection. Its life has not ended since it was made.
    fn node(&mut self, world: &mut World) -> Option<usize> {
        let info = |world: &World, at: usize| {
            world.members[at].life.as_ref().map(|life| Arc::downgrade(&life.info))
        };
        if let Some((at, node)) = &self.connected
            && info(world, *at).is_some_and(|info| info.ptr_eq(node))
            && !world.one_in(50)
        {
            return Some(*at);
        }
        self.seen.clear();
        let at = usize::try_from(world.random.below(world.members.len() as u64)).unwrap();
        self.connected = info(world, at).map(|info| (at, info));
        self.connected.as_ref().map(|(at, _)| *at)
    }

    fn ask(&mut self, world: &mut World, promises: &Promises) {
        let Some(at) = self.node(world) else { return };
        let chat = format!("c{}", world.random.below(3));
        let asked = world.ask_stale(at, self.stale, Kind::Detail, json!({"ids": [chat]}));
        let Some(asked) = asked else { return };
        let allowed = self.stale.div_f64(CLOCK_RATE) + CLOCK_STEP;
        let promised = promises.at(world.now().saturating_sub(allowed), &chat);
        let life = world.members[at].life.as_ref().expect("it was asked");
        let of_standby = life.member.role() != MemberRole::Active;
        self.open = Some(Open { asked, chat, promised, of_standby });
    }

    fn replied(&mut self, open: Open, outcome: Outcome) -> Result<bool, Fault> {
        let Open { chat, promised, of_standby, .. } = open;
        let Ok(Reply::Detail(reply)) = outcome else { return Ok(false) };
        let reply = serde_json::to_value(&reply).unwrap();
        let last = reply["items"][0]["last_sequence"].as_u64().unwrap_or(0);
        if last < promised {
            let stale = self.stale;
            return Err(format!(
                "{chat} is older than {stale:?}: it shows {last} and not {promised}"
            ));
        }
        let seen = self.seen.entry(chat.clone()).or_default();
        if last < *seen {
            return Err(format!("{chat} goes back on one connection: from {seen} to {last}"));
        }
        *seen = last;
        Ok(of_standby)
    }
}
