//! A client whose users and chats no other client touches. Whatever the others do meanwhile, and
//! whatever happens to the node, each of its replies is exactly that of the model.
//!
//! The checker knows no more than the client. It keeps all worlds that may be the case, each a
//! model. A reply, or a look at everything, removes the worlds that it does not fit. If none is
//! left, the seed fails.
//!
//! - The outcome of a request is unknown, and the request may be repeated, because it has a key or
//!   a repeat changes nothing. Then the client sends it again until it knows the outcome; the
//!   request was applied once.
//! - The outcome of another request is unknown. Then there are two worlds, without it and with it.
//! - A crash may lose a suffix of the log. Then there is a world for each state since the last one
//!   that is known to be on the disk.
//!
//! `tests/rules/model.rs` checks the versions of rows. Here several rows that one request changes get
//! them in no promised order.

use chatshard::command::{ErrorCode, Outcome};
use serde_json::{Value, json};

use super::connection::Connection;
use super::model::acts::{Create, Forward, Request, Write};
use super::model::store::{Answer, Model};
use super::world::{Fault, World, in_json};
use crate::common::random::Random;

const USERS: u64 = 3;
const CHATS: u64 = 3;
const KEYS: u64 = 4;

pub struct Alone {
    name: String,
    connection: Connection,
    open: Option<Open>,
    /// The worlds that may be the case.
    worlds: Vec<Model>,
    /// Worlds since the last moment at which everything was certainly on the disk. One of them is
    /// the case after a crash that loses a suffix.
    before: Vec<Model>,
    /// A request with an unknown outcome, and the time at which it was sent first.
    unsure: Option<(Request, u64)>,
    /// Requests with keys, which may be sent again.
    keyed: Vec<Request>,
    /// A message may be bringing rows back; no reply waits for that.
    rows_return: bool,
    /// The node may lose acknowledged changes. Then all states are kept, and each request is about
    /// one chat only, so that it is lost wholly or not at all.
    may_lose: bool,
}

/// A request that waits for its reply.
struct Open {
    id: u64,
    asked: Asked,
    /// The world's time when it was sent.
    sent: u64,
}

enum Asked {
    Write(Request),
    Look(Look),
    /// `stats`, to see whether deliveries are under way.
    Stats,
}

/// A question about the view of the client's users.
#[derive(Debug, Clone)]
enum Look {
    List(String),
    Detail(Option<String>),
    Members(String),
    Unread(Vec<String>),
}

impl Alone {
    pub fn new(number: u64) -> Self {
        Self {
            name: format!("a{number}"),
            connection: Connection::default(),
            open: None,
            worlds: vec![Model::new()],
            before: Vec::new(),
            unsure: None,
            keyed: Vec::new(),
            rows_return: false,
            may_lose: false,
        }
    }

    /// Sends a request, unless one is under way or has an unknown outcome.
    pub fn act(&mut self, world: &mut World) -> Result<(), Fault> {
        if self.open.is_some() || self.unsure.is_some() {
            return Ok(());
        }
        let asked = match world.random.below(10) {
            _ if self.rows_return => Asked::Stats,
            0..=2 => Asked::Look(self.draw_look(&mut world.random)),
            3 if !self.keyed.is_empty() => {
                let again = one_of(&mut world.random, &self.keyed);
                match self.may_lose && has_steps(&again.write) {
                    // The node may have forgotten its key. Then it would be applied once more, and
                    // lost in part.
                    true => Asked::Look(self.draw_look(&mut world.random)),
                    false => {
                        world.tally.retried += 1;
                        Asked::Write(again)
                    }
                }
            }
            _ => Asked::Write(self.draw_request(&mut world.random)),
        };
        self.send(world, asked)
    }

    fn send(&mut self, world: &mut World, asked: Asked) -> Result<(), Fault> {
        let (name, arguments) = match &asked {
            Asked::Write(request) => request.command(),
            Asked::Look(look) => look.command(&self.chats()),
            Asked::Stats => ("stats", json!({})),
        };
        match world.send(&mut self.connection, name, &arguments) {
            Ok(id) => self.open = Some(Open { id, asked, sent: world.now() }),
            Err(error) => self.take(world, asked, world.now(), Err(error))?,
        }
        Ok(())
    }

