//! Directories that a start refuses: files are missing, damaged or of a newer version. The start
//! names the file and the cost of accepting the damage, and changes nothing. `inspect` reports the
//! same.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use snapshot::{Batch, OpenOptions, RealDisk, open, write_sealed};

use super::directories::{Directory, call, stop};
use crate::process::{Server, run};

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// Checks that start and `inspect` refuse and that both name this text. Returns the message of the
/// start.
#[track_caller]
fn refused_by_all(directory: &Directory, naming: &str) -> String {
    let said = directory.refused(&[]);
    assert!(said.contains(naming), "{naming} is not named: {said}");
    let (code, inspected) = directory.inspect(&[]);
    assert!(code == 1 && inspected.contains(naming), "{naming} is not named: {inspected}");
    assert!(!inspected.contains("whole, last"), "{inspected}");
    said
}

#[test]
fn a_directory_of_which_only_the_identity_is_left_is_refused() {
    let directory = Directory::closed();
    let newest = directory.ending(".seg").pop().unwrap();
    for path in directory.files().into_keys().filter(|path| *path != directory.node()) {
        std::fs::remove_file(path).unwrap();
    }
    let said = refused_by_all(&directory, name(&newest));
    assert!(said.contains("nothing whole is left"), "{said}");
    // The flag would not help, and is not advised where it is set.
    let said = directory.refused(&["--allow-damage"]);
    assert!(said.contains("restore a backup") && !said.contains("--allow-damage"), "{said}");
    let (code, said) = directory.inspect(&["--repair"]);
    assert!(code == 1 && said.contains(name(&newest)), "{said}");
}

#[test]
fn the_newest_segment_is_missed_whatever_became_of_it() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 4] = [
        ("removed", |path| std::fs::remove_file(path).unwrap()),
        ("emptied", |path| std::fs::write(path, "").unwrap()),
        ("cut to its header", |path| cut(path, 48)),
        ("cut by a batch and the end mark", |path| cut(path, 48 + 44)),
    ];
    for (what, change) in changes {
        let directory = Directory::closed();
        // More in the newest segment than the start has put there.
        let server = Server::start(&directory.path, &[]);
        call(server.address, "advance", &json!({"chat_id": "g_team", "to": 10}));
        stop(server);
        let newest = directory.ending(".seg").pop().unwrap();
        change(&newest);
        let said = refused_by_all(&directory, name(&newest));
        assert!(said.contains("loses LSN 3") && said.contains("GMT"), "{what}: {said}");

        // Accepted damage is logged as an error, and clients are reset.
        let before = directory.identity();
        let server = Server::start(&directory.path, &["--allow-damage"]);
        let said = server.messages();
        assert!(said.contains("\"level\":\"ERROR\""), "{what}: {said}");
        assert!(said.contains("records are lost: LSN 3"), "{what}: {said}");
        let held = call(server.address, "detail", &json!({"ids": ["g_team"]}));
        assert_eq!(held["items"][0]["last_sequence"], 9, "{what}");
        call(server.address, "advance", &json!({"chat_id": "g_team", "to": 11}));
        stop(server);
        assert_ne!(before["incarnation"], directory.identity()["incarnation"], "{what}");
        stop(Server::start(&directory.path, &[]));
    }
}

fn cut(path: &Path, length: u64) {
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
}

#[test]
fn snapshots_that_are_gone_are_named() {
    // The log begins at the first record: nothing is lost, nothing is refused.
    let directory = Directory::closed();
    for snapshot in directory.ending(".img") {
        std::fs::remove_file(snapshot).unwrap();
    }
    stop(Server::start(&directory.path, &[]));

    // Two snapshots, and the log from the older one on.
    let server = Server::start(&directory.path, &[]);
    for to in 20..24 {
        call(server.address, "advance", &json!({"chat_id": "g_team", "to": to}));
        call(server.address, "snapshot", &json!({}));
    }
    stop(server);
    let oldest = directory.ending(".seg").remove(0);
    std::fs::remove_file(oldest).unwrap();
    let snapshots = directory.ending(".img");
    assert_eq!(snapshots.len(), 2);
    snapshots.iter().for_each(|snapshot| std::fs::remove_file(snapshot).unwrap());
    let said = refused_by_all(&directory, &name(&snapshots[1])[..26]);
    assert!(said.contains("no flag goes on from here"), "{said}");
    let said = directory.refused(&["--allow-damage"]);
    assert!(!said.contains("--allow-damage"), "{said}");
}

