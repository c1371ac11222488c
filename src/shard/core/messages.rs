//! Messages that arrive, and read positions: `advance`, `mark_read`, `mark_read_many` and `clear`.

use super::{Core, Step, check_version};
use crate::command::advance::{AdvanceRef, AdvanceReply};
use crate::command::clear::{Clear, ClearReply};
use crate::command::mark_read::{MarkRead, MarkReadRef, MarkReadReply};
use crate::command::mark_read_many::{MarkReadMany, MarkReadManyReply, ReadItem, ReadResult};
use crate::command::{Error, ErrorCode, Outcome, Reply};
use crate::limits::ADVANCE_AHEAD_MAX;
use crate::shard::events::{AdvancedRef, Cleared, ReadRef};
use crate::shard::op::{Answer, Checked, Message, Output, ReplyTo, RowAction, RowRequest};
use crate::shard::row::RowFacts;
use crate::shard::state::{Chat, ChatHead};
use crate::types::{ChatId, ChatStatus, Flag, Hashed, IdempotencyKey, Sequence, UserId};

impl Core {
    /// Runs an `advance` without a key on the fast path, for a caller that replies itself. None if
    /// another shard owns the chat. As for any write, the reply waits until the log has the record.
    pub fn advance_here(
        &mut self,
        advance: AdvanceRef<'_>,
        out: &mut Output,
    ) -> Option<Result<AdvanceReply, Error>> {
        self.slot_here(advance.chat_id.hash)?;
        self.commands += 1;
        Some(match &self.refusal {
            Some(why) => Err(why.clone()),
            None => self.advance(advance, out),
        })
    }

    /// Runs a `mark_read` on the fast path, like [`Self::advance_here`]. Also None if the user has
    /// no row, or while the chat has open deliveries, which must reach the row first.
    pub fn mark_read_here(
        &mut self,
        read: MarkReadRef<'_>,
        out: &mut Output,
    ) -> Option<Result<MarkReadReply, Error>> {
        let MarkReadRef { user_id, chat_id, seq } = read;
        let (user, chat) = (self.slot_here(user_id.hash)?, self.slot_here(chat_id.hash)?);
        let chat = chat.chat(chat_id.id, chat_id.hash);
        if chat.is_some_and(|chat| !chat.outbox.is_empty()) {
            return None;
        }
        // A user who is no member has no row; the router's way finds out why.
        let user = user.user(user_id.id, user_id.hash)?;
        let facts = user.rows.get(chat_id.id, chat_id.hash)?.facts();
        let checked =
            self.alive(chat, chat_id).and_then(|chat| check(chat, user_id, RowAction::Read(seq)));
        self.commands += 1;
        let event = ReadRef { user_id, chat_id, seq };
        Some(match &self.refusal {
            Some(why) => Err(why.clone()),
            None => checked.map(|checked| self.read_row(event, facts, checked, out)),
        })
    }

    pub(super) fn advance(
        &mut self,
        advance: AdvanceRef<'_>,
        out: &mut Output,
    ) -> Result<AdvanceReply, Error> {
        let found = self.chat_at(advance.chat_id.id, advance.chat_id.hash);
        let chat = self.alive(found, advance.chat_id)?;
        if chat.head.status == ChatStatus::Disabled {
            return Err(Error::new(ErrorCode::Disabled, "the chat is disabled"));
        }
        check_version("chat", chat.head.version, advance.if_version)?;
        let stored = chat.head.last_sequence;
        let target = target(&chat.head, &advance)?;
        let given_time = self.time_or_now(advance.time)?;
        let sent = advance.sender_id.and_then(|sender| {
            let member = chat.members.get(sender.id, sender.hash)?;
            (member.facts().sent_seq < target.sent).then_some((sender, target.sent))
        });
        let last_time = if target.last > stored { given_time } else { chat.head.last_time };
        if target.last > stored || sent.is_some() {
            let is_newer = target.last > stored;
            let brings_back =
                (is_newer && !chat.deleters().is_empty()).then(|| chat.head.id.clone());
            let chat_id = advance.chat_id;
            let to = if is_newer { target.last } else { Sequence::ZERO };
            let event = AdvancedRef { chat_id, to, time: last_time, sent };
            self.commit(chat_id.slot(), event, out);
            if let Some(chat_id) = brings_back {
                self.deliver(&chat_id, out);
            }
        }
        Ok(AdvanceReply { first_sequence: target.first, last_sequence: target.last, last_time })
    }

