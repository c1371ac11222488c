//! `erase_user`: removes every trace of a user, in steps that hold no shard for long.
//!
//! First the chats of the user's rows remove the user. Then the shards search all chats for the
//! user as creator or deleter. At last the user's shard forgets the user, and the first answers
//! under the user's idempotency keys. A crash in between leaves the rest undone and the request
//! without a reply. A repeat does the rest.

use super::rows;
use crate::command::Reply;
use crate::command::erase_user::{EraseUser, EraseUserReply};
use crate::shard::events::{MemberErased, UserErased};
use crate::shard::keyed::Keyed;
use crate::shard::machine::{Remembered, Shard};
use crate::shard::op::{Answer, Output, ReplyTo, Step};
use crate::types::{ChatId, UserId};

/// How many chats one step reads. Each slot counts as one more, because visiting it takes time too.
const CHATS_A_STEP: u64 = 4096;

/// Answers with the user's rows. The router then has their chats remove the user. Takes the
/// idempotency key now, so that no other request can use it before the end.
pub fn erase_begin(shard: &mut Shard, erase: EraseUser, out: &mut Output) -> Step {
    if let Some(keyed) = Keyed::of_erase(&erase, shard.slots().hasher()) {
        match shard.remembered(&keyed) {
            Ok(None) => _ = shard.keep_reservation(keyed, out),
            Ok(Some(Remembered::Reservation(_))) => {}
            Ok(Some(Remembered::Reply(reply))) => return Step::Done(Ok(reply)),
            Err(error) => return Step::Done(Err(error)),
        }
    }
    Step::Part(rows::rows(shard.slots(), vec![erase.user_id]))
}

pub fn erase_member(
    shard: &mut Shard,
    to: ReplyTo,
    user_id: &UserId,
    ids: &[ChatId],
    out: &mut Output,
) -> Step {
    let hash = shard.slots().hash_of(user_id.as_str());
    let mut memberships = 0;
    for id in ids {
        let is_member = shard
            .slots()
            .find_chat(id)
            .is_some_and(|chat| chat.members.get(user_id.as_str(), hash).is_some());
        if is_member {
            memberships += 1;
            erase_from(shard, id.clone(), user_id, out);
        }
    }
    match shard.after_deliveries(ids, to, Answer::EraseMember(memberships)) {
        Some(answer) => Step::Part(answer),
        None => Step::Later,
    }
}

/// Erases the user from the chats of some slots. `from` is the index of the first of these slots.
pub fn erase_sweep(shard: &mut Shard, user_id: &UserId, from: usize, out: &mut Output) -> Step {
    let mut looked = 0;
    let mut next = from;
    let mut found = Vec::new();
    while looked < CHATS_A_STEP
        && let Some(slot) = shard.slots().states().get(next)
    {
        let names = slot
            .chats()
            .filter(|chat| chat.head.creator_id == *user_id || chat.deleters().contains(user_id));
        found.extend(names.map(|chat| chat.head.id.clone()));
        // Visiting an empty slot takes time too.
        looked = looked.saturating_add(slot.counts.chats + 1);
        next += 1;
    }
    for chat_id in found {
        erase_from(shard, chat_id, user_id, out);
    }
    Step::Part(Answer::EraseSweep((next < shard.slots().states().len()).then_some(next)))
}

fn erase_from(shard: &mut Shard, chat_id: ChatId, user_id: &UserId, out: &mut Output) {
    let slot = shard.slots().slot_of_chat(&chat_id);
    let event = MemberErased { chat_id: chat_id.clone(), user_id: user_id.clone() };
    shard.commit(slot, event, out);
    shard.deliver(&chat_id, out);
}

/// Forgets the user. If the user got new rows since [`erase_begin`], answers with these rows
/// instead.
pub fn erase_end(shard: &mut Shard, erase: EraseUser, memberships: u64, out: &mut Output) -> Step {
    let keyed = Keyed::of_erase(&erase, shard.slots().hasher());
    let own = keyed.as_ref().map(|keyed| shard.remembered(keyed));
    // The request may have come twice, on two connections. The other one has then finished it.
    if let Some(Ok(Some(Remembered::Reply(reply)))) = own {
        return Step::Done(Ok(reply));
    }
    // The reservation of this request does not count as a trace of the user. Otherwise erasing an
    // unknown user would commit an event.
    let own_reservations = usize::from(matches!(own, Some(Ok(Some(Remembered::Reservation(_))))));
    let user = shard.slots().find_user(&erase.user_id);
    if user.is_some_and(|user| !user.rows.is_empty()) {
        return Step::Part(rows::rows(shard.slots(), vec![erase.user_id]));
    }
    let answers = shard.answers_of(&erase.user_id);
    if user.is_some() || answers.count > own_reservations {
        let slot = shard.slots().slot_of_user(&erase.user_id);
        let user_id = erase.user_id;
        shard.commit_of_user(slot, &user_id, UserErased { user_id: user_id.clone() }, out);
        shard.answers_went(slot, answers);
    }
    let reply = Reply::EraseUser(EraseUserReply { memberships });
    if let Some(keyed) = keyed {
        shard.keep(keyed, &reply, out);
    }
    Step::Done(Ok(reply))
}
