//! Clients that all work on the same chats, several requests at a time. The order of their requests
//! is not known and not needed. These rules are checked:
//!
//! - `allocate` hands out as many sequences as the request names, and none twice. A chat's last
//!   sequence is the sum of all that was acknowledged, any part of what is unknown, and nothing
//!   that was refused.
//! - Any later request sees what was acknowledged, to any client: the last sequence, and how far a
//!   user has read. No earlier reply had a higher number.
//! - Members who join and leave together are all there or none, in every reply.
//! - The same key gets the same sequences again.
//! - A time that the server gives is bound to the time that elapsed, however the wall clock is set.
//!   A time that a client gives may be at most a day ahead of it.
//! - A chat that is being created is there for all its users or for none. An acknowledged setting
//!   of one of its rows stays: no delivery reaches the same row twice.
//! - At rest a row that is not listed covers all messages: no message beside a delete was lost.
//! - At rest the newest conversations come first.
//! - At rest `verify` finds no difference: each member has a row and each row a member.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use chatshard::command::{ErrorCode, Outcome};
use serde_json::{Value, json};

use super::connection::Connection;
use super::world::{Fault, World, in_json};

const CHATS: [&str; 2] = ["s0", "s1"];
const USERS: [&str; 5] = ["m0", "m1", "m2", "m3", "m4"];
/// Members of the second chat who join and leave together.
const TOGETHER: &[&str] = &["m2", "m3", "m4"];
/// Most chats that a seed creates meanwhile.
const FRESH_MAX: usize = 12;
/// Requests under way on a connection.
const DEPTH: usize = 4;
/// A day in ms: a client's time may be that far ahead of the server's.
const DAY: u64 = 24 * 60 * 60 * 1000;

pub struct Crowd {
    members: Vec<Member>,
    chats: [Chat; 2],
    /// Acknowledged read position of each user of the first chat.
    read: [u64; 2],
    next_key: u64,
    /// `allocate` requests with a key and an unknown outcome.
    unsure: Vec<Asked>,
    /// An `allocate` with a key, and the first sequence that it returned.
    known: Option<(Asked, u64)>,
    /// Chats that are created meanwhile, by number.
    fresh: Vec<Fresh>,
}

/// A chat that its first user pins while it is being created.
#[derive(Default)]
struct Fresh {
    is_made: bool,
    is_pinned: bool,
}

#[derive(Default)]
struct Member {
    connection: Connection,
    open: BTreeMap<u64, Asked>,
}

/// A chat in which `allocate` hands out every sequence.
#[derive(Default)]
struct Chat {
    /// Number of sequences in acknowledged requests.
    acknowledged: u64,
    /// Number of sequences in requests whose outcome may never be known.
    unknown: u64,
    /// Largest last sequence in any reply.
    told: u64,
    /// Sequences that were handed out: first and last.
    handed: BTreeMap<u64, u64>,
}

#[derive(Debug, Clone)]
enum Asked {
    /// Creates the fresh chat of this number.
    Create(usize),
    /// Its first user pins it.
    Pin(usize),
    /// Allocates `count` sequences in a chat.
    Allocate {
        chat: usize,
        count: u64,
        key: Option<String>,
    },
    /// Repeats an `allocate` that returned this first sequence.
    Again(Box<Asked>, u64),
    Read {
        user: usize,
        seq: u64,
        before: u64,
    },
    /// Reads both chats. It carries the largest last sequences in replies up to then.
    Detail {
        told: [u64; 2],
    },
    List {
        user: usize,
        before: u64,
    },
    Members,
    Change(&'static str),
    Delete(usize),
    /// A `touch` of this user with a time that is too far ahead.
    Ahead {
        user: usize,
        time: u64,
    },
}

impl Crowd {
    pub fn new(count: u64) -> Self {
        Self {
            members: (0..count).map(|_| Member::default()).collect(),
            chats: Default::default(),
            read: [0; 2],
            next_key: 0,
            unsure: Vec::new(),
            known: None,
            fresh: Vec::new(),
        }
    }

