//! A member comes back with a log that is whole and is not that of the journal. It finds the record
//! that differs, applies nothing behind it, and never claims.

use std::path::Path;
use std::time::Duration;

use chatshard::journal::kept::TrimLimits;
use chatshard::journal::sim::SimFaults;
use snapshot::{Batch, Disk, FaultyDisk, LogFollower, LogWriter, Lsn};

use super::plays::{
    SECOND, active, advance, create, failure, last_sequence, run_until, until_level,
};
use super::world::{DIR, Fault, JOURNAL, MEMBERS, World};

const SEEDS: u64 = 20;
/// The code of `Advanced`, which is byte 10 of a record.
const ADVANCED: u8 = 4;

/// Writes the log anew, up to `last`, with right checksums. `alter` may change each record.
fn rewrite(disk: &FaultyDisk, last: Lsn, mut alter: impl FnMut(Lsn, &mut Vec<u8>)) {
    let dir = Path::new(DIR);
    let names: Vec<String> =
        disk.list(dir).unwrap().into_iter().filter(|name| name.starts_with("log-")).collect();
    let oldest = LogFollower::oldest(disk, dir, JOURNAL).unwrap().unwrap();
    let mut follower = LogFollower::open(disk, dir, JOURNAL, oldest).unwrap();
    let other = FaultyDisk::new(1);
    let mut log = LogWriter::create(&other, dir, JOURNAL, oldest).unwrap();
    while follower.position() < last {
        let next = follower.position().next();
        if next > oldest && names.contains(&format!("log-{next:020}.seg")) {
            log.rotate().unwrap();
        }
        let mut batch = Batch::new();
        let one = |lsn, record: &[u8]| {
            let mut record = record.to_vec();
            alter(lsn, &mut record);
            batch.push(&record).unwrap();
        };
        follower.next(next, 1, one).unwrap();
        log.append(&batch).unwrap();
    }
    log.sync().unwrap();
    for name in names {
        disk.put(&dir.join(&name), &other.read(&dir.join(&name)).unwrap());
    }
}

/// Plays one seed: a member is down, one of its records changes with all of its checksums, and it
/// starts.
pub fn play(seed: u64) -> Result<(), Fault> {
    let delay = Duration::from_millis(1);
    let mut world = World::new(seed, SimFaults { delay, ..SimFaults::default() });
    world.trim = TrimLimits::default();
    run_until(&mut world, 20 * SECOND, "an active", |world| active(world).is_some())?;
    create(&mut world)?;
    let writes = 5 + world.random.below(10);
    for to in 1..=writes {
        advance(&mut world, to)?;
    }
    until_level(&mut world)?;

    let first = active(&world).ok_or("nobody is the active")?;
    let other = (first + 1) % MEMBERS;
    let life = world.members[other].life.as_ref().ok_or("it is down")?;
    let last = life.info.log.durable();
    world.kill(other, true, 1000 * SECOND);
    let wanted = world.random.below(writes);
    let (mut seen, mut altered) = (0, None);
    rewrite(world.disk(other), last, |lsn, record| {
        if record[10] == ADVANCED {
            if seen == wanted {
                // The last byte but one is the lowest one of its time.
                let at = record.len() - 2;
                record[at] ^= 1;
                altered = Some(lsn);
            }
            seen += 1;
        }
    });
    let altered = altered.ok_or("no record is altered")?;
    world.members[other].until = world.now();
    run_until(&mut world, 5 * SECOND, "a word of the record that differs", |world| {
        failure(world, other).is_some()
    })?;
    let why = failure(&world, other).unwrap_or_default();
    if !why.contains("entry ") || !why.contains(&format!("record {altered} ")) {
        return Err(format!("record {altered} differs, and it says {why}"));
    }

    // It applies nothing more, and claims nothing while it is alone.
    advance(&mut world, writes + 1)?;
    (0..MEMBERS).filter(|at| *at != other).for_each(|at| world.kill(at, false, 1000 * SECOND));
    let now = world.now();
    run_until(&mut world, 4 * SECOND, "time", |world| world.now() >= now + 3 * SECOND)?;
    let life = world.members[other].life.as_ref().ok_or("it is down")?;
    if life.info.log.tail() > last || world.may_reply(other) {
        return Err("a member with another record goes on".into());
    }
    (0..MEMBERS).for_each(|at| world.members[at].until = world.now());
    run_until(&mut world, 10 * SECOND, "a claim", |world| active(world).is_some())?;
    match last_sequence(&mut world)? {
        at if at == writes + 1 => Ok(()),
        at => Err(format!("the chat ends at {at}, and {} was promised", writes + 1)),
    }
}

#[test]
fn a_member_whose_record_is_another_one_stops() {
    for seed in 0..SEEDS {
        play(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}
