//! The files of format version 1, kept in `golden/`: they must always be read, and what is written today must be the same bytes.
//!
//! After a deliberate change of the format, run with `CHATSHARD_GOLDEN=write` and keep the old files beside the new ones.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};

use snapshot::{
    Batch, FaultyDisk, ImageWriter, LogWriter, Lsn, OpenOptions, Tail, open, read_sealed, scan,
    write_sealed,
};

const NODE: u64 = 0x0123_4567_89ab_cdef;
const DIR: &str = "/data";
const SEGMENT: &str = "log-00000000000000000001.seg";
const IMAGE: &str = "image-00000000000000000002-0000000001.img";
const SEALED: &str = "node.sealed";

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
    log.finish().unwrap();
    let mut image = ImageWriter::create(&disk, dir, NODE, Lsn(2)).unwrap();
    image.block(b"block one").unwrap();
    image.block(&[0xff; 40]).unwrap();
    image.publish(Lsn(3)).unwrap();
    write_sealed(&disk, &dir.join(SEALED), b"what a node must not forget").unwrap();
    disk
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/v1").join(name)
}

#[test]
fn todays_bytes_are_the_golden_ones() {
    let disk = written_today();
    for name in [SEGMENT, IMAGE, SEALED] {
        let today = disk.read(&Path::new(DIR).join(name)).unwrap();
        if std::env::var_os("CHATSHARD_GOLDEN").is_some_and(|value| value == "write") {
            std::fs::create_dir_all(golden("")).unwrap();
            std::fs::write(golden(name), &today).unwrap();
        }
        assert!(std::fs::read(golden(name)).unwrap() == today, "{name} is written differently");
    }
}

#[test]
fn golden_files_are_read() {
    let disk = FaultyDisk::new(0);
    let dir = Path::new(DIR);
    for name in [SEGMENT, IMAGE, SEALED] {
        disk.put(&dir.join(name), &std::fs::read(golden(name)).unwrap());
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
    let image = opened.unwrap().image.unwrap();
    assert_eq!((image.start_lsn, image.end_lsn, image.blocks), (Lsn(2), Lsn(3), 2));
    assert_eq!(blocks, [b"block one".to_vec(), vec![0xff; 40]]);
    assert_eq!(records, [(Lsn(3), "third, 会话".as_bytes().to_vec())]);
    let sealed = read_sealed(&disk, &dir.join(SEALED)).unwrap();
    assert_eq!(sealed, b"what a node must not forget");
}

/// Offsets and lengths that `format.md` gives, looked up in the golden files by hand.
#[test]
fn fields_are_where_the_document_says() {
    let segment = std::fs::read(golden(SEGMENT)).unwrap();
    let u64_at = |at: usize| u64::from_le_bytes(segment[at..at + 8].try_into().unwrap());
    let u32_at = |at: usize| u32::from_le_bytes(segment[at..at + 4].try_into().unwrap());
    assert_eq!(&segment[..8], b"chshlog\n");
    assert_eq!((u32_at(8), u32_at(12)), (1, 1));
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
    assert_eq!((u32_at(mark + 4), u64_at(mark + 16), u64_at(mark + 24)), (2, 4, 3));

    let image = std::fs::read(golden(IMAGE)).unwrap();
    assert_eq!(image.len(), 32 + 17 + 48 + 40);
    assert_eq!(&image[image.len() - 40..image.len() - 32], b"chshend\n");
    let sealed = std::fs::read(golden(SEALED)).unwrap();
    assert_eq!((&sealed[..8], sealed.len()), (b"chshseal".as_slice(), 20 + 27));
}

#[test]
fn another_version_is_refused_and_named() {
    let dir = Path::new(DIR);
    for (name, version_at) in [(SEGMENT, 8), (IMAGE, 8), (SEALED, 8)] {
        let disk = written_today();
        let path = dir.join(name);
        let mut bytes = disk.read(&path).unwrap();
        bytes[version_at] = 2;
        disk.put(&path, &bytes);
        let what = match name {
            SEALED => read_sealed(&disk, &path).unwrap_err().to_string(),
            _ => scan(&disk, dir, None).unwrap().damage[0].to_string(),
        };
        assert!(what.contains("format version 2 is not known"), "{what}");
    }
}
