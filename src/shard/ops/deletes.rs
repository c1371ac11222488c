//! `delete`: members delete chats from their lists.

use std::collections::HashSet;

use crate::command::delete::Delete;
use crate::command::{Error, Reply};
use crate::shard::events::Deleted;
use crate::shard::idempotency::Reservation;
use crate::shard::keyed::Keyed;
use crate::shard::machine::{Shard, Slots};
use crate::shard::op::{Answer, Output, Step};
use crate::types::{ChatId, Sequence, UserId};

/// Checks whether [`delete`] would accept these chats. Changes nothing.
pub fn check_delete(slots: &Slots, delete: &Delete) -> Answer {
    Answer::Done(check_up_to(slots, delete).map(Reply::Delete))
}

/// Deletes each chat on its own. So the repeat of a request deletes only chats that the request did
/// not reach.
pub fn delete(
    shard: &mut Shard,
    delete: Delete,
    reservation: Option<Reservation>,
    out: &mut Output,
) -> Step {
    if let Err(beyond) = check_up_to(shard.slots(), &delete) {
        return Step::Done(Err(beyond));
    }
    let mut seen = HashSet::with_capacity(delete.ids.len());
    let ids: Vec<ChatId> = delete.ids.iter().filter(|id| seen.insert(*id)).cloned().collect();
    for id in &ids {
        let keyed =
            reservation.map(|reservation| Keyed::of_part(reservation, id, shard.slots().hasher()));
        match keyed.as_ref().map(|keyed| shard.recall(keyed)) {
            None | Some(Ok(None)) => {}
            Some(Ok(Some(_))) => continue,
            Some(Err(lost)) => return Step::Done(Err(lost)),
        }
        if let Some(to) = delete_watermark(shard.slots(), &delete.user_id, id, delete.up_to) {
            let slot = shard.slots().slot_of_chat(id);
            let event = Deleted { chat_id: id.clone(), user_id: delete.user_id.clone(), to };
            shard.commit(slot, event, out);
            shard.deliver(id, out);
        }
        if let Some(keyed) = keyed {
            shard.keep(keyed, &Reply::Delete(()), out);
        }
    }
    Step::AfterDeliveries(ids, Reply::Delete(()))
}

/// Fails if `up_to` is above the last sequence of a chat, because no user has seen such a message.
fn check_up_to(slots: &Slots, delete: &Delete) -> Result<(), Error> {
    let Some(up_to) = delete.up_to else { return Ok(()) };
    for id in &delete.ids {
        if let Some((chat, _)) = slots.chat_of_member(&delete.user_id, id)
            && up_to > chat.head.last_sequence
        {
            return Err(Error::invalid(format!(
                "up_to: {up_to} is beyond the last_sequence {} of chat {id}",
                chat.head.last_sequence
            )));
        }
    }
    Ok(())
}

/// The watermark that a delete sets. None if the user is no member, or has already deleted the
/// whole chat. Whether the row already has a higher watermark is known only to the row.
fn delete_watermark(
    slots: &Slots,
    user_id: &UserId,
    id: &ChatId,
    up_to: Option<Sequence>,
) -> Option<Sequence> {
    let (chat, member) = slots.chat_of_member(user_id, id)?;
    let last = chat.head.last_sequence;
    (!chat.is_deleted_by(member)).then(|| up_to.unwrap_or(last).min(last))
}
