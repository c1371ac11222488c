//! Upgrade and rollback. A directory of each released format starts and holds what it held. An
//! older program refuses a newer directory, names the version, and changes nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use snapshot::{RealDisk, read_sealed};
use tempfile::TempDir;

use crate::process::{Refused, Server, Starting, run};

/// Where directories of earlier servers are kept.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/directories");

/// A data directory of one test.
pub struct Directory {
    pub path: PathBuf,
    _parent: TempDir,
}

impl Directory {
    /// A directory that does not exist yet.
    pub fn new() -> Self {
        let parent = tempfile::tempdir().unwrap();
        Self { path: parent.path().join("data"), _parent: parent }
    }

    /// A copy of a golden directory.
    pub fn golden(version: &str) -> Self {
        let directory = Self::new();
        copy(&Path::new(GOLDEN).join(version), &directory.path);
        directory
    }

    /// A golden directory that this program has started on and stopped cleanly.
    pub fn closed() -> Self {
        let directory = Self::golden("version-2");
        stop(Server::start(&directory.path, &[]));
        directory
    }

    /// All files but the lock.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let paths = std::fs::read_dir(&self.path).unwrap().map(|entry| entry.unwrap().path());
        let paths = paths.filter(|path| !path.ends_with("lock"));
        paths.map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
    }

    /// The files with this ending, oldest first.
    pub fn ending(&self, ending: &str) -> Vec<PathBuf> {
        let ends = |path: &PathBuf| path.to_str().unwrap().ends_with(ending);
        self.files().into_keys().filter(ends).collect()
    }

    pub fn node(&self) -> PathBuf {
        self.path.join("node")
    }

    pub fn identity(&self) -> Value {
        serde_json::from_slice(&read_sealed(&RealDisk, &self.node()).unwrap()).unwrap()
    }

    /// Checks that a start refuses and changes nothing. Returns its message.
    #[track_caller]
    pub fn refused(&self, arguments: &[&str]) -> String {
        let before = self.files();
        let Err(Refused { status, messages }) = Starting::new(&self.path, arguments).ready() else {
            panic!("it starts with {arguments:?}");
        };
        assert_eq!(status.code(), Some(1), "{messages}");
        assert!(self.files() == before, "a refused start changed the directory: {messages}");
        messages
    }

    /// Runs `inspect` with these arguments. Returns the exit code and the whole output.
    pub fn inspect(&self, arguments: &[&str]) -> (i32, String) {
        let output = run(&[&["inspect", self.path.to_str().unwrap()], arguments].concat());
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    }
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

pub fn call(address: SocketAddr, command: &str, arguments: &Value) -> Value {
    let address = address.to_string();
    let output = run(&["call", command, &arguments.to_string(), "--addr", &address]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command} {arguments}: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

pub fn stop(mut server: Server) {
    server.terminate();
    let status = server.wait();
    assert!(status.success(), "{}", server.messages());
}

/// The server's state in the form of `held.json`, without fields that newer servers added.
fn held(address: SocketAddr, expected: &Value) -> Value {
    let lists = expected["lists"].as_object().unwrap().keys();
    let list = |user: &String| (user.clone(), call(address, "list", &json!({"user_id": user})));
    let lists: BTreeMap<String, Value> =
        lists.map(list).map(|(user, list)| (user, list["items"].clone())).collect();
    let asked = json!({"ids": ["g_team", "o_news", "g_gone"], "user_id": "ann"});
    let detail = call(address, "detail", &asked)["items"].clone();
    let output = run(&["export", "-", "--addr", &address.to_string()]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let mut export: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    export.sort_by_key(|line| {
        let text = |kind: &str, field: &str| line[kind][field].as_str().unwrap_or("").to_owned();
        [text("chat", "id"), text("member", "user_id"), text("member", "chat_id")]
    });
    // Of a chat that is gone only that is promised: its id is never used again.
    for line in &mut export {
        if let Some(chat) = line["chat"].as_object_mut()
            && chat["dissolved"] == 1
        {
            chat.retain(|name, _| ["id", "dissolved"].contains(&name.as_str()));
        }
    }
    let mut said = json!({"lists": lists, "detail": detail, "export": export});
    keep_only(&mut said, expected);
    said
}

/// Removes the fields that `expected` does not have.
fn keep_only(said: &mut Value, expected: &Value) {
    match (said, expected) {
        (Value::Object(said), Value::Object(expected)) => {
            said.retain(|name, _| expected.contains_key(name));
            said.iter_mut().for_each(|(name, value)| keep_only(value, &expected[name]));
        }
        (Value::Array(said), Value::Array(expected)) => {
            said.iter_mut().zip(expected).for_each(|(said, expected)| keep_only(said, expected));
        }
        _ => {}
    }
}

/// The names of all kept directories, each with what its server said that it held.
fn kept() -> Vec<(String, Value)> {
    let read = |path: PathBuf| -> Option<Value> {
        Some(serde_json::from_str(&std::fs::read_to_string(path).ok()?).unwrap())
    };
    let entries = std::fs::read_dir(GOLDEN).unwrap().map(|entry| entry.unwrap());
    let directories = entries.filter(|entry| entry.file_type().unwrap().is_dir());
    let kept = directories.map(|entry| {
        let name = entry.file_name().into_string().unwrap();
        // The first two got the same commands.
        let held = read(entry.path().with_file_name(format!("{name}.json")));
        (name, held.or(read(Path::new(GOLDEN).join("held.json"))).unwrap())
    });
    kept.collect()
}

#[test]
fn each_directory_that_was_kept_starts_and_holds_what_it_held() {
    let kept = kept();
    assert!(kept.len() >= 3, "{} directories", kept.len());
    for ((version, expected), shards) in
        kept.iter().flat_map(|kept| ["1", "2", "3"].map(|shards| (kept, shards)))
    {
        let directory = Directory::golden(version);
        let (code, said) = directory.inspect(&[]);
        assert!(code == 0 && said.contains("whole, last LSN "), "{version}: {said}");
        let server = Server::start(&directory.path, &["--shards", shards]);
        let said = held(server.address, expected);
        assert_eq!(said, *expected, "{version} on {shards} shards");
        let verified = call(server.address, "verify", &json!({}));
        assert_eq!(verified["differences"], 0, "{version}: {verified}");
        stop(server);
        // From then on the directory has the newer version, and an older program refuses it by
        // that.
        assert_eq!(directory.identity()["version"], 2);
        let server = Server::start(&directory.path, &[]);
        assert_eq!(held(server.address, expected), *expected, "{version}, started again");
        call(server.address, "advance", &json!({"chat_id": "g_team", "to": 10}));
        stop(server);
        let (code, said) = directory.inspect(&[]);
        assert!(code == 0, "{version}: {said}");
    }
}
