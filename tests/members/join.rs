//! Copies of another member's data: whatever breaks on the way, the directory has its old data or
//! the whole copy.

use std::io;
use std::path::Path;

use chatshard::node::give::{GivenLog, GivenSnapshot};
use chatshard::node::identity::{
    AtRisk, IDENTITY_FILE, Identity, KnownJournal, StoredBaseline, SwapStep,
};
use chatshard::node::join::{JoinError, Joining};
use chatshard::node::store::Store;
use snapshot::{
    Batch, Disk, FaultyDisk, FollowError, LogWriter, Lsn, OpenOptions, RealDisk, SnapshotWriter,
    open, snapshot_path,
};

use crate::common::served::client;

const DIR: &str = "/data";
const JOURNAL: u64 = 77;
const SEGMENT_BYTES: u64 = 300;
/// First and last record of the snapshot, and the last record of the log behind it.
const IMAGE: (u64, u64) = (40, 44);
const LAST: u64 = 60;

fn dir() -> &'static Path {
    Path::new(DIR)
}

fn identity(member: u64) -> Identity {
    Identity {
        version: 2,
        node_id: JOURNAL,
        hash_seed: 11,
        slots: chatshard::limits::SLOTS,
        incarnation: 5,
        at_risk: AtRisk::Nothing,
        baseline: StoredBaseline::default(),
        member: Some(member),
        journal: KnownJournal::default(),
        swap: None,
        file: None,
    }
}

/// A record of `who` wrote it: the old data and the copy differ in every byte.
fn record(who: &str, lsn: u64) -> Vec<u8> {
    format!("{who}-{lsn}").into_bytes()
}

fn write_log(log: &mut LogWriter<FaultyDisk>, who: &str, last: u64) {
    while log.written() < Lsn(last) {
        let mut batch = Batch::new();
        batch.push(&record(who, log.written().next().0)).unwrap();
        log.append(&batch).unwrap();
    }
    log.sync().unwrap();
}

/// A member whose data nobody needs any more.
fn left_behind(seed: u64) -> FaultyDisk {
    let disk = FaultyDisk::new(seed);
    Store::made(disk.clone(), dir(), identity(5)).unwrap();
    let mut log = LogWriter::create(&disk, dir(), JOURNAL, Lsn(1)).unwrap();
    log.set_segment_bytes_max(SEGMENT_BYTES);
    write_log(&mut log, "old", 20);
    log.finish().unwrap();
    disk
}

/// A member with a snapshot and the log behind it.
fn peer(journal: u64, with_image: bool) -> FaultyDisk {
    let disk = FaultyDisk::new(9);
    let mut log = LogWriter::create(&disk, dir(), journal, Lsn(1)).unwrap();
    log.set_segment_bytes_max(SEGMENT_BYTES);
    write_log(&mut log, "new", LAST);
    if with_image {
        let mut image = SnapshotWriter::create(&disk, dir(), journal, Lsn(IMAGE.0)).unwrap();
        image.block(b"state").unwrap();
        image.publish(Lsn(IMAGE.1)).unwrap();
    }
    disk
}

/// Changes what is on its way.
type OnTheWay<'a> = &'a mut dyn FnMut(&mut Vec<u8>);

fn copy(from: &FaultyDisk, to: &FaultyDisk, on_the_way: OnTheWay<'_>) -> Result<(), JoinError> {
    copy_until(from, to, LAST, on_the_way)
}

fn copy_until(
    from: &FaultyDisk,
    to: &FaultyDisk,
    until: u64,
    on_the_way: OnTheWay<'_>,
) -> Result<(), JoinError> {
    let joining = Joining::begin(to.clone(), dir(), SEGMENT_BYTES)?;
    let given = GivenSnapshot::open(from, dir()).unwrap();
    let image = match given {
        None => None,
        Some(mut given) => {
            let mut image = joining.snapshot(given.info.start_lsn)?;
            while let Some(piece) = given.piece().unwrap() {
                let mut piece = piece.to_vec();
                on_the_way(&mut piece);
                image.append(&piece)?;
            }
            Some(image.finish()?)
        }
    };
    let mut log = joining.log(image)?;
    let mut given = GivenLog::open(from, dir(), JOURNAL, log.next(), Lsn(until)).unwrap();
    let mut reader = log.reader();
    while let Some(piece) = given.piece().unwrap() {
        let mut piece = piece.to_vec();
        on_the_way(&mut piece);
        for batch in reader.take(&piece).map_err(JoinError::Wrong)? {
            log.append(&batch)?;
        }
    }
    log.finish()
}

