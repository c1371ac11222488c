//! One interface to a node, whichever door it is behind: commands in, outcomes out, also as JSON.

use std::time::Duration;

use chatshard::client::{Client, ClientOptions};
use chatshard::command::{Call, Command, Error, ErrorCode, Kind, Outcome, Reply};
use serde_json::{Value, json};

use super::server::{HttpConnection, TestServer};
use super::sim::SimNode;

/// A node that replies to one command after the other.
pub trait Door {
    /// Runs a command and waits for its outcome.
    fn call(&mut self, command: Command) -> Outcome;

    /// Runs a command whose arguments are JSON. Wrong arguments are an error outcome.
    fn call_json(&mut self, name: &str, arguments: Value) -> Outcome {
        let kind = Kind::from_name(name).unwrap_or_else(|| panic!("no command {name}"));
        self.call(Command::from_json(kind, arguments)?)
    }

    /// Waits until everything is done that earlier commands left under way.
    fn settle(&mut self);

    /// The server's time in ms. For a real server it is only roughly that.
    fn now(&self) -> u64;
}

/// The vocabulary of scenarios.
impl dyn Door + '_ {
    /// Runs a command that must succeed, and returns its reply.
    #[track_caller]
    pub fn ok(&mut self, name: &str, arguments: Value) -> Value {
        match self.call_json(name, arguments.clone()) {
            Ok(reply) => serde_json::to_value(reply).unwrap(),
            Err(error) => panic!("{name} {arguments}: {error}"),
        }
    }

    /// Runs a command that must fail with this status, and returns the message.
    #[track_caller]
    pub fn fails(&mut self, name: &str, arguments: Value, status: u16) -> String {
        match self.call_json(name, arguments.clone()) {
            Ok(reply) => {
                panic!("{name} {arguments} gave {}", serde_json::to_value(reply).unwrap())
            }
            Err(error) => {
                assert_eq!(error.code.status(), status, "{name} {arguments}: {error}");
                assert!(!error.message.is_empty(), "{name} {arguments}: no message");
                error.message.into_owned()
            }
        }
    }

    /// All rows of a user's list.
    #[track_caller]
    pub fn list(&mut self, user: &str) -> Vec<Value> {
        let mut reply = self.ok("list", json!({"user_id": user}));
        assert_eq!(reply["next_cursor"], Value::Null);
        let Value::Array(items) = reply["items"].take() else { panic!("no items") };
        items
    }

    /// The ids of the chats in a user's list, in order.
    #[track_caller]
    pub fn listed(&mut self, user: &str) -> Vec<String> {
        self.list(user).iter().map(|row| row["chat_id"].as_str().unwrap().to_owned()).collect()
    }

    /// The row of this chat in a user's list. Panics if it is not there.
    #[track_caller]
    pub fn row(&mut self, user: &str, chat: &str) -> Value {
        let rows = self.list(user);
        let found = rows.iter().find(|row| row["chat_id"] == chat);
        found.unwrap_or_else(|| panic!("{user} has no {chat} in the list: {rows:?}")).clone()
    }

    /// A chat as `detail` shows it to a user.
    #[track_caller]
    pub fn chat_of(&mut self, user: &str, chat: &str) -> Value {
        self.ok("detail", json!({"ids": [chat], "user_id": user}))["items"][0].take()
    }

    /// Unread messages, computed from `detail` as an app does it.
    #[track_caller]
    pub fn unread(&mut self, user: &str, chat: &str) -> i64 {
        let chat = self.chat_of(user, chat);
        chat["last_sequence"].as_i64().unwrap() - chat["last_read_sequence"].as_i64().unwrap()
    }

    /// The user ids of a chat's members.
    #[track_caller]
    pub fn members(&mut self, chat: &str) -> Vec<String> {
        let reply = self.ok("members", json!({"chat_id": chat}));
        let items = reply["items"].as_array().unwrap();
        items.iter().map(|item| item["user_id"].as_str().unwrap().to_owned()).collect()
    }

    /// Creates a group with these members.
    #[track_caller]
    pub fn group(&mut self, id: &str, users: &[&str]) {
        let made = self.ok(
            "create",
            json!({"id": id, "type": 2, "creator_id": "maker", "created_at": 5, "user_ids": users}),
        );
        assert_eq!(made, json!({"id": id, "created": true, "version": 1}));
    }

    /// Sends messages up to this sequence, with a time derived from it.
    #[track_caller]
    pub fn message(&mut self, chat: &str, to: u64) {
        self.ok("advance", json!({"chat_id": chat, "to": to, "time": 1000 + to}));
        self.settle();
    }

    /// Everything that `export` returns: chats and members. They are sorted, so that nodes that
    /// place keys differently can be compared.
    #[track_caller]
    pub fn export(&mut self, limit: Option<u32>) -> (Vec<Value>, Vec<Value>) {
        self.settle();
        let (mut chats, mut members) = (Vec::new(), Vec::new());
        let mut cursor = Value::Null;
        loop {
            let mut arguments = json!({"cursor": cursor});
            if let Some(limit) = limit {
                arguments["limit"] = limit.into();
            }
            let mut page = self.ok("export", arguments);
            let Value::Array(some) = page["chats"].take() else { panic!("no chats") };
            chats.extend(some);
            let Value::Array(some) = page["members"].take() else { panic!("no members") };
            members.extend(some);
            cursor = page["next_cursor"].take();
            if cursor.is_null() {
                break;
            }
        }
        chats.sort_by_key(Value::to_string);
        members.sort_by_key(Value::to_string);
        (chats, members)
    }
}