    /// Whether a user has pinned a chat that others are still to get: a good time for a crash.
    pub fn is_half_made(&self) -> bool {
        self.fresh.last().is_some_and(|fresh| fresh.is_pinned && !fresh.is_made)
    }

    /// A random client sends a request, if it may.
    pub fn act(&mut self, world: &mut World) -> Result<(), Fault> {
        let member = usize::try_from(world.random.below(self.members.len() as u64)).unwrap();
        if self.members[member].open.len() >= DEPTH {
            return Ok(());
        }
        let asked = self.draw(world);
        let (name, arguments) = asked.command();
        let member = &mut self.members[member];
        let sent = world.send(&mut member.connection, name, &arguments);
        let id = sent.map_err(|error| format!("{name} {arguments}: {error}"))?;
        member.open.insert(id, asked);
        Ok(())
    }

    fn draw(&mut self, world: &mut World) -> Asked {
        let chat = usize::try_from(world.random.below(2)).unwrap();
        let user = usize::try_from(world.random.below(2)).unwrap();
        let told = [self.chats[0].told, self.chats[1].told];
        let newest = self.fresh.len().wrapping_sub(1);
        match world.random.below(21) {
            0..=5 => {
                let key = world.one_in(3).then(|| {
                    self.next_key += 1;
                    format!("key{}", self.next_key)
                });
                Asked::Allocate { chat, count: 1 + world.random.below(3), key }
            }
            6..=8 => {
                let seq = world.random.below(told[0] + 1);
                Asked::Read { user, seq, before: self.read[user] }
            }
            9..=10 => Asked::Detail { told },
            11 => Asked::List { user, before: self.read[user] },
            12 => Asked::Members,
            13 => Asked::Change("add_members"),
            14 => Asked::Change("remove_members"),
            20 => Asked::Ahead { user, time: world.latest() + 2 * DAY },
            15..=17 if newest < FRESH_MAX && !self.fresh[newest].is_made => Asked::Pin(newest),
            15 | 17 if self.fresh.len() < FRESH_MAX => {
                self.fresh.push(Fresh::default());
                Asked::Create(self.fresh.len() - 1)
            }
            16 => match &self.known {
                Some((asked, first)) => Asked::Again(Box::new(asked.clone()), *first),
                None => Asked::Members,
            },
            _ => Asked::Delete(2 + usize::try_from(world.random.below(3)).unwrap()),
        }
    }

