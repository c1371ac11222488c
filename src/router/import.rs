//! `import`: lines to the shards of their chats, all of them or none.
//!
//! The lines are cut into parts that hold no shard for long: those of a slot are in one. Where there
//! are several, each is looked at first, whether its shard could take it; only when all could, the
//! parts are taken. (What another connection does between the two rounds may still make a shard refuse
//! one; then the error says so, and other parts were taken.)
//!
//! Invariants:
//! - An import is looked at only when those before it were sent to be taken. Shards work in the order
//!   sent, so the lines of a request may build on those of the request before it, which need not be
//!   answered yet.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{Gather, Missing, Router, Scattered, Sent};
use crate::command::transfer::{Import, ImportReply, MemberLine};
use crate::command::{Outcome, Reply};
use crate::limits::IMPORT_SLICE;
use crate::shard::op::{Op, ReplyTo};
use crate::types::{Flag, KeyHasher, ShardCount, ShardId, Slot};

/// An import in parts, each of whole slots of one shard.
#[derive(Debug, PartialEq)]
pub struct Parts(Vec<(ShardId, Arc<Import>)>);

impl Parts {
    /// Cuts an import for a node of `shards`.
    pub fn cut(import: Import, hasher: KeyHasher, shards: ShardCount) -> Self {
        let slots_of_chats: Vec<Slot> =
            import.chats.iter().map(|line| hasher.slot(line.id.as_str())).collect();
        let slot_of_member = |line: &MemberLine| match line.removed {
            // What a user is no member of any more is known to the user alone.
            Flag::YES => hasher.slot(line.user_id.as_str()),
            Flag::NO => hasher.slot(line.chat_id.as_str()),
        };
        let slots_of_members: Vec<Slot> = import.members.iter().map(slot_of_member).collect();
        let mut lines: HashMap<Slot, usize> = HashMap::new();
        for &slot in slots_of_chats.iter().chain(&slots_of_members) {
            *lines.entry(slot).or_default() += 1;
        }
        let mut slots: Vec<(ShardId, Slot, usize)> =
            lines.drain().map(|(slot, lines)| (slot.shard(shards), slot, lines)).collect();
        slots.sort_unstable();
        let mut parts: Vec<(ShardId, Import)> = Vec::new();
        let mut part_of = lines;
        let mut room = 0;
        for (shard, slot, lines) in slots {
            if room < lines || parts.last().is_none_or(|(last, _)| *last != shard) {
                let (merge, idempotency_key) = (import.merge, import.idempotency_key.clone());
                let (chats, members) = (Vec::new(), Vec::new());
                parts.push((shard, Import { chats, members, merge, idempotency_key }));
                room = IMPORT_SLICE;
            }
            room = room.saturating_sub(lines);
            part_of.insert(slot, parts.len() - 1);
        }
        for (line, slot) in import.chats.into_iter().zip(slots_of_chats) {
            parts[part_of[&slot]].1.chats.push(line);
        }
        for (line, slot) in import.members.into_iter().zip(slots_of_members) {
            parts[part_of[&slot]].1.members.push(line);
        }
        Self(parts.into_iter().map(|(shard, part)| (shard, Arc::new(part))).collect())
    }
}

/// An `import` under way.
pub(super) struct Importing {
    parts: Vec<(ShardId, Arc<Import>)>,
    /// The parts are being looked at, not taken yet.
    checking: bool,
    missing: Missing,
    taken: ImportReply,
}

impl<T> Router<T> {
    pub(super) fn scatter_import(
        &mut self,
        entry: u64,
        Parts(parts): Parts,
        out: &mut Vec<Sent>,
    ) -> Scattered {
        let taken = ImportReply { chats: 0, members: 0 };
        if parts.is_empty() {
            return Scattered::Finished(Ok(Reply::Import(taken)));
        }
        let checking = parts.len() > 1;
        let mut importing = Importing { parts, checking, missing: Missing::default(), taken };
        if self.import_is_checked {
            self.imports_waiting.push_back(entry);
        } else {
            self.import_is_checked = checking;
            self.send_import(&mut importing, entry, out);
        }
        Scattered::Asked(Gather::Import(Box::new(importing)))
    }

    pub(super) fn gather_import(
        &mut self,
        importing: &mut Importing,
        to: ReplyTo,
        outcome: Outcome,
        out: &mut Vec<Sent>,
    ) -> Option<Outcome> {
        if let Ok(Reply::Import(part)) = &outcome {
            importing.taken.chats += part.chats;
            importing.taken.members += part.members;
        }
        let ended = importing.missing.note(outcome)?;
        let outcome = ended.map(|()| Reply::Import(importing.taken.clone()));
        if !importing.checking {
            return Some(outcome);
        }
        self.import_is_checked = false;
        let refused = outcome.is_err().then_some(outcome);
        if refused.is_none() {
            importing.checking = false;
            importing.taken = ImportReply { chats: 0, members: 0 };
            self.send_import(importing, to.entry, out);
        }
        self.send_waiting_imports(out);
        refused
    }

    /// Goes on with those that waited, up to the next one that is checked first.
    fn send_waiting_imports(&mut self, out: &mut Vec<Sent>) {
        while !self.import_is_checked
            && let Some(entry) = self.imports_waiting.pop_front()
        {
            let Some(mut gather) = self.take_out(entry) else { continue };
            if let Gather::Import(importing) = &mut gather {
                self.import_is_checked = importing.checking;
                self.send_import(importing, entry, out);
            }
            self.put_back(entry, gather);
        }
    }

    /// Sends the parts to be looked at, or to be taken: then they are the shards' alone.
    fn send_import(&self, importing: &mut Importing, entry: u64, out: &mut Vec<Sent>) {
        let count = importing.parts.len();
        let to = self.reply_to(entry, 0);
        if importing.checking {
            importing.missing = Missing::of_checks(count);
            let parts = importing.parts.iter();
            out.extend(parts.map(|(shard, part)| (*shard, to, Op::CheckImport(Arc::clone(part)))));
        } else {
            importing.missing = Missing::of(count);
            let parts = importing.parts.drain(..);
            out.extend(parts.map(|(shard, part)| (shard, to, Op::Import(part))));
        }
    }
}
