//! Idempotency keys in the model. The owner of a key is the user that the command names, or else
//! the chat, or else the node. An owner's key is for one request, and a repeat of it gets the first
//! reply.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::acts::{Create, Request, Write};
use super::store::{Answer, Model, derived_ids, each_once};

/// Time in ms for which a first answer is kept.
const WINDOW: u64 = 10 * 60 * 1000;

/// The owner of a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    User(String),
    Chat(String),
    Node,
}

impl Owner {
    fn of(write: &Write) -> Self {
        match write {
            Write::Create(Create { id: None, .. }) => Self::Node,
            Write::Create(Create { id: Some(chat), .. })
            | Write::Add(chat, _)
            | Write::Remove(chat, _)
            | Write::Advance { chat, .. }
            | Write::Status(chat, _)
            | Write::Dissolve(chat) => Self::Chat(chat.clone()),
            Write::Read(user, ..)
            | Write::ReadMany(user, _)
            | Write::Clear(user, _)
            | Write::Delete(user, ..)
            | Write::Flags(user, ..)
            | Write::Touch(user, ..)
            | Write::Erase(user) => Self::User(user.clone()),
        }
    }
}

#[derive(Clone, Default)]
pub struct Memory {
    answers: BTreeMap<(Owner, String), First>,
    /// Ids that were derived from a type and a key, in the order in which they are tried.
    made: BTreeMap<(u64, String), Vec<String>>,
}

/// A request that succeeded, and its answer. The node stored the answer between `sent` and `at`.
#[derive(Clone)]
struct First {
    content: Value,
    answer: Value,
    sent: u64,
    /// The youngest age that it may have for the node, see [`Memory::restarted`]: as if it was
    /// stored between these times.
    from: u64,
    at: u64,
    /// The node has forgotten it. A start may find it again.
    is_forgotten: bool,
}

impl First {
    /// Whether the node may still remember it for a request that was sent at this time.
    fn may_count(&self, sent: u64) -> bool {
        !self.is_forgotten && sent < self.at + WINDOW
    }

    /// Whether the node may have forgotten it at this time.
    fn may_be_over(&self, now: u64) -> bool {
        now >= self.sent + WINDOW
    }
}

impl Memory {
    /// Corrects the answer that was stored last: the node may give another one, which is also
    /// right.
    pub fn correct(&mut self, user: &str, key: Option<&String>, answer: &Value) {
        if let Some(key) = key
            && let Some(first) = self.answers.get_mut(&(Owner::User(user.into()), key.clone()))
        {
            first.answer = answer.clone();
        }
    }

    /// The node has started again. Its keys continue to age from the time of the newest one that it
    /// found. That time is not before the newest one here that is not over, nor before a key that
    /// it remembers. So `from` and `at` move at most this far. It may be later, so a key may also
    /// have its full age since `sent`. A forgotten key may be young again: forgetting leaves no
    /// record in the log.
    #[allow(dead_code, reason = "for the simulation, whose nodes begin anew while time goes on")]
    pub fn restarted(&mut self, now: u64) {
        let kept = self.answers.values().filter(|first| !first.may_be_over(now));
        let newest = kept.map(|first| first.from).max().unwrap_or(0);
        for first in self.answers.values_mut() {
            let moved = now.saturating_sub(newest.max(first.from));
            first.from += moved;
            first.at += moved;
            first.is_forgotten = false;
        }
    }

    /// Forgets the keys of a user who is erased.
    pub fn forget(&mut self, user: &str) {
        self.answers.retain(|(owner, _), _| *owner != Owner::User(user.into()));
    }
}

impl Model {
    /// The answer to a request. `made` is the id that the node gave to a chat, if the node chose
    /// it.
    pub fn ask(&mut self, request: &Request, made: Option<&str>) -> Answer {
        self.unsure.clear();
        if let Write::Create(create) = &request.write {
            let users: BTreeSet<&String> = create.users.iter().collect();
            if create.kind == 1 && (create.users.len() != 2 || users.len() != 2) {
                return Err(400);
            }
        }
        if let Write::Delete(user, ids, up_to) = &request.write
            && self.is_beyond(user, ids, *up_to)
        {
            return Err(400);
        }
        let content = request.content();
        let Some(key) = request.key.clone() else { return self.run(request, made) };
        let place = (Owner::of(&request.write), key);
        if let Some(first) = self.memory.answers.get(&place)
            && first.may_count(self.sent)
        {
            return if first.content == content { Ok(first.answer.clone()) } else { Err(409) };
        }
        let answer = self.run(request, made)?;
        let (sent, at) = (self.sent, self.now);
        let first =
            First { content, answer: answer.clone(), sent, from: sent, at, is_forgotten: false };
        self.memory.answers.insert(place, first);
        Ok(answer)
    }

    /// A copy that has forgotten the request's key, if the key may expire while the request is
    /// under way.
    #[allow(dead_code, reason = "for the simulation, whose requests take time")]
    pub fn forgetful(&self, request: &Request) -> Option<Self> {
        let place = (Owner::of(&request.write), request.key.clone()?);
        let first = self.memory.answers.get(&place)?;
        let may_be_either = first.may_count(self.sent) && first.may_be_over(self.now);
        may_be_either.then(|| {
            let mut other = self.clone();
            let forgotten = First { is_forgotten: true, ..first.clone() };
            other.memory.answers.insert(place, forgotten);
            other
        })
    }

    /// Applies a request for the first time.
    fn run(&mut self, request: &Request, made: Option<&str>) -> Answer {
        match &request.write {
            Write::Create(create) => self.create(create, request.key.as_ref(), made),
            Write::Delete(user, ids, up_to) => {
                for id in each_once(ids) {
                    if self.delete_one(user, &id, *up_to) {
                        self.unsure.push((user.clone(), id));
                    }
                }
                Ok(Value::Null)
            }
            Write::ReadMany(user, items) => {
                let mut told = Vec::new();
                for (chat, seq) in items {
                    let (answer, changed) = self.read_one_of_many(user, chat, *seq);
                    if changed {
                        self.unsure.push((user.clone(), chat.clone()));
                    }
                    told.push(answer);
                }
                Ok(json!({"items": told}))
            }
            write => self.write(write, request.if_version),
        }
    }

    fn create(&mut self, create: &Create, key: Option<&String>, made: Option<&str>) -> Answer {
        if let Some(id) = &create.id {
            return self.create_as(id, create);
        }
        if create.kind == 1 {
            let users: BTreeSet<String> = create.users.iter().cloned().collect();
            let is_theirs =
                |id: &String| self.chats.get(id).is_none_or(|chat| chat.is_single_of(&users));
            let id = derived_ids(&users).find(is_theirs).unwrap();
            return self.create_as(&id, create);
        }
        // Ids that were derived from this key before are tried again.
        let from = key.map(|key| (create.kind, key.clone()));
        let before = from.iter().flat_map(|from| self.memory.made.get(from)).flatten();
        for id in before.cloned().collect::<Vec<_>>() {
            if let Ok(answer) = self.create_as(&id, create) {
                return Ok(answer);
            }
        }
        // The node chose a new id.
        let made = made.unwrap_or("an id of the node's").to_owned();
        if let Some(from) = from {
            self.memory.made.entry(from).or_default().push(made.clone());
        }
        self.create_as(&made, create)
    }
}
