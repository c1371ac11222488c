//! `create`: finds an id for the chat, and another one if that is taken.
//!
//! If the request has an idempotency key but no id, the shard of that key reserves it first. So
//! another request with that key is rejected, whatever id it would lead to.
//!
//! A derived id, made from the hash of the users or of the key, may belong to another chat. That
//! chat may be a former one of these two users, of whom one was erased since. Or it may come from
//! an earlier request with this key, which the shard has forgotten.
//!
//! An id is never given twice, so the router tries the next one of a chain: each hash is the hash
//! of the one before. It stops when an id is free or belongs to the requested chat. Each try before
//! finds a chat that the node holds. So the chats of these users, or of this key, bound the number
//! of tries.

use sha2::{Digest, Sha256};

use super::Sent;
use super::scatter::{Gather, Scatter, Scattered, mixed_up};
use crate::command::create::Create;
use crate::command::{Kind, Outcome};
use crate::shard::idempotency::{Reservation, Reserving};
use crate::shard::op::{Answer, IdFrom, Op, ReplyTo};
use crate::types::{ChatId, ChatType};

/// A `create` under way.
pub(super) struct Creating {
    create: Create,
    id_from: IdFrom,
    /// The hash whose first bytes make the next derived id.
    hash: [u8; 32],
    /// The reservation of the idempotency key, once its shard has made it.
    reservation: Option<Reservation>,
}

impl Scatter {
    pub(super) fn scatter_create(
        &mut self,
        entry: u64,
        create: Create,
        out: &mut Vec<Sent>,
    ) -> Scattered {
        let id_from = match (&create.id, create.chat_type, &create.idempotency_key) {
            (Some(_), _, _) => IdFrom::Caller,
            (None, ChatType::Single, _) => IdFrom::Users,
            (None, ChatType::Group | ChatType::Official, Some(_)) => IdFrom::Key,
            (None, ChatType::Group | ChatType::Official, None) => IdFrom::Chance,
        };
        let hash = match (&create.idempotency_key, id_from) {
            (Some(key), IdFrom::Key) => Sha256::digest(key.as_str()).into(),
            _ => hash_of_users(&create),
        };
        let creating = Creating { hash, create, id_from, reservation: None };
        match &creating.create.idempotency_key {
            Some(key) if id_from != IdFrom::Caller => {
                // The digest ignores order and repetition of the members.
                let request = creating.create.digest() ^ u64::from(Kind::Create.code());
                let reserving = Reserving { user_id: None, key: key.clone(), request };
                self.send_reservation(reserving, entry, out);
            }
            _ => self.send_create(&creating, entry, out),
        }
        Scattered::asked(creating)
    }

    fn send_create(&mut self, creating: &Creating, entry: u64, out: &mut Vec<Sent>) {
        let mut create = creating.create.clone();
        if creating.id_from != IdFrom::Caller {
            create.id = self.new_id(creating);
        }
        let Some(id) = &create.id else { return };
        let shard = self.shard_of_chat(id);
        let op =
            Op::Create { id_from: creating.id_from, create, reservation: creating.reservation };
        out.push((shard, self.reply_to(entry, 0), op));
    }

    fn new_id(&mut self, creating: &Creating) -> Option<ChatId> {
        let number = match creating.id_from {
            IdFrom::Users | IdFrom::Key => u64::from_be_bytes(*creating.hash.first_chunk::<8>()?),
            IdFrom::Caller | IdFrom::Chance => self.draw(),
        };
        let prefix = match creating.create.chat_type {
            ChatType::Single => 's',
            ChatType::Group => 'g',
            ChatType::Official => 'o',
        };
        ChatId::new(&format!("{prefix}_{number:016x}")).ok()
    }
}

impl Gather for Creating {
    fn gather(
        &mut self,
        scatter: &mut Scatter,
        to: ReplyTo,
        answer: Answer,
        out: &mut Vec<Sent>,
    ) -> Option<Outcome> {
        match answer {
            Answer::Done(outcome) => Some(outcome),
            Answer::Reserved(reservation) => {
                self.reservation = Some(reservation);
                scatter.send_create(self, to.entry, out);
                None
            }
            Answer::Collision => {
                self.hash = Sha256::digest(self.hash).into();
                scatter.send_create(self, to.entry, out);
                None
            }
            _ => Some(mixed_up()),
        }
    }
}

/// SHA-256 of the users in sorted order, each followed by a zero byte, which no id contains.
fn hash_of_users(create: &Create) -> [u8; 32] {
    let mut users: Vec<&str> = create.user_ids.iter().map(|id| id.as_str()).collect();
    users.sort_unstable();
    let mut hash = Sha256::new();
    for user in users {
        hash.update(user.as_bytes());
        hash.update([0]);
    }
    hash.finalize().into()
}
