//! Messages that arrive: `advance`.

use crate::command::advance::{AdvanceRef, AdvanceReply};
use crate::command::{Error, ErrorCode};
use crate::limits::ADVANCE_AHEAD_MAX;
use crate::shard::events::AdvancedRef;
use crate::shard::machine::{Shard, check_version};
use crate::shard::op::Output;
use crate::shard::state::ChatHead;
use crate::types::{ChatStatus, Sequence};

impl Shard {
    /// Runs an `advance` without an idempotency key on the fast path. The caller replies itself,
    /// after the log has the record. None if another shard owns the chat.
    pub fn fast_advance(
        &mut self,
        request: AdvanceRef<'_>,
        out: &mut Output,
    ) -> Option<Result<AdvanceReply, Error>> {
        self.slots().own_state(request.chat_id.hash)?;
        self.count_command();
        Some(self.accepts_writes().and_then(|()| advance(self, request, out)))
    }
}

pub fn advance(
    shard: &mut Shard,
    advance: AdvanceRef<'_>,
    out: &mut Output,
) -> Result<AdvanceReply, Error> {
    let found = shard.slots().chat_at(advance.chat_id.id, advance.chat_id.hash);
    let chat = shard.slots().alive(found, advance.chat_id)?;
    if chat.head.status == ChatStatus::Disabled {
        return Err(Error::new(ErrorCode::Disabled, "the chat is disabled"));
    }
    check_version("chat", chat.head.version, advance.if_version)?;
    let stored = chat.head.last_sequence;
    let target = target(&chat.head, &advance)?;
    let given_time = shard.time_or_now(advance.time)?;
    let sent = advance.sender_id.and_then(|sender| {
        let member = chat.members.get(sender.id, sender.hash)?;
        (member.facts().sent_seq < target.sent).then_some((sender, target.sent))
    });
    let last_time = if target.last > stored { given_time } else { chat.head.last_time };
    if target.last > stored || sent.is_some() {
        let is_newer = target.last > stored;
        let brings_back = (is_newer && !chat.deleters().is_empty()).then(|| chat.head.id.clone());
        let chat_id = advance.chat_id;
        let to = if is_newer { target.last } else { Sequence::ZERO };
        let event = AdvancedRef { chat_id, to, time: last_time, sent };
        shard.commit(chat_id.slot(), event, out);
        if let Some(chat_id) = brings_back {
            shard.deliver(&chat_id, out);
        }
    }
    Ok(AdvanceReply { first_sequence: target.first, last_sequence: target.last, last_time })
}

/// The sequences that an `advance` results in.
struct Target {
    first: Sequence,
    last: Sequence,
    /// The sent sequence that the sender gets.
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
