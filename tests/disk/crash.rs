//! Crashes of a real process: all acknowledged writes are there afterwards, once.
//!
//! The tests send `kill -9` under load, again and again, to servers on one data directory. Each
//! start has another number of shards and another `--fsync`. In between there are pauses by
//! SIGSTOP, small log segments, and snapshots one after the other. The short form has twenty
//! rounds. The long form also takes a seed that failed:
//!
//! ```text
//! CHATSHARD_KILL_ROUNDS=500 cargo test --release --test disk -- --nocapture kill_9
//! CHATSHARD_KILL_SEED=123 cargo test --test disk -- --nocapture kill_9
//! ```
//!
//! A seed repeats the requests but not the timing, which depends on the machine.

mod directory;
mod full_disk;
mod resources;
mod rights;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::process::check::{agree, check};
use crate::process::load::Load;
use crate::process::{PATIENCE, Server, Signal, Starting, run};
use chatshard::client::{ClientOptions, Connection};
use tokio::task::LocalSet;

/// Small segments and frequent snapshots, so that rotation and trimming happen under load.
const SMALL_FILES: [&str; 4] = ["--log-segment-bytes", "65536", "--snapshot-log-bytes", "20000"];

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// The seed of a load. It is printed, so that the load can be played again.
fn seed() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let drawn = u64::from(since_epoch.subsec_nanos()) + since_epoch.as_secs();
    let seed = variable("CHATSHARD_KILL_SEED").unwrap_or(drawn);
    println!("to play it again: CHATSHARD_KILL_SEED={seed} cargo test --test disk crash::");
    seed
}

fn start(dir: &Path, round: u64) -> Server {
    Server::start(dir, &arguments(&shards(round)))
}

fn shards(round: u64) -> String {
    (round % 3 + 1).to_string()
}

fn arguments(shards: &str) -> Vec<&str> {
    [&["--shards", shards][..], &SMALL_FILES].concat()
}

/// Runs a test's steps; the connections' tasks are on this thread.
async fn on_this_thread(steps: impl Future<Output = ()>) {
    LocalSet::new().run_until(steps).await;
}

/// Counts of the rounds.
#[derive(Debug, Default)]
struct Counted {
    /// Acknowledged writes that were checked.
    checked: u64,
    /// Requests under way at the kills.
    in_flight: usize,
    /// Pauses of the server.
    pauses: u32,
}

/// Kills a server under load in each round, and checks it afterwards. A kill takes nothing from the
/// system that the process had written, so all modes with a log promise the same.
async fn kill_rounds(seed: u64, rounds: u64) -> Counted {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let load = Load::new(seed);
    let mut counted = Counted::default();
    for round in 0..rounds {
        let shards_then = shards(round);
        let fsync = ["always", "everysec", "never"][usize::try_from(load.below(3)).unwrap()];
        let arguments_then = [&arguments(&shards_then)[..], &["--fsync", fsync]].concat();
        let mut server = Server::start(&dir, &arguments_then);
        let address = server.address;
        let enough = 100 + load.below(1500);
        let kill = async {
            tokio::time::timeout(PATIENCE, load.wait_acknowledged(enough)).await.unwrap();
            if load.below(3) == 0 {
                counted.pauses += 1;
                pause(&server, &load).await;
            }
            // Not at the moment of a reply.
            tokio::time::sleep(Duration::from_micros(load.below(5000))).await;
            if load.below(8) == 0 {
                // A stopped process is killed as well.
                server.signal(Signal::STOP);
            }
            server.kill();
        };
        tokio::join!(load.write(address), kill);
        {
            let ledger = load.ledger.borrow();
            counted.checked += ledger.acknowledged;
            counted.in_flight += ledger.open.len();
        }
        if load.below(3) == 0 {
            // A crash during the start that follows a crash.
            let shards = shards(load.below(3));
            let mut starting = Starting::new(&dir, &arguments(&shards));
            tokio::time::sleep(Duration::from_micros(load.below(60_000))).await;
            starting.kill();
        }
        let mut server = start(&dir, round + 1);
        let things = check(server.address, &load.ledger).await;
        println!("round {round}, {fsync}: {enough} writes, then {things} chats and rows are right");
        server.kill();
    }
    counted
}

