//! `RowChanged`: an event of a chat reached the row of one user.

use serde::{Deserialize, Serialize};

use super::{Applier, Decision, Logged, blank};
use crate::command::watch::{WatchEvent, WatchOp};
use crate::shard::decode::{BadRecord, counter};
use crate::shard::deliveries::Effect;
use crate::shard::row::{Row, RowFacts, RowImport, RowState};
use crate::shard::state::User;
use crate::types::{ChatId, Flag, KeyHasher, UserId};

/// An event of a chat reached the row of one user, and changed the row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowChanged {
    /// Owner of the row.
    pub user_id: UserId,
    /// The chat of the row.
    pub chat_id: ChatId,
    /// The number of the event among the events of its chat.
    #[serde(deserialize_with = "counter")]
    pub event: u64,
    /// What the event does to the row.
    pub effect: Effect,
}

impl Decision for RowChanged {
    const CODE: u8 = 32;

    fn apply(self, applier: &mut Applier<'_>) -> Result<(), BadRecord> {
        let Self { user_id, chat_id, event, effect } = self;
        applier.change_user(&user_id, |user, hasher| {
            change(user, hasher, chat_id, event, effect);
        });
        Ok(())
    }
}

impl Logged for RowChanged {
    fn key(&self) -> Option<&str> {
        Some(self.user_id.as_str())
    }

    fn watched(self) -> Option<WatchEvent> {
        let Self { user_id, chat_id, effect, .. } = self;
        let (op, seq) = match effect {
            Effect::Join { join_seq } => (WatchOp::Join, Some(join_seq)),
            Effect::Remove | Effect::Erase => (WatchOp::Leave, None),
            Effect::Delete { to, .. } => (WatchOp::Delete, Some(to)),
            Effect::Return => (WatchOp::Return, None),
            Effect::Import(import) => (WatchOp::Import, Some(import.row.max_read_seq)),
        };
        let (user_id, chat_id) = (Some(user_id), Some(chat_id));
        Some(WatchEvent { user_id, chat_id, seq, ..blank(op) })
    }
}

/// Applies the effect to the user's row. If the user has no row of this chat, only a join or an
/// import does something.
fn change(user: &mut User, hasher: KeyHasher, chat_id: ChatId, event: u64, effect: Effect) {
    let hash = hasher.hash(chat_id.as_str());
    match effect {
        Effect::Remove | Effect::Erase => {
            if user.rows.remove(chat_id.as_str(), hash).is_some() {
                let version = user.head.next_version();
                user.remember_removal(chat_id, version);
            }
        }
        Effect::Delete { to, back } => update_row(user, &chat_id, hash, event, |facts| {
            facts.cover(to);
            facts.is_top = Flag::NO;
            facts.is_show = Flag(back);
        }),
        Effect::Return => {
            update_row(user, &chat_id, hash, event, |facts| facts.is_show = Flag::YES)
        }
        Effect::Join { join_seq } => {
            let version = user.head.next_version();
            let (order, facts) = (user.head.next_order, RowFacts::joined(join_seq));
            put_row(user, hasher, chat_id, RowState { order, facts, version, event });
        }
        Effect::Import(import) => import_row(user, hasher, chat_id, event, *import),
    }
}

fn update_row(
    user: &mut User,
    chat_id: &ChatId,
    hash: u64,
    event: u64,
    change: impl FnOnce(&mut RowFacts),
) {
    if let Some(row) = user.rows.get_mut(chat_id.as_str(), hash) {
        let version = user.head.next_version();
        row.update(|row| {
            change(&mut row.facts);
            (row.version, row.event) = (version, event);
        });
    }
}

/// Adds a row. If the user already has a row of this chat, replaces its state but keeps its order.
fn put_row(user: &mut User, hasher: KeyHasher, chat_id: ChatId, row: RowState) {
    let hash = hasher.hash(chat_id.as_str());
    user.head.next_order = user.head.next_order.max(row.order.saturating_add(1));
    user.forget_removal(&chat_id);
    match user.rows.get_mut(chat_id.as_str(), hash) {
        Some(stored) => stored.update(|stored| *stored = RowState { order: stored.order, ..row }),
        None => user.rows.insert(Row::new(chat_id, row), hasher),
    }
}

/// Puts an imported row. If the user already has a row of this chat, positions and times never
/// fall: the higher value stays.
fn import_row(user: &mut User, hasher: KeyHasher, chat_id: ChatId, event: u64, import: RowImport) {
    let version = user.head.import_version(import.version);
    let order = match import.join_order {
        Some(order) if !user.rows.has_order(order) => order,
        _ => user.head.next_order,
    };
    let mut facts = import.row;
    if let Some(stored) = user.rows.get(chat_id.as_str(), hasher.hash(chat_id.as_str())) {
        let stored = stored.facts();
        facts.max_read_seq = facts.max_read_seq.max(stored.max_read_seq);
        facts.deleted_to_seq = facts.deleted_to_seq.max(stored.deleted_to_seq);
        facts.last_online_time = facts.last_online_time.max(stored.last_online_time);
        facts.join_seq = facts.join_seq.max(stored.join_seq);
    }
    put_row(user, hasher, chat_id, RowState { order, facts, version, event });
}
