//! A copy of a directory that goes into service is older than what clients know, so `sync` resets
//! them.

use std::net::SocketAddr;

use serde_json::{Value, json};
use snapshot::{RealDisk, write_sealed};

use super::directories::{Directory, call, copy, stop};
use crate::process::{Server, run};

fn sync(address: SocketAddr, since: &Value) -> Value {
    call(address, "sync", &json!({"user_id": "ann", "since": since}))
}

/// The state of a client after a sync.
fn held(told: &Value) -> Value {
    json!({"log": told["log"], "version": told["version"]})
}

fn pin(address: SocketAddr, is_top: u8) {
    let flags = json!({"user_id": "ann", "chat_id": "g_team", "is_top": is_top});
    call(address, "set_flags", &flags);
}

#[test]
fn a_backup_that_is_put_back_resets_clients_that_sync() {
    let directory = Directory::closed();
    let backup = directory.path.with_extension("backup");
    copy(&directory.path, &backup);

    let server = Server::start(&directory.path, &[]);
    let first = held(&sync(server.address, &Value::Null));
    (0..6).for_each(|round| pin(server.address, round % 2));
    let newer = held(&sync(server.address, &first));
    assert_eq!(newer["log"], first["log"]);
    stop(server);
    // Started again where it is, the log is the same.
    let server = Server::start(&directory.path, &[]);
    assert_eq!(sync(server.address, &newer)["reset"], false);
    stop(server);

    std::fs::remove_dir_all(&directory.path).unwrap();
    copy(&backup, &directory.path);
    let server = Server::start(&directory.path, &[]);
    // As many other changes as were lost: the versions alone would show no difference.
    (0..6).for_each(|round| pin(server.address, (round + 1) % 2));
    let told = sync(server.address, &newer);
    assert_eq!(told["reset"], true, "{told}");
    assert_eq!(told["items"].as_array().unwrap().len(), 3, "{told}");
    assert!(server.messages().contains("is a copy"), "{}", server.messages());
    let newest = held(&told);
    stop(server);
    // Only once.
    let server = Server::start(&directory.path, &[]);
    assert_eq!(sync(server.address, &newest)["reset"], false);
}

#[test]
fn a_member_of_a_journal_does_not_run_alone_and_restore_takes_it_out() {
    let member = Directory::closed();
    let mut identity = member.identity();
    identity["member"] = json!(7);
    write_sealed(&RealDisk, &member.node(), identity.to_string().as_bytes()).unwrap();
    for flags in [&[][..], &["--init"], &["--allow-damage"], &["--log", "off"]] {
        let before = member.files();
        let said = member.refused(flags);
        assert!(said.contains("--journal") && said.contains("chatshard restore"), "{said}");
        assert!(member.files() == before, "the directory was changed");
    }

    let alone = Directory::new();
    let (source, target) = (member.path.to_str().unwrap(), alone.path.to_str().unwrap());
    let restored = run(&["restore", target, "--from", source]);
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    assert_eq!(alone.identity()["member"], Value::Null);
    assert_ne!(alone.identity()["incarnation"], identity["incarnation"]);
    stop(Server::start(&alone.path, &[]));
}

#[test]
fn restore_checks_a_backup_copies_it_and_renews_the_log() {
    let backup = Directory::closed();
    let before = backup.files();
    let log = |directory: &Directory| directory.identity()["incarnation"].clone();
    let restore = |arguments: &[&str]| {
        let output = run(&[&["restore"], arguments].concat());
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    };
    let source = backup.path.to_str().unwrap();

    let directory = Directory::new();
    let target = directory.path.to_str().unwrap();
    let (code, said) = restore(&[target, "--from", source]);
    assert!(code == 0 && said.contains("whole, last LSN 36"), "{said}");
    assert!(backup.files() == before, "the backup was changed");
    assert_ne!(log(&directory), log(&backup));
    let first = log(&directory);
    let server = Server::start(&directory.path, &[]);
    let (code, said) = restore(&[target]);
    assert!(code == 1 && said.contains("used by another chatshard"), "{said}");
    let (code, said) = restore(&[target, "--from", source]);
    assert!(code == 1 && said.contains("not empty"), "{said}");
    stop(server);
    assert_eq!(log(&directory), first, "a start after a restore renews nothing more");

    // After the restore of a whole volume no file shows it; there the command renews the log.
    let (code, said) = restore(&[target]);
    assert!(code == 0 && said.contains("begin anew"), "{said}");
    assert_ne!(log(&directory), first);
    stop(Server::start(&directory.path, &[]));

    // A backup that is not whole is not restored.
    let newest = backup.ending(".seg").pop().unwrap();
    std::fs::remove_file(&newest).unwrap();
    let other = Directory::new();
    let (code, said) = restore(&[other.path.to_str().unwrap(), "--from", source]);
    let name = newest.file_name().unwrap().to_str().unwrap();
    assert!(code == 1 && said.contains(name) && !other.path.exists(), "{said}");
    let before = backup.files();
    assert_eq!(restore(&[source]).0, 1);
    assert!(backup.files() == before, "a refused restore changed the directory");
}
