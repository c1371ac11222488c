//! The story of a node and its clients in one seed: rounds of a start, work with faults of the
//! disk, and an end. The end is a crash, a kill or a clean stop.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use chatshard::node::error::StoreError;
use chatshard::node::log::{LogMode, LogState};
use snapshot::{Disk, FaultyDisk};

use super::alone::Alone;
use super::crowd::Crowd;
use super::tally::Tally;
use super::world::{DIR, Fault, World};

/// A seed that fails.
#[derive(Debug)]
pub struct Failure {
    pub why: Fault,
    /// The last events, one to a line.
    pub events: String,
}

/// A seed that passes: counts of what happened, and a digest of all events.
#[derive(Debug)]
pub struct Played {
    pub tally: Tally,
    pub digest: u64,
}

struct Story {
    world: World,
    alone: Vec<Alone>,
    crowd: Crowd,
    mode: LogMode,
    /// The log has its end mark, so recovery can distinguish any flipped bit from a torn write.
    is_closed: bool,
    /// The run before may have lost acknowledged changes.
    lost: bool,
    /// Acknowledged changes are not on the disk yet, and are lost if the machine stops.
    at_risk: bool,
    /// The export that the next start must reproduce.
    expected: Option<Vec<String>>,
}

/// Plays a seed to its end.
pub fn play(seed: u64) -> Result<Played, Failure> {
    let mut story = Story::new(seed);
    match story.play() {
        Ok(()) => {
            let digest = story.world.trace.digest();
            story.world.tally.seeds = 1;
            Ok(Played { tally: story.world.tally, digest })
        }
        Err(why) => Err(Failure { why, events: story.world.trace.told() }),
    }
}

impl Story {
    fn new(seed: u64) -> Self {
        let mut world = World::new(seed);
        let alone = (0..1 + world.random.below(2)).map(Alone::new).collect();
        let crowd = Crowd::new(1 + world.random.below(3));
        // At first the crowd's chats are created as after a loss.
        let (mode, lost) = (LogMode::Always, true);
        Self { world, alone, crowd, mode, is_closed: false, lost, at_risk: false, expected: None }
    }

    fn play(&mut self) -> Result<(), Fault> {
        for _ in 0..2 + self.world.random.below(4) {
            self.mode = match self.world.random.below(12) {
                0..=7 => LogMode::Always,
                8..=9 => LogMode::EverySec,
                10 => LogMode::Never,
                _ => LogMode::Off,
            };
            if self.alone.iter().any(Alone::may_be_half_done) {
                // A node that may lose changes could leave any part of the request, which the model
                // does not cover.
                self.mode = LogMode::Always;
            }
            self.start()?;
            self.work()?;
            self.end()?;
        }
        self.mode = LogMode::Always;
        self.start()
    }

    // ---- start ----

    /// Starts the node, with as many attempts as it takes, and checks its state.
    fn start(&mut self) -> Result<(), Fault> {
        let flip = if self.world.one_in(5) { self.flip() } else { None };
        if self.world.one_in(6) {
            self.world.disk.freeze_at_sync(1 + self.world.random.below(5));
        }
        if self.world.one_in(6) {
            self.world.tally.refused_calls += 1;
            self.world.disk.refuse(1 + self.world.random.below(12));
        }
        let mut flipped = flip.as_ref();
        loop {
            let shards = 1 + u16::try_from(self.world.random.below(4)).unwrap();
            let started = self.world.start(shards, self.mode);
            self.world.tally.starts += 1;
            match (started, flipped) {
                (Ok(()), _) => break,
                (Err(_), _) if self.world.disk.is_frozen() => {
                    self.world.tally.start_crashes += 1;
                    self.crash();
                    flipped = self.spared(flipped);
                }
                // A fault that was planned in the run before.
                (Err(error), _) if is_of_the_disk(&error) => {
                    self.world.tally.start_faults += 1;
                    self.world.event(format!("refused: {error}"));
                    if self.world.one_in(2) {
                        self.crash();
                        flipped = self.spared(flipped);
                    }
                    self.world.heal();
                }
                (Err(error), Some((file, bit))) => {
                    check_refusal(&error, file)?;
                    self.world.event(format!("refused: {error}"));
                    self.world.tally.flips_refused += 1;
                    // Flips the bit back, as if the file came from an older copy.
                    self.world.disk.flip_bit(file, *bit).unwrap();
                    flipped = None;
                }
                (Err(error), None) => return Err(format!("no start: {error}")),
            }
        }
        self.world.tally.flips_harmless += u64::from(flipped.is_some());
        self.world.heal();
        self.world.sync_may_fail = false;
        let may_lose = self.mode != LogMode::Always;
        let now = self.world.now();
        self.alone.iter_mut().for_each(|client| client.begin(may_lose, now));
        if self.mode != LogMode::Off || !self.at_risk {
            // Recovery syncs the log that it continues. Without a log it leaves the old log as it
            // is.
            self.alone.iter_mut().for_each(Alone::is_durable);
        }
        self.rest(true)?;
        self.lost = false;
        Ok(())
    }

