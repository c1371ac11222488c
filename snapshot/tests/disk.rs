//! The faulty disk keeps its contract: a simulation is only as good as its disk.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::ErrorKind;
use std::path::Path;

use snapshot::{Disk, DiskFile, FaultyDisk, replace};

const FILE: &str = "/d/file";

/// A file of 200 durable bytes `a` and 300 bytes `b` that were not synced, after a crash.
fn crashed(seed: u64) -> Vec<u8> {
    let disk = FaultyDisk::new(seed);
    let mut file = disk.create_new(Path::new(FILE)).unwrap();
    file.append(&[b'a'; 200]).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    file.append(&[b'b'; 300]).unwrap();
    disk.crash();
    assert!(file.append(b"c").is_err(), "a handle from before the crash");
    disk.read(Path::new(FILE)).unwrap()
}

#[test]
fn what_is_synced_stays_and_the_rest_is_anything() {
    let (mut lost, mut kept, mut holes, mut torn) = (0, 0, 0, 0);
    for seed in 0..500 {
        let bytes = crashed(seed);
        assert_eq!(bytes, crashed(seed), "the same seed, the same bytes");
        let (safe, rest) = bytes.split_at(200);
        assert!(safe == [b'a'; 200]);
        assert!(rest.iter().all(|byte| *byte == b'b' || *byte == 0));
        lost += u32::from(!rest.contains(&b'b'));
        kept += u32::from(rest == [b'b'; 300]);
        holes += u32::from(rest.windows(2).any(|pair| pair == [0, b'b']));
        torn += u32::from(rest.windows(2).any(|pair| pair == [b'b', 0]));
    }
    assert!(lost > 20 && kept > 20 && holes > 20 && torn > 20, "{lost} {kept} {holes} {torn}");
}

#[test]
fn names_that_are_not_synced_may_be_lost() {
    let (mut created, mut renamed) = (0, 0);
    for seed in 0..200 {
        let disk = FaultyDisk::new(seed);
        disk.put(Path::new("/d/old"), b"old");
        disk.create_new(Path::new(FILE)).unwrap();
        disk.rename(Path::new("/d/old"), Path::new("/d/new")).unwrap();
        disk.crash();
        let names = disk.list(Path::new("/d")).unwrap();
        created += u32::from(names.contains(&"file".to_owned()));
        renamed += u32::from(names.contains(&"new".to_owned()));
        assert!(names.contains(&"old".to_owned()) != names.contains(&"new".to_owned()));
    }
    assert!((20..180).contains(&created) && (20..180).contains(&renamed));
}

#[test]
fn a_replaced_file_is_the_old_or_the_new_one() {
    for seed in 0..300 {
        let disk = FaultyDisk::new(seed);
        let path = Path::new(FILE);
        replace(&disk, path, &[1; 150]).unwrap();
        match seed % 4 {
            0 => disk.fail_write(1),
            1 => disk.fail_sync(1),
            2 => disk.freeze_at_sync(1 + seed % 2),
            _ => disk.full_after(seed % 150),
        }
        let replaced = replace(&disk, path, &[2; 150]).is_ok();
        disk.crash();
        let bytes = disk.read(path).unwrap();
        assert!(bytes == [2; 150] || (!replaced && bytes == [1; 150]), "seed {seed}");
    }
}

#[test]
fn faults_come_when_asked_for() {
    let disk = FaultyDisk::new(5);
    let mut file = disk.create_new(Path::new(FILE)).unwrap();
    assert_eq!(disk.create_new(Path::new(FILE)).unwrap_err().kind(), ErrorKind::AlreadyExists);
    disk.fail_write(2);
    file.append(&[1; 10]).unwrap();
    file.append(&[1; 10]).unwrap_err();
    assert!(file.len().unwrap() <= 20);
    file.truncate(10).unwrap();
    disk.full_after(15);
    file.append(&[1; 10]).unwrap();
    assert_eq!(file.append(&[1; 10]).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 25);
    file.truncate(20).unwrap();
    file.append(&[1; 5]).unwrap();
    disk.free();
    file.append(&[1; 5]).unwrap();
    disk.freeze_at_sync(2);
    file.sync_data().unwrap();
    file.sync_data().unwrap_err();
    assert!(disk.is_frozen() && file.append(b"x").is_err() && disk.list(Path::new("/d")).is_err());
    assert_eq!(disk.syncs(), 2);
    disk.kill();
    assert_eq!(disk.read(Path::new(FILE)).unwrap(), [1; 30]);
    disk.flip_bit(Path::new(FILE), 8 * 29).unwrap();
    assert_eq!(disk.read(Path::new(FILE)).unwrap()[29], 0);
    disk.flip_bit(Path::new(FILE), 8 * 30).unwrap_err();
}
