//! Data directories that the server's user may not use, and doors that it cannot open. Each start
//! is refused, says what to do, and changes nothing.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::process::geteuid;

use crate::common::program::chatshard;
use crate::process::{Refused, Server, Starting, serve};

/// The server's user where the tests run as root: root may do everything.
const NOBODY: u32 = 65_534;

/// A used directory with a log and a snapshot, which belongs to the server's user.
fn used(dir: &Path) {
    let mut server = Server::start(dir, &["--shards", "1"]);
    server.terminate();
    assert!(server.wait().success());
    if geteuid().is_root() {
        chown(dir, Some(NOBODY), Some(NOBODY)).unwrap();
        for entry in std::fs::read_dir(dir).unwrap() {
            chown(entry.unwrap().path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
}

/// Takes the right to a path from the server's user.
fn close(path: &Path) {
    if geteuid().is_root() {
        chown(path, Some(0), Some(0)).unwrap();
    }
    let mode = if geteuid().is_root() { 0o600 } else { 0 };
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// The command as the server's user, with a program that this user can reach.
fn as_user(command: &Command, program: &Path) -> Command {
    let mut command = {
        let mut other = Command::new(program);
        other.args(command.get_args());
        other
    };
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// Names of files, with their lengths and change times.
fn state(dir: &Path) -> BTreeMap<String, (u64, i64, i64)> {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    let state = entries.map(|entry| {
        let found = entry.metadata().unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, (found.len(), found.mtime(), found.mtime_nsec()))
    });
    state.collect()
}

fn refused(command: Command) -> String {
    let Err(Refused { status, messages }) = Starting::of(command).ready() else {
        panic!("it starts");
    };
    assert_eq!(status.code(), Some(1), "{messages}");
    messages
}

#[test]
fn a_missing_right_names_owner_mode_and_user() {
    let root = tempfile::tempdir().unwrap();
    std::fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
    let program = root.path().join("chatshard");
    let built = chatshard().get_program().to_owned();
    std::fs::hard_link(&built, &program)
        .or_else(|_| std::fs::copy(&built, &program).map(drop))
        .unwrap();
    let user = if geteuid().is_root() { NOBODY } else { geteuid().as_raw() };
    for closed in ["", "node", "lock", "log-00000000000000000001.seg"] {
        let dir = root.path().join(format!("data-{closed}"));
        used(&dir);
        let path = if closed.is_empty() { dir.clone() } else { dir.join(closed) };
        let before = state(&dir);
        close(&path);
        for command in ["serve", "inspect"] {
            // `inspect` opens no lock.
            if (command, closed) == ("inspect", "lock") {
                continue;
            }
            let asked = match command {
                "serve" => serve(&dir, &["--shards", "1"]),
                _ => {
                    let mut asked = chatshard();
                    asked.arg("inspect").arg(&dir);
                    asked
                }
            };
            let output = as_user(&asked, &program).output().unwrap();
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8(said).unwrap();
            assert_eq!(output.status.code(), Some(1), "{command} {closed}: {said}");
            for part in [
                path.to_str().unwrap(),
                "Permission denied",
                " with mode 0",
                &format!("this process runs as user {user}"),
            ] {
                assert!(said.contains(part), "{command} {closed}: {part} is not in {said}");
            }
            assert!(!said.contains("damaged"), "{command} {closed}: {said}");
        }
        if !geteuid().is_root() {
            std::fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        }
        assert_eq!(state(&dir), before, "{closed}");
    }
    // A directory that cannot be created.
    let above = root.path().join("above");
    std::fs::create_dir(&above).unwrap();
    std::fs::set_permissions(&above, Permissions::from_mode(0o555)).unwrap();
    let said = refused(as_user(&serve(&above.join("data"), &[]), &program));
    assert!(said.contains(&format!("this process runs as user {user}")), "{said}");
    assert!(said.contains(&format!("{} belongs to", above.display())), "{said}");
}

#[test]
fn a_door_that_cannot_open_ends_the_start_and_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (dir, socket) = (root.path().join("data"), root.path().join("other.sock"));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let no_socket = root.path().join("file");
    std::fs::write(&no_socket, "kept").unwrap();
    let unix = |path: &Path| format!("unix:{}", path.display());
    let addresses = [
        (taken.clone(), "another process listens there"),
        (unix(&root.path().join("missing/a.sock")), "make the directory of the socket first"),
        (unix(&no_socket), "the file is no socket"),
    ];
    for is_used in [false, true] {
        if is_used {
            used(&dir);
            if geteuid().is_root() {
                chown(&dir, Some(0), Some(0)).unwrap();
            }
        }
        let before = is_used.then(|| state(&dir));
        for door in ["--listen", "--http", "--admin"] {
            for (address, why) in &addresses {
                // The other doors could open, and must not stay.
                let mut command = chatshard();
                command.args(["serve", "--log-format", "json", "--pin=false", "--data-dir"]);
                command.arg(&dir);
                for other in ["--listen", "--http", "--admin"] {
                    let free = if other == "--listen" { unix(&socket) } else { "off".to_owned() };
                    command.arg(other).arg(if other == door { address } else { &free });
                }
                let said = refused(command);
                assert!(said.contains(&format!("{door}: cannot listen on {address}")), "{said}");
                assert!(said.contains(why), "{said}");
                assert!(!said.contains("\"starting\""), "{said}");
                assert!(!socket.exists(), "{door} {address}");
            }
        }
        match before {
            Some(before) => assert_eq!(state(&dir), before),
            None => assert!(!dir.exists()),
        }
    }
    assert_eq!(std::fs::read_to_string(&no_socket).unwrap(), "kept");
    // An invalid address is a wrong flag.
    for door in ["--listen", "--http", "--admin"] {
        let mut command = chatshard();
        let output = command.args(["serve", door, "nonsense"]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(door) && said.contains("nonsense"), "{said}");
    }
}

#[test]
fn a_data_directory_that_is_a_file_is_named_as_one() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    std::fs::write(&file, "of somebody").unwrap();
    let named = format!("{} is a file: name a directory", file.display());
    for dir in [file.clone(), file.join("data"), file.join("missing").join("data")] {
        let messages = refused(serve(&dir, &[]));
        assert!(messages.contains(&named), "{messages}");
        for command in ["inspect", "restore"] {
            let output = chatshard().arg(command).arg(&dir).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.code() == Some(1) && said.contains(&named), "{command}: {said}");
        }
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "of somebody");
}

#[test]
fn a_missing_identity_says_whether_data_is_there() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    used(&dir);
    std::fs::remove_file(dir.join("node")).unwrap();
    let messages = refused(serve(&dir, &["--init"]));
    assert!(messages.contains("put it back, or restore a backup"), "{messages}");
    let other = root.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("letter"), "").unwrap();
    let messages = refused(serve(&other, &["--init"]));
    assert!(messages.contains("it is not a chatshard directory"), "{messages}");
}