/// Stops the server for a moment, as on a machine without time for it. Clients that come meanwhile
/// are served afterwards, and so are those with connections.
async fn pause(server: &Server, load: &Load) {
    server.signal(Signal::STOP);
    let options = ClientOptions::default();
    let newcomer = Connection::connect(server.address, &options);
    let goes_on = async {
        tokio::time::sleep(Duration::from_millis(20 + load.below(300))).await;
        let before = load.ledger.borrow().acknowledged;
        server.signal(Signal::CONT);
        load.wait_acknowledged(before + 50).await;
    };
    let served = async { tokio::join!(newcomer, goes_on) };
    let (greeted, ()) = tokio::time::timeout(PATIENCE, served).await.unwrap();
    assert!(greeted.is_ok(), "who came meanwhile was not served");
}

#[tokio::test]
async fn kill_9_loses_nothing_that_was_acknowledged() {
    on_this_thread(async {
        let rounds = variable("CHATSHARD_KILL_ROUNDS").unwrap_or(20);
        let counted = kill_rounds(seed(), rounds).await;
        println!("kill -9, {rounds} rounds: {counted:?}");
    })
    .await;
}

#[tokio::test]
async fn sigterm_under_load_is_a_clean_stop() {
    on_this_thread(async {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().join("data");
        let load = Load::new(seed());
        for round in 0..3 {
            let mut server = start(&dir, round);
            let stop = async {
                tokio::time::timeout(PATIENCE, load.wait_acknowledged(500)).await.unwrap();
                server.terminate();
            };
            tokio::join!(load.write(server.address), stop);
            let status = server.wait();
            assert_eq!(status.code(), Some(0), "{}", server.messages());
            let inspected = run(&["inspect", "--json", dir.to_str().unwrap()]);
            let report: serde_json::Value = serde_json::from_slice(&inspected.stdout).unwrap();
            assert!(
                inspected.status.success() && report["tail"]["state"] == "end_mark",
                "{report:#}"
            );
            let mut server = start(&dir, round + 1);
            check(server.address, &load.ledger).await;
            server.terminate();
            assert!(server.wait().success());
        }
    })
    .await;
}

#[tokio::test]
async fn without_a_log_the_last_snapshot_is_there_and_one_instant() {
    on_this_thread(async {
        let mut things = 0;
        for round in 0..3 {
            let directory = tempfile::tempdir().unwrap();
            let dir = directory.path().join("data");
            let load = Load::new(seed());
            let mut server = Server::start(&dir, &["--log", "off", "--shards", &shards(round)]);
            let address = server.address;
            let kill = async {
                let is_saved = || !load.saved.borrow().is_empty();
                let enough = load.wait_until(|ledger| ledger.acknowledged >= 5000 && is_saved());
                tokio::time::timeout(PATIENCE, enough).await.unwrap();
                server.kill();
            };
            tokio::join!(load.write(address), kill);
            // Much is lost. Every chat that is left has all its rows, or none of the changes to
            // them.
            let server = Server::start(&dir, &["--log", "off", "--shards", &shards(round + 1)]);
            let observed = agree(server.address).await.1;
            observed.assert_holds(&load.saved.borrow());
            things += observed.len();
        }
        assert!(things > 0, "what was saved is gone");
    })
    .await;
}

#[test]
fn a_second_process_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let mut server = Server::start(&dir, &[]);
    let refused = Starting::new(&dir, &[]).ready().err().unwrap();
    assert_eq!(refused.status.code(), Some(1), "{}", refused.messages);
    assert!(refused.messages.contains("used by another chatshard"), "{}", refused.messages);
    // A lock that outlives its process would need an operator after each crash.
    server.kill();
    Server::start(&dir, &[]);
}

