//! Files that are removed, emptied or cut, at each moment of a store's life. With the baseline a
//! start names the file and refuses, or nothing durable is missing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use snapshot::{
    Baseline, Damage, Disk, FaultyDisk, KeepBaseline, LogWriter, Lsn, OpenOptions, SnapshotWriter,
    prune, repair, scan,
};

use super::keeper::{FILE, Keeper, baseline_of};
use super::{DIR, NODE, append, copy_of, options, payload, recover, right_prefix};

/// A directory as a killed process leaves it.
struct Moment {
    name: String,
    disk: FaultyDisk,
    /// The last record that was durable.
    durable: u64,
    /// The log has its end mark, and the baseline is at its end.
    is_closed: bool,
}

struct Life {
    disk: FaultyDisk,
    keeper: Arc<Keeper>,
    log: Option<LogWriter<FaultyDisk>>,
    durable: u64,
    moments: Vec<Moment>,
}

impl Life {
    fn new() -> Self {
        let disk = FaultyDisk::new(5);
        let keeper = Keeper::of(&disk);
        let mut life = Self { disk, keeper, log: None, durable: 0, moments: Vec::new() };
        life.start();
        life
    }

    fn start(&mut self) {
        self.disk.kill();
        let (opened, records) = recover(&self.disk, with_floor(&self.disk)).unwrap();
        self.durable = right_prefix(&records);
        let mut log = opened.writer.unwrap();
        self.keeper.raise(log.baseline()).unwrap();
        log.set_baseline_keeper(self.keeper.clone());
        self.log = Some(log);
        self.note("start", false);
    }

    fn log(&mut self) -> &mut LogWriter<FaultyDisk> {
        self.log.as_mut().unwrap()
    }

    fn write(&mut self, batches: u64) {
        for _ in 0..batches {
            append(self.log(), 3);
            self.durable = self.log().sync().unwrap().0;
            self.note("write", false);
        }
    }

    fn rotate(&mut self) {
        self.log().rotate().unwrap();
        self.durable = self.log().durable().0;
        self.note("rotation", false);
    }

    fn snapshot(&mut self) {
        let start = self.durable;
        let mut snapshot =
            SnapshotWriter::create(&self.disk, Path::new(DIR), NODE, Lsn(start)).unwrap();
        (1..=start).for_each(|lsn| snapshot.block(&payload(lsn)).unwrap());
        snapshot.publish(Lsn(start)).unwrap();
        self.note("snapshot", false);
        let to = Baseline { durable: Lsn(start), snapshot: Lsn(start), ..Baseline::default() };
        self.keeper.raise(to).unwrap();
        self.note("snapshot's floor", false);
        let keep_from = prune(&self.disk, Path::new(DIR), 2).unwrap();
        self.log().trimmer().trim(keep_from).unwrap();
        self.note("trim", false);
    }

    fn stop(&mut self) {
        self.durable = self.log.take().unwrap().finish().unwrap().0;
        self.note("stop", true);
    }

    fn note(&mut self, name: &str, is_closed: bool) {
        let name = format!("{} {name}", self.moments.len());
        let (disk, durable) = (copy_of(&self.disk), self.durable);
        self.moments.push(Moment { name, disk, durable, is_closed });
    }

    /// Rotations, snapshots, a clean and an unclean stop, and all of that once more.
    fn lived() -> Vec<Moment> {
        let mut life = Self::new();
        for round in 0..3 {
            life.write(2);
            life.rotate();
            life.write(1);
            if round > 0 {
                life.snapshot();
            }
            life.rotate();
            life.write(2);
            life.snapshot();
            if round != 1 {
                life.stop();
            }
            life.start();
        }
        life.write(1);
        life.moments
    }
}

fn with_floor(disk: &FaultyDisk) -> OpenOptions {
    OpenOptions { baseline: baseline_of(disk), ..options() }
}

/// The files with this extension, oldest first.
fn files(disk: &FaultyDisk, extension: &str) -> Vec<PathBuf> {
    let mut names = disk.list(Path::new(DIR)).unwrap();
    names.retain(|name| name.ends_with(extension));
    names.sort();
    names.into_iter().map(|name| Path::new(DIR).join(name)).collect()
}

/// The result of a start: the number of records, or the damage.
fn started(disk: &FaultyDisk) -> Result<u64, Vec<Damage>> {
    recover(disk, with_floor(disk)).map(|(_, records)| right_prefix(&records))
}

/// Checks that a start refuses and names a file, or finds at least `least` records.
fn refuses_or_finds(moment: &Moment, disk: &FaultyDisk, least: u64, what: &str) -> bool {
    let name = &moment.name;
    match started(&copy_of(disk)) {
        Ok(found) => {
            assert!(found >= least, "moment {name}, {what}: {found} of {least} records");
            false
        }
        Err(damage) => {
            let names_one = |damage: &Damage| damage.path.parent() == Some(Path::new(DIR));
            assert!(damage.iter().all(names_one), "moment {name}, {what}: {damage:?}");
            true
        }
    }
}

