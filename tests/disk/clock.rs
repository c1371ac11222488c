//! A real server whose wall clock is set while it runs: no time of it jumps, and no key is
//! forgotten.
//!
//! `disk/clock/set.c` replaces the system's clock function by LD_PRELOAD, and adds an offset from a
//! file. Setting the machine's clock would need a right that tests lack, and would affect every
//! process. `src/node/clock.rs` tests the bounds of decision times, and everything that takes a
//! minute.

use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::common::HttpConnection;
use crate::common::program::chatshard;
use crate::common::served::{Files, Served, client, wait_until};
use serde_json::{Value, json};

const HOUR: i64 = 60 * 60 * 1000;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// A server's files and its wall clock.
struct Bench {
    files: Files,
    shim: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let files = Files::new();
        let shim = files.path("set.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/disk/clock/set.c");
        // The compiler that the build needs, too.
        let compiler = std::env::var("CC").unwrap_or("cc".into());
        let mut compile = Command::new(compiler);
        compile.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&shim).arg(source);
        assert!(compile.status().unwrap().success());
        let bench = Self { files, shim };
        std::fs::write(bench.offset(), 0_i64.to_ne_bytes()).unwrap();
        bench
    }

    fn offset(&self) -> PathBuf {
        self.files.path("offset")
    }

    /// Sets the wall clock to `ms` from the right time.
    fn set(&self, ms: i64) {
        use std::os::unix::fs::FileExt;
        let file = std::fs::File::options().write(true).open(self.offset()).unwrap();
        file.write_all_at(&ms.to_ne_bytes(), 0).unwrap();
    }

    fn start(&self) -> Served {
        let mut command = chatshard();
        command.args(["serve", "--log-format=json", "--pin=false", "--shards=2"]);
        command.args(["--listen=127.0.0.1:0", "--http=127.0.0.1:0", "--admin=127.0.0.1:0"]);
        command.arg("--data-dir").arg(self.files.path("data"));
        command.env("LD_PRELOAD", &self.shim).env("WALL_CLOCK_OFFSET_FILE", self.offset());
        Served::of(&mut command)
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

fn call(server: &Served, command: &str, arguments: &Value) -> Result<String, String> {
    client(&["call", command, &arguments.to_string(), "--addr", &server.tcp])
}

fn ask(server: &Served, command: &str, arguments: &Value) -> Value {
    let told = call(server, command, arguments);
    serde_json::from_str(&told.unwrap_or_else(|error| panic!("{command}: {error}"))).unwrap()
}

/// Sends a message without a time, with this key. Returns its sequence and time.
fn send(server: &Served, chat: &str, key: &str) -> (i64, i64) {
    let told =
        ask(server, "advance", &json!({"chat_id": chat, "allocate": 1, "idempotency_key": key}));
    (told["last_sequence"].as_i64().unwrap(), told["last_time"].as_i64().unwrap())
}

/// The newest conversation, from the app's door.
fn newest(server: &Served) -> Value {
    let mut door = HttpConnection::open(server.http.parse().unwrap());
    let (status, body) = door.post_as("ann", "/chat/conversations", "{}");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str::<Value>(&body).unwrap()["data"]["items"][0]["chat_id"].clone()
}

#[test]
fn a_wall_clock_that_is_set_changes_no_time_and_forgets_no_key() {
    let bench = Bench::new();
    let mut server = bench.start();
    for chat in ["g1", "g2"] {
        let group = json!({"id": chat, "type": 2, "creator_id": "ann", "user_ids": ["ann"]});
        ask(&server, "create", &group);
    }
    let first = send(&server, "g1", "k1");
    let is_now = |time: i64| (now() - time).abs() < HOUR;
    assert!(is_now(first.1));

    // A year forward: no time follows, no time that a client brings is taken, no key is forgotten.
    bench.set(YEAR);
    server.wait_for("the wall clock was set forward");
    let (_, time) = send(&server, "g1", "k2");
    assert!(is_now(time), "{time} is {} ms ahead", time - now());
    for (command, arguments) in [
        ("advance", json!({"chat_id": "g1", "allocate": 1, "time": now() + 300 * DAY})),
        ("touch", json!({"user_id": "ann", "time": now() + 300 * DAY})),
    ] {
        let refused = call(&server, command, &arguments).unwrap_err();
        assert!(refused.contains("more than a day ahead"), "{refused}");
    }
    assert_eq!(send(&server, "g1", "k1"), first);
    let metrics = HttpConnection::open(server.admin.parse().unwrap()).get("/metrics").1;
    let ahead =
        metrics.lines().find_map(|line| line.strip_prefix("chatshard_wall_clock_ahead_seconds "));
    assert!(ahead.unwrap().parse::<f64>().unwrap() > 364.0 * 86400.0, "{ahead:?}");

    // Back at the right time: new messages come first.
    bench.set(0);
    server.wait_for("the wall clock was set back");
    let second = send(&server, "g2", "k3");
    assert!(is_now(second.1) && second.1 >= time);
    assert_eq!(newest(&server), "g2");

    // An hour back: time stops for a while, and does not jump back at once.
    bench.set(-HOUR);
    server.wait_for("the wall clock was set back");
    let (_, time) = send(&server, "g1", "k4");
    assert!(time >= second.1);
    assert_eq!(newest(&server), "g1");

    // Starts with a wrong clock: keys are as old as before.
    for wrong in [YEAR, -YEAR, 0] {
        server.signal("KILL");
        server.wait();
        bench.set(wrong);
        server = bench.start();
        assert_eq!(send(&server, "g1", "k1"), first);
        assert_eq!(send(&server, "g2", "k3"), second);
        if wrong == -YEAR {
            let doubts = "the wall clock is behind, or was ahead";
            wait_until(doubts, || !server.lines_with(doubts).is_empty());
        }
    }
    server.stop();
}