#[test]
fn inspect_says_whether_a_server_runs() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let path = dir.to_str().unwrap();
    let inspected = |flags: &[&str]| {
        let output = run(&[&["inspect", path], flags].concat());
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    };
    let in_use = || {
        let report: serde_json::Value = serde_json::from_str(&inspected(&["--json"]).1).unwrap();
        report["in_use"].as_bool().unwrap()
    };
    let mut server = Server::start(&dir, &[]);
    let (code, said) = inspected(&[]);
    assert!(code == 0 && said.contains("a server uses it now"), "{said}");
    assert!(!said.contains("unclean stop") && said.contains("none, next is 1"), "{said}");
    assert!(in_use());
    let (code, said) = inspected(&["--repair"]);
    assert!(code == 1 && said.contains("stop that one first"), "{said}");
    server.kill();
    let (code, said) = inspected(&[]);
    assert!(code == 0 && said.contains("an unclean stop"), "{said}");
    assert!(!said.contains("uses it now") && !in_use(), "{said}");
}

#[test]
fn an_empty_directory_is_refused_without_init() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    for _ in 0..2 {
        let refused = Starting::new(dir, &[]).ready().err().unwrap();
        assert_eq!(refused.status.code(), Some(1), "{}", refused.messages);
        assert!(
            refused.messages.contains("--init") && refused.messages.contains("mounted"),
            "{}",
            refused.messages
        );
    }
    drop(Server::start(dir, &["--init"]));
    drop(Server::start(dir, &[]));
}

#[tokio::test]
async fn a_flipped_byte_in_the_log_stops_the_start() {
    on_this_thread(async {
        for clean in [true, false] {
            let directory = tempfile::tempdir().unwrap();
            let dir = directory.path().join("data");
            let load = Load::new(seed());
            let mut server = Server::start(&dir, &["--shards", "2", "--snapshot-interval-s", "0"]);
            let address = server.address;
            let stop = async {
                tokio::time::timeout(PATIENCE, load.wait_acknowledged(2000)).await.unwrap();
                if clean { server.terminate() } else { server.kill() }
            };
            // Without snapshots all of the log is needed.
            tokio::join!(load.write_without_snapshots(address), stop);
            server.wait();
            let log = only_segment(&dir);
            let whole = std::fs::read(&log).unwrap();
            for part in [1, 3, 6] {
                let offset = whole.len() * part / 10;
                let mut bytes = whole.clone();
                bytes[offset] ^= 0x10;
                std::fs::write(&log, &bytes).unwrap();
                let before = files(&dir);
                let refused = Starting::new(&dir, &[]).ready().err().unwrap();
                let told = &refused.messages;
                assert_eq!(refused.status.code(), Some(1), "byte {offset}: {told}");
                let name = log.file_name().unwrap().to_str().unwrap();
                let told_offset = offset_in(told, name);
                assert!(
                    told_offset <= offset && offset - told_offset < 1 << 20,
                    "byte {offset}: {told}"
                );
                assert!(
                    files(&dir) == before,
                    "byte {offset}: a refused start changed the directory"
                );
            }
            std::fs::write(&log, &whole).unwrap();
            let server = Server::start(&dir, &[]);
            check(server.address, &load.ledger).await;
        }
    })
    .await;
}

/// The offset that an error message names for a file.
fn offset_in(message: &str, name: &str) -> usize {
    let (_, behind) =
        message.split_once(name).unwrap_or_else(|| panic!("{name} is not named: {message}"));
    let digits: String = behind
        .chars()
        .skip_while(|c| !c.is_ascii_digit())
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().unwrap()
}

fn only_segment(dir: &Path) -> PathBuf {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut segments =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "seg"));
    let segment = segments.next().unwrap();
    assert!(segments.next().is_none());
    segment
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}
