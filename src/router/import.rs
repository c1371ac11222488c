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

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Gather, Missing, Router, Scattered, Sent};
use crate::command::transfer::{Import, ImportReply};
use crate::command::{Outcome, Reply};
use crate::limits::IMPORT_SLICE;
use crate::shard::op::{Op, ReplyTo};
use crate::types::{Flag, ShardId, Slot};

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
        import: Import,
        out: &mut Vec<Sent>,
    ) -> Scattered {
        let taken = ImportReply { chats: 0, members: 0 };
        let parts = self.cut(import);
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
        Scattered::Asked(Gather::Import(importing))
    }

    /// The parts of an import, each of slots of one shard.
    fn cut(&self, import: Import) -> Vec<(ShardId, Arc<Import>)> {
        let empty = || Import {
            chats: Vec::new(),
            members: Vec::new(),
            merge: import.merge,
            idempotency_key: import.idempotency_key.clone(),
        };
        let place = |id: &str| {
            let slot = self.hasher.slot(id);
            (slot.shard(self.shards), slot)
        };
        let mut slots: BTreeMap<(ShardId, Slot), Import> = BTreeMap::new();
        for line in import.chats {
            slots.entry(place(line.id.as_str())).or_insert_with(empty).chats.push(line);
        }
        for line in import.members {
            // What a user is no member of any more is known to the user alone.
            let place = match line.removed {
                Flag::YES => place(line.user_id.as_str()),
                Flag::NO => place(line.chat_id.as_str()),
            };
            slots.entry(place).or_insert_with(empty).members.push(line);
        }
        let mut parts: Vec<(ShardId, Import)> = Vec::new();
        for ((shard, _), lines) in slots {
            match parts.last_mut() {
                Some((last, part))
                    if *last == shard && part.lines() + lines.lines() <= IMPORT_SLICE =>
                {
                    part.chats.extend(lines.chats);
                    part.members.extend(lines.members);
                }
                _ => parts.push((shard, lines)),
            }
        }
        parts.into_iter().map(|(shard, part)| (shard, Arc::new(part))).collect()
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

    fn send_import(&self, importing: &mut Importing, entry: u64, out: &mut Vec<Sent>) {
        let count = importing.parts.len();
        importing.missing =
            if importing.checking { Missing::of_checks(count) } else { Missing::of(count) };
        for (shard, part) in &importing.parts {
            let part = Arc::clone(part);
            let op = if importing.checking { Op::CheckImport(part) } else { Op::Import(part) };
            out.push((*shard, self.reply_to(entry, 0), op));
        }
    }
}
