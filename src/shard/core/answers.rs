//! First answers: a request with an idempotency key that comes again is answered as it was, and
//! applies nothing.
//!
//! An answer is kept in the slot that decided, by a record behind those of the decision; the records
//! of one step are in one batch of the log, so a crash leaves both or neither. How long it is kept
//! is no part of the state that the log tells: letting one go leaves no record, and a start that
//! finds it again only remembers longer.
//!
//! Invariants:
//! - An answer older than the window is not told, whether it is still there or not.
//! - At most two answers are let go for each that is kept, and a few with each tick, so that no step
//!   is long.

use std::collections::VecDeque;

use bytes::Bytes;
use compact_str::CompactString;

use super::{Core, Step};
use crate::command::membership::Delete;
use crate::command::transfer::{ChatLine, MemberLine};
use crate::command::{Command, Error, ErrorCode, Kind, Reply};
use crate::limits::{IDEMPOTENCY_KEYS_MAX, IDEMPOTENCY_WINDOW_MS};
use crate::shard::event::Answered;
use crate::shard::op::{Op, Output, RowAction, RowRequest};
use crate::shard::state::FirstAnswer;
use crate::types::{ChatId, IdempotencyKey, KeyHasher, Slot, TimeMs, UserId};

/// Answers whose time is over that one step lets go at the most.
const LET_GO_A_STEP: usize = 2;

/// The slots of the answers that are kept, in the order in which they were given.
#[derive(Debug, Default)]
pub(super) struct Answers {
    slots: VecDeque<Slot>,
}

/// A request with a key: where its answer is kept, under what, and what was asked.
pub(super) struct Keyed {
    slot: Slot,
    scope: CompactString,
    request: u64,
    /// Its answer waits for this chat's deliveries.
    chat_id: Option<ChatId>,
}

impl Core {
    /// The key of an op that one slot decides. Others look after their keys where they decide.
    pub(super) fn keyed(&self, op: &Op) -> Option<Keyed> {
        let (chat_id, user_id, key, request) = match op {
            Op::Create { create, .. } => {
                let key = create.idempotency_key.as_ref()?;
                (create.id.as_ref(), None, key, create.digest() ^ u64::from(Kind::Create.code()))
            }
            Op::EraseBegin(erase) | Op::EraseEnd(erase, _) => {
                let key = erase.idempotency_key.as_ref()?;
                return Some(self.keyed_erase(&erase.user_id, key));
            }
            Op::Run(command) => {
                let (chat_id, user_id, key) = match command {
                    Command::AddMembers(add) => (Some(&add.chat_id), None, &add.idempotency_key),
                    Command::RemoveMembers(remove) => {
                        (Some(&remove.chat_id), None, &remove.idempotency_key)
                    }
                    Command::SetStatus(set) => (Some(&set.chat_id), None, &set.idempotency_key),
                    Command::Dissolve(dissolve) => {
                        (Some(&dissolve.chat_id), None, &dissolve.idempotency_key)
                    }
                    Command::Advance(advance) => {
                        (Some(&advance.chat_id), None, &advance.idempotency_key)
                    }
                    Command::SetFlags(set) => {
                        (Some(&set.chat_id), Some(&set.user_id), &set.idempotency_key)
                    }
                    Command::Touch(touch) => (None, Some(&touch.user_id), &touch.idempotency_key),
                    _ => return None,
                };
                (chat_id, user_id, key.as_ref()?, self.digest_of(command))
            }
            _ => return None,
        };
        let slot = match (user_id, chat_id) {
            (Some(user_id), _) => self.slot_of_user(user_id),
            (None, Some(chat_id)) => self.slot_of_chat(chat_id),
            (None, None) => return None,
        };
        let scope = scope(user_id, chat_id, key);
        Some(Keyed { slot, scope, request, chat_id: chat_id.cloned() })
    }

    /// The same for one chat of a `delete`; decided by the chat.
    pub(super) fn keyed_delete(&self, delete: &Delete, chat_id: &ChatId) -> Option<Keyed> {
        let key = delete.idempotency_key.as_ref()?;
        let text = format!("{}\n{:?}", Kind::Delete.code(), delete.up_to);
        Some(Keyed {
            slot: self.slot_of_chat(chat_id),
            scope: scope(Some(&delete.user_id), Some(chat_id), key),
            request: self.hash_of(&text),
            chat_id: None,
        })
    }

    /// The same for a change that the chat checked; decided by the row.
    pub(super) fn keyed_row(
        &self,
        user_id: &UserId,
        request: &RowRequest,
        key: &IdempotencyKey,
    ) -> Keyed {
        let what = match request.action {
            RowAction::Read(seq) => format!("read {seq}"),
            RowAction::Clear => "clear".into(),
        };
        let text = format!("{what}\n{:?}", request.if_version);
        Keyed {
            slot: self.slot_of_user(user_id),
            scope: scope(Some(user_id), Some(&request.chat_id), key),
            request: self.hash_of(&text),
            chat_id: None,
        }
    }

    /// The same for one chat of an `import`, with its lines.
    pub(super) fn keyed_import(
        &self,
        chat_id: &ChatId,
        chat: Option<&ChatLine>,
        members: &[&MemberLine],
        key: &IdempotencyKey,
    ) -> Keyed {
        let mut bytes = vec![Kind::Import.code()];
        // Writing to memory does not fail; if it did, the digest would only be of less.
        _ = rmp_serde::encode::write(&mut bytes, &(chat, members));
        Keyed {
            slot: self.slot_of_chat(chat_id),
            scope: scope(None, Some(chat_id), key),
            request: self.hasher.hash_bytes(&bytes),
            chat_id: None,
        }
    }

