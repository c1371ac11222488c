//! A data directory whose files were changed in any way, with checksums corrected or not. A start
//! refuses it and changes nothing, or it starts and a later start finds all of that again. After a
//! repair that leaves no damage, the directory starts.
//!
//! Input: which files are there and how they are opened, then edits; see [`edit`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use snapshot::{
    Batch, Disk, FaultyDisk, LogWriter, Lsn, OpenError, OpenOptions, Opened, SnapshotWriter, open,
    repair, scan,
};

use super::bytes::Bytes;

const NODE: u64 = 0x00c0_ffee;
const DIR: &str = "/data";

type Files = BTreeMap<String, Vec<u8>>;

/// Opens a changed directory, and repairs it.
pub fn run(input: &[u8]) {
    let mut input = Bytes(input);
    let what = input.byte();
    let mut files = contents(&store(what & 1 != 0, what & 2 != 0, what & 4 != 0));
    while !input.is_empty() {
        edit(&mut files, &mut input);
    }
    let mut options = OpenOptions::new(NODE);
    options.allow_damage = what & 8 != 0;
    options.allow_older_snapshot = what & 16 != 0;
    options.log = what & 32 == 0;
    starts_or_refuses(&files, options);
    repaired_it_starts(&files);
}

fn starts_or_refuses(files: &Files, options: OpenOptions) {
    let disk = disk_of(files);
    let found = scan(&disk, Path::new(DIR), Some(NODE)).unwrap();
    match recover(&disk, options) {
        Err(OpenError::Damaged(damage)) => {
            assert!(!damage.is_empty() && !found.damage.is_empty(), "{damage:?}: {found:?}");
            assert!(options.allow_damage || contents(&disk) == *files, "a refusal changed files");
        }
        Err(OpenError::Newer(newer)) => {
            assert!(newer == found.newer && contents(&disk) == *files, "a newer file was touched");
        }
        Err(other) => panic!("{other}"),
        Ok((opened, held)) => goes_on(&disk, opened, held),
    }
}

/// Checks that recovered records stay, and that records written after them are there.
fn goes_on(disk: &FaultyDisk, opened: Opened<FaultyDisk>, mut held: Vec<Vec<u8>>) {
    let Some(mut log) = opened.writer else { return };
    assert_eq!(log.written(), opened.last_lsn);
    let mut batch = Batch::new();
    for record in [b"one more", b"and more"] {
        held.push(record.to_vec());
        batch.push(record).unwrap();
    }
    log.append(&batch).unwrap();
    log.finish().unwrap();
    let (again, found) = recover(disk, OpenOptions::new(NODE)).unwrap();
    assert!(again.clean && again.last_lsn.0 == opened.last_lsn.0 + 2);
    assert_eq!(found, held);
}

fn repaired_it_starts(files: &Files) {
    let disk = disk_of(files);
    let repaired = match repair(&disk, Path::new(DIR), Some(NODE)) {
        Err(OpenError::Newer(_)) => return assert!(contents(&disk) == *files),
        repaired => repaired.unwrap(),
    };
    if repaired.left.is_empty() {
        let (opened, held) = recover(&disk, OpenOptions::new(NODE)).unwrap();
        goes_on(&disk, opened, held);
    }
}

/// Opens the directory, and returns all blocks and records.
fn recover(
    disk: &FaultyDisk,
    options: OpenOptions,
) -> Result<(Opened<FaultyDisk>, Vec<Vec<u8>>), OpenError> {
    let held = std::cell::RefCell::new(Vec::new());
    let keep = |bytes: &[u8]| {
        held.borrow_mut().push(bytes.to_vec());
        Ok(())
    };
    let opened = open(disk, Path::new(DIR), options, keep, |_, record| keep(record))?;
    Ok((opened, held.into_inner()))
}

/// Two segments, the second one with or without an end mark, and up to two snapshots.
fn store(end_mark: bool, snapshot: bool, newer: bool) -> FaultyDisk {
    let disk = FaultyDisk::new(1);
    let mut log = LogWriter::create(&disk, Path::new(DIR), NODE, Lsn(1)).unwrap();
    append(&mut log, 2);
    append(&mut log, 3);
    log.rotate().unwrap();
    append(&mut log, 2);
    append(&mut log, 1);
    if end_mark {
        log.finish().unwrap();
    }
    let snapshots = [(snapshot, 4, 5), (newer, 6, 7)];
    for (_, start, end) in snapshots.into_iter().filter(|(wanted, ..)| *wanted) {
        let mut snapshot = SnapshotWriter::create(&disk, Path::new(DIR), NODE, Lsn(start)).unwrap();
        for block in 1..=start {
            snapshot.block(format!("block {block}").as_bytes()).unwrap();
        }
        snapshot.publish(Lsn(end)).unwrap();
    }
    disk
}

