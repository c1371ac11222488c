//! The rules, written down a second time as plainly as they can be, against a whole node: random
//! commands, crashes, images and shard counts, and after every command every list, every detail and
//! every member of both are compared.
//!
//! `PROPTEST_CASES` sets the number of cases and draws new ones; without it the same 300 are run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "model/acts.rs"]
mod acts;
mod common;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use acts::{Act, Create, Fate, Forward, act, fate};
use common::{Door, NOW, SimNode};

const AHEAD_MAX: u64 = 1_000_000;
const DAY: u64 = 24 * 60 * 60 * 1000;

// ---- the model ----

#[derive(Default)]
struct Model {
    chats: BTreeMap<String, Chat>,
    users: BTreeMap<String, User>,
}

struct Chat {
    /// The request that made it, its users sorted.
    request: (u64, String, u64, u64, BTreeSet<String>),
    status: u64,
    dissolved: bool,
    last: u64,
    last_time: u64,
    version: u64,
    members: Vec<Member>,
}

impl Chat {
    fn is_single_of(&self, users: &BTreeSet<String>) -> bool {
        self.request.0 == 1 && self.request.4 == *users
    }
}

struct Member {
    user: String,
    join: u64,
    sent: u64,
    deleted: bool,
}

#[derive(Default)]
struct User {
    version: u64,
    joined: u64,
    rows: BTreeMap<String, Row>,
}

#[derive(Default)]
struct Row {
    order: u64,
    top: bool,
    mute: bool,
    hide: bool,
    marked: bool,
    deleted: bool,
    read: u64,
    online: u64,
    join: u64,
    deleted_to: u64,
}

impl Row {
    fn floor(&self, sent: u64) -> u64 {
        (self.join - 1).max(self.deleted_to).max(self.read).max(sent)
    }

    fn told(&self, chat: &str) -> Value {
        json!({
            "id": chat, "chat_id": chat, "is_top": u8::from(self.top), "is_mute": u8::from(self.mute),
            "is_show": u8::from(!self.deleted), "is_hide": u8::from(self.hide),
            "max_read_seq": self.read, "last_online_time": self.online,
        })
    }
}

type Answer = Result<Value, u16>;

impl Model {
    /// The chat, if it is there and not dissolved.
    fn live(&mut self, id: &str) -> Result<&mut Chat, u16> {
        match self.chats.get_mut(id) {
            None => Err(404),
            Some(chat) if chat.dissolved => Err(410),
            Some(chat) => Ok(chat),
        }
    }

    /// The user's row, which a member always has.
    fn row(&mut self, user: &str, chat: &str) -> &mut Row {
        self.users.get_mut(user).unwrap().rows.get_mut(chat).unwrap()
    }

    fn bump(&mut self, user: &str) -> u64 {
        let user = self.users.get_mut(user).unwrap();
        user.version += 1;
        user.version
    }

    fn join(&mut self, chat: &str, user: &str) {
        let stored = self.chats.get_mut(chat).unwrap();
        let join = stored.last + 1;
        stored.members.push(Member { user: user.into(), join, sent: 0, deleted: false });
        let user = self.users.entry(user.into()).or_default();
        user.version += 1;
        user.joined += 1;
        let row = Row { order: user.joined, read: join - 1, join, ..Row::default() };
        user.rows.insert(chat.into(), row);
    }

    fn leave(&mut self, chat: &str, user: &str) {
        self.chats.get_mut(chat).unwrap().members.retain(|member| member.user != user);
        self.users.get_mut(user).unwrap().rows.remove(chat);
        self.bump(user);
    }

    fn create(&mut self, what: &Create) -> Answer {
        let users: BTreeSet<String> = what.users.iter().cloned().collect();
        if what.kind == 1 && (what.users.len() != 2 || users.len() != 2) {
            return Err(400);
        }
        let request =
            (what.kind, what.creator.clone(), what.is_enc, what.created_at, users.clone());
        let id = match &what.id {
            Some(id) => id.clone(),
            None => {
                // The first of the derived ids that is free, or is these users' already.
                let mut ids = derived_ids(&users);
                ids.find(|id| self.chats.get(id).is_none_or(|chat| chat.is_single_of(&users)))
                    .unwrap()
            }
        };
        if let Some(chat) = self.chats.get(&id) {
            return match chat.dissolved {
                true => Err(410),
                false if what.id.is_none() || chat.request == request => {
                    Ok(json!({"id": id, "created": false, "version": chat.version}))
                }
                false => Err(409),
            };
        }
        let chat = Chat {
            request,
            status: 1,
            dissolved: false,
            last: 0,
            last_time: 0,
            version: 1,
            members: Vec::new(),
        };
        self.chats.insert(id.clone(), chat);
        for user in each_once(&what.users) {
            self.join(&id, &user);
        }
        Ok(json!({"id": id, "created": true, "version": 1}))
    }