impl Door for SimNode {
    fn call(&mut self, command: Command) -> Outcome {
        self.run(command)
    }

    fn settle(&mut self) {
        Self::settle(self);
    }

    fn now(&self) -> u64 {
        self.time()
    }
}

/// A node that crashes after every command and starts again with another number of shards.
pub struct RestartDoor {
    node: SimNode,
    /// Whether the start also finds a snapshot. It was begun before the command, on one core only.
    with_snapshot: bool,
    starts: usize,
}

impl RestartDoor {
    /// An empty node on two shards.
    pub fn new(hash_seed: u64, with_snapshot: bool) -> Self {
        Self { node: SimNode::new(2, hash_seed), with_snapshot, starts: 0 }
    }
}

impl Door for RestartDoor {
    fn call(&mut self, command: Command) -> Outcome {
        self.starts += 1;
        let shards = [1, 5, 2, 3][self.starts % 4];
        if self.with_snapshot {
            let at = u16::try_from(self.starts % 7).unwrap();
            self.node.begin_snapshot(at);
            self.node.capture(at, 100);
        }
        let outcome = self.node.run(command);
        // The crash comes while deliveries of the command are under way.
        let mut next = if self.with_snapshot {
            let snapshot = self.node.finish_snapshot();
            self.node.crashed_with_snapshot(shards, &snapshot)
        } else {
            self.node.crashed(shards)
        };
        // With or without the crash, the same state follows in the end.
        self.node.settle();
        next.settle();
        next.assert_same_state(&mut self.node, "the restart changed something");
        self.node = next;
        outcome
    }

    fn settle(&mut self) {
        self.node.settle();
    }

    fn now(&self) -> u64 {
        self.node.time()
    }
}

/// The server's clock, roughly: the server runs in this process.
fn wall_clock() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// Waits until no event is being delivered.
fn settle_by_stats(door: &mut dyn Door) {
    while door.ok("stats", json!({}))["outbox"] != 0 {
        std::thread::yield_now();
    }
}

/// The TCP door of a server of its own, through the Rust client.
pub struct TcpDoor {
    client: Client,
    runtime: tokio::runtime::Runtime,
    server: TestServer,
}

impl TcpDoor {
    /// Starts a server and connects to it.
    pub fn start(shards: u16) -> Self {
        let server = TestServer::start(&[("shards", &shards.to_string())]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // This is long for any machine. It is shorter than the timers that would wake a server that
        // sleeps by mistake.
        let options = ClientOptions { call_timeout: Duration::from_secs(10), ..Default::default() };
        let client = runtime.block_on(Client::connect(server.tcp(), options)).unwrap();
        Self { client, runtime, server }
    }

    /// Stops the server, and checks that it ended cleanly.
    pub fn stop(self) {
        drop(self.client);
        drop(self.runtime);
        self.server.stop();
    }
}

impl Door for TcpDoor {
    fn call(&mut self, command: Command) -> Outcome {
        self.runtime.block_on(self.client.call(command))
    }

    fn settle(&mut self) {
        settle_by_stats(self);
    }

    fn now(&self) -> u64 {
        wall_clock()
    }
}

/// `POST /call/COMMAND` at the admin listener of a server of its own.
pub struct AdminDoor {
    connection: HttpConnection,
    server: TestServer,
}

impl AdminDoor {
    /// Starts a server and connects to it.
    pub fn start(shards: u16) -> Self {
        let server = TestServer::start(&[("shards", &shards.to_string())]);
        Self { connection: HttpConnection::open(server.admin()), server }
    }

    /// Stops the server, and checks that it ended cleanly.
    pub fn stop(self) {
        drop(self.connection);
        self.server.stop();
    }
}

impl Door for AdminDoor {
    fn call(&mut self, command: Command) -> Outcome {
        let arguments = command.serialize_arguments(serde_json::value::Serializer).unwrap();
        self.call_json(command.kind().name(), arguments)
    }

    /// Sends the JSON to the server as it is, wrong or not.
    fn call_json(&mut self, name: &str, arguments: Value) -> Outcome {
        let path = format!("/call/{name}");
        let (status, body) = self.connection.post(&path, &[], &arguments.to_string());
        let mut envelope: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(envelope["code"], status, "{body}");
        let data = envelope["data"].take();
        if status == 200 {
            assert_eq!(envelope["msg"], "");
            let kind = Kind::from_name(name).unwrap();
            return Ok(Reply::deserialize_body(kind, data).unwrap());
        }
        assert!(data.is_null(), "{body}");
        let code =
            ErrorCode::from_status(status).unwrap_or_else(|| panic!("status {status}: {body}"));
        Err(Error::new(code, envelope["msg"].as_str().unwrap().to_owned()))
    }

    fn settle(&mut self) {
        settle_by_stats(self);
    }

    fn now(&self) -> u64 {
        wall_clock()
    }
}