    /// Takes the replies that have arrived.
    pub fn receive(&mut self, world: &mut World) -> Result<(), Fault> {
        for (id, outcome) in world.receive(&mut self.connection) {
            let Some(open) = self.open.take() else {
                return Err(format!("{}: a reply that nobody waits for", self.name));
            };
            assert_eq!(open.id, id);
            self.take(world, open.asked, open.sent, outcome)?;
        }
        Ok(())
    }

    fn take(
        &mut self,
        world: &mut World,
        asked: Asked,
        sent: u64,
        outcome: Outcome,
    ) -> Result<(), Fault> {
        match asked {
            Asked::Write(request) => self.written(world, request, sent, outcome),
            Asked::Look(look) => self.seen(world, &look, &in_json(outcome)),
            Asked::Stats => {
                let stats = in_json(outcome).map_err(|status| format!("stats gave {status}"))?;
                self.rows_return = stats["outbox"] != 0;
                Ok(())
            }
        }
    }

    fn written(
        &mut self,
        world: &mut World,
        request: Request,
        sent: u64,
        outcome: Outcome,
    ) -> Result<(), Fault> {
        if let Err(error) = &outcome
            && matches!(error.code, ErrorCode::Unavailable | ErrorCode::Busy)
        {
            if error.message.starts_with("not applied") {
                world.tally.refused += 1;
                // The request took its key before it began, so the key is for no other request.
                self.unsure = takes_key_first(&request).then_some((request, sent));
            } else {
                world.tally.unknown += 1;
                self.unsure = Some((request, sent));
            }
            return Ok(());
        }
        world.tally.checked += 1;
        self.ended(world, &request, sent, &in_json(outcome))
    }

    /// A request has this outcome: removes the worlds in which it has another one.
    fn ended(
        &mut self,
        world: &mut World,
        request: &Request,
        sent: u64,
        told: &Answer,
    ) -> Result<(), Fault> {
        let told = without_version(request, told.clone());
        if request.key.is_some()
            && told.is_ok()
            && !self.keyed.iter().any(|known| known.key == request.key)
        {
            self.keyed.push(request.clone());
        }
        if self.may_lose {
            self.before.extend(self.worlds.iter().cloned());
        }
        let mut expected = Vec::new();
        let mut fitting = Vec::new();
        for mut model in std::mem::take(&mut self.worlds) {
            (model.sent, model.now) = (sent, world.now());
            let forgetful = model.forgetful(request);
            for mut model in [Some(model), forgetful].into_iter().flatten() {
                let answer = without_version(request, ask(&mut model, request, &told));
                match answer == told {
                    true => fitting.push(model),
                    false => expected.push(answer),
                }
            }
        }
        self.worlds = fitting;
        self.rows_return |= matches!(request.write, Write::Advance { .. });
        if self.worlds.is_empty() {
            let (name, arguments) = request.command();
            return Err(format!(
                "{name} {arguments}\n  the node:  {told:?}\n  the model: {expected:?}"
            ));
        }
        Ok(())
    }

    fn seen(&mut self, world: &mut World, look: &Look, told: &Answer) -> Result<(), Fault> {
        world.tally.checked += 1;
        let chats = self.chats();
        let expected: Vec<Answer> =
            self.worlds.iter().map(|model| look.answer(model, &chats)).collect();
        let mut fits = expected.iter().map(|answer| answer == told);
        self.worlds.retain(|_| fits.next().unwrap());
        if self.worlds.is_empty() {
            let (name, arguments) = look.command(&chats);
            return Err(format!(
                "{name} {arguments}\n  the node:  {told:?}\n  the model: {expected:?}"
            ));
        }
        Ok(())
    }

    /// A node has started, which may lose acknowledged changes or not.
    pub fn begin(&mut self, may_lose: bool, now: u64) {
        self.may_lose = may_lose;
        self.worlds
            .iter_mut()
            .chain(&mut self.before)
            .for_each(|model| model.memory.restarted(now));
    }

    /// Whether a part of a request may be on the disk. That does not matter for a node that loses
    /// nothing, because the client repeats the request until all of it is applied.
    pub fn may_be_half_done(&self) -> bool {
        self.unsure.as_ref().is_some_and(|(request, _)| has_steps(&request.write))
    }