fn append(log: &mut LogWriter<FaultyDisk>, records: u64) {
    let mut batch = Batch::new();
    for next in 1..=records {
        batch.push(format!("record {}", log.written().0 + next).as_bytes()).unwrap();
    }
    log.append(&batch).unwrap();
    log.sync().unwrap();
}

fn contents(disk: &FaultyDisk) -> Files {
    let names = disk.list(Path::new(DIR)).unwrap();
    names.into_iter().map(|name| (name.clone(), disk.read(&path(&name)).unwrap())).collect()
}

fn disk_of(files: &Files) -> FaultyDisk {
    let disk = FaultyDisk::new(2);
    files.iter().for_each(|(name, bytes)| disk.put(&path(name), bytes));
    disk
}

fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

/// One edit: its code, a file, a place in it, and the arguments of the edit.
fn edit(files: &mut Files, input: &mut Bytes<'_>) {
    let code = input.byte();
    let Some(name) = any_name(files, input) else { return };
    let Some(mut bytes) = files.remove(&name) else { return };
    let at = usize::from(input.short()) % (bytes.len() + 1);
    match code % 8 {
        0 => bytes.iter_mut().skip(at).zip(input.take(1)).for_each(|(byte, mask)| *byte ^= mask),
        1 => bytes.truncate(at),
        2 => {
            let length = usize::from(input.byte());
            bytes.splice(at..at, input.take(length).iter().copied());
        }
        3 => {
            let end = at.saturating_add(input.byte().into()).min(bytes.len());
            bytes.drain(at..end);
        }
        4 => {
            // Overwrites bytes with a part of another file.
            let from = any_name(files, input).and_then(|name| files.get(&name));
            let start = usize::from(input.short());
            let part = from.into_iter().flatten().skip(start).take(input.byte().into());
            bytes.iter_mut().skip(at).zip(part).for_each(|(byte, part)| *byte = *part);
        }
        5 => return,
        6 => {
            let length = usize::from(input.byte());
            if let Ok(other) = str::from_utf8(input.take(length))
                && path(other).file_name().is_some_and(|name| name == other)
            {
                files.insert(other.to_owned(), bytes.clone());
            }
        }
        _ => seal(&mut bytes),
    }
    files.insert(name, bytes);
}

fn any_name(files: &Files, input: &mut Bytes<'_>) -> Option<String> {
    let chosen = usize::from(input.byte()).checked_rem(files.len())?;
    files.keys().nth(chosen).cloned()
}

/// Corrects all checksums, as far as the file has a known form; see `snapshot/format.md`.
fn seal(file: &mut [u8]) {
    if file.starts_with(b"chshlog") && file.len() >= 48 {
        put(file, 44, crc32c::crc32c(&file[..44]));
        let (head, batches) = file.split_at_mut(48);
        seal_batches(batches, head[44..].try_into().unwrap());
    } else if file.starts_with(b"chshimg") && file.len() >= 72 {
        put(file, 28, crc32c::crc32c(&file[..28]));
        let header: [u8; 4] = file[28..32].try_into().unwrap();
        let (rest, footer) = file.split_at_mut(file.len() - 40);
        footer[28..32].copy_from_slice(&header);
        put(footer, 32, seal_frames(&mut rest[32..]));
        put(footer, 36, crc32c::crc32c(&footer[..36]));
    }
}

fn seal_batches(mut batches: &mut [u8], mut previous: [u8; 4]) {
    while batches.len() >= 44 {
        let body_bytes = usize::try_from(length(batches, 8)).unwrap();
        let (header, rest) = batches.split_at_mut(44);
        let Some((body, rest)) = rest.split_at_mut_checked(body_bytes) else { return };
        header[32..36].copy_from_slice(&previous);
        put(header, 36, seal_frames(body));
        let node = crc32c::crc32c(&NODE.to_le_bytes());
        put(header, 40, crc32c::crc32c_append(node, &header[..40]));
        previous = header[40..].try_into().unwrap();
        batches = rest;
    }
}

/// The checksum of the checksums of the frames.
fn seal_frames(mut frames: &mut [u8]) -> u32 {
    let mut checksums = Vec::new();
    while frames.len() >= 8 {
        let bytes = usize::try_from(length(frames, 4)).unwrap().saturating_add(8);
        let Some((frame, rest)) = frames.split_at_mut_checked(bytes) else { break };
        put(frame, 0, crc32c::crc32c(&frame[4..]));
        checksums.extend_from_slice(&frame[..4]);
        frames = rest;
    }
    crc32c::crc32c(&checksums)
}

fn length(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}
