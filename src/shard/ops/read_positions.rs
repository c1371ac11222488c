//! Read positions and cleared histories: `mark_read`, `mark_read_many` and `clear`.
//!
//! The chat first checks the change, because it knows members and sequences. Then the row decides
//! it.

use crate::command::clear::{Clear, ClearReply};
use crate::command::mark_read::{MarkRead, MarkReadRef, MarkReadReply};
use crate::command::mark_read_many::{MarkReadMany, MarkReadManyReply, ReadItem, ReadResult};
use crate::command::{Error, Outcome, Reply};
use crate::shard::events::{Cleared, ReadRef};
use crate::shard::keyed::Keyed;
use crate::shard::machine::{Shard, Slots, check_version};
use crate::shard::op::{
    Answer, CheckFacts, CheckedAction, Message, Output, ReplyTo, RowAction, Step,
};
use crate::shard::row::RowFacts;
use crate::shard::state::Chat;
use crate::types::{ChatId, Flag, Hashed, IdempotencyKey, UserId};

impl Shard {
    /// Runs a `mark_read` on the fast path, like [`Self::fast_advance`]. Also None if the user has
    /// no row. And None while the chat's outbox holds an event, because the event must reach the
    /// row first.
    pub fn fast_mark_read(
        &mut self,
        read: MarkReadRef<'_>,
        out: &mut Output,
    ) -> Option<Result<MarkReadReply, Error>> {
        let MarkReadRef { user_id, chat_id, seq, if_version, .. } = read;
        let slots = self.slots();
        let (user, chat) = (slots.own_state(user_id.hash)?, slots.own_state(chat_id.hash)?);
        let chat = chat.chat(chat_id.id, chat_id.hash);
        if chat.is_some_and(|chat| !chat.outbox.is_empty()) {
            return None;
        }
        // A user who is no member has no row. The router then finds the right error.
        let user = user.user(user_id.id, user_id.hash)?;
        let row = user.rows.get(chat_id.id, chat_id.hash)?;
        let facts = row.facts();
        let checked = slots.alive(chat, chat_id).and_then(|chat| {
            let checked = check(chat, user_id, RowAction::Read(seq))?;
            check_version("row", row.version(), if_version)?;
            Ok(checked)
        });
        self.count_command();
        let event = ReadRef { user_id, chat_id, seq };
        Some(
            self.accepts_writes()
                .and_then(|()| checked.map(|checked| read_row(self, event, facts, checked, out))),
        )
    }
}

/// The chat checks here. The row decides on its shard, which then answers.
pub fn mark_read(shard: &mut Shard, to: ReplyTo, read: MarkRead, out: &mut Output) -> Step {
    let MarkRead { user_id, chat_id, seq, idempotency_key, if_version } = read;
    let request = check_row(shard.slots(), &user_id, chat_id, RowAction::Read(seq), if_version);
    ask_row(shard, to, user_id, request, idempotency_key, out)
}

pub fn clear(shard: &mut Shard, to: ReplyTo, clear: Clear, out: &mut Output) -> Step {
    let Clear { user_id, chat_id, idempotency_key, if_version } = clear;
    let request = check_row(shard.slots(), &user_id, chat_id, RowAction::Clear, if_version);
    ask_row(shard, to, user_id, request, idempotency_key, out)
}

/// The chats check here. Each row then decides on its own.
pub fn mark_read_many(
    shard: &mut Shard,
    to: ReplyTo,
    many: MarkReadMany,
    out: &mut Output,
) -> Step {
    let requests = check_items(shard.slots(), &many.user_id, many.items);
    let owner = shard.slots().shard_of_user(&many.user_id);
    shard.send(owner, Message::Rows { to, user_id: many.user_id, requests }, out);
    Step::Later
}

/// Only checks, for a request with an idempotency key: all its rows decide in one step, after all
/// chats have checked.
pub fn check_reads(slots: &Slots, user_id: &UserId, items: Vec<ReadItem>) -> Answer {
    Answer::CheckReads(check_items(slots, user_id, items))
}

fn check_items(slots: &Slots, user_id: &UserId, items: Vec<ReadItem>) -> Vec<CheckedAction> {
    let check =
        |item: ReadItem| check_row(slots, user_id, item.chat_id, RowAction::Read(item.seq), None);
    items.into_iter().map(check).collect()
}

fn check_row(
    slots: &Slots,
    user_id: &UserId,
    chat_id: ChatId,
    action: RowAction,
    if_version: Option<u64>,
) -> CheckedAction {
    let reader = slots.hasher().hashed(user_id.as_str());
    let checked = slots.live_chat(&chat_id).and_then(|chat| check(chat, reader, action));
    CheckedAction { chat_id, action, if_version, checked }
}

fn ask_row(
    shard: &mut Shard,
    to: ReplyTo,
    user_id: UserId,
    request: CheckedAction,
    key: Option<IdempotencyKey>,
    out: &mut Output,
) -> Step {
    match &request.checked {
        Err(error) if key.is_none() => return Step::Done(Err(error.clone())),
        _ => {}
    }
    let owner = shard.slots().shard_of_user(&user_id);
    // An event on its way must reach the row before this change. Without one, and if this shard
    // owns the row, the row can decide at once, without a message.
    let is_quiet =
        shard.slots().find_chat(&request.chat_id).is_none_or(|chat| chat.outbox.is_empty());
    if shard.slots().is_own(owner) && is_quiet {
        return row_request(shard, &user_id, request, key.as_ref(), out).into();
    }
    shard.send(owner, Message::Row { to, user_id, request, key }, out);
    Step::Later
}