    /// Takes the replies that have arrived.
    pub fn receive(&mut self, world: &mut World) -> Result<(), Fault> {
        for at in 0..self.members.len() {
            for (id, outcome) in world.receive(&mut self.members[at].connection) {
                let Some(asked) = self.members[at].open.remove(&id) else {
                    return Err(format!("request {id} of {at} is answered twice"));
                };
                self.take(world, asked, outcome)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, world: &mut World, asked: Asked, outcome: Outcome) -> Result<(), Fault> {
        if let Err(error) = &outcome
            && matches!(error.code, ErrorCode::Unavailable | ErrorCode::Busy)
        {
            if error.message.starts_with("not applied") {
                world.tally.refused += 1;
            } else {
                world.tally.unknown += 1;
                self.is_unknown(asked);
            }
            return Ok(());
        }
        world.tally.checked += 1;
        let what = format!("{asked:?}");
        if let (Asked::Pin(_), Err(error)) = (&asked, &outcome)
            && error.code == ErrorCode::NotFound
        {
            // The row is not there yet.
            return Ok(());
        }
        if let (Asked::Ahead { .. }, Err(error)) = (&asked, &outcome)
            && error.code == ErrorCode::InvalidArgument
        {
            world.tally.too_late += 1;
            return Ok(());
        }
        let told = in_json(outcome).map_err(|status| format!("{what} gave {status}"))?;
        if let Asked::Allocate { .. } = asked {
            world.tally.times += 1;
            let checked = world.check_time(number(&told["last_time"]));
            checked.map_err(|why| format!("{what} gave {told}: {why}"))?;
        }
        self.told(world, asked, &told).map_err(|why| format!("{what} gave {told}: {why}"))
    }

    fn is_unknown(&mut self, asked: Asked) {
        match asked {
            Asked::Allocate { key: Some(_), .. } => self.unsure.push(asked),
            Asked::Allocate { chat, count, key: None } => self.chats[chat].unknown += count,
            _ => {}
        }
    }

    fn told(&mut self, world: &mut World, asked: Asked, told: &Value) -> Result<(), Fault> {
        match asked {
            Asked::Create(number) => self.fresh[number].is_made = true,
            Asked::Pin(number) => {
                self.fresh[number].is_pinned = true;
                if told["row"]["is_top"] != 1 {
                    return Err("it is not pinned".into());
                }
            }
            Asked::Allocate { chat, count, ref key } => {
                world.tally.sequences += count;
                let (first, last) =
                    (number(&told["first_sequence"]), number(&told["last_sequence"]));
                self.chats[chat].hand_out(first, last, count)?;
                if key.is_some() {
                    self.known = Some((asked, first));
                }
            }
            Asked::Again(_, first) => {
                if told["first_sequence"] != first {
                    return Err("it was another answer before".into());
                }
            }
            Asked::Read { user, seq, before } => {
                let stored = number(&told["max_read_seq"]);
                if stored < seq.max(before) {
                    return Err(format!("{before} was acknowledged before"));
                }
                self.read[user] = self.read[user].max(stored);
            }
            Asked::Detail { told: before } => {
                for item in told["items"].as_array().unwrap() {
                    let chat = CHATS.iter().position(|id| item["id"] == *id).unwrap();
                    let last = number(&item["last_sequence"]);
                    self.is_last(chat, last, before[chat])?;
                }
                if told["items"].as_array().unwrap().len() != CHATS.len() {
                    return Err("a chat is missing".into());
                }
            }
            Asked::List { before, .. } => {
                let rows = told["items"].as_array().unwrap();
                let row = rows.iter().find(|row| row["chat_id"] == CHATS[0]);
                let read = row.map(|row| number(&row["max_read_seq"]));
                if read.is_none_or(|read| read < before) {
                    return Err(format!("{before} was acknowledged before"));
                }
            }
            Asked::Members => {
                let ids: Vec<&str> = told["items"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|item| item["user_id"].as_str().unwrap())
                    .collect();
                let there = TOGETHER.iter().filter(|user| ids.contains(user)).count();
                if there != 0 && there != TOGETHER.len() {
                    return Err("they come and go together".into());
                }
            }
            Asked::Ahead { .. } => return Err("it is too far ahead".into()),
            Asked::Change(_) | Asked::Delete(_) => {}
        }
        Ok(())
    }

    /// Checks a chat's last sequence in a reply. It must be at least `before`, the largest one
    /// known when the request was sent.
    fn is_last(&mut self, chat: usize, last: u64, before: u64) -> Result<(), Fault> {
        let open = self.members.iter().flat_map(|member| member.open.values());
        let unsure = open.chain(&self.unsure).map(|asked| asked.sequences(chat)).sum::<u64>();
        let chat = &mut self.chats[chat];
        let most = chat.acknowledged + chat.unknown + unsure;
        if last < before {
            return Err(format!("{before} was told before"));
        }
        if last > most {
            return Err(format!("no more than {most} were ever asked for"));
        }
        chat.told = chat.told.max(last);
        Ok(())
    }

    /// The node is gone; requests under way have an unknown outcome.
    pub fn cut_off(&mut self, world: &mut World) {
        for at in 0..self.members.len() {
            for asked in std::mem::take(&mut self.members[at].open).into_values() {
                world.tally.unknown += 1;
                self.is_unknown(asked);
            }
        }
    }

    /// The node is at rest and accepts writes. If it is a new one that may have `lost` acknowledged
    /// changes, any consistent state is right.
    pub fn resolve(&mut self, world: &mut World, is_new: bool, lost: bool) -> Result<(), Fault> {
        if is_new {
            for member in &mut self.members {
                member.connection = world.connect();
            }
        }
        for asked in std::mem::take(&mut self.unsure) {
            let Asked::Allocate { chat, count, .. } = &asked else { continue };
            if lost {
                self.chats[*chat].unknown += count;
                continue;
            }
            world.tally.retried += 1;
            let (name, arguments) = asked.command();
            let told = world.ask(name, &arguments)?;
            let told = told.map_err(|status| format!("{name} {arguments} gave {status}"))?;
            self.told(world, asked, &told)?;
            world.settle()?;
        }
        // From here on time may pass, and the key may be forgotten.
        self.known = None;
        self.check_chats(world, lost)?;
        self.check_fresh(world, lost)?;
        self.check_rows(world)
    }

    fn check_chats(&mut self, world: &mut World, lost: bool) -> Result<(), Fault> {
        let told = world.ask("detail", &json!({"ids": CHATS}))?.unwrap();
        world.tally.views += 1;
        let items = told["items"].as_array().unwrap();
        if lost {
            // After a loss sequences may be handed out again, and chats may be created again.
            self.read = [0; 2];
            for id in CHATS {
                world
                    .ask("create", &create(id))?
                    .map_err(|status| format!("create {id}: {status}"))?;
                world.settle()?;
            }
        } else if items.len() != CHATS.len() {
            return Err(format!("a chat is missing: {told}"));
        }
        for (at, id) in CHATS.iter().enumerate() {
            let item = items.iter().find(|item| item["id"] == *id);
            let last = item.map_or(0, |item| number(&item["last_sequence"]));
            let chat = &mut self.chats[at];
            let (least, most) = (chat.acknowledged, chat.acknowledged + chat.unknown);
            if last > most || (!lost && last < least) {
                return Err(format!("{id}: last is {last}; right is {least} to {most}"));
            }
            // At rest, no request with an unknown outcome can take effect any more.
            (chat.acknowledged, chat.unknown, chat.told) = (last, 0, last);
            if lost {
                chat.handed.split_off(&(last + 1));
            }
        }
        Ok(())
    }

    fn check_fresh(&mut self, world: &mut World, lost: bool) -> Result<(), Fault> {
        let lists: Vec<Value> = USERS
            .iter()
            .map(|user| world.ask("list", &json!({"user_id": user})).map(|told| told.unwrap()))
            .collect::<Result<_, _>>()?;
        for (number, fresh) in self.fresh.iter_mut().enumerate() {
            let id = format!("f{number}");
            let rows: Vec<&Value> = lists
                .iter()
                .flat_map(|list| list["items"].as_array().unwrap())
                .filter(|row| row["chat_id"] == *id)
                .collect();
            let there = rows.len();
            if there != USERS.len() && (there != 0 || fresh.is_made && !lost) {
                return Err(format!("{id} is there for {there} of its users"));
            }
            // The lists are in the order of the users, so the first row is that of the first user.
            let is_pinned = there > 0 && rows[0]["is_top"] == 1;
            if fresh.is_pinned && !is_pinned && !lost {
                return Err(format!("{id} was pinned, and is not"));
            }
            *fresh = Fresh { is_made: there > 0, is_pinned };
        }
        Ok(())
    }

    fn check_rows(&mut self, world: &mut World) -> Result<(), Fault> {
        for user in TOGETHER {
            for chat in CHATS {
                let told = world.ask("explain", &json!({"user_id": user, "chat_id": chat}))?;
                let Ok(told) = told else { continue };
                // A user who is no member has nothing deleted.
                let deleted = number(&told["floors"]["deleted"]);
                let is_member = !told["floors"]["join"].is_null() && deleted > 0;
                if is_member && told["listed"] == false && deleted < number(&told["last_sequence"])
                {
                    return Err(format!("{user} does not see newer messages of {chat}: {told}"));
                }
            }
        }
        USERS.iter().try_for_each(|user| check_order(world, user))?;
        world.tally.views += 1;
        let told = world.ask("members", &json!({"chat_id": CHATS[1]}))?;
        if let Ok(told) = &told {
            self.told(world, Asked::Members, told)?;
        }
        let verified = world.ask("verify", &json!({}))?.unwrap();
        if verified["differences"] != 0 {
            return Err(format!("verify: {verified}"));
        }
        let stats = world.ask("stats", &json!({}))?.unwrap();
        if stats["outbox"] != 0 {
            return Err(format!("deliveries are left over: {stats}"));
        }
        Ok(())
    }
}

/// Checks the order of a user's conversations: pinned first, then by the time of the newest
/// message, then by id.
fn check_order(world: &mut World, user: &str) -> Result<(), Fault> {
    world.tally.orders += 1;
    let told = world.ask("conversations", &json!({"user_id": user}))?.unwrap();
    let items = told["items"].as_array().unwrap();
    let keys: Vec<_> = items
        .iter()
        .map(|item| {
            (
                Reverse(number(&item["is_top"])),
                Reverse(number(&item["last_time"])),
                item["chat_id"].to_string(),
            )
        })
        .collect();
    match keys.is_sorted() {
        true => Ok(()),
        false => Err(format!("the conversations of {user} are out of order: {told}")),
    }
}

impl Chat {
    fn hand_out(&mut self, first: u64, last: u64, count: u64) -> Result<(), Fault> {
        if last + 1 - first != count {
            return Err(format!("{count} were asked for"));
        }
        if let Some((other_first, other_last)) = self.handed.range(..=last).next_back()
            && *other_last >= first
        {
            return Err(format!("{other_first} to {other_last} were handed out before"));
        }
        self.handed.insert(first, last);
        self.acknowledged += count;
        self.told = self.told.max(last);
        Ok(())
    }
}

impl Asked {
    fn command(&self) -> (&'static str, Value) {
        match self {
            Self::Create(number) => ("create", create(&format!("f{number}"))),
            Self::Pin(number) => (
                "set_flags",
                json!({"user_id": USERS[0], "chat_id": format!("f{number}"), "is_top": 1}),
            ),
            Self::Again(asked, _) => asked.command(),
            Self::Allocate { chat, count, key } => (
                "advance",
                json!({"chat_id": CHATS[*chat], "allocate": count, "idempotency_key": key}),
            ),
            Self::Read { user, seq, .. } => {
                ("mark_read", json!({"user_id": USERS[*user], "chat_id": CHATS[0], "seq": seq}))
            }
            Self::Detail { .. } => ("detail", json!({"ids": CHATS})),
            Self::List { user, .. } => ("list", json!({"user_id": USERS[*user]})),
            Self::Members => ("members", json!({"chat_id": CHATS[1]})),
            Self::Change(name) => (name, json!({"chat_id": CHATS[1], "user_ids": TOGETHER})),
            Self::Ahead { user, time } => ("touch", json!({"user_id": USERS[*user], "time": time})),
            Self::Delete(user) => ("delete", json!({"user_id": USERS[*user], "ids": CHATS})),
        }
    }

    /// The number of sequences of a chat that it may hand out.
    fn sequences(&self, of: usize) -> u64 {
        match self {
            Self::Allocate { chat, count, .. } if *chat == of => *count,
            _ => 0,
        }
    }
}

/// A `create` of a group of all users.
fn create(id: &str) -> Value {
    json!({"id": id, "type": 2, "creator_id": "m0", "created_at": 5, "user_ids": USERS})
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}