    fn keyed_erase(&self, user_id: &UserId, key: &IdempotencyKey) -> Keyed {
        // By the user's hash alone: nothing is to tell of them afterwards.
        let hash = self.hash_of(user_id.as_str());
        Keyed {
            slot: KeyHasher::slot_of_hash(hash),
            scope: format!("e{hash:016x}\n\n{key}").into(),
            request: hash,
            chat_id: None,
        }
    }

    fn digest_of(&self, command: &Command) -> u64 {
        let mut bytes = vec![command.kind().code()];
        _ = command.serialize_arguments(&mut rmp_serde::Serializer::new(&mut bytes));
        self.hasher.hash_bytes(&bytes)
    }

    /// The answer that a request had before.
    ///
    /// # Errors
    /// If its key belongs to another request.
    pub(super) fn recall(&self, keyed: &Keyed) -> Result<Option<Reply>, Error> {
        let Ok(state) = self.slot(keyed.slot) else { return Ok(None) };
        let found = state.answers.get(&keyed.scope, self.hash_of(&keyed.scope));
        let Some(answer) = found.filter(|answer| !is_over(answer.at, self.now)) else {
            return Ok(None);
        };
        if answer.request != keyed.request {
            return Err(Error::new(
                ErrorCode::Conflict,
                "idempotency_key: it was used for another request",
            ));
        }
        decode(&answer.reply).map(Some)
    }

    /// What to answer a request that was answered before.
    pub(super) fn first_answer(&self, keyed: &Keyed) -> Option<Step> {
        match self.recall(keyed) {
            Ok(None) => None,
            Ok(Some(reply)) => {
                let chat_ids = keyed.chat_id.iter().cloned().collect();
                Some(Step::AfterDeliveries(chat_ids, reply))
            }
            Err(error) => Some(Step::Done(Err(error))),
        }
    }

    /// Keeps what a step answers, if there is a key and it is an answer.
    pub(super) fn keep_answer(&mut self, keyed: Option<Keyed>, step: &Step, out: &mut Output) {
        if let (Some(keyed), Step::Done(Ok(reply)) | Step::AfterDeliveries(_, reply)) =
            (keyed, step)
        {
            self.keep(keyed, reply, out);
        }
    }

    /// Keeps an answer.
    pub(super) fn keep(&mut self, keyed: Keyed, reply: &Reply, out: &mut Output) {
        let answer = FirstAnswer {
            scope: keyed.scope,
            order: 0,
            request: keyed.request,
            at: self.now,
            reply: encode(reply),
        };
        self.commit(keyed.slot, Answered { answer }, out);
        self.answers.slots.push_back(keyed.slot);
        let kept_max = IDEMPOTENCY_KEYS_MAX / usize::from(self.shards.get());
        for _ in 0..LET_GO_A_STEP {
            if self.answers.slots.len() > kept_max {
                self.let_go_oldest();
            }
        }
        self.let_go_over();
    }

    /// Lets a few answers go whose time is over.
    pub(super) fn let_go_over(&mut self) {
        for _ in 0..LET_GO_A_STEP {
            let Some(slot) = self.answers.slots.front() else { return };
            let oldest = self.slot(*slot).ok().and_then(|state| state.answers.first());
            if oldest.is_some_and(|answer| !is_over(answer.at, self.now)) {
                return;
            }
            self.let_go_oldest();
        }
    }

    fn let_go_oldest(&mut self) {
        let hasher = self.hasher;
        if let Some(slot) = self.answers.slots.pop_front()
            && let Ok(index) = self.slot_index(slot)
            && let Some(state) = self.slots.get_mut(index)
        {
            state.answers.pop_first(hasher);
        }
    }

    /// Finds the answers that a start brought.
    pub(super) fn gather_answers(&mut self) {
        let mut found: Vec<(TimeMs, Slot)> = Vec::new();
        for (index, state) in self.slots.iter().enumerate() {
            let Some(slot) = self.own_slot(index) else { continue };
            found.extend(state.answers.iter().map(|answer| (answer.at, slot)));
        }
        found.sort_unstable();
        self.answers.slots = found.into_iter().map(|(_, slot)| slot).collect();
    }
}

/// Whether an answer is no longer told.
fn is_over(at: TimeMs, now: TimeMs) -> bool {
    at.saturating_add(IDEMPOTENCY_WINDOW_MS) <= now
}

/// What a key is for, and the key. Ids hold no control characters, so the text is unambiguous.
fn scope(
    user_id: Option<&UserId>,
    chat_id: Option<&ChatId>,
    key: &IdempotencyKey,
) -> CompactString {
    let user_id = user_id.map_or("", UserId::as_str);
    let chat_id = chat_id.map_or("", ChatId::as_str);
    compact_str::format_compact!("{user_id}\n{chat_id}\n{key}")
}

fn encode(reply: &Reply) -> Bytes {
    let mut bytes = vec![reply.kind().code()];
    let written = rmp_serde::encode::write(&mut bytes, reply);
    // Writing to memory does not fail, and no reply has a value that cannot be encoded.
    assert!(written.is_ok(), "a reply was not encoded: {written:?}");
    bytes.into()
}

fn decode(bytes: &[u8]) -> Result<Reply, Error> {
    let lost = || Error::outcome_unknown("the first answer to this key cannot be read");
    let (code, body) = bytes.split_first().ok_or_else(lost)?;
    let kind = Kind::from_code(*code).ok_or_else(lost)?;
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(body);
    Reply::deserialize_body(kind, &mut deserializer).map_err(|_| lost())
}
