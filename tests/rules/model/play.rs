//! A story, played by a node and by the model. After each step everything that it could change is
//! compared.

use std::collections::{BTreeMap, BTreeSet};

use chatshard::command::{Command, Kind};
use chatshard::shard::events::{self, Event};
use serde_json::{Value, json};

use super::acts::{Act, CHATS, Create, Fate, Filter, Request, Spoil, Step, USERS, Wanted, Write};
use super::store::{Answer, Model, derived_ids};
use super::views::{Device, Paging};
use crate::common::{Door, SimNode};

/// Why a story failed, and its events up to there as JSON lines.
#[derive(Debug)]
pub struct Failure {
    pub why: String,
    pub lines: Vec<String>,
}

struct Play {
    node: SimNode,
    /// Records of the node's log that were already searched for what the node forgot.
    learned: usize,
    model: Model,
    devices: BTreeMap<(String, u8), Device>,
    pagings: BTreeMap<(String, u8), Paging>,
    /// Requests with keys.
    keyed: Vec<Request>,
    lines: Vec<String>,
}

/// Returns an error with both values, unless they are equal.
macro_rules! same {
    ($node:expr, $model:expr, $($what:tt)+) => {{
        let (node, model) = (&$node, &$model);
        if node != model {
            let what = format!($($what)+);
            return Err(format!("{what}\n  node:  {}\n  model: {}", shown(node), shown(model)));
        }
    }};
}

fn shown(value: &impl std::fmt::Debug) -> String {
    // The debug form of a `Value` is nearly JSON.
    format!("{value:?}")
}

fn answer(node: &mut SimNode, name: &str, arguments: Value) -> Answer {
    match node.call_json(name, arguments) {
        Ok(reply) => Ok(serde_json::to_value(reply).unwrap()),
        Err(error) => Err(error.code.status()),
    }
}

fn user_ids() -> Vec<String> {
    (0..USERS).map(|number| format!("u{number}")).collect()
}

/// Plays a story to its end.
pub fn play(story: &[Step], seed: u64) -> Result<(), Failure> {
    let mut node = SimNode::new(3, seed);
    node.shuffle(seed);
    if seed.is_multiple_of(2) {
        node.remember_at_least(seed / 2 % 24);
    }
    let mut play = Play {
        node,
        learned: 0,
        model: Model::new(),
        devices: BTreeMap::new(),
        pagings: BTreeMap::new(),
        keyed: Vec::new(),
        lines: Vec::new(),
    };
    let ended = story
        .iter()
        .try_for_each(|step| play.step(step))
        .and_then(|()| play.compare_everything().map_err(|why| format!("at the end: {why}")));
    ended.map_err(|why| Failure { why, lines: play.lines })
}

impl Play {
    fn line(&mut self, what: &Value) {
        self.lines.push(what.to_string());
    }