    /// The users of a change to a chat's members that it concerns.
    fn changing(
        &mut self,
        chat: &str,
        users: &[String],
        members: bool,
    ) -> Result<Vec<String>, u16> {
        let stored = self.live(chat)?;
        if stored.request.0 == 1 {
            return Err(400);
        }
        let is_member = |user: &String| stored.members.iter().any(|member| member.user == *user);
        let users: Vec<String> =
            each_once(users).into_iter().filter(|user| is_member(user) == members).collect();
        stored.version += u64::from(!users.is_empty());
        Ok(users)
    }

    fn advance(&mut self, chat: &str, what: Forward, time: u64, sender: Option<&String>) -> Answer {
        let stored = self.live(chat)?;
        if stored.status == 2 {
            return Err(423);
        }
        let (first, last, sent) = match what {
            Forward::To(to, force) => {
                if to > stored.last + AHEAD_MAX && !force {
                    return Err(400);
                }
                let last = stored.last.max(to);
                (last, last, to)
            }
            Forward::Allocate(count) => (stored.last + 1, stored.last + count, stored.last + count),
        };
        if time > NOW + DAY {
            return Err(400);
        }
        if let Some(member) = stored.members.iter_mut().find(|member| Some(&member.user) == sender)
        {
            member.sent = member.sent.max(sent);
        }
        if last > stored.last {
            (stored.last, stored.last_time) = (last, time);
        }
        let answer =
            json!({"first_sequence": first, "last_sequence": last, "last_time": stored.last_time});
        Ok(answer)
    }

    /// A newer message brings back the rows of those who deleted the chat.
    fn bring_back(&mut self, chat: &str) {
        let stored = self.chats.get_mut(chat).unwrap();
        let back: Vec<String> = stored
            .members
            .iter()
            .filter(|member| member.deleted)
            .map(|member| member.user.clone())
            .collect();
        stored.members.iter_mut().for_each(|member| member.deleted = false);
        for user in back {
            self.row(&user, chat).deleted = false;
            self.bump(&user);
        }
    }

    fn mark_read(&mut self, user: &str, chat: &str, seq: u64) -> Answer {
        let stored = self.live(chat)?;
        let (last, sent) = match stored.members.iter().find(|member| member.user == user) {
            Some(member) => (stored.last, member.sent),
            None => return Err(404),
        };
        if seq > last {
            return Err(400);
        }
        let row = self.row(user, chat);
        let changes = seq > row.read || row.marked;
        row.read = row.read.max(seq);
        row.marked = false;
        let answer =
            json!({"max_read_seq": row.read, "unread": last.saturating_sub(row.floor(sent))});
        if changes {
            self.bump(user);
        }
        Ok(answer)
    }

    fn clear(&mut self, user: &str, chat: &str) -> Answer {
        let stored = self.live(chat)?;
        let last = stored.last;
        if !stored.members.iter().any(|member| member.user == user) {
            return Err(404);
        }
        let row = self.row(user, chat);
        let changes = row.deleted_to < last || row.read < last || row.marked;
        row.deleted_to = last;
        row.read = last;
        row.marked = false;
        if changes {
            self.bump(user);
        }
        Ok(json!({"deleted_to_seq": last}))
    }

    fn delete(&mut self, user: &str, ids: &[String], up_to: Option<u64>) -> Answer {
        for id in each_once(ids) {
            let Ok(stored) = self.live(&id) else { continue };
            let last = stored.last;
            let Some(member) = stored.members.iter_mut().find(|member| member.user == user) else {
                continue;
            };
            // What is deleted stays deleted, whatever the caller saw; flags set since go again.
            let to = if member.deleted { last } else { up_to.unwrap_or(last).min(last) };
            member.deleted = to == last;
            let row = self.row(user, &id);
            let gone = to == last;
            let changes = row.deleted_to < to
                || row.read < to
                || row.deleted != gone
                || row.top
                || row.marked;
            row.deleted_to = row.deleted_to.max(to);
            row.read = row.read.max(to);
            row.deleted = gone;
            (row.top, row.marked) = (false, false);
            if changes {
                self.bump(user);
            }
        }
        Ok(Value::Null)
    }

