//! Commands that create, change and end chats: `create`, `set_status`, `dissolve`.

use hashbrown::HashSet;

use super::members::each_once;
use crate::command::create::{Create, CreateReply};
use crate::command::dissolve::Dissolve;
use crate::command::set_status::{SetStatus, SetStatusReply};
use crate::command::{Error, ErrorCode, Outcome, Reply};
use crate::shard::events::{Created, Dissolved, StatusSet};
use crate::shard::idempotency::Reservation;
use crate::shard::keyed::Keyed;
use crate::shard::machine::{self, Shard, Slots};
use crate::shard::op::{Answer, IdFrom, Output, Step};
use crate::shard::state::Chat;
use crate::types::{ChatId, ChatType, Flag, UserId};

/// Creates a chat, unless the request is a repeat; see
/// [`Op::Create`](crate::shard::op::Op::Create).
pub fn create(
    shard: &mut Shard,
    create: Create,
    id_from: IdFrom,
    reservation: Option<Reservation>,
    out: &mut Output,
) -> Step {
    let keyed = Keyed::of_create(&create, id_from, reservation, shard.slots().hasher());
    shard.once(keyed, out, |shard, out| create_new(shard, create, id_from, out))
}

fn create_new(shard: &mut Shard, create: Create, id_from: IdFrom, out: &mut Output) -> Step {
    let Some(id) = create.id.clone() else {
        return Step::Done(Err(Error::invalid("create: no id")));
    };
    if let Some(chat) = shard.slots().find_chat(&id) {
        let version = chat.head.version;
        return match id_from {
            IdFrom::Caller if chat.head.dissolved => Step::Done(Err(Error::gone())),
            IdFrom::Caller if is_same_request(shard.slots(), chat, &create) => {
                created(id, false, version)
            }
            IdFrom::Users if is_of_users(shard.slots(), chat, &create) => {
                created(id, false, version)
            }
            IdFrom::Key
                if !chat.head.dissolved && is_same_request(shard.slots(), chat, &create) =>
            {
                created(id, false, version)
            }
            IdFrom::Users | IdFrom::Chance | IdFrom::Key => Step::Part(Answer::Collision),
            IdFrom::Caller => Step::Done(Err(Error::new(
                ErrorCode::Conflict,
                format!("chat {id} exists and was made by another request"),
            ))),
        };
    }
    if shard.slots().is_retired(shard.slots().hasher().hashed(id.as_str())) {
        return match id_from {
            IdFrom::Caller => Step::Done(Err(Error::gone())),
            IdFrom::Users | IdFrom::Chance | IdFrom::Key => Step::Part(Answer::Collision),
        };
    }
    if let Err(full) = shard.room() {
        return Step::Done(Err(full));
    }
    let slot = shard.slots().slot_of_chat(&id);
    let event = Created {
        chat_id: id.clone(),
        chat_type: create.chat_type,
        is_enc: create.is_enc.unwrap_or(Flag::NO),
        created_at: create.created_at.unwrap_or(shard.time().now),
        request_digest: create.digest(),
        creator_id: create.creator_id,
        user_ids: each_once(create.user_ids),
    };
    shard.commit(slot, event, out);
    shard.deliver(&id, out);
    created(id, true, 1)
}

/// Whether `create` repeats the request that created the chat.
fn is_same_request(slots: &Slots, chat: &Chat, create: &Create) -> bool {
    if chat.head.request_digest != 0 {
        return chat.head.request_digest == create.digest();
    }
    // An imported chat may have no digest. Then all that is known of the chat must agree with the
    // request.
    is_of_users(slots, chat, create)
        && chat.head.creator_id == create.creator_id
        && chat.head.is_enc == create.is_enc.unwrap_or(Flag::NO)
        && create.created_at.is_none_or(|at| at == chat.head.created_at)
}

/// Whether the chat has the type of `create`, and exactly its members.
fn is_of_users(slots: &Slots, chat: &Chat, create: &Create) -> bool {
    let users: HashSet<&UserId> = create.user_ids.iter().collect();
    chat.head.chat_type == create.chat_type
        && users.len() == chat.members.len()
        && users
            .iter()
            .all(|id| chat.members.get(id.as_str(), slots.hash_of(id.as_str())).is_some())
}

pub fn set_status(shard: &mut Shard, set: SetStatus, out: &mut Output) -> Outcome {
    let chat = shard.slots().live_chat(&set.chat_id)?;
    check_version(chat, set.if_version)?;
    let head = &chat.head;
    let mut version = head.version;
    if head.status != set.status {
        version += 1;
        let slot = shard.slots().slot_of_chat(&set.chat_id);
        shard.commit(slot, StatusSet { chat_id: set.chat_id, status: set.status }, out);
    }
    Ok(Reply::SetStatus(SetStatusReply { version }))
}

pub fn dissolve(shard: &mut Shard, dissolve: Dissolve, out: &mut Output) -> Step {
    let checked = shard.slots().live_chat(&dissolve.chat_id).and_then(|chat| {
        check_version(chat, dissolve.if_version)?;
        Ok(chat)
    });
    match checked {
        Err(error) => return Step::Done(Err(error)),
        Ok(chat) if chat.head.chat_type == ChatType::Single => {
            return Step::Done(Err(Error::invalid(
                "chat_id: a single chat is not dissolved; disable it by set_status",
            )));
        }
        Ok(_) => {}
    }
    let slot = shard.slots().slot_of_chat(&dissolve.chat_id);
    shard.commit(slot, Dissolved { chat_id: dissolve.chat_id.clone() }, out);
    shard.deliver(&dissolve.chat_id, out);
    Step::AfterDeliveries(vec![dissolve.chat_id], Reply::Dissolve(()))
}

fn created(id: ChatId, created: bool, version: u64) -> Step {
    let reply = CreateReply { id: id.clone(), created, version };
    Step::AfterDeliveries(vec![id], Reply::Create(reply))
}

/// Fails with a conflict if the request wants another version of the chat than the present one.
pub fn check_version(chat: &Chat, wanted: Option<u64>) -> Result<(), Error> {
    machine::check_version("chat", chat.head.version, wanted)
}