    /// The node is gone. With `loses` it may have lost acknowledged changes.
    pub fn cut_off(&mut self, world: &mut World, loses: bool) {
        if let Some(Open { asked: Asked::Write(request), sent, .. }) = self.open.take() {
            world.tally.unknown += 1;
            self.unsure = Some((request, sent));
        }
        if loses {
            let before = std::mem::take(&mut self.before);
            self.worlds.extend(before);
        }
        self.rows_return = false;
    }

    /// The node runs, accepts writes, and is at rest: finds out which worlds are the case.
    pub fn resolve(&mut self, world: &mut World, is_new: bool) -> Result<(), Fault> {
        if is_new {
            self.connection = world.connect();
        }
        if let Some((request, sent)) = self.unsure.take() {
            if may_be_repeated(&request) {
                world.tally.retried += 1;
                let (name, arguments) = request.command();
                let told = world.ask(name, &arguments)?;
                world.settle()?;
                self.ended(world, &request, sent, &told)?;
            } else {
                for mut model in self.worlds.clone() {
                    (model.sent, model.now) = (sent, world.now());
                    if model.ask(&request, None).is_ok() {
                        self.worlds.push(model);
                    }
                }
            }
        }
        if self.may_lose {
            // Without a log, a start does not sync the end of the log that it read, so records of
            // it may be lost later.
            self.before.extend(self.worlds.iter().cloned());
        }
        self.rows_return = false;
        for look in self.looks() {
            let (name, arguments) = look.command(&self.chats());
            let told = world.ask(name, &arguments)?;
            world.tally.views += 1;
            self.seen(world, &look, &told)?;
        }
        // Worlds that look equal may differ in what keys remember, which later replies show.
        Ok(())
    }

    /// Everything that was acknowledged is on the disk.
    pub fn is_durable(&mut self) {
        self.before.clear();
    }

    // ---- drawn ----

    fn users(&self) -> Vec<String> {
        (0..USERS).map(|number| format!("{}u{number}", self.name)).collect()
    }

    fn chats(&self) -> Vec<String> {
        (0..CHATS).map(|number| format!("{}c{number}", self.name)).collect()
    }

    fn looks(&self) -> Vec<Look> {
        let users = self.users();
        let lists = users.iter().cloned().map(Look::List);
        let details = users.iter().cloned().map(|user| Look::Detail(Some(user)));
        let members = self.chats().into_iter().map(Look::Members);
        lists
            .chain(details)
            .chain(members)
            .chain([Look::Detail(None), Look::Unread(users.clone())])
            .collect()
    }

    fn draw_look(&self, random: &mut Random) -> Look {
        let looks = self.looks();
        one_of(random, &looks)
    }

    fn draw_users(&self, random: &mut Random) -> Vec<String> {
        self.users().into_iter().filter(|_| random.below(2) == 0).collect()
    }

    fn draw_request(&self, random: &mut Random) -> Request {
        let write = self.draw_write(random);
        // Of a request with several steps a suffix may be lost while its key is taken.
        let key = (random.below(3) == 0 && !(self.may_lose && has_steps(&write)))
            .then(|| format!("{}k{}", self.name, random.below(KEYS)));
        let version = match &write {
            Write::Add(chat, _) | Write::Advance { chat, .. } | Write::Status(chat, _) => {
                self.worlds[0].chats.get(chat).map(|chat| chat.version)
            }
            _ => None,
        };
        let if_version = version
            .filter(|_| random.below(5) == 0)
            .map(|version| version + u64::from(random.below(4) == 0));
        Request { write, key, if_version }
    }