    fn set_flags(&mut self, user: &str, chat: &str, flags: [Option<bool>; 4]) -> Answer {
        let found = self.users.get_mut(user).and_then(|user| user.rows.get_mut(chat));
        let row = found.ok_or(404_u16)?;
        let mut changes = false;
        for (stored, wanted) in
            [&mut row.top, &mut row.mute, &mut row.hide, &mut row.marked].into_iter().zip(flags)
        {
            if let Some(wanted) = wanted {
                changes |= *stored != wanted;
                *stored = wanted;
            }
        }
        let told = row.told(chat);
        // Without a change the version is that of the row's last one; several rows that change by one
        // delete do so in no promised order.
        let version = if changes { json!(self.bump(user)) } else { Value::Null };
        Ok(json!({"row": told, "version": version}))
    }

    fn touch(&mut self, user: &str, chats: Option<&[String]>, time: u64) -> Answer {
        if time > NOW + DAY {
            return Err(400);
        }
        let mut touched = 0;
        for (chat, row) in self.users.get_mut(user).into_iter().flat_map(|user| &mut user.rows) {
            if chats.is_none_or(|chats| chats.contains(chat)) {
                row.online = row.online.max(time);
                touched += 1;
            }
        }
        Ok(json!({"touched": touched}))
    }

    fn set_status(&mut self, chat: &str, status: u64) -> Answer {
        let stored = self.live(chat)?;
        stored.version += u64::from(stored.status != status);
        stored.status = status;
        Ok(json!({"version": stored.version}))
    }

    fn dissolve(&mut self, chat: &str) -> Answer {
        let stored = self.live(chat)?;
        if stored.request.0 == 1 {
            return Err(400);
        }
        stored.dissolved = true;
        let users: Vec<String> = stored.members.iter().map(|member| member.user.clone()).collect();
        for user in users {
            self.leave(chat, &user);
        }
        Ok(Value::Null)
    }

    fn apply(&mut self, act: &Act) -> Answer {
        match act {
            Act::Create(create) => self.create(create),
            Act::Add(chat, users) => {
                let users = self.changing(chat, users, false)?;
                for user in &users {
                    self.join(chat, user);
                }
                Ok(json!({"added": users.len(), "members": self.live(chat)?.members.len()}))
            }
            Act::Remove(chat, users) => {
                let users = self.changing(chat, users, true)?;
                for user in &users {
                    self.leave(chat, user);
                }
                Ok(json!({"removed": users.len(), "members": self.live(chat)?.members.len()}))
            }
            Act::Advance { chat, forward, time, sender } => {
                let before = self.chats.get(chat).map(|chat| chat.last);
                let answer = self.advance(chat, *forward, *time, sender.as_ref())?;
                if self.chats.get(chat).map(|chat| chat.last) > before {
                    self.bring_back(chat);
                }
                Ok(answer)
            }
            Act::Read(user, chat, seq) => self.mark_read(user, chat, *seq),
            Act::Clear(user, chat) => self.clear(user, chat),
            Act::Delete(user, ids, up_to) => self.delete(user, ids, *up_to),
            Act::Flags(user, chat, flags) => self.set_flags(user, chat, *flags),
            Act::Touch(user, chats, time) => self.touch(user, chats.as_deref(), *time),
            Act::Status(chat, status) => self.set_status(chat, *status),
            Act::Dissolve(chat) => self.dissolve(chat),
        }
    }

    fn list(&self, user: &str) -> Vec<Value> {
        let Some(user) = self.users.get(user) else { return Vec::new() };
        let mut rows: Vec<(&String, &Row)> =
            user.rows.iter().filter(|(_, row)| !row.deleted).collect();
        rows.sort_by_key(|(_, row)| (!row.top, u64::MAX - row.order));
        rows.into_iter().map(|(chat, row)| row.told(chat)).collect()
    }

    fn detail(&self, ids: &[String], user: Option<&str>) -> Value {
        let mut items = Vec::new();
        for id in ids {
            let Some(chat) = self.chats.get(id).filter(|chat| !chat.dissolved) else { continue };
            let floor = match user {
                None => 0,
                Some(user) => match chat.members.iter().find(|member| member.user == user) {
                    None => continue,
                    Some(member) => self.users[user].rows[id].floor(member.sent),
                },
            };
            items.push(json!({
                "id": id, "creator_id": chat.request.1, "type": chat.request.0, "status": chat.status,
                "is_enc": chat.request.2, "last_read_sequence": floor, "last_sequence": chat.last,
                "last_time": chat.last_time, "created_at": chat.request.3,
            }));
        }
        json!({"items": items})
    }

