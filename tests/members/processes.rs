//! Whole processes on a real etcd: the active is killed while clients write, and is stopped while a
//! standby is there.

use std::time::{Duration, Instant};

use chatshard::command::{ErrorCode, Kind, Outcome};
use serde_json::{Value, json};

use crate::common::raw::Raw;
use crate::common::served::{Files, Served, call};
use crate::engine::Engine;

/// Starts a member with a directory of its own.
fn member(files: &Files, journal: &str, name: &str) -> Served {
    Served::start(files, &["--journal", journal, "--member", name, "--init"])
}

fn ask(served: &Served, command: &str, arguments: &Value) -> Result<Value, String> {
    let reply = call(&served.tcp, "", command, &arguments.to_string())?;
    Ok(serde_json::from_str(&reply).unwrap_or(Value::Null))
}

/// Reads on a plain connection. `call` would follow the error of a standby to the active.
fn read_at(served: &Served) -> Outcome {
    let mut plain = Raw::greeted(served.tcp.parse().unwrap());
    plain.call(2, Kind::List, json!({"user_id": "nobody"}))
}

/// Waits until the member replies to reads, and returns how long that took.
fn until_active(served: &Served) -> Duration {
    let began = Instant::now();
    while read_at(served).is_err() {
        assert!(began.elapsed() < Duration::from_secs(60), "it does not become the active");
        std::thread::sleep(Duration::from_millis(20));
    }
    began.elapsed()
}

#[test]
fn a_killed_active_is_followed_by_one_that_has_every_acknowledged_write() {
    let Some(engine) = Engine::start() else { return };
    let journal = engine.address("members");
    let init = ["journal", "init", "--journal", &journal];
    crate::common::served::client(&init).unwrap();
    assert!(crate::common::served::client(&init).unwrap_err().contains("begun already"));

    let directories = [Files::new(), Files::new()];
    let first = member(&directories[0], &journal, "m1");
    until_active(&first);
    let second = member(&directories[1], &journal, "m2");
    let chat = json!({"id": "c", "creator_id": "a", "type": 2, "user_ids": ["a", "b"]});
    ask(&first, "create", &chat).unwrap();
    let mut acked = 0;
    for to in 1..=50 {
        ask(&first, "advance", &json!({"chat_id": "c", "to": to})).unwrap();
        acked = to;
    }
    let refused = read_at(&second).unwrap_err();
    assert_eq!((refused.code, &refused.moved.unwrap().address), (ErrorCode::Moved, &first.tcp));

    first.signal("KILL");
    println!("kill -9: the next one replies after {:?}", until_active(&second));
    let read = |served: &Served| {
        let detail = ask(served, "detail", &json!({"ids": ["c"]})).unwrap();
        detail["items"][0]["last_sequence"].as_u64().unwrap()
    };
    assert_eq!(read(&second), acked);
    ask(&second, "advance", &json!({"chat_id": "c", "to": 51})).unwrap();

    drop(first);
    let first = member(&directories[0], &journal, "m1");
    assert_eq!(read_at(&first).unwrap_err().code, ErrorCode::Moved);
    // A stop on purpose hands over at once.
    let stopping = std::thread::spawn(move || second.stop());
    println!("stop: the next one replies after {:?}", until_active(&first));
    drop(stopping.join().unwrap());
    assert_eq!(read(&first), 51);
    let status = ["journal", "status", "--json", "--journal", &journal];
    let status: Value =
        serde_json::from_str(&crate::common::served::client(&status).unwrap()).unwrap();
    assert_eq!((&status["epoch"], &status["member"]), (&json!(3), &json!("m1")));
    first.stop();
}