    fn draw_write(&self, random: &mut Random) -> Write {
        let (users, chats) = (self.users(), self.chats());
        let user = one_of(random, &users);
        let chat = one_of(random, &chats);
        let several = |random: &mut Random| -> Vec<String> {
            match self.may_lose {
                true => vec![one_of(random, &chats)],
                false => chats.iter().filter(|_| random.below(2) == 0).cloned().collect(),
            }
        };
        // Few sequences, so that requests meet.
        let last = self.worlds[0].chats.get(&chat).map_or(3, |chat| chat.last);
        let seq = random.below(last + 2);
        let flag = |random: &mut Random| (random.below(3) == 0).then(|| random.below(2) == 0);
        match random.below(32) {
            0..=5 => Write::Create(Create {
                id: Some(chat),
                kind: 2 + random.below(2),
                creator: user,
                is_enc: random.below(2),
                created_at: 5,
                users: self.draw_users(random),
            }),
            6 => Write::Create(Create {
                id: None,
                kind: 1,
                creator: user,
                is_enc: 0,
                created_at: 5,
                users: users[..2].to_vec(),
            }),
            7..=8 => Write::Add(chat, self.draw_users(random)),
            9..=10 => Write::Remove(chat, self.draw_users(random)),
            11..=17 => Write::Advance {
                chat,
                forward: match random.below(2) {
                    0 => Forward::To(seq, false),
                    _ => Forward::Allocate(1 + random.below(3)),
                },
                time: 100 + random.below(10),
                sender: (random.below(2) == 0).then_some(user),
            },
            18..=20 => Write::Read(user, chat, seq),
            21 => {
                let items = several(random).into_iter().map(|chat| (chat, random.below(last + 2)));
                Write::ReadMany(user, items.collect())
            }
            22 => Write::Clear(user, chat),
            23..=25 => {
                let up_to = (random.below(3) == 0).then_some(seq);
                Write::Delete(user, several(random), up_to)
            }
            26..=28 => {
                let flags = [flag(random), flag(random), flag(random), flag(random)];
                Write::Flags(user, chat, flags)
            }
            29 => Write::Touch(user, None, Some(100 + random.below(100))),
            30 => Write::Status(chat, 1 + random.below(2)),
            _ => match random.below(4) {
                0 => Write::Dissolve(chat),
                1 if !self.may_lose => Write::Erase(user),
                _ => Write::Flags(user, chat, [None; 4]),
            },
        }
    }
}

impl Look {
    fn command(&self, chats: &[String]) -> (&'static str, Value) {
        match self {
            Self::List(user) => ("list", json!({"user_id": user})),
            Self::Detail(user) => ("detail", json!({"ids": chats, "user_id": user})),
            Self::Members(chat) => ("members", json!({"chat_id": chat})),
            Self::Unread(users) => ("unread", json!({"user_ids": users})),
        }
    }

    fn answer(&self, model: &Model, chats: &[String]) -> Answer {
        match self {
            Self::List(user) => Ok(json!({"items": model.list(user), "next_cursor": null})),
            Self::Detail(user) => Ok(model.detail(chats, user.as_deref())),
            Self::Members(chat) => model.members(chat),
            Self::Unread(users) => Ok(model.unread(users)),
        }
    }
}

/// The model's reply. After a crash interrupted an erasure, its repeat does not count the
/// memberships that were already removed.
fn ask(model: &mut Model, request: &Request, told: &Answer) -> Answer {
    let made = told.as_ref().ok().and_then(|told| told["id"].as_str());
    let mut answer = model.ask(request, made);
    if let (Write::Erase(user), Ok(answer), Ok(told)) = (&request.write, &mut answer, told)
        && told["memberships"].as_u64() < answer["memberships"].as_u64()
    {
        answer["memberships"] = told["memberships"].clone();
        model.memory.correct(user, request.key.as_ref(), answer);
    }
    answer
}

/// Whether a repeat of the request changes nothing that the request changed.
fn may_be_repeated(request: &Request) -> bool {
    let changes_nothing = matches!(
        request.write,
        Write::Delete(..) | Write::ReadMany(..) | Write::Touch(..) | Write::Erase(_)
    );
    request.key.is_some() || changes_nothing
}

/// Whether the request takes its key in a step of its own.
fn takes_key_first(request: &Request) -> bool {
    let is_read = matches!(request.write, Write::ReadMany(..));
    request.key.is_some() && has_steps(&request.write) && !is_read
}

/// Whether several slots each apply a part of it.
fn has_steps(write: &Write) -> bool {
    matches!(
        write,
        Write::Delete(..)
            | Write::ReadMany(..)
            | Write::Erase(_)
            | Write::Create(Create { id: None, .. })
    )
}

fn without_version(request: &Request, answer: Answer) -> Answer {
    let mut answer = answer;
    if let (Write::Flags(..), Ok(told)) = (&request.write, &mut answer) {
        told["version"] = Value::Null;
    }
    answer
}

fn one_of<T: Clone>(random: &mut Random, all: &[T]) -> T {
    all[usize::try_from(random.below(all.len() as u64)).unwrap()].clone()
}