    fn members(&self, id: &str) -> Answer {
        match self.chats.get(id) {
            None => Err(404),
            Some(chat) if chat.dissolved => Err(410),
            Some(chat) => {
                let items: Vec<Value> = chat
                    .members
                    .iter()
                    .map(|member| json!({"user_id": member.user, "join_seq": member.join}))
                    .collect();
                Ok(json!({"items": items, "next_cursor": null}))
            }
        }
    }
}

fn each_once(ids: &[String]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    ids.iter().filter(|id| seen.insert(*id)).cloned().collect()
}

/// A single chat's id is taken from the hash of its users; if another has it, from the hash's hash.
fn derived_ids(users: &BTreeSet<String>) -> impl Iterator<Item = String> {
    let text: String = users.iter().map(|user| format!("{user}\0")).collect();
    let hashes =
        std::iter::successors(Some(Sha256::digest(text)), |hash| Some(Sha256::digest(hash)));
    hashes.map(|hash| {
        let hex: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("s_{hex}")
    })
}

fn derived_id(users: &BTreeSet<String>) -> String {
    derived_ids(users).next().unwrap()
}

// ---- held against each other ----

/// All chats that there may be.
fn all_chats() -> Vec<String> {
    let mut ids: Vec<String> = (0..6).map(|number| format!("c{number}")).collect();
    for one in 0..6 {
        for other in one + 1..6 {
            ids.extend(derived_ids(&[format!("u{one}"), format!("u{other}")].into()).take(2));
        }
    }
    ids
}

fn answer(door: &mut dyn Door, name: &str, arguments: Value) -> Answer {
    match door.call_json(name, arguments) {
        Ok(reply) => Ok(serde_json::to_value(reply).unwrap()),
        Err(error) => Err(error.code.status()),
    }
}

fn compare(node: &mut SimNode, model: &Model) -> Result<(), TestCaseError> {
    let ids = all_chats();
    let door: &mut dyn Door = node;
    prop_assert_eq!(answer(door, "detail", json!({"ids": ids})), Ok(model.detail(&ids, None)));
    for number in 0..6 {
        let user = format!("u{number}");
        prop_assert_eq!(door.list(&user), model.list(&user), "list of {}", user);
        let told = answer(door, "detail", json!({"ids": ids, "user_id": user}));
        prop_assert_eq!(told, Ok(model.detail(&ids, Some(&user))), "detail for {}", user);
    }
    for id in &ids[..7] {
        let told = answer(door, "members", json!({"chat_id": id}));
        prop_assert_eq!(told, model.members(id), "members of {}", id);
    }
    Ok(())
}

fn check(story: &[(Act, Fate)], seed: u64) -> Result<(), TestCaseError> {
    let mut node = SimNode::new(3, seed);
    node.shuffle(seed);
    let mut model = Model::default();
    for (number, (act, fate)) in story.iter().enumerate() {
        let (name, arguments) = act.command();
        if let Fate::CrashWithImage(_, core) = fate {
            node.begin_image(*core);
            node.capture(*core, 500);
        }
        let mut told = answer(&mut node, name, arguments.clone());
        let expected = model.apply(act);
        if name == "set_flags"
            && let Ok(reply) = &mut told
            && expected.as_ref().is_ok_and(|expected| expected["version"].is_null())
        {
            reply["version"] = Value::Null;
        }
        prop_assert_eq!(told, expected, "{}: {} {}", number, name, arguments);
        match *fate {
            Fate::Lives => {}
            Fate::Crash(shards) => node.restart(shards),
            Fate::CrashWithImage(shards, _) => {
                let image = node.finish_image();
                node = node.crashed_with_image(shards, &image);
            }
        }
        node.settle();
        compare(&mut node, &model).map_err(|error| {
            TestCaseError::fail(format!("after {number}: {name} {arguments}: {error}"))
        })?;
    }
    Ok(())
}

#[test]
fn the_node_does_what_the_model_does() {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let config = ProptestConfig {
        cases: asked.unwrap_or(300),
        failure_persistence: None,
        rng_seed: if asked.is_some() { RngSeed::Random } else { RngSeed::Fixed(20_261_123) },
        ..ProptestConfig::default()
    };
    let stories = (prop::collection::vec((act(), fate()), 1..=40), any::<u64>());
    let outcome = TestRunner::new(config).run(&stories, |(story, seed)| check(&story, seed));
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
