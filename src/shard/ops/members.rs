//! Members of a chat: `members`, `add_members`, `remove_members`.

use hashbrown::HashSet;

use super::chats::check_version;
use crate::command::add_members::{AddMembers, AddMembersReply};
use crate::command::members::{MemberItem, Members, MembersReply};
use crate::command::remove_members::{RemoveMembers, RemoveMembersReply};
use crate::command::{Error, Outcome, Reply};
use crate::limits::MEMBERS_PAGE_MAX;
use crate::shard::events::{MembersAdded, MembersRemoved};
use crate::shard::machine::{Shard, Slots};
use crate::shard::op::{Output, Step};
use crate::shard::state::Chat;
use crate::types::{ChatId, ChatType, UserId, wide};

pub fn add_members(shard: &mut Shard, add: AddMembers, out: &mut Output) -> Step {
    let chat = match changeable(shard.slots(), &add.chat_id, add.if_version) {
        Ok(chat) => chat,
        Err(error) => return Step::Done(Err(error)),
    };
    if let Err(invalid) = chat.head.last_sequence.checked_add(1) {
        return Step::Done(Err(invalid.into()));
    }
    let user_ids: Vec<UserId> = each_once(add.user_ids)
        .into_iter()
        .filter(|id| chat.members.get(id.as_str(), shard.slots().hash_of(id.as_str())).is_none())
        .collect();
    let (added, members) = (wide(user_ids.len()), wide(chat.members.len() + user_ids.len()));
    if added > 0 {
        if let Err(full) = shard.room() {
            return Step::Done(Err(full));
        }
        let slot = shard.slots().slot_of_chat(&add.chat_id);
        shard.commit(slot, MembersAdded { chat_id: add.chat_id.clone(), user_ids }, out);
        shard.deliver(&add.chat_id, out);
    }
    let reply = Reply::AddMembers(AddMembersReply { added, members });
    Step::AfterDeliveries(vec![add.chat_id], reply)
}

pub fn remove_members(shard: &mut Shard, remove: RemoveMembers, out: &mut Output) -> Step {
    let chat = match changeable(shard.slots(), &remove.chat_id, remove.if_version) {
        Ok(chat) => chat,
        Err(error) => return Step::Done(Err(error)),
    };
    let user_ids: Vec<UserId> = each_once(remove.user_ids)
        .into_iter()
        .filter(|id| chat.members.get(id.as_str(), shard.slots().hash_of(id.as_str())).is_some())
        .collect();
    let (removed, members) = (wide(user_ids.len()), wide(chat.members.len() - user_ids.len()));
    if removed > 0 {
        let slot = shard.slots().slot_of_chat(&remove.chat_id);
        shard.commit(slot, MembersRemoved { chat_id: remove.chat_id.clone(), user_ids }, out);
        shard.deliver(&remove.chat_id, out);
    }
    let reply = Reply::RemoveMembers(RemoveMembersReply { removed, members });
    Step::AfterDeliveries(vec![remove.chat_id], reply)
}

/// Finds a chat whose members may change. Fails with a conflict if the chat does not have version
/// `if_version`.
fn changeable<'a>(
    slots: &'a Slots,
    id: &ChatId,
    if_version: Option<u64>,
) -> Result<&'a Chat, Error> {
    let chat = slots.live_chat(id)?;
    check_version(chat, if_version)?;
    if chat.head.chat_type == ChatType::Single {
        return Err(Error::invalid("chat_id: a single chat's two members are fixed"));
    }
    Ok(chat)
}

pub fn members(slots: &Slots, members: &Members) -> Outcome {
    let chat = slots.live_chat(&members.chat_id)?;
    let after = match &members.cursor {
        None => 0,
        Some(cursor) => {
            cursor.parse().map_err(|_| Error::invalid("cursor: not one of `members`"))?
        }
    };
    let limit =
        members.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(MEMBERS_PAGE_MAX);
    let mut page: Vec<_> = chat.members.iter_after(after).take(limit + 1).collect();
    let more = page.len() > limit;
    page.truncate(limit);
    let next_cursor = page.last().filter(|_| more).map(|member| member.facts().order.to_string());
    let items = page
        .into_iter()
        .map(|member| MemberItem {
            user_id: member.user_id.to_user_id(),
            join_seq: member.facts().join_seq,
        })
        .collect();
    Ok(Reply::Members(MembersReply { items, next_cursor }))
}

/// Removes repeated users, and keeps the order.
pub fn each_once(mut user_ids: Vec<UserId>) -> Vec<UserId> {
    let is_first: Vec<bool> = {
        let mut seen = HashSet::with_capacity(user_ids.len());
        user_ids.iter().map(|id| seen.insert(id)).collect()
    };
    let mut is_first = is_first.into_iter();
    user_ids.retain(|_| is_first.next() == Some(true));
    user_ids
}