    fn call_line(&mut self, name: &str, arguments: &Value, told: &Answer) {
        let told = line_of(told);
        self.lines.push(format!(r#"{{"call":"{name}","arguments":{arguments},"told":{told}}}"#));
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        self.node.probe();
        if let Fate::CrashWithSnapshot(_, at) = step.fate {
            self.node.begin_snapshot(at);
            self.node.capture(at, 500);
        }
        let request = match &step.act {
            Act::Write(write, key, wanted) => Some(self.request(write, *key, *wanted)),
            // Without an earlier request there is nothing to repeat.
            Act::Again(index) if !self.keyed.is_empty() => Some(index.get(&self.keyed).clone()),
            _ => None,
        };
        match &request {
            Some(request) => self.write(request, step.fate)?,
            None => self.read(&step.act)?,
        }
        match step.fate {
            Fate::Lives => {}
            Fate::CrashWithSnapshot(shards, _) => {
                let snapshot = self.node.finish_snapshot();
                self.node = self.node.crashed_with_snapshot(shards, &snapshot);
                self.line(&json!({"crash with a snapshot, then shards": shards}));
            }
            // For a command with a key the crash came while it ran, before its repeat.
            Fate::CrashInside { .. } if request.is_some_and(|request| request.key.is_some()) => {}
            Fate::Crash(shards) | Fate::CrashInside { shards, .. } => {
                self.node.restart(shards);
                self.line(&json!({"crash, then shards": shards}));
            }
        }
        self.node.settle();
        self.learn_what_is_forgotten();
        self.compare_what_it_could_change(&step.act)
    }

    /// The node decides what it forgets and when; its log says so.
    fn learn_what_is_forgotten(&mut self) {
        for record in &self.node.log()[self.learned..] {
            if let (_, _, Event::Forgotten(forgotten)) = events::decode(record).unwrap() {
                self.model.forget(forgotten.user_id.as_str(), forgotten.to);
            }
        }
        self.learned = self.node.log().len();
    }

    /// Adds key and version to a write.
    fn request(&mut self, write: &Write, key: Option<u8>, wanted: Wanted) -> Request {
        let stored = match write {
            Write::Read(user, chat, _) | Write::Clear(user, chat) | Write::Flags(user, chat, _) => {
                self.model.find_row(user, chat).map(|row| row.version)
            }
            Write::Advance { chat, .. }
            | Write::Add(chat, _)
            | Write::Remove(chat, _)
            | Write::Status(chat, _)
            | Write::Dissolve(chat) => self.model.chats.get(chat).map(|chat| chat.version),
            _ => None,
        };
        let takes_version = !matches!(
            write,
            Write::Create(_)
                | Write::ReadMany(..)
                | Write::Delete(..)
                | Write::Touch(..)
                | Write::Erase(_)
        );
        let if_version = match wanted {
            Wanted::Nothing => None,
            Wanted::Right => Some(stored.unwrap_or(1)),
            Wanted::Wrong(more) => Some(stored.unwrap_or(1) + more),
        };
        let request = Request {
            write: write.clone(),
            key: key.map(|number| format!("k{number}")),
            if_version: if_version.filter(|_| takes_version),
        };
        if request.key.is_some() {
            self.keyed.push(request.clone());
        }
        request
    }

    fn write(&mut self, request: &Request, fate: Fate) -> Result<(), String> {
        let (name, arguments) = request.command();
        let mut crashed = None;
        if let (Fate::CrashInside { steps, shards, snapshot_from }, Some(_)) = (fate, &request.key)
        {
            crashed = Some(self.crash_inside(name, &arguments, steps, shards, snapshot_from));
        }
        let told = answer(&mut self.node, name, arguments.clone());
        self.call_line(name, &arguments, &told);
        let made = told.as_ref().ok().and_then(|told| told["id"].as_str()).map(str::to_owned);
        let mut expected = self.model.ask(request, made.as_deref());
        if let (Write::Erase(user), Some(_), Ok(told), Ok(all)) =
            (&request.write, &crashed, &told, &mut expected)
            && told["memberships"].as_u64() <= all["memberships"].as_u64()
        {
            // Memberships that were removed before the crash are not counted again.
            all["memberships"] = told["memberships"].clone();
            self.model.memory.correct(user, request.key.as_ref(), all);
        }
        same!(told, expected, "{name} {arguments}");
        if let Some(Some(first)) = crashed {
            same!(first, told, "{name} {arguments}: the answer before the crash and the repeat's");
        }
        self.learn_versions()
    }

    /// Runs a part of a command, and crashes. Returns the answer if it came before the crash.
    fn crash_inside(
        &mut self,
        name: &str,
        arguments: &Value,
        steps: usize,
        shards: u16,
        snapshot_from: Option<u16>,
    ) -> Option<Answer> {
        if let Some(at) = snapshot_from {
            self.node.begin_snapshot(at);
            self.node.capture(at, 300);
        }
        let kind = Kind::from_name(name).unwrap();
        let first = Command::from_json(kind, arguments.clone()).and_then(|command| {
            let ticket = self.node.submit(u16::try_from(steps).unwrap(), command);
            for _ in 0..steps {
                self.node.step();
            }
            self.node.take(ticket).transpose()
        });
        self.node = match snapshot_from {
            None => self.node.crashed(shards),
            Some(_) => {
                let snapshot = self.node.finish_snapshot();
                self.node.crashed_with_snapshot(shards, &snapshot)
            }
        };
        let first = first.transpose().map(|outcome| match outcome {
            Ok(reply) => Ok(serde_json::to_value(reply).unwrap()),
            Err(error) => Err(error.code.status()),
        });
        let crash = json!({
            "crash after steps": steps, "snapshot begun on": snapshot_from, "then shards": shards,
            "told before": first.as_ref().map(line_of),
        });
        self.lines.push(format!(r#"{{"call":"{name}","arguments":{arguments},"but":{crash}}}"#));
        first
    }

    /// If one command changed several rows, these take the user's next versions in no promised
    /// order. Asks the node for their versions.
    fn learn_versions(&mut self) -> Result<(), String> {
        let unsure = std::mem::take(&mut self.model.unsure);
        if unsure.len() < 2 {
            return Ok(());
        }
        let (mut learned, mut expected) = (Vec::new(), Vec::new());
        for (user, chat) in &unsure {
            let nothing = json!({"user_id": user, "chat_id": chat});
            let told = answer(&mut self.node, "set_flags", nothing);
            let version = told.as_ref().ok().and_then(|told| told["version"].as_u64());
            let row = self.model.row(user, chat);
            expected.push(row.version);
            row.version = version.unwrap_or(0);
            learned.push(row.version);
        }
        learned.sort_unstable();
        expected.sort_unstable();
        same!(learned, expected, "versions of {unsure:?}");
        Ok(())
    }

    fn read(&mut self, act: &Act) -> Result<(), String> {
        match act {
            Act::Write(..) | Act::Again(_) => Ok(()),
            Act::Wait(ms) => {
                self.model.now += ms;
                self.model.sent = self.model.now;
                self.node.set_time(self.model.now);
                self.line(&json!({"time passes, ms": ms}));
                Ok(())
            }
            Act::Page { user, client, filter, limit } => self.page(user, *client, filter, *limit),
            Act::Sync { user, device, limit, spoil } => {
                self.sync(user, *device, *limit, *spoil).map(drop)
            }
            Act::Unread(users) => {
                let mut users = users.clone();
                users.push("nobody".into());
                let told = answer(&mut self.node, "unread", json!({"user_ids": users}));
                same!(told, Ok(self.model.unread(&users)), "unread of {users:?}");
                Ok(())
            }
            Act::Explain(user, chat) => self.explain(user, chat),
        }
    }

    fn page(&mut self, user: &str, client: u8, filter: &Filter, limit: u32) -> Result<(), String> {
        let client = (user.to_owned(), client);
        let from = self.pagings.remove(&client);
        let filter = from.as_ref().map_or(filter, |from| &from.filter).clone();
        let cursor = from.as_ref().map(|from| from.cursor.as_str());
        let arguments = filter.arguments(user, limit, cursor);
        let told = answer(&mut self.node, "conversations", arguments.clone());
        self.call_line("conversations", &arguments, &told);
        let limit = usize::try_from(limit).unwrap();
        let page = self.model.conversations(user, &filter, limit, from.as_ref());
        let what = format!("conversations {arguments}");
        let Ok(mut told) = told else { return Err(format!("{what} gave {told:?}")) };
        let cursor = told["next_cursor"].take();
        same!(told["items"], Value::from(page.items), "{what}");
        same!(told["moved"], json!(page.moved), "{what}: moved");
        same!(cursor.is_string(), page.end.is_some(), "{what}: whether there is more");
        if let Some((end, before)) = page.end {
            let cursor = cursor.as_str().unwrap().to_owned();
            self.pagings.insert(client, Paging { filter, cursor, end, before });
        }
        Ok(())
    }

    /// A device calls `sync` once. Returns whether there is more to read.
    fn sync(
        &mut self,
        user: &str,
        number: u8,
        limit: Option<u32>,
        spoil: Spoil,
    ) -> Result<bool, String> {
        let mut device = self.devices.remove(&(user.to_owned(), number)).unwrap_or_default();
        let mut since = device
            .since
            .as_ref()
            .map_or(Value::Null, |(log, version)| json!({"log": log, "version": version}));
        match spoil {
            Spoil::OtherLog if !since.is_null() => since["log"] = "elsewhere".into(),
            Spoil::Ahead if !since.is_null() => {
                since["version"] = (since["version"].as_u64().unwrap() + 1000).into();
            }
            _ => {}
        }
        let arguments = json!({"user_id": user, "since": since, "limit": limit});
        let told = answer(&mut self.node, "sync", arguments.clone());
        let what = format!("sync of device {number}: {arguments}");
        self.call_line("sync", &arguments, &told);
        let Ok(told) = told else { return Err(format!("{what} gave {told:?}")) };
        let changes = self.model.sync(user, &device, spoil, limit);
        same!(told["items"], Value::from(changes.items.clone()), "{what}");
        same!(told["version"], json!(changes.version), "{what}: version");
        same!(told["more"], json!(changes.more), "{what}: more");
        same!(told["reset"], json!(changes.reset), "{what}: reset");
        same!(told["reason"].is_string(), changes.reset, "{what}: whether there is a reason");
        let erased = self.model.erased.get(user).copied().unwrap_or(0);
        device.take(&told, &changes, erased);
        if !changes.more {
            // A touch is no change, so times may be old.
            let without_time = |row: &Value| {
                let mut row = row.clone();
                row["last_online_time"] = Value::Null;
                (row["chat_id"].as_str().unwrap().to_owned(), row)
            };
            let known: BTreeMap<String, Value> = device.rows.values().map(without_time).collect();
            let listed: BTreeMap<String, Value> =
                self.model.list(user).iter().map(without_time).collect();
            same!(known, listed, "{what}: what the device has, and the list");
        }
        self.devices.insert((user.to_owned(), number), device);
        Ok(changes.more)
    }

    fn explain(&mut self, user: &str, chat: &str) -> Result<(), String> {
        let mut told = answer(&mut self.node, "explain", json!({"user_id": user, "chat_id": chat}));
        if let Ok(told) = &mut told {
            let reasons = told.as_object_mut().unwrap().remove("reasons").unwrap_or_default();
            let are_texts = |reasons: &Vec<Value>| reasons.iter().all(Value::is_string);
            same!(reasons.as_array().map(are_texts), Some(true), "reasons for {user} of {chat}");
        }
        same!(told, self.model.explain(user, chat), "explain {user} {chat}");
        Ok(())
    }

    // ---- comparisons ----

    /// Ids of all chats that may exist.
    fn chat_ids(&self) -> BTreeSet<String> {
        let mut ids: BTreeSet<String> = (0..CHATS).map(|number| format!("c{number}")).collect();
        for one in 0..USERS {
            for other in one + 1..USERS {
                ids.extend(derived_ids(&[format!("u{one}"), format!("u{other}")].into()).take(2));
            }
        }
        ids.extend(self.model.chats.keys().cloned());
        ids
    }

    fn compare_what_it_could_change(&mut self, act: &Act) -> Result<(), String> {
        let (users, chats): (Vec<&String>, Vec<&String>) = match act {
            // The repeat may be of any write, so all views are compared.
            Act::Again(_) => return self.compare_views(&user_ids(), &self.chat_ids()),
            Act::Page { .. } | Act::Sync { .. } | Act::Unread(_) | Act::Explain(..) => {
                return Ok(());
            }
            Act::Wait(_) => return Ok(()),
            Act::Write(write, ..) => match write {
                Write::Create(Create { id: None, .. }) | Write::Erase(_) => {
                    return self.compare_views(&user_ids(), &self.chat_ids());
                }
                Write::Create(create) => {
                    (create.users.iter().collect(), create.id.iter().collect())
                }
                Write::Add(chat, users) | Write::Remove(chat, users) => {
                    (users.iter().collect(), vec![chat])
                }
                Write::Advance { chat, .. } | Write::Status(chat, _) | Write::Dissolve(chat) => {
                    return self.compare_views(&user_ids(), &[chat.clone()].into());
                }
                Write::Read(user, chat, _)
                | Write::Clear(user, chat)
                | Write::Flags(user, chat, _) => (vec![user], vec![chat]),
                Write::ReadMany(user, items) => {
                    (vec![user], items.iter().map(|(chat, _)| chat).collect())
                }
                Write::Delete(user, ids, _) => (vec![user], ids.iter().collect()),
                Write::Touch(user, chats, _) => (vec![user], chats.iter().flatten().collect()),
            },
        };
        let users: BTreeSet<String> = users.into_iter().cloned().collect();
        let users: Vec<String> = users.into_iter().collect();
        self.compare_views(&users, &chats.into_iter().cloned().collect())
    }

    /// Compares lists and totals of these users, and these chats as each user and all users see
    /// them.
    fn compare_views(&mut self, users: &[String], chats: &BTreeSet<String>) -> Result<(), String> {
        let ids: Vec<String> = chats.iter().cloned().collect();
        let told = answer(&mut self.node, "detail", json!({"ids": ids}));
        same!(told, Ok(self.model.detail(&ids, None)), "detail");
        for user in users {
            let told = answer(&mut self.node, "list", json!({"user_id": user}));
            let listed = json!({"items": self.model.list(user), "next_cursor": null});
            same!(told, Ok(listed), "list of {user}");
            let told = answer(&mut self.node, "detail", json!({"ids": ids, "user_id": user}));
            same!(told, Ok(self.model.detail(&ids, Some(user))), "detail for {user}");
        }
        for id in ids {
            let told = answer(&mut self.node, "members", json!({"chat_id": id}));
            same!(told, self.model.members(&id), "members of {id}");
        }
        let told = answer(&mut self.node, "unread", json!({"user_ids": users}));
        same!(told, Ok(self.model.unread(users)), "unread of {users:?}");
        Ok(())
    }

    /// Compares the whole state, and checks that it is consistent.
    fn compare_everything(&mut self) -> Result<(), String> {
        let (users, chats) = (user_ids(), self.chat_ids());
        self.compare_views(&users, &chats)?;
        self.pagings.clear();
        for user in &users {
            // Reads from the first page to the last while nothing changes.
            loop {
                self.page(user, 0, &Filter::default(), 3)?;
                if self.pagings.is_empty() {
                    break;
                }
            }
            for chat in self.model.chats.keys().cloned().collect::<Vec<_>>() {
                self.explain(user, &chat)?;
            }
            // Devices that are behind, and one that is new.
            for device in 0..3 {
                while self.sync(user, device, Some(7), Spoil::Nothing)? {}
            }
        }
        let (mut stored, mut memberships) = (0, 0);
        for chat in self.model.chats.values() {
            stored += 1;
            memberships += chat.members.len();
        }
        let told = answer(&mut self.node, "verify", json!({}));
        let expected = json!({
            "chats": stored, "members": memberships, "rows": memberships, "differences": 0, "items": [],
        });
        same!(told, Ok(expected), "verify");
        Ok(())
    }
}

fn line_of(told: &Answer) -> Value {
    match told {
        Ok(body) => body.clone(),
        Err(status) => json!({"status": status}),
    }
}