#[test]
fn without_a_log_a_snapshot_that_is_gone_is_missed() {
    let directory = Directory::new();
    let server = Server::start(&directory.path, &["--log", "off"]);
    let create = json!({"id": "g", "type": 2, "creator_id": "u", "user_ids": ["u"]});
    call(server.address, "create", &create);
    call(server.address, "snapshot", &json!({}));
    call(server.address, "advance", &json!({"chat_id": "g", "to": 5}));
    stop(server);
    let newest = directory.ending(".img").pop().unwrap();
    std::fs::remove_file(&newest).unwrap();
    let said = directory.refused(&["--log", "off"]);
    assert!(said.contains(name(&newest)), "{said}");
    let server = Server::start(&directory.path, &["--log", "off", "--allow-damage"]);
    let held = call(server.address, "detail", &json!({"ids": ["g"]}));
    assert_eq!(held["items"][0]["last_sequence"], 0);
    assert!(server.messages().contains("records are lost: LSN"), "{}", server.messages());
}

#[test]
fn damage_that_costs_nothing_says_so() {
    let directory = Directory::closed();
    let snapshot = directory.ending(".img").pop().unwrap();
    let mut bytes = std::fs::read(&snapshot).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&snapshot, bytes).unwrap();
    let said = refused_by_all(&directory, name(&snapshot));
    assert!(said.contains("loses nothing"), "{said}");
    let (code, json) = directory.inspect(&["--json"]);
    let report: Value = serde_json::from_str(json.split_once("damaged:").unwrap().0).unwrap();
    assert_eq!(
        (code, &report["loss"], &report["can_be_repaired"]),
        (1, &Value::Null, &json!(true))
    );
    let server = Server::start(&directory.path, &["--allow-damage"]);
    assert!(server.messages().contains("no record is lost"), "{}", server.messages());
    let held = call(server.address, "detail", &json!({"ids": ["g_team"]}));
    assert_eq!(held["items"][0]["last_sequence"], 9);
}

#[test]
fn inspect_and_start_agree_on_what_is_no_store() {
    let directory = Directory::new();
    std::fs::create_dir(&directory.path).unwrap();
    refused_by_all(&directory, "--init");
    std::fs::write(directory.path.join("notes.txt"), "hello").unwrap();
    refused_by_all(&directory, "not a chatshard directory");
    directory.refused(&["--init"]);
    let (code, said) = directory.inspect(&["--repair"]);
    assert!(code == 1 && said.contains("not a chatshard directory"), "{said}");

    let directory = Directory::closed();
    std::fs::remove_file(directory.node()).unwrap();
    refused_by_all(&directory, "the file is missing");
    directory.refused(&["--init", "--allow-damage"]);
    std::fs::write(directory.node(), "").unwrap();
    refused_by_all(&directory, "cut short");
    directory.refused(&["--allow-damage"]);
}

/// Checks that no flag changes this newer file: it is refused by name.
#[track_caller]
fn left_alone(directory: &Directory, file: &Path) {
    let before = directory.files();
    for flags in [&[][..], &["--allow-damage"], &["--allow-damage", "--init", "--log", "off"]] {
        let said = directory.refused(flags);
        assert!(said.contains("newer chatshard"), "{said}");
        assert!(said.contains(name(file)) && !said.contains("--allow-damage"), "{said}");
    }
    for flags in [&[][..], &["--repair"], &["--json"]] {
        let (code, said) = directory.inspect(flags);
        assert!(
            code == 1 && said.contains("newer chatshard") && said.contains(name(file)),
            "{said}"
        );
    }
    let restored = run(&["restore", directory.path.to_str().unwrap()]);
    assert_eq!(restored.status.code(), Some(1));
    assert!(directory.files() == before, "a newer directory was changed");
}

#[test]
fn a_newer_format_is_named_and_never_touched() {
    for ending in [".seg", ".img"] {
        for newest in [true, false] {
            let directory = Directory::closed();
            let files = directory.ending(ending);
            let file: &PathBuf = if newest { files.last() } else { files.first() }.unwrap();
            let mut bytes = std::fs::read(file).unwrap();
            // The bytes behind the version have an unknown form.
            bytes[8..20].copy_from_slice(&[3, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9]);
            std::fs::write(file, bytes).unwrap();
            left_alone(&directory, file);
        }
    }
    let directory = Directory::closed();
    let newer = json!({"version": 3, "and": "nothing that is known"}).to_string();
    write_sealed(&RealDisk, &directory.node(), newer.as_bytes()).unwrap();
    left_alone(&directory, &directory.node());

    let directory = Directory::closed();
    let mut bytes = std::fs::read(directory.node()).unwrap();
    bytes[8..16].copy_from_slice(&[2, 0, 0, 0, 9, 9, 9, 9]);
    std::fs::write(directory.node(), bytes).unwrap();
    left_alone(&directory, &directory.node());
}