    /// The chat checks, the row decides, and the row's shard answers.
    pub(super) fn mark_read(&mut self, to: ReplyTo, read: MarkRead, out: &mut Output) -> Step {
        let MarkRead { user_id, chat_id, seq, idempotency_key, if_version } = read;
        let request = self.check_row(&user_id, chat_id, RowAction::Read(seq), if_version);
        self.ask_row(to, user_id, request, idempotency_key, out)
    }

    pub(super) fn clear(&mut self, to: ReplyTo, clear: Clear, out: &mut Output) -> Step {
        let Clear { user_id, chat_id, idempotency_key, if_version } = clear;
        let request = self.check_row(&user_id, chat_id, RowAction::Clear, if_version);
        self.ask_row(to, user_id, request, idempotency_key, out)
    }

    /// The chats check, and each row decides by itself.
    pub(super) fn mark_read_many(
        &mut self,
        to: ReplyTo,
        many: MarkReadMany,
        out: &mut Output,
    ) -> Step {
        let requests = self.check_items(&many.user_id, many.items);
        let shard = self.slot_of_user(&many.user_id).shard(self.shards);
        self.send(shard, Message::Rows { to, user_id: many.user_id, requests }, out);
        Step::Later
    }

    /// Only checks. With a key, all rows decide in one step, after all chats have checked.
    pub(super) fn check_reads(&self, user_id: &UserId, items: Vec<ReadItem>) -> Answer {
        Answer::CheckReads(self.check_items(user_id, items))
    }

    fn check_items(&self, user_id: &UserId, items: Vec<ReadItem>) -> Vec<RowRequest> {
        let check =
            |item: ReadItem| self.check_row(user_id, item.chat_id, RowAction::Read(item.seq), None);
        items.into_iter().map(check).collect()
    }

    fn check_row(
        &self,
        user_id: &UserId,
        chat_id: ChatId,
        action: RowAction,
        if_version: Option<u64>,
    ) -> RowRequest {
        let reader = self.hasher.hashed(user_id.as_str());
        let checked = self.live_chat(&chat_id).and_then(|chat| check(chat, reader, action));
        RowRequest { chat_id, action, if_version, checked }
    }

    fn ask_row(
        &mut self,
        to: ReplyTo,
        user_id: UserId,
        request: RowRequest,
        key: Option<IdempotencyKey>,
        out: &mut Output,
    ) -> Step {
        match &request.checked {
            Err(error) if key.is_none() => return Step::Done(Err(error.clone())),
            _ => {}
        }
        let shard = self.slot_of_user(&user_id).shard(self.shards);
        // If this shard owns the row too and the chat has no open deliveries, no message is needed
        // to keep the order.
        let is_quiet = self.find_chat(&request.chat_id).is_none_or(|chat| chat.outbox.is_empty());
        if shard == self.shard && is_quiet {
            return self.row_request(&user_id, request, key.as_ref(), out).into();
        }
        self.send(shard, Message::Row { to, user_id, request, key }, out);
        Step::Later
    }

    /// A user's change to a row, after the chat has checked it.
    pub(super) fn row_request(
        &mut self,
        user_id: &UserId,
        request: RowRequest,
        key: Option<&IdempotencyKey>,
        out: &mut Output,
    ) -> Outcome {
        let keyed = key.map(|key| self.keyed_row(user_id, &request, key));
        if let Some(keyed) = &keyed
            && let Some(reply) = self.recall(keyed)?
        {
            return Ok(reply);
        }
        let reply = self.change_row(user_id, request, out)?;
        if let Some(keyed) = keyed {
            self.keep(keyed, &reply, out);
        }
        Ok(reply)
    }

    fn change_row(&mut self, user_id: &UserId, request: RowRequest, out: &mut Output) -> Outcome {
        let RowRequest { chat_id, action, if_version, checked } = request;
        let checked = checked?;
        match action {
            RowAction::Read(seq) => {
                let facts = self.facts_of(user_id, &chat_id, if_version)?;
                let user_id = self.hasher.hashed(user_id.as_str());
                let chat_id = self.hasher.hashed(chat_id.as_str());
                let event = ReadRef { user_id, chat_id, seq };
                Ok(Reply::MarkRead(self.read_row(event, facts, checked, out)))
            }
            RowAction::Clear => {
                self.clear_row(user_id, chat_id, if_version, checked, out).map(Reply::Clear)
            }
        }
    }

