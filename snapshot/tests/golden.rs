//! The files of each format version, kept in `golden/`. All can be read, and files that are written
//! today equal the newest version, byte by byte.
//!
//! After a deliberate change of the format, run with `CHATSHARD_GOLDEN=write`, and keep the old
//! files beside the new ones.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};

use snapshot::{
    Batch, Disk, FaultyDisk, LogWriter, Lsn, OpenError, OpenOptions, ReadError, SnapshotWriter,
    Tail, open, read_sealed, repair, scan, write_sealed,
};

const NODE: u64 = 0x0123_4567_89ab_cdef;
const DIR: &str = "/data";
const SEGMENT: &str = "log-00000000000000000001.seg";
/// A segment that continues the first one; only since version 2.
const NEXT_SEGMENT: &str = "log-00000000000000000004.seg";
const SNAPSHOT: &str = "image-00000000000000000002-0000000001.img";
const SEALED: &str = "node.sealed";
/// The newest version of any file.
const TODAY: &str = "v2";

fn written_today() -> FaultyDisk {
    let disk = FaultyDisk::new(0);
    let dir = Path::new(DIR);
    let mut log = LogWriter::create(&disk, dir, NODE, Lsn(1)).unwrap();
    let mut batch = Batch::new();
    batch.push(b"first").unwrap();
    batch.push(b"").unwrap();
    log.append(&batch).unwrap();
    log.sync().unwrap();
    batch.clear();
    batch.push("third, 会话".as_bytes()).unwrap();
    log.append(&batch).unwrap();
    log.rotate().unwrap();
    batch.clear();
    batch.push(b"fourth").unwrap();
    log.append(&batch).unwrap();
    log.finish().unwrap();
    let mut snapshot = SnapshotWriter::create(&disk, dir, NODE, Lsn(2)).unwrap();
    snapshot.block(b"block one").unwrap();
    snapshot.block(&[0xff; 40]).unwrap();
    snapshot.publish(Lsn(3)).unwrap();
    write_sealed(&disk, &dir.join(SEALED), b"what a node must not forget").unwrap();
    disk
}

fn golden(version: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(version).join(name)
}

#[test]
fn todays_bytes_are_the_golden_ones() {
    let disk = written_today();
    for name in [SEGMENT, NEXT_SEGMENT, SNAPSHOT, SEALED] {
        let today = disk.read(&Path::new(DIR).join(name)).unwrap();
        let golden = golden(TODAY, name);
        if std::env::var_os("CHATSHARD_GOLDEN").is_some_and(|value| value == "write") {
            std::fs::create_dir_all(golden.parent().unwrap()).unwrap();
            std::fs::write(&golden, &today).unwrap();
        }
        assert!(std::fs::read(golden).unwrap() == today, "{name} is written differently");
    }
}

#[test]
fn golden_files_are_read() {
    for (version, records) in [("v1", 3), ("v2", 4)] {
        golden_files_of_a_version_are_read(version, records);
    }
}

fn golden_files_of_a_version_are_read(version: &str, last: usize) {
    let disk = FaultyDisk::new(0);
    let dir = Path::new(DIR);
    for file in std::fs::read_dir(golden(version, "")).unwrap() {
        let file = file.unwrap();
        disk.put(&dir.join(file.file_name()), &std::fs::read(file.path()).unwrap());
    }
    let found = scan(&disk, dir, None).unwrap();
    assert_eq!((found.node_id, found.tail, found.damage.len()), (Some(NODE), Tail::EndMark, 0));
    assert_eq!((found.segments[0].batches, found.segments[0].records), (2, 3));
    let mut blocks = Vec::new();
    let mut records = Vec::new();
    let opened = open(
        &disk,
        dir,
        OpenOptions::new(NODE),
        |block| {
            blocks.push(block.to_vec());
            Ok(())
        },
        |lsn, payload| {
            records.push((lsn, payload.to_vec()));
            Ok(())
        },
    );
    let snapshot = opened.unwrap().snapshot.unwrap();
    assert_eq!((snapshot.start_lsn, snapshot.end_lsn, snapshot.blocks), (Lsn(2), Lsn(3), 2));
    assert_eq!(blocks, [b"block one".to_vec(), vec![0xff; 40]]);
    let written = [(Lsn(3), "third, 会话".as_bytes().to_vec()), (Lsn(4), b"fourth".to_vec())];
    assert_eq!(records, written[..last - 2]);
    let sealed = read_sealed(&disk, &dir.join(SEALED)).unwrap();
    assert_eq!(sealed, b"what a node must not forget");
}

