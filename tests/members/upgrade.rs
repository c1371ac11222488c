//! Members get another version of the program, one after the other, while clients write. The journal
//! gets a newer format only when all of its members read it.

use std::time::Duration;

use chatshard::command::{Kind, Reply};
use chatshard::limits::JOURNAL_FORMAT;
use chatshard::node::membership::MemberRole;

use serde_json::json;

use super::crowds::Crowds;
use super::history::{Client, faults, mishap, rest, told};
use super::plays::ask;
use super::world::{Fault, MEMBERS, World, quiet};
use crate::common::random::Random;

const SEEDS: u64 = 6;
/// What the program before reads, and what the new one reads.
const OLD: u32 = JOURNAL_FORMAT;
const NEW: u32 = JOURNAL_FORMAT + 1;
const STEPS_MAX: u64 = 400_000;
const STEPS_WITH_FAULTS: u64 = 10_000;
/// Until then a member has kept on its disk which others there are.
const KEPT: Duration = Duration::from_secs(3);

struct Upgrade {
    world: World,
    clients: Vec<Client>,
}

impl Upgrade {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x0075_7067_7261_6465);
        let world = World::new(seed, faults(&mut random));
        Self { world, clients: (0..3).map(Client::new).collect() }
    }

    /// One step of the world and of a client. No member may be ahead of what all of them read.
    fn step(&mut self) -> Result<(), Fault> {
        self.world.step()?;
        let drawn = usize::try_from(self.world.random.draw() >> 8).unwrap();
        self.clients[drawn % 3].turn(&mut self.world, drawn / 3 % MEMBERS)?;
        let readable = self.world.members.iter().map(|member| member.reads).min().unwrap();
        let lives = self.world.members.iter().filter_map(|member| member.life.as_ref());
        match lives.map(|life| life.member.format()).max() {
            Some(format) if format > readable => {
                Err(format!("format {format}, and a member reads up to {readable}"))
            }
            _ => Ok(()),
        }
    }

    fn until(&mut self, what: &str, is_so: impl Fn(&World) -> bool) -> Result<(), Fault> {
        for _ in 0..STEPS_MAX {
            if is_so(&self.world) {
                return Ok(());
            }
            self.step()?;
        }
        Err(format!("{what} does not come: {}", told(&self.world)))
    }

    fn steps_with_faults(&mut self, steps: u64) -> Result<(), Fault> {
        for _ in 0..steps {
            self.step()?;
            if self.world.one_in(500) {
                mishap(&mut self.world);
            }
        }
        Ok(())
    }

    /// Ends the process of a member; the next one is of a program that reads this format.
    fn replace(&mut self, at: usize, reads: u32) {
        let until = self.world.now() + Duration::from_millis(self.world.random.below(300));
        self.world.kill(at, false, until);
        self.world.members[at].reads = reads;
    }

    /// Lets the network be good, and all members run.
    fn heal(&mut self) -> Result<(), Fault> {
        rest(&mut self.world, &mut self.clients, &Crowds::default())
    }
}

fn lives_are(world: &World, is_so: impl Fn(&super::world::Life) -> bool) -> bool {
    world.members.iter().all(|member| member.life.as_ref().is_some_and(&is_so))
}

/// Plays one upgrade.
pub fn play(seed: u64) -> Result<(), Fault> {
    let mut upgrade = Upgrade::new(seed);
    upgrade.until("a member that knows the others", |world| {
        lives_are(world, |life| life.member.others().len() == MEMBERS - 1)
    })?;
    let kept = upgrade.world.now() + KEPT;
    upgrade.until("time", |world| world.now() > kept)?;

    let first = usize::try_from(upgrade.world.random.below(MEMBERS as u64)).unwrap();
    let order = (0..MEMBERS).map(|number| (first + number) % MEMBERS);
    for at in order.clone() {
        upgrade.replace(at, NEW);
        upgrade.steps_with_faults(STEPS_WITH_FAULTS)?;
        // As long as one member has the old program, any of them may go back to it.
        if at != (first + MEMBERS - 1) % MEMBERS && upgrade.world.one_in(2) {
            upgrade.replace(at, OLD);
            upgrade.steps_with_faults(STEPS_WITH_FAULTS)?;
            upgrade.replace(at, NEW);
        }
    }
    upgrade.heal()?;
    upgrade
        .until("the new format", |world| lives_are(world, |life| life.member.format() == NEW))?;

    // Now the old program is too old, and says so; the others go on.
    upgrade.world.kill(first, false, upgrade.world.now());
    upgrade.world.members[first].reads = OLD;
    for _ in 0..STEPS_MAX {
        upgrade.world.step()?;
        let failure = |world: &World| world.members[first].life.as_ref()?.member.failure();
        if let Some(why) = failure(&upgrade.world) {
            let is_named = why.contains(&format!("format {NEW}"));
            let others = (0..MEMBERS).filter(|at| *at != first);
            let active = |at: usize| {
                let life = upgrade.world.members[at].life.as_ref();
                life.is_some_and(|life| life.member.role() == MemberRole::Active)
            };
            match (is_named, others.clone().any(active)) {
                (true, true) => return Ok(()),
                (true, false) => continue,
                (false, _) => return Err(format!("the old program says: {why}")),
            }
        }
    }
    Err(format!("the old program does not stop: {}", told(&upgrade.world)))
}