    /// The machine stops while the node starts.
    fn crash(&mut self) {
        self.world.crash();
        self.lost |= self.at_risk;
        for client in &mut self.alone {
            client.cut_off(&mut self.world, self.at_risk);
        }
        self.at_risk = false;
    }

    /// Flips a bit in a file of a node that does not run. Without an end mark, a flip in the newest
    /// segment may lose the last batch as if it were torn, so that segment is spared.
    fn flip(&mut self) -> Option<(PathBuf, u64)> {
        let mut names = self.world.disk.list(Path::new(DIR)).unwrap();
        names.sort();
        if let Some(newest) = self.open_segment() {
            names.retain(|name| *name != newest);
        }
        let at = usize::try_from(self.world.random.below(names.len() as u64)).unwrap();
        let file = Path::new(DIR).join(&names[at]);
        let bits = self.world.disk.read(&file).unwrap().len() as u64 * 8;
        let bit = self.world.random.below(bits.max(1));
        self.world.disk.flip_bit(&file, bit).ok()?;
        self.world.event(format!("flip bit {bit} of {}", file.display()));
        Some((file, bit))
    }

    /// The newest segment, unless the log has its end mark.
    fn open_segment(&self) -> Option<String> {
        let names = self.world.disk.list(Path::new(DIR)).unwrap();
        let newest = names.into_iter().filter(|name| name.ends_with(".seg")).max();
        newest.filter(|_| !self.is_closed)
    }