#[test]
fn a_record_that_a_newer_program_wrote_is_said_to_be_that() {
    let directory = Directory::golden("version-1");
    let node_id = directory.identity()["node_id"].as_u64().unwrap();
    let options = OpenOptions::new(node_id);
    let opened = open(&RealDisk, &directory.path, options, |_| Ok(()), |_, _| Ok(())).unwrap();
    let mut log = opened.writer.unwrap();
    let mut batch = Batch::new();
    batch.push(&[0, 7, 0, 0, 0, 0, 0, 0, 0, 1, 200, 0x90]).unwrap();
    log.append(&batch).unwrap();
    log.finish().unwrap();
    for flags in [&[][..], &["--allow-damage"]] {
        let said = directory.refused(flags);
        assert!(said.contains("event code 200 is not known: a newer chatshard wrote it"), "{said}");
        assert!(!said.contains("--allow-damage"), "{said}");
    }
    let (code, said) = directory.inspect(&[]);
    assert!(code == 1 && said.contains("newer chatshard"), "{said}");
}

#[test]
fn a_digest_that_the_replay_does_not_have_is_named() {
    let directory = Directory::golden("version-2");
    let node_id = directory.identity()["node_id"].as_u64().unwrap();
    let options = OpenOptions::new(node_id);
    let opened = open(&RealDisk, &directory.path, options, |_| Ok(()), |_, _| Ok(())).unwrap();
    let mut log = opened.writer.unwrap();
    let mut batch = Batch::new();
    // A probe of an empty slot, whose digest is 0. The log has 99.
    batch.push(&[0, 7, 0, 0, 0, 0, 0, 0, 0, 1, 65, 0x91, 0xc0]).unwrap();
    batch.push(&[0, 7, 0, 0, 0, 0, 0, 0, 0, 2, 65, 0x91, 0x92, 1, 99]).unwrap();
    let first = log.append(&batch).unwrap().0 - 1;
    log.finish().unwrap();
    let difference = format!(
        "slot 7 at LSN {first} has the digest 0000000000000000, and 0000000000000063 in the log"
    );
    let said = directory.refused(&[]);
    assert!(said.contains(&difference) && said.contains("--allow-damage"), "{said}");
    // Its files are whole.
    let (code, said) = directory.inspect(&[]);
    assert!(code == 0 && said.contains("digests of slots in the log: 1"), "{said}");

    let before = directory.identity();
    let snapshots = directory.ending(".img");
    let server = Server::start(&directory.path, &["--allow-damage"]);
    let said = server.messages();
    assert!(said.contains("\"level\":\"ERROR\"") && said.contains(&difference), "{said}");
    let deadline = Instant::now() + Duration::from_secs(60);
    while directory.ending(".img") == snapshots {
        assert!(Instant::now() < deadline, "no snapshot is taken");
        std::thread::sleep(Duration::from_millis(10));
    }
    stop(server);
    assert_ne!(before["incarnation"], directory.identity()["incarnation"]);
    stop(Server::start(&directory.path, &[]));
}

/// The version that this program follows knows no probes. It starts on whatever a node without
/// `--probe on` has written.
#[test]
fn a_node_writes_no_digest_unless_it_is_asked_to() {
    let digests = |directory: &Directory| {
        let (code, said) = directory.inspect(&["--json"]);
        assert_eq!(code, 0, "{said}");
        serde_json::from_str::<Value>(&said).unwrap()["digests"].as_u64().unwrap()
    };
    let asked = Directory::new();
    let server = Server::start(&asked.path, &["--probe", "on"]);
    // Slots without records have no digest.
    let create = json!({"id": "g", "type": 2, "creator_id": "u", "user_ids": ["u"]});
    call(server.address, "create", &create);
    let began = Instant::now();
    while digests(&asked) == 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "no digest is written");
        std::thread::sleep(Duration::from_millis(10));
    }
    let first = began.elapsed();
    stop(server);
    stop(Server::start(&asked.path, &[]));
    let other = Directory::new();
    let server = Server::start(&other.path, &[]);
    call(server.address, "create", &create);
    std::thread::sleep(2 * first);
    stop(server);
    assert_eq!(digests(&other), 0);
}
