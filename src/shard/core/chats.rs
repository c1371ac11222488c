//! Commands that create and change chats.

use hashbrown::HashSet;

use super::{Core, Step};
use crate::command::add_members::{AddMembers, AddMembersReply};
use crate::command::create::{Create, CreateReply};
use crate::command::dissolve::Dissolve;
use crate::command::members::{MemberItem, Members, MembersReply};
use crate::command::remove_members::{RemoveMembers, RemoveMembersReply};
use crate::command::set_status::{SetStatus, SetStatusReply};
use crate::command::{Error, ErrorCode, Outcome, Reply};
use crate::limits::MEMBERS_PAGE_MAX;
use crate::shard::events::{Created, Dissolved, MembersAdded, MembersRemoved, StatusSet};
use crate::shard::op::{Answer, IdFrom, Output};
use crate::shard::state::Chat;
use crate::types::{ChatId, ChatType, Flag, UserId, wide};

impl Core {
    pub(super) fn create(&mut self, create: Create, id_from: IdFrom, out: &mut Output) -> Step {
        let Some(id) = create.id.clone() else {
            return Step::Done(Err(Error::invalid("create: no id")));
        };
        if let Some(chat) = self.find_chat(&id) {
            let version = chat.head.version;
            return match id_from {
                IdFrom::Caller if chat.head.dissolved => Step::Done(Err(Error::gone())),
                IdFrom::Caller if self.is_same_request(chat, &create) => {
                    created(id, false, version)
                }
                IdFrom::Users if self.is_of_users(chat, &create) => created(id, false, version),
                IdFrom::Key if !chat.head.dissolved && self.is_same_request(chat, &create) => {
                    created(id, false, version)
                }
                IdFrom::Users | IdFrom::Chance | IdFrom::Key => Step::Part(Answer::Collision),
                IdFrom::Caller => Step::Done(Err(Error::new(
                    ErrorCode::Conflict,
                    format!("chat {id} exists and was made by another request"),
                ))),
            };
        }
        if self.is_retired(self.hasher.hashed(id.as_str())) {
            return match id_from {
                IdFrom::Caller => Step::Done(Err(Error::gone())),
                IdFrom::Users | IdFrom::Chance | IdFrom::Key => Step::Part(Answer::Collision),
            };
        }
        if let Err(full) = self.room() {
            return Step::Done(Err(full));
        }
        let slot = self.slot_of_chat(&id);
        let event = Created {
            chat_id: id.clone(),
            chat_type: create.chat_type,
            is_enc: create.is_enc.unwrap_or(Flag::NO),
            created_at: create.created_at.unwrap_or(self.time.now),
            request_digest: create.digest(),
            creator_id: create.creator_id,
            user_ids: each_once(create.user_ids),
        };
        self.commit(slot, event, out);
        self.deliver(&id, out);
        created(id, true, 1)
    }

    /// Whether `create` is the request that created the chat.
    fn is_same_request(&self, chat: &Chat, create: &Create) -> bool {
        if chat.head.request_digest != 0 {
            return chat.head.request_digest == create.digest();
        }
        // An imported chat has no digest: everything that is known of it must agree.
        self.is_of_users(chat, create)
            && chat.head.creator_id == create.creator_id
            && chat.head.is_enc == create.is_enc.unwrap_or(Flag::NO)
            && create.created_at.is_none_or(|at| at == chat.head.created_at)
    }

    /// Whether the chat has the type and exactly the members of `create`.
    fn is_of_users(&self, chat: &Chat, create: &Create) -> bool {
        let users: HashSet<&UserId> = create.user_ids.iter().collect();
        chat.head.chat_type == create.chat_type
            && users.len() == chat.members.len()
            && users
                .iter()
                .all(|id| chat.members.get(id.as_str(), self.hash_of(id.as_str())).is_some())
    }

    pub(super) fn add_members(&mut self, add: AddMembers, out: &mut Output) -> Step {
        let chat = match self.changeable(&add.chat_id, add.if_version) {
            Ok(chat) => chat,
            Err(error) => return Step::Done(Err(error)),
        };
        if let Err(invalid) = chat.head.last_sequence.checked_add(1) {
            return Step::Done(Err(invalid.into()));
        }
        let user_ids: Vec<UserId> = each_once(add.user_ids)
            .into_iter()
            .filter(|id| chat.members.get(id.as_str(), self.hash_of(id.as_str())).is_none())
            .collect();
        let (added, members) = (wide(user_ids.len()), wide(chat.members.len() + user_ids.len()));
        if added > 0 {
            if let Err(full) = self.room() {
                return Step::Done(Err(full));
            }
            let slot = self.slot_of_chat(&add.chat_id);
            self.commit(slot, MembersAdded { chat_id: add.chat_id.clone(), user_ids }, out);
            self.deliver(&add.chat_id, out);
        }
        let reply = Reply::AddMembers(AddMembersReply { added, members });
        Step::AfterDeliveries(vec![add.chat_id], reply)
    }