/// Whose data the directory has: all of the old, or all of the copy. Anything else fails.
fn whose(disk: &FaultyDisk) -> &'static str {
    let store = Store::found(disk.clone(), dir()).unwrap();
    let known = &store.identity;
    assert_eq!((known.node_id, known.member, known.swap), (JOURNAL, Some(5), None));
    let options = OpenOptions {
        baseline: known.baseline.into(),
        segment_bytes_max: SEGMENT_BYTES,
        ..OpenOptions::new(JOURNAL)
    };
    let (mut blocks, mut records) = (0, Vec::new());
    let on_block = |_: &[u8]| {
        blocks += 1;
        Ok(())
    };
    let on_record = |lsn: Lsn, record: &[u8]| {
        records.push((lsn.0, record.to_vec()));
        Ok(())
    };
    let opened = open(disk, dir(), options, on_block, on_record).unwrap();
    let of = |who, from: u64, last: u64| (from..=last).map(move |lsn| (lsn, record(who, lsn)));
    if opened.last_lsn == Lsn(20) {
        assert_eq!((blocks, records), (0, Vec::from_iter(of("old", 1, 20))));
        return "old";
    }
    let first = opened.snapshot.map_or(1, |snapshot| snapshot.start_lsn.0 + 1);
    assert_eq!(records, Vec::from_iter(of("new", first, LAST)));
    assert_eq!(blocks, u64::from(first > 1));
    "new"
}

