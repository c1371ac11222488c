//! Members get another version of the program, one after the other, while clients write. The journal
//! gets a newer format only when all of its members read it.

use std::time::Duration;

use chatshard::limits::JOURNAL_FORMAT;
use chatshard::node::membership::MemberRole;

use super::crowds::Crowds;
use super::history::{Client, faults, mishap, rest, told};
use super::world::{Fault, MEMBERS, World};
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

#[test]
fn the_format_rises_when_all_members_read_it() {
    for seed in 0..SEEDS {
        play(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}
