//! What plays on a [`World`] have in common: they wait until something is so, and ask the active. In
//! a [`Play`] clients write meanwhile.

use std::time::Duration;

use chatshard::command::{Kind, Reply};
use chatshard::journal::sim::SimFaults;
use serde_json::{Value, json};

use super::crowds::Crowds;
use super::history::{Client, rest};
use super::world::{Fault, MEMBERS, World};

pub const SECOND: Duration = Duration::from_secs(1);

/// Runs the world until something is so. Fails if it is not so within `at_most`.
pub fn run_until(
    world: &mut World,
    at_most: Duration,
    what: &str,
    mut is_so: impl FnMut(&World) -> bool,
) -> Result<(), Fault> {
    let end = world.now() + at_most;
    while world.now() < end {
        (0..20).try_for_each(|_| world.step())?;
        if is_so(world) {
            return Ok(());
        }
    }
    Err(format!("not within {at_most:?}: {what}"))
}

pub fn active(world: &World) -> Option<usize> {
    (0..MEMBERS).find(|at| world.may_reply(*at))
}

/// Asks the active, and waits for its reply.
pub fn ask(world: &mut World, kind: Kind, arguments: &Value) -> Result<Reply, Fault> {
    let at = active(world).ok_or("nobody is the active")?;
    let mut asked = world.ask(at, kind, arguments.clone()).ok_or("it is turned away")?;
    let mut outcome = None;
    run_until(world, SECOND, "a reply", |_| {
        outcome = outcome.take().or_else(|| asked.try_recv().ok());
        outcome.is_some()
    })?;
    outcome.expect("it is there").map_err(|error| error.to_string())
}

/// Creates the chat `c`.
pub fn create(world: &mut World) -> Result<(), Fault> {
    let chat = json!({"id": "c", "creator_id": "a", "type": 2, "user_ids": ["b"]});
    ask(world, Kind::Create, &chat).map(drop)
}

/// Advances the chat `c`, which must be right by then.
pub fn advance(world: &mut World, to: u64) -> Result<(), Fault> {
    ask(world, Kind::Advance, &json!({"chat_id": "c", "to": to})).map(drop)
}

/// The last sequence of the chat `c`, as the active shows it.
pub fn last_sequence(world: &mut World) -> Result<u64, Fault> {
    let detail = ask(world, Kind::Detail, &json!({"ids": ["c"]}))?;
    let detail = serde_json::to_value(detail).unwrap();
    detail["items"][0]["last_sequence"].as_u64().ok_or_else(|| format!("no chat: {detail}"))
}

/// Waits until every member that runs has on its disk what the active has.
pub fn until_level(world: &mut World) -> Result<(), Fault> {
    run_until(world, 5 * SECOND, "all members to have all", |world| {
        let Some(active) = active(world) else { return false };
        let lives = || world.members.iter().filter_map(|member| member.life.as_ref());
        let end = world.members[active].life.as_ref().map(|life| life.info.log.tail());
        lives().all(|life| Some(life.info.log.durable()) == end)
    })
}

/// Why a member cannot continue, if so.
pub fn failure(world: &World, at: usize) -> Option<String> {
    world.members[at].life.as_ref().and_then(|life| life.member.failure())
}

/// Steps within which anything happens that is due, with a claim after 300 ms.
pub const STEPS: usize = 60_000;

/// A world without faults, and clients that write until something happens to one member.
pub struct Play {
    pub world: World,
    clients: Vec<Client>,
}

impl Play {
    /// Three members on a network without faults, with an active and clients that write.
    pub fn begin(seed: u64) -> Result<(Self, usize), Fault> {
        let delay = Duration::from_millis(1);
        let world = World::new(seed, SimFaults { delay, ..SimFaults::default() });
        let clients = (0..3).map(Client::new).collect();
        let mut play = Self { world, clients };
        let mut first = None;
        play.until("an active with standbys", |world| {
            first = active(world);
            first.is_some() && world.reports > 20
        })?;
        Ok((play, first.expect("there is one")))
    }

    pub fn step(&mut self) -> Result<(), Fault> {
        self.world.step()?;
        let client = usize::try_from(self.world.random.below(3)).unwrap();
        let at = usize::try_from(self.world.random.below(MEMBERS as u64)).unwrap();
        self.clients[client].turn(&mut self.world, at)
    }

    pub fn until(
        &mut self,
        what: &str,
        mut is_so: impl FnMut(&World) -> bool,
    ) -> Result<(), Fault> {
        for _ in 0..STEPS {
            self.step()?;
            if is_so(&self.world) {
                return Ok(());
            }
        }
        Err(format!("{what} does not come"))
    }

    /// Asks one member, and waits for its reply.
    pub fn ask(&mut self, at: usize, kind: Kind, arguments: Value) -> Result<Reply, Fault> {
        let mut asked = self.world.ask(at, kind, arguments).ok_or("it does not reply")?;
        for _ in 0..STEPS {
            self.step()?;
            if let Ok(outcome) = asked.try_recv() {
                return outcome.map_err(|error| error.to_string());
            }
        }
        Err(format!("{} has no reply", kind.name()))
    }

    /// Heals all disks, and compares the members at rest.
    pub fn rest(mut self) -> Result<(), Fault> {
        for at in 0..MEMBERS {
            self.world.heal_disk(at);
        }
        rest(&mut self.world, &mut self.clients, &Crowds::default())
    }

    pub fn unknown(&self) -> u64 {
        self.clients.iter().map(|client| client.unknown).sum()
    }

    pub fn replied(&self) -> u64 {
        self.clients.iter().map(|client| client.replied).sum()
    }
}