#[test]
fn a_copy_takes_the_place_of_what_was_there() {
    for with_image in [true, false] {
        let disk = left_behind(1);
        copy(&peer(JOURNAL, with_image), &disk, &mut |_| {}).unwrap();
        assert_eq!(whose(&disk), "new", "with a snapshot: {with_image}");
        let left = disk.list(&dir().join("joining")).unwrap();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_crash_at_any_step_leaves_the_old_data_or_the_copy() {
    let mut seen = [0, 0];
    for seed in 0..60 {
        for sync in 1.. {
            let disk = left_behind(seed);
            disk.freeze_at_sync(sync);
            let copied = copy(&peer(JOURNAL, seed % 3 > 0), &disk, &mut |_| {});
            let is_frozen = disk.is_frozen();
            assert_eq!(is_frozen, copied.is_err(), "{copied:?}");
            if seed % 2 == 0 {
                disk.crash()
            } else {
                disk.kill()
            }
            // A crash while the next start puts it in order changes nothing either.
            disk.freeze_at_sync(1 + seed % 5);
            let found = Store::found(disk.clone(), dir());
            assert_eq!(disk.is_frozen(), found.is_err(), "{:?}", found.err());
            drop(found);
            disk.crash();
            disk.freeze_at_sync(u64::MAX);
            let has_old = whose(&disk) == "old";
            seen[usize::from(has_old)] += 1;
            assert!(is_frozen || !has_old, "a copy that ended well is there");
            if !is_frozen {
                break;
            }
            copy(&peer(JOURNAL, true), &disk, &mut |_| {}).unwrap();
            assert_eq!(whose(&disk), "new");
        }
    }
    assert!(seen.iter().all(|count| *count > 100), "{seen:?}");
}

#[test]
fn a_disk_that_refuses_something_has_the_old_data_or_the_copy() {
    for call in 1.. {
        let disk = left_behind(3);
        disk.refuse(call);
        let copied = copy(&peer(JOURNAL, true), &disk, &mut |_| {});
        // A refusal after the end hits the look below; it ends with the process.
        disk.kill();
        let mut was_refused = copied.is_err();
        if !was_refused {
            was_refused = Store::found(disk.clone(), dir()).is_err();
        }
        let whose = whose(&disk);
        assert!(copied.is_err() || whose == "new");
        if !was_refused {
            return;
        }
    }
}

#[test]
fn what_is_changed_on_its_way_changes_nothing() {
    let whole = peer(JOURNAL, true);
    let mut bytes = 0;
    copy(&whole, &left_behind(1), &mut |piece| bytes += piece.len()).unwrap();
    for place in 0..bytes {
        let disk = left_behind(1);
        let mut at = 0;
        let copied = copy(&whole, &disk, &mut |piece| {
            if let Some(byte) = place.checked_sub(at).and_then(|within| piece.get_mut(within)) {
                *byte ^= 1;
            }
            at += piece.len();
        });
        assert!(matches!(copied, Err(JoinError::Wrong(_))), "byte {place}: {copied:?}");
        assert_eq!(whose(&disk), "old");
    }
}

#[test]
fn what_is_cut_on_its_way_changes_nothing() {
    let disk = left_behind(1);
    let copied = copy(&peer(JOURNAL, true), &disk, &mut |piece| piece.truncate(piece.len() - 1));
    assert!(matches!(copied, Err(JoinError::Wrong(_))), "{copied:?}");
    // A log that ends before its snapshot does is not enough.
    let short = copy_until(&peer(JOURNAL, true), &disk, IMAGE.1 - 1, &mut |_| {});
    assert!(matches!(short, Err(JoinError::Wrong(_))), "{short:?}");
    assert_eq!(whose(&disk), "old");
}

#[test]
fn data_of_another_journal_changes_nothing() {
    let disk = left_behind(1);
    let copied = copy(&peer(JOURNAL + 1, true), &disk, &mut |_| {});
    assert!(matches!(copied, Err(JoinError::Wrong(_))), "{copied:?}");
    assert_eq!(whose(&disk), "old");
}

#[test]
fn a_log_that_does_not_reach_back_says_where_it_begins() {
    let disk = FaultyDisk::new(1);
    let mut log = LogWriter::create(&disk, dir(), JOURNAL, Lsn(30)).unwrap();
    write_log(&mut log, "new", 40);
    let open = |from: u64| GivenLog::open(&disk, dir(), JOURNAL, Lsn(from), Lsn(40));
    assert!(matches!(open(29), Err(FollowError::Gone { oldest: Lsn(30) })));
    assert!(open(30).unwrap().piece().unwrap().is_some());
    assert!(open(41).unwrap().piece().unwrap().is_none());
}

#[test]
fn a_snapshot_is_given_to_its_end_after_it_was_removed() {
    let disk = peer(JOURNAL, true);
    let mut given = GivenSnapshot::open(&disk, dir()).unwrap().unwrap();
    let path = snapshot_path(dir(), Lsn(IMAGE.0));
    let bytes = disk.read(&path).unwrap();
    disk.remove(&path).unwrap();
    assert_eq!(given.piece().unwrap().unwrap(), bytes);
    assert!(given.piece().unwrap().is_none());
    assert!(GivenSnapshot::open(&disk, dir()).unwrap().is_none());
}

#[test]
fn only_the_directory_of_a_member_takes_a_copy() {
    let disk = FaultyDisk::new(1);
    let alone = Identity { member: None, ..identity(1) };
    Store::made(disk.clone(), dir(), alone).unwrap();
    let copied = copy(&peer(JOURNAL, true), &disk, &mut |_| {});
    assert!(matches!(copied, Err(JoinError::Store(_))), "{copied:?}");
}

/// A real directory of a member, with a copy at this step.
fn real_directory(swap: Option<SwapStep>) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let known = Identity { swap, ..identity(1) };
    Store::made(RealDisk, directory.path(), known).unwrap();
    LogWriter::create(&RealDisk, directory.path(), JOURNAL, Lsn(1)).unwrap().finish().unwrap();
    directory
}

#[test]
fn tools_say_what_a_copy_is_that_is_not_in_its_place() {
    let half = real_directory(Some(SwapStep::Move));
    let path = half.path().to_str().unwrap();
    for command in ["inspect", "restore"] {
        let refused = client(&[command, path]).unwrap_err();
        assert!(refused.contains("the next start of the node puts it there"), "{refused}");
    }
    let whole = real_directory(None);
    std::fs::create_dir(whole.path().join("joining")).unwrap();
    let shown = client(&["inspect", whole.path().to_str().unwrap()]).unwrap();
    assert!(shown.contains("the next start removes it"), "{shown}");
}

#[test]
fn damage_is_not_accepted_in_the_directory_of_a_member() {
    let directory = real_directory(None);
    let path = directory.path().to_str().unwrap();
    let log = directory.path().join("log-00000000000000000001.seg");
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&log, &bytes).unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--http", "off", "--admin", "off"];
    let serve = [serve.as_slice(), &["--data-dir", path]].concat();
    let accepting = [serve.as_slice(), &["--allow-damage"]].concat();
    let repair = vec!["inspect", path, "--repair"];
    // Without its journal no member starts, damaged or not.
    for (command, advice) in
        [(serve, "--journal"), (accepting, "--journal"), (repair, "Wipe the directory")]
    {
        let refused = client(&command).unwrap_err();
        assert!(refused.contains(advice), "{refused}");
        assert_eq!(std::fs::read(&log).unwrap(), bytes);
    }
}

#[test]
fn a_copy_that_is_gone_before_it_has_its_place_is_told() {
    let disk = left_behind(1);
    let identity = Identity {
        swap: Some(SwapStep::Remove),
        ..Identity::read(&disk, &dir().join(IDENTITY_FILE)).unwrap().0
    };
    identity.write(&disk, &dir().join(IDENTITY_FILE)).unwrap();
    let found: io::Result<()> =
        Store::found(disk.clone(), dir()).map(drop).map_err(io::Error::other);
    assert!(found.unwrap_err().to_string().contains("wipe the data directory"));
}