    /// A crash may take the newest segment away. The flipped bit may then be in the one that is the
    /// newest now, and in the last batch: there nothing can distinguish it from a torn write.
    fn spared<'a>(&mut self, flipped: Option<&'a (PathBuf, u64)>) -> Option<&'a (PathBuf, u64)> {
        let (file, bit) = flipped?;
        let Some(newest) = self.open_segment() else { return flipped };
        if *file != Path::new(DIR).join(newest) {
            return flipped;
        }
        self.world.disk.flip_bit(file, *bit).unwrap();
        self.world.event(format!("flip bit {bit} of {} back", file.display()));
        None
    }

    /// Brings the node to rest and checks its state. Returns whether the log still accepts writes.
    fn rest(&mut self, is_new: bool) -> Result<bool, Fault> {
        self.world.heal();
        let is_well = loop {
            let is_well = self.world.settle()?;
            let held = self.world.tally.held;
            self.receive()?;
            if self.world.tally.held == held {
                break is_well;
            }
        };
        if !is_well {
            return Ok(false);
        }
        self.world.event("at rest".into());
        if let Some(expected) = self.expected.take() {
            self.world.tally.exports += 1;
            compare(&expected, &self.world.export()?)?;
        }
        for client in &mut self.alone {
            client.resolve(&mut self.world, is_new)?;
        }
        self.crowd.resolve(&mut self.world, is_new, self.lost && is_new)?;
        let is_well = self.world.settle()?;
        if self.mode != LogMode::Off {
            self.alone.iter_mut().for_each(Alone::is_durable);
        }
        // No request is under way, so keys may be forgotten from now on.
        let jump = [0, 0, 0, 240_000, 400_001];
        let ms = jump[usize::try_from(self.world.random.below(5)).unwrap()];
        self.world.pass(ms);
        Ok(is_well)
    }

    // ---- work ----

    fn work(&mut self) -> Result<(), Fault> {
        self.world.log_weight = match self.world.random.below(4) {
            0 => 1,
            1 => 30,
            _ => 8,
        };
        self.world.tally.slow += u64::from(self.world.log_weight == 1);
        for _ in 0..100 + self.world.random.below(500) {
            match self.world.random.below(6) {
                0 => {
                    let at = self.world.random.below(self.alone.len() as u64);
                    self.alone[usize::try_from(at).unwrap()].act(&mut self.world)?;
                }
                1 => self.crowd.act(&mut self.world)?,
                _ => _ = self.world.step(),
            }
            self.receive()?;
            if self.world.one_in(60) {
                self.world.begin_snapshot();
                if self.world.one_in(4) {
                    // At some sync of the snapshot.
                    self.world.tally.frozen += 1;
                    self.world.disk.freeze_at_sync(1 + self.world.random.below(6));
                }
            }
            if self.crowd.is_half_made() && self.world.one_in(8) {
                return Ok(());
            }
            if self.world.one_in(120) {
                self.fault();
            }
            self.world.check_poison()?;
            match self.world.state() {
                _ if self.world.disk.is_frozen() => return Ok(()),
                LogState::Poisoned if self.world.one_in(20) => return Ok(()),
                LogState::Stalled if self.world.one_in(20) => self.world.heal(),
                _ => {}
            }
            if self.world.one_in(400) && !self.rest(false)? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<(), Fault> {
        self.alone.iter_mut().try_for_each(|client| client.receive(&mut self.world))?;
        self.crowd.receive(&mut self.world)
    }

    /// Plans a fault of the disk.
    fn fault(&mut self) {
        let soon = 1 + self.world.random.below(4);
        let disk: &FaultyDisk = &self.world.disk;
        let tally: &mut Tally = &mut self.world.tally;
        let what = match self.world.random.below(8) {
            0 => {
                tally.failed_writes += 1;
                disk.fail_write(soon);
                "write"
            }
            1 => {
                tally.failed_writes += 1;
                disk.fail_write(soon);
                disk.fail_truncate(true);
                "write and cut"
            }
            2 | 3 => {
                tally.full += 1;
                disk.full_after(soon * 100);
                "room"
            }
            4 => {
                tally.failed_syncs += 1;
                disk.fail_sync(soon);
                self.world.sync_may_fail = true;
                "sync"
            }
            5 => {
                tally.refused_calls += 1;
                disk.refuse(soon);
                "call"
            }
            6 if soon == 4 => {
                tally.displaced += 1;
                disk.displace(true);
                "the directory's place"
            }
            6 => {
                tally.refused_calls += 1;
                disk.refuse_all(true);
                "all calls"
            }
            _ => {
                tally.frozen += 1;
                disk.freeze_at_sync(soon);
                "power"
            }
        };
        self.world.event(format!("soon fails: {what} ({soon})"));
    }

    // ---- end ----

    fn end(&mut self) -> Result<(), Fault> {
        let frozen = self.world.disk.is_frozen();
        let drawn = self.world.random.below(10);
        let (mut crashes, mut stops) = (frozen || drawn >= 6, false);
        if !frozen && drawn < 4 && self.rest(false)? {
            if self.mode == LogMode::Off {
                // As a stop does it: the whole state goes into a snapshot.
                self.world.begin_snapshot();
                self.world.settle()?;
                self.alone.iter_mut().for_each(Alone::is_durable);
            }
            self.expected = Some(self.world.export()?);
            (crashes, stops) = (drawn < 1, drawn >= 2);
        }
        if !frozen && drawn == 9 && self.mode != LogMode::Off && self.rest(false)? {
            // No other thread syncs. The power fails while a snapshot gets its final name.
            self.expected = Some(self.world.export()?);
            self.world.tally.frozen += 1;
            self.world.disk.freeze_at_sync(1 + self.world.random.below(2));
            self.world.begin_snapshot();
            self.world.settle()?;
        }
        // The state at rest is on the disk.
        let at_risk = self.mode != LogMode::Always && self.expected.is_none();
        self.lost = at_risk && (crashes || self.mode == LogMode::Off);
        self.at_risk = at_risk && !self.lost;
        self.is_closed = false;
        if crashes {
            self.world.crash();
        } else if stops && self.mode != LogMode::Off {
            self.is_closed = self.world.stop();
        } else {
            self.world.kill();
        }
        self.world.tally.lossy += u64::from(self.lost && self.mode != LogMode::Off);
        self.world.tally.snapshots_only += u64::from(self.mode == LogMode::Off);
        for client in &mut self.alone {
            client.cut_off(&mut self.world, self.lost);
        }
        self.crowd.cut_off(&mut self.world);
        Ok(())
    }
}

/// Whether the disk refused something as planned.
fn is_of_the_disk(error: &StoreError) -> bool {
    let text = error.to_string();
    text.contains("as was asked for") || text.contains(&ErrorKind::StorageFull.to_string())
}

/// Damage must be refused with the name of the damaged file.
fn check_refusal(error: &StoreError, file: &Path) -> Result<(), Fault> {
    let (text, file) = (error.to_string(), file.display().to_string());
    if text.contains(&file) { Ok(()) } else { Err(format!("{file} is damaged; told is: {text}")) }
}

fn compare(before: &[String], after: &[String]) -> Result<(), Fault> {
    // Other shards remember other numbers of removals, so a removal may be forgotten meanwhile.
    let may_go = |line: &String| line.contains("\"removed\":1,");
    let missing: Vec<_> =
        before.iter().filter(|line| !after.contains(line) && !may_go(line)).collect();
    let new: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
    match missing.is_empty() && new.is_empty() {
        true => Ok(()),
        false => {
            Err(format!("another state after the start:\nbefore {missing:#?}\nafter {new:#?}"))
        }
    }
}