#[test]
fn a_file_that_is_gone_emptied_or_cut_is_missed_by_name() {
    let mut refused = 0;
    for moment in &Life::lived() {
        assert_eq!(started(&copy_of(&moment.disk)), Ok(moment.durable), "{}", moment.name);
        let mut changed = |disk: &FaultyDisk, least: u64, what: &str| {
            refused += u64::from(refuses_or_finds(moment, disk, least, what));
        };
        let (segments, snapshots) = (files(&moment.disk, ".seg"), files(&moment.disk, ".img"));
        for path in segments.iter().chain(&snapshots) {
            let whole = moment.disk.read(path).unwrap();
            let disk = copy_of(&moment.disk);
            disk.remove(path).unwrap();
            changed(&disk, moment.durable, &format!("{} removed", path.display()));
            let edges = [47, 48, whole.len() - 45, whole.len() - 44, whole.len() - 1];
            for length in (0..whole.len()).step_by(13).chain(edges) {
                disk.put(path, &whole[..length]);
                // Only the newest segment itself shows what it holds beyond the baseline.
                let is_open = !moment.is_closed && segments.last() == Some(path) && length >= 48;
                let least = if is_open { baseline_of(&disk).durable.0 } else { moment.durable };
                changed(&disk, least, &format!("{} cut at {length}", path.display()));
            }
        }
        // The newest files, one, two, and so on up to all.
        for paths in [&segments, &snapshots] {
            let disk = copy_of(&moment.disk);
            for path in paths.iter().rev() {
                disk.remove(path).unwrap();
                changed(&disk, moment.durable, &format!("all from {} on removed", path.display()));
            }
        }
        let disk = copy_of(&moment.disk);
        segments.iter().chain(&snapshots).for_each(|path| disk.remove(path).unwrap());
        let damage = started(&disk).unwrap_err();
        assert!(damage[0].path == *segments.last().unwrap(), "{}: {damage:?}", moment.name);
    }
    assert!(refused > 1000, "{refused}");
}

/// An older identity file that was put back demands less. Then the mark demands the newest segment.
#[test]
fn a_rotated_segment_demands_its_successor_without_a_floor() {
    let mut life = Life::new();
    life.write(2);
    life.rotate();
    life.write(1);
    let disk = copy_of(&life.disk);
    disk.remove(Path::new(FILE)).unwrap();
    let newest = files(&disk, ".seg").pop().unwrap();
    let whole = disk.read(&newest).unwrap();
    for change in [None, Some(0), Some(47)] {
        match change {
            None => disk.remove(&newest).unwrap(),
            Some(length) => disk.put(&newest, &whole[..length]),
        }
        let damage = started(&disk).unwrap_err();
        assert_eq!(damage[0].path, newest, "{change:?}");
    }
    // A directory of an older program has neither, and starts as before.
    let older = super::store(true);
    assert_eq!(baseline_of(&older), Baseline::default());
    assert_eq!(started(&older), Ok(10));
}

/// A repair reports its loss before, and then loses exactly that.
#[test]
fn what_damage_costs_is_said_exactly() {
    let known =
        |disk: &FaultyDisk| snapshot::Known { node_id: Some(NODE), baseline: baseline_of(disk) };
    let mut told = 0;
    for moment in &Life::lived() {
        let segments = files(&moment.disk, ".seg");
        let snapshots = files(&moment.disk, ".img");
        for path in segments.iter().chain(&snapshots) {
            let whole = moment.disk.read(path).unwrap();
            for bit in (0..whole.len() * 8).step_by(331) {
                let disk = copy_of(&moment.disk);
                disk.flip_bit(path, u64::try_from(bit).unwrap()).unwrap();
                let found = scan(&disk, Path::new(DIR), known(&disk)).unwrap();
                if found.damage.is_empty() {
                    assert_eq!((found.loss, found.can_be_repaired), (None, false));
                    continue;
                }
                let repaired = repair(&disk, Path::new(DIR), known(&disk)).unwrap();
                assert_eq!(repaired.left.is_empty(), found.can_be_repaired);
                if !found.can_be_repaired {
                    assert_eq!(found.loss.unwrap().first, Lsn(1));
                    continue;
                }
                assert_eq!(repaired.loss, found.loss);
                let kept = started(&disk).unwrap();
                let what = format!("moment {}, {} bit {bit}", moment.name, path.display());
                match found.loss {
                    None => assert_eq!(kept, moment.durable, "{what}"),
                    Some(loss) => {
                        assert_eq!(loss.first.0, kept + 1, "{what}");
                        let all = loss.last.0..=loss.at_most.0;
                        assert!(all.contains(&moment.durable), "{what}: {loss:?}");
                        told += 1;
                    }
                }
            }
        }
    }
    assert!(told > 10, "{told}");
}