/// Decides a change of a row that the chat has checked. A repeat of its request gets the first
/// reply.
pub fn row_request(
    shard: &mut Shard,
    user_id: &UserId,
    request: CheckedAction,
    key: Option<&IdempotencyKey>,
    out: &mut Output,
) -> Outcome {
    let keyed = key.map(|key| Keyed::of_row(user_id, &request, key, shard.slots().hasher()));
    if let Some(keyed) = &keyed
        && let Some(reply) = shard.recall(keyed)?
    {
        return Ok(reply);
    }
    let reply = change_row(shard, user_id, request, out)?;
    if let Some(keyed) = keyed {
        shard.keep(keyed, &reply, out);
    }
    Ok(reply)
}

fn change_row(
    shard: &mut Shard,
    user_id: &UserId,
    request: CheckedAction,
    out: &mut Output,
) -> Outcome {
    let CheckedAction { chat_id, action, if_version, checked } = request;
    let checked = checked?;
    match action {
        RowAction::Read(seq) => {
            let facts = facts_of(shard.slots(), user_id, &chat_id, if_version)?;
            let user_id = shard.slots().hasher().hashed(user_id.as_str());
            let chat_id = shard.slots().hasher().hashed(chat_id.as_str());
            let event = ReadRef { user_id, chat_id, seq };
            Ok(Reply::MarkRead(read_row(shard, event, facts, checked, out)))
        }
        RowAction::Clear => {
            clear_row(shard, user_id, chat_id, if_version, checked, out).map(Reply::Clear)
        }
    }
}

/// Raises the read position of a row, whose present facts are `facts`.
fn read_row(
    shard: &mut Shard,
    read: ReadRef<'_>,
    mut facts: RowFacts,
    CheckFacts { last_sequence, sent_seq }: CheckFacts,
    out: &mut Output,
) -> MarkReadReply {
    // An older position comes from a late or repeated request. The user may have marked the chat as
    // unread since, and that must stay.
    let is_newer = facts.max_read_seq < read.seq;
    let is_opened = facts.max_read_seq == read.seq && facts.marked_unread == Flag::YES;
    if is_newer || is_opened {
        shard.commit(read.user_id.slot(), read, out);
    }
    facts.max_read_seq = facts.max_read_seq.max(read.seq);
    let unread = facts.floors(sent_seq).unread(last_sequence);
    MarkReadReply { max_read_seq: facts.max_read_seq, unread }
}

fn clear_row(
    shard: &mut Shard,
    user_id: &UserId,
    chat_id: ChatId,
    if_version: Option<u64>,
    CheckFacts { last_sequence, .. }: CheckFacts,
    out: &mut Output,
) -> Result<ClearReply, Error> {
    let facts = facts_of(shard.slots(), user_id, &chat_id, if_version)?;
    // If the watermark already covers the chat, this is a repeat. What the user has set since must
    // stay.
    if facts.deleted_to_seq < last_sequence {
        let slot = shard.slots().slot_of_user(user_id);
        let event = Cleared { user_id: user_id.clone(), chat_id, to: last_sequence };
        shard.commit(slot, event, out);
    }
    Ok(ClearReply { deleted_to_seq: facts.deleted_to_seq.max(last_sequence) })
}

/// The facts of a row. Fails if there is no such row, or if it does not have version `if_version`.
fn facts_of(
    slots: &Slots,
    user_id: &UserId,
    chat_id: &ChatId,
    if_version: Option<u64>,
) -> Result<RowFacts, Error> {
    let row = slots.find_row(user_id, chat_id).ok_or_else(Error::no_membership)?;
    check_version("row", row.version(), if_version)?;
    Ok(row.facts())
}

/// Decides several changes of a user in one step. One idempotency key covers them all.
pub fn read_rows(
    shard: &mut Shard,
    user_id: &UserId,
    requests: Vec<CheckedAction>,
    key: &IdempotencyKey,
    out: &mut Output,
) -> Outcome {
    let keyed = Keyed::of_rows(user_id, &requests, key, shard.slots().hasher());
    if let Some(reply) = shard.recall(&keyed)? {
        return Ok(reply);
    }
    let items = row_requests(shard, user_id, requests, out);
    let reply = Reply::MarkReadMany(MarkReadManyReply { items });
    shard.keep(keyed, &reply, out);
    Ok(reply)
}

/// Decides several changes of a user, each on its own: an error of one leaves the others.
pub fn row_requests(
    shard: &mut Shard,
    user_id: &UserId,
    requests: Vec<CheckedAction>,
    out: &mut Output,
) -> Vec<ReadResult> {
    let results = requests.into_iter().map(|request| {
        let chat_id = request.chat_id.clone();
        match change_row(shard, user_id, request, out) {
            Ok(Reply::MarkRead(MarkReadReply { max_read_seq, unread })) => ReadResult {
                chat_id,
                status: 200,
                max_read_seq: Some(max_read_seq),
                unread: Some(unread),
            },
            Ok(_) => ReadResult { chat_id, status: 200, max_read_seq: None, unread: None },
            Err(error) => ReadResult {
                chat_id,
                status: error.code.status(),
                max_read_seq: None,
                unread: None,
            },
        }
    });
    results.collect()
}

/// The chat's verdict on a change of a row by its user.
fn check(chat: &Chat, user_id: Hashed<'_>, action: RowAction) -> Result<CheckFacts, Error> {
    let member = chat.members.get(user_id.id, user_id.hash).ok_or_else(Error::no_membership)?;
    let last_sequence = chat.head.last_sequence;
    match action {
        RowAction::Read(seq) if seq > last_sequence => Err(Error::invalid(format!(
            "seq: {seq} is beyond the chat's last_sequence {last_sequence}"
        ))),
        _ => Ok(CheckFacts { last_sequence, sent_seq: member.facts().sent_seq }),
    }
}