/// Offsets and lengths of `format.md`, looked up in the golden files by hand.
#[test]
fn fields_are_where_the_document_says() {
    let segment = std::fs::read(golden(TODAY, SEGMENT)).unwrap();
    let u64_at = |at: usize| u64::from_le_bytes(segment[at..at + 8].try_into().unwrap());
    let u32_at = |at: usize| u32::from_le_bytes(segment[at..at + 4].try_into().unwrap());
    assert_eq!(&segment[..8], b"chshlog\n");
    assert_eq!((u32_at(8), u32_at(12)), (2, 1));
    assert_eq!((u64_at(16), u64_at(24), u64_at(32)), (NODE, 1, 0));
    assert_eq!(u32_at(44), crc32c::crc32c(&segment[..44]));
    let body = 8 + 5 + 8;
    assert_eq!(&segment[48..52], &[0xc1, b'B', 0xff, 0x01]);
    assert_eq!((u32_at(52), u32_at(56), u32_at(60)), (1, body, 2));
    assert_eq!((u64_at(64), u64_at(72)), (1, 0));
    assert_eq!(u32_at(80), u32_at(44), "the first batch names the segment header");
    let seed = crc32c::crc32c(&NODE.to_le_bytes());
    assert_eq!(u32_at(88), crc32c::crc32c_append(seed, &segment[48..88]));
    assert_eq!(u32_at(96), 5);
    assert_eq!(u32_at(92), crc32c::crc32c(&segment[96..105]));
    let second = 92 + 21;
    assert_eq!(u64_at(second + 24), 2, "the second batch says that 2 is durable");
    let mark = segment.len() - 44;
    assert_eq!((u32_at(mark + 4), u64_at(mark + 16), u64_at(mark + 24)), (4, 4, 3));
    let next = std::fs::read(golden(TODAY, NEXT_SEGMENT)).unwrap();
    let next_u32 = |at: usize| u32::from_le_bytes(next[at..at + 4].try_into().unwrap());
    let third = mark - 44 - 8 - "third, 会话".len();
    assert_eq!(u32_at(mark + 32), u32_at(third + 40), "the mark names the last batch");
    assert_eq!(next_u32(40), u32_at(third + 40), "so does the segment behind it");
    let end = next.len() - 44;
    assert_eq!((next_u32(end + 4), next_u32(end + 16), next_u32(end + 24)), (2, 5, 4));

    let snapshot = std::fs::read(golden(TODAY, SNAPSHOT)).unwrap();
    assert_eq!(snapshot.len(), 32 + 17 + 48 + 40);
    assert_eq!(&snapshot[snapshot.len() - 40..snapshot.len() - 32], b"chshend\n");
    let sealed = std::fs::read(golden(TODAY, SEALED)).unwrap();
    assert_eq!((&sealed[..8], sealed.len()), (b"chshseal".as_slice(), 20 + 27));
}

/// A file of a newer version is named, and no option changes it or the files beside it. A flipped
/// bit in the version is damage.
#[test]
fn a_newer_version_is_refused_named_and_left_alone() {
    let dir = Path::new(DIR);
    let contents = |disk: &FaultyDisk| {
        let names = disk.list(dir).unwrap().into_iter();
        names.map(|name| (name.clone(), disk.read(&dir.join(name)).unwrap())).collect::<Vec<_>>()
    };
    for (name, known) in [(SEGMENT, 2), (NEXT_SEGMENT, 2), (SNAPSHOT, 1)] {
        let disk = written_today();
        let path = dir.join(name);
        let whole = disk.read(&path).unwrap();
        let mut bytes = whole.clone();
        bytes[8] = 77;
        disk.put(&path, &bytes);
        let found = scan(&disk, dir, None).unwrap();
        assert!(found.newer.is_empty() && !found.damage.is_empty(), "a flip in {name}");

        // In every newer version these twelve bytes stay as they are.
        bytes[12] ^= 0xff;
        disk.put(&path, &bytes);
        let before = contents(&disk);
        let found = scan(&disk, dir, None).unwrap();
        let said =
            format!("{}: format version 77 was written by a newer chatshard", path.display());
        assert!(found.damage.is_empty() && found.newer[0].to_string().starts_with(&said));
        assert_eq!(found.newer[0].known, known);
        let mut options = OpenOptions::new(NODE);
        (options.allow_damage, options.allow_older_snapshot) = (true, true);
        let opened = open(&disk, dir, options, |_| Ok(()), |_, _| Ok(()));
        assert!(matches!(opened, Err(OpenError::Newer(newer)) if newer == found.newer));
        let repaired = repair(&disk, dir, None);
        assert!(matches!(repaired, Err(OpenError::Newer(newer)) if newer == found.newer));
        assert!(contents(&disk) == before, "{name} was changed");
    }
    let disk = written_today();
    let path = dir.join(SEALED);
    let mut bytes = disk.read(&path).unwrap();
    bytes[8] = 2;
    disk.put(&path, &bytes);
    assert!(matches!(read_sealed(&disk, &path), Err(ReadError::Damaged(_))), "a flip");
    bytes.push(0);
    disk.put(&path, &bytes);
    assert!(
        matches!(read_sealed(&disk, &path), Err(ReadError::Newer(newer)) if newer.version == 2)
    );
}
