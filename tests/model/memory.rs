//! Idempotency keys in the model: first answers, and the writes that look for them in their own way.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::acts::{Create, Request, Write};
use super::store::{Answer, Model, derived_ids, each_once};

/// How long a first answer is told again, in ms.
const WINDOW: u64 = 10 * 60 * 1000;

/// Whom a key is for (user, chat), and the key.
type Scope = (Option<String>, Option<String>, String);

#[derive(Default)]
pub struct Memory {
    answers: BTreeMap<Scope, First>,
    /// Ids that were made from a key, in the order in which they are tried.
    pub made: BTreeMap<String, Vec<String>>,
}

/// A request that succeeded, and its answer.
struct First {
    content: Value,
    answer: Value,
    at: u64,
}

impl Memory {
    /// The answer that was kept last is told otherwise by the node, and rightly so.
    pub fn correct(&mut self, user: &str, key: Option<&String>, answer: &Value) {
        if let Some(key) = key
            && let Some(first) = self.answers.get_mut(&(Some(user.into()), None, key.clone()))
        {
            first.answer = answer.clone();
        }
    }
}

impl Model {
    /// The first answer to the same request; 409 if the key belongs to another one.
    fn recall(&self, scope: &Scope, content: &Value) -> Result<Option<Value>, u16> {
        match self.memory.answers.get(scope) {
            Some(first) if self.now >= first.at + WINDOW => Ok(None),
            Some(first) if first.content == *content => Ok(Some(first.answer.clone())),
            Some(_) => Err(409),
            None => Ok(None),
        }
    }

    fn keep(&mut self, scope: Scope, content: &Value, answer: &Value) {
        let first = First { content: content.clone(), answer: answer.clone(), at: self.now };
        self.memory.answers.insert(scope, first);
    }

    /// Runs something once under a key.
    fn once(
        &mut self,
        scope: Option<Scope>,
        content: &Value,
        run: impl FnOnce(&mut Self) -> Answer,
    ) -> Answer {
        let Some(scope) = scope else { return run(self) };
        if let Some(answer) = self.recall(&scope, content)? {
            return Ok(answer);
        }
        let answer = run(self)?;
        self.keep(scope, content, &answer);
        Ok(answer)
    }

    /// What a request is answered. `made` is the id that the node gave to a chat, where it is the
    /// node that finds it.
    pub fn ask(&mut self, request: &Request, made: Option<&str>) -> Answer {
        self.unsure.clear();
        let scope = |user: Option<&String>, chat: Option<&String>| {
            let key = request.key.clone()?;
            Some((user.cloned(), chat.cloned(), key))
        };
        let content = request.content();
        match &request.write {
            Write::Create(create) => self.create(create, request, made),
            Write::Delete(user, ids, up_to) => {
                let content = json!(["delete", up_to]);
                let mut left = Vec::new();
                for id in each_once(ids) {
                    let scope = scope(Some(user), Some(&id));
                    match scope.map(|scope| self.recall(&scope, &content)).transpose()?.flatten() {
                        Some(_) => {}
                        None => left.push(id),
                    }
                }
                for id in left {
                    if self.delete_one(user, &id, *up_to) {
                        self.unsure.push((user.clone(), id.clone()));
                    }
                    if let Some(scope) = scope(Some(user), Some(&id)) {
                        self.keep(scope, &content, &Value::Null);
                    }
                }
                Ok(Value::Null)
            }
            Write::ReadMany(user, items) => {
                let mut told = Vec::new();
                for (chat, seq) in items {
                    let (scope, content) = (scope(Some(user), Some(chat)), json!(["read", seq]));
                    let known = scope.as_ref().map(|scope| self.recall(scope, &content));
                    if let Some(first) = known.transpose()?.flatten() {
                        told.push(first);
                        continue;
                    }
                    let (answer, changed) = self.read_one_of_many(user, chat, *seq);
                    if changed {
                        self.unsure.push((user.clone(), chat.clone()));
                    }
                    if let Some(scope) = scope.filter(|_| answer["status"] == 200) {
                        self.keep(scope, &content, &answer);
                    }
                    told.push(answer);
                }
                Ok(json!({"items": told}))
            }
            write => {
                let scope = match write {
                    Write::Add(chat, _)
                    | Write::Remove(chat, _)
                    | Write::Advance { chat, .. }
                    | Write::Status(chat, _)
                    | Write::Dissolve(chat) => scope(None, Some(chat)),
                    Write::Read(user, chat, _)
                    | Write::Clear(user, chat)
                    | Write::Flags(user, chat, _) => scope(Some(user), Some(chat)),
                    Write::Touch(user, ..) | Write::Erase(user) => scope(Some(user), None),
                    Write::Create(_) | Write::Delete(..) | Write::ReadMany(..) => unreachable!(),
                };
                self.once(scope, &content, |model| model.write(write, request.if_version))
            }
        }
    }

    fn create(&mut self, create: &Create, request: &Request, made: Option<&str>) -> Answer {
        let mut users = create.users.clone();
        users.sort();
        users.dedup();
        if create.kind == 1 && (create.users.len() != 2 || users.len() != 2) {
            return Err(400);
        }
        let content = request.content();
        let scope = |id: &str| Some((None, Some(id.to_owned()), request.key.clone()?));
        if let Some(id) = &create.id {
            return self.once(scope(id), &content, |model| model.create_as(id, create));
        }
        if create.kind == 1 {
            let users: BTreeSet<String> = users.into_iter().collect();
            let mut ids = derived_ids(&users);
            // Where the first answer is, or else the first id that is free or theirs already.
            let ends = |id: &String| {
                let first = scope(id).map(|scope| self.recall(&scope, &content));
                !matches!(first, None | Some(Ok(None)))
                    || self.chats.get(id).is_none_or(|chat| chat.is_single_of(&users))
            };
            let id = ids.find(ends).unwrap();
            return self.once(scope(&id), &content, |model| model.create_as(&id, create));
        }
        // Ids that were made from the key before are tried again, each with its own memory.
        let before = request.key.iter().flat_map(|key| self.memory.made.get(key)).flatten();
        for id in before.cloned().collect::<Vec<_>>() {
            match self.once(scope(&id), &content, |model| model.create_as(&id, create)) {
                Err(_) if self.is_free_to_try_next(&scope(&id)) => {}
                answer => return answer,
            }
        }
        // The node made a new one.
        let made = made.unwrap_or("an id of the node's").to_owned();
        if let Some(key) = &request.key {
            self.memory.made.entry(key.clone()).or_default().push(made.clone());
        }
        self.once(scope(&made), &content, |model| model.create_as(&made, create))
    }

    /// Nobody's first answer stands in the way of looking for another id.
    fn is_free_to_try_next(&self, scope: &Option<Scope>) -> bool {
        let first = scope.as_ref().and_then(|scope| self.memory.answers.get(scope));
        first.is_none_or(|first| self.now >= first.at + WINDOW)
    }
}