    pub(super) fn remove_members(&mut self, remove: RemoveMembers, out: &mut Output) -> Step {
        let chat = match self.changeable(&remove.chat_id, remove.if_version) {
            Ok(chat) => chat,
            Err(error) => return Step::Done(Err(error)),
        };
        let user_ids: Vec<UserId> = each_once(remove.user_ids)
            .into_iter()
            .filter(|id| chat.members.get(id.as_str(), self.hash_of(id.as_str())).is_some())
            .collect();
        let (removed, members) = (wide(user_ids.len()), wide(chat.members.len() - user_ids.len()));
        if removed > 0 {
            let slot = self.slot_of_chat(&remove.chat_id);
            self.commit(slot, MembersRemoved { chat_id: remove.chat_id.clone(), user_ids }, out);
            self.deliver(&remove.chat_id, out);
        }
        let reply = Reply::RemoveMembers(RemoveMembersReply { removed, members });
        Step::AfterDeliveries(vec![remove.chat_id], reply)
    }

    /// The chat, if its members may change and it has the version that the caller saw.
    fn changeable(&self, id: &ChatId, if_version: Option<u64>) -> Result<&Chat, Error> {
        let chat = self.live_chat(id)?;
        check_version(chat, if_version)?;
        if chat.head.chat_type == ChatType::Single {
            return Err(Error::invalid("chat_id: a single chat's two members are fixed"));
        }
        Ok(chat)
    }

    pub(super) fn members(&self, members: &Members) -> Outcome {
        let chat = self.live_chat(&members.chat_id)?;
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
        let next_cursor =
            page.last().filter(|_| more).map(|member| member.facts().order.to_string());
        let items = page
            .into_iter()
            .map(|member| MemberItem {
                user_id: member.user_id.to_user_id(),
                join_seq: member.facts().join_seq,
            })
            .collect();
        Ok(Reply::Members(MembersReply { items, next_cursor }))
    }

    pub(super) fn set_status(&mut self, set: SetStatus, out: &mut Output) -> Outcome {
        let chat = self.live_chat(&set.chat_id)?;
        check_version(chat, set.if_version)?;
        let head = &chat.head;
        let mut version = head.version;
        if head.status != set.status {
            version += 1;
            let slot = self.slot_of_chat(&set.chat_id);
            self.commit(slot, StatusSet { chat_id: set.chat_id, status: set.status }, out);
        }
        Ok(Reply::SetStatus(SetStatusReply { version }))
    }

    pub(super) fn dissolve(&mut self, dissolve: Dissolve, out: &mut Output) -> Step {
        let checked = self.live_chat(&dissolve.chat_id).and_then(|chat| {
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
        let slot = self.slot_of_chat(&dissolve.chat_id);
        self.commit(slot, Dissolved { chat_id: dissolve.chat_id.clone() }, out);
        self.deliver(&dissolve.chat_id, out);
        Step::AfterDeliveries(vec![dissolve.chat_id], Reply::Dissolve(()))
    }
}

fn created(id: ChatId, created: bool, version: u64) -> Step {
    let reply = CreateReply { id: id.clone(), created, version };
    Step::AfterDeliveries(vec![id], Reply::Create(reply))
}

/// Fails unless the chat has the version that the caller saw.
fn check_version(chat: &Chat, wanted: Option<u64>) -> Result<(), Error> {
    super::check_version("chat", chat.head.version, wanted)
}

/// The users in their order, each once.
fn each_once(mut user_ids: Vec<UserId>) -> Vec<UserId> {
    let is_first: Vec<bool> = {
        let mut seen = HashSet::with_capacity(user_ids.len());
        user_ids.iter().map(|id| seen.insert(id)).collect()
    };
    let mut is_first = is_first.into_iter();
    user_ids.retain(|_| is_first.next() == Some(true));
    user_ids
}