/// One member is gone for good with the old program: an operator goes on without it.
fn leave_behind(seed: u64) -> Result<(), Fault> {
    let mut upgrade = Upgrade { world: quiet(seed), ..Upgrade::new(seed) };
    upgrade.until("a member that knows the others", |world| {
        lives_are(world, |life| life.member.others().len() == MEMBERS - 1)
    })?;
    let kept = upgrade.world.now() + KEPT;
    upgrade.until("time", |world| world.now() > kept)?;
    let gone = usize::try_from(upgrade.world.random.below(MEMBERS as u64)).unwrap();
    let others = || (0..MEMBERS).filter(move |at| *at != gone);
    for at in others() {
        upgrade.replace(at, NEW);
    }
    upgrade.until("an active whom all know", |world| {
        let reports =
            |at: usize| world.members[at].life.as_ref()?.info.cluster().members.len().into();
        let active = (0..MEMBERS).find(|at| world.may_reply(*at));
        active.and_then(reports) == Some(MEMBERS) && lives_are(world, |_| true)
    })?;
    if upgrade.world.may_reply(gone) {
        drop(upgrade.world.ask(gone, Kind::Handover, json!({})));
    }
    upgrade.until("an active with the new program", |world| {
        others().any(|at| world.may_reply(at)) && lives_are(world, |_| true)
    })?;
    let without = json!({"without": [format!("m{gone}")]});
    upgrade.until("the reports of all", |world| {
        let active = others().find(|at| world.may_reply(*at));
        let life = active.and_then(|at| world.members[at].life.as_ref());
        life.is_some_and(|life| life.info.cluster().members.len() == MEMBERS)
    })?;
    let refused = ask(&mut upgrade.world, Kind::RaiseFormat, &without).unwrap_err();
    if !refused.contains(&format!("m{gone} reads only format {OLD}, and would stop")) {
        return Err(format!("while it reports: {refused}"));
    }

    upgrade.world.kill(gone, false, Duration::MAX);
    let silent = upgrade.world.now() + 2 * KEPT;
    upgrade.until("time", |world| world.now() > silent)?;
    upgrade.until("an active", |world| others().any(|at| world.may_reply(at)))?;
    let refused = ask(&mut upgrade.world, Kind::RaiseFormat, &json!({})).unwrap_err();
    if !refused.contains(&format!("m{gone} ")) || !refused.contains("is it gone?") {
        return Err(format!("without its name: {refused}"));
    }
    let unknown = json!({"without": [format!("m{gone}"), "m9"]});
    let refused = ask(&mut upgrade.world, Kind::RaiseFormat, &unknown).unwrap_err();
    if !refused.contains("m9 is no member") {
        return Err(format!("with an unknown name: {refused}"));
    }
    let formats = |world: &World| {
        let lives = others().filter_map(|at| world.members[at].life.as_ref());
        lives.map(|life| life.member.format()).collect::<Vec<_>>()
    };
    if formats(&upgrade.world).contains(&NEW) {
        return Err("the format has risen by itself".into());
    }
    let Reply::RaiseFormat(reply) = ask(&mut upgrade.world, Kind::RaiseFormat, &without)? else {
        return Err("another reply".into());
    };
    assert_eq!((reply.before, reply.format), (OLD.into(), NEW.into()));
    assert_eq!(reply.without, [format!("m{gone}")]);
    // From here on `step` would find that the dead one does not read it.
    upgrade.world.members[gone].reads = NEW;
    upgrade.until("the new format", |world| formats(world) == [NEW; MEMBERS - 1])?;
    upgrade.world.members[gone].reads = OLD;
    upgrade.world.members[gone].until = upgrade.world.now();
    for _ in 0..STEPS_MAX {
        upgrade.world.step()?;
        let life = upgrade.world.members[gone].life.as_ref();
        if let Some(why) = life.and_then(|life| life.member.failure()) {
            let is_named = why.contains(&format!("format {NEW}"));
            return is_named.then_some(()).ok_or_else(|| format!("the old program says: {why}"));
        }
    }
    Err(format!("the old program does not stop: {}", told(&upgrade.world)))
}

#[test]
fn an_operator_raises_the_format_without_a_member_that_is_gone() {
    for seed in 0..SEEDS {
        leave_behind(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

#[test]
fn the_format_rises_when_all_members_read_it() {
    for seed in 0..SEEDS {
        play(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}