    /// Raises the read position of a row that has these `facts`.
    fn read_row(
        &mut self,
        read: ReadRef<'_>,
        mut facts: RowFacts,
        Checked { last_sequence, sent_seq }: Checked,
        out: &mut Output,
    ) -> MarkReadReply {
        // An older position is a late or repeated request: the user may have marked the chat as
        // unread since.
        let is_newer = facts.max_read_seq < read.seq;
        let is_opened = facts.max_read_seq == read.seq && facts.marked_unread == Flag::YES;
        if is_newer || is_opened {
            self.commit(read.user_id.slot(), read, out);
        }
        facts.max_read_seq = facts.max_read_seq.max(read.seq);
        let unread = facts.floors(sent_seq).unread(last_sequence);
        MarkReadReply { max_read_seq: facts.max_read_seq, unread }
    }

    fn clear_row(
        &mut self,
        user_id: &UserId,
        chat_id: ChatId,
        if_version: Option<u64>,
        Checked { last_sequence, .. }: Checked,
        out: &mut Output,
    ) -> Result<ClearReply, Error> {
        let facts = self.facts_of(user_id, &chat_id, if_version)?;
        // If the watermark covers the chat already, the clear is a repeat: what the user has set
        // since stays.
        if facts.deleted_to_seq < last_sequence {
            let slot = self.slot_of_user(user_id);
            let event = Cleared { user_id: user_id.clone(), chat_id, to: last_sequence };
            self.commit(slot, event, out);
        }
        Ok(ClearReply { deleted_to_seq: facts.deleted_to_seq.max(last_sequence) })
    }

    /// The facts of a row, if it exists and has the version that the change requires.
    fn facts_of(
        &self,
        user_id: &UserId,
        chat_id: &ChatId,
        if_version: Option<u64>,
    ) -> Result<RowFacts, Error> {
        let row = self.find_row(user_id, chat_id).ok_or_else(Error::no_membership)?;
        check_version("row", row.version(), if_version)?;
        Ok(row.facts())
    }

    /// Several changes of a user in one step, under one key.
    pub(super) fn read_rows(
        &mut self,
        user_id: &UserId,
        requests: Vec<RowRequest>,
        key: &IdempotencyKey,
        out: &mut Output,
    ) -> Outcome {
        let keyed = self.keyed_rows(user_id, &requests, key);
        if let Some(reply) = self.recall(&keyed)? {
            return Ok(reply);
        }
        let items = self.row_requests(user_id, requests, out);
        let reply = Reply::MarkReadMany(MarkReadManyReply { items });
        self.keep(keyed, &reply, out);
        Ok(reply)
    }

    /// Several changes of a user, each decided by itself.
    pub(super) fn row_requests(
        &mut self,
        user_id: &UserId,
        requests: Vec<RowRequest>,
        out: &mut Output,
    ) -> Vec<ReadResult> {
        let results = requests.into_iter().map(|request| {
            let chat_id = request.chat_id.clone();
            match self.change_row(user_id, request, out) {
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
}

/// The chat's verdict on a user's change to a row.
fn check(chat: &Chat, user_id: Hashed<&str>, action: RowAction) -> Result<Checked, Error> {
    let member = chat.members.get(user_id.id, user_id.hash).ok_or_else(Error::no_membership)?;
    let last_sequence = chat.head.last_sequence;
    match action {
        RowAction::Read(seq) if seq > last_sequence => Err(Error::invalid(format!(
            "seq: {seq} is beyond the chat's last_sequence {last_sequence}"
        ))),
        _ => Ok(Checked { last_sequence, sent_seq: member.facts().sent_seq }),
    }
}

/// The sequences that an `advance` leads to.
struct Target {
    first: Sequence,
    last: Sequence,
    /// The sender's own newest message.
    sent: Sequence,
}

fn target(head: &ChatHead, advance: &AdvanceRef<'_>) -> Result<Target, Error> {
    let stored = head.last_sequence;
    if let Some(count) = advance.allocate {
        let last = stored.checked_add(count)?;
        return Ok(Target { first: stored.checked_add(1)?, last, sent: last });
    }
    let to = advance.to.ok_or_else(|| Error::invalid("advance needs `to` or `allocate`"))?;
    if to.get() > stored.get().saturating_add(ADVANCE_AHEAD_MAX) && advance.force != Some(true) {
        return Err(Error::invalid(format!(
            "to: {to} is more than {ADVANCE_AHEAD_MAX} ahead of {stored}; send force if it is meant"
        )));
    }
    let last = stored.max(to);
    Ok(Target { first: last, last, sent: to })
}
