//! What plays on a [`World`] have in common: they wait until something is so, and ask the active.

use std::time::Duration;

use chatshard::command::{Kind, Reply};
use serde_json::{Value, json};

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
