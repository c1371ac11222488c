//! `import`: lines to the shards of their chats, all of them or none.
//!
//! The lines are cut into parts that hold no shard for long: those of a slot are in one. Where there
//! are several, each is looked at first, whether its shard could take it; only when all could, the
//! parts are taken. (What another connection does between the two rounds may still make a shard refuse
//! one; then the error says so, and other parts were taken.)
//!
//! That a user is no member any more concerns the chat, which may have them, and the user, whose
//! change log tells it. So it goes to the chat first, and to the user when all chats have taken theirs.
//!
//! Deliveries of different chats reach a user in any order. So each row is given its place in the
//! user's list, by the user's shard, while the parts are looked at; see [`super::places`].
//!
//! Invariants:
//! - An import is looked at only when those before it were sent to be taken. Shards work in the order
//!   sent, so the lines of a request may build on those of the request before it, which need not be
//!   answered yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;

use super::places::NewRows;
use super::{Gather, Missing, Router, Scattered, Sent, mixed_up};
use crate::command::transfer::{Import, ImportReply, MemberLine};
use crate::command::{Error, Outcome, Reply};
use crate::limits::IMPORT_SLICE;
use crate::shard::op::{Answer, Op, Removal, ReplyTo};
use crate::types::{Flag, KeyHasher, ShardCount, ShardId, Slot};

/// An import in parts.
#[derive(Debug, PartialEq)]
pub struct ScatterPlan {
    /// Each of whole slots of one shard.
    chats: Vec<(ShardId, Arc<Import>)>,
    /// Removals, by the users' shards.
    gone: Vec<(ShardId, Vec<Removal>)>,
    /// The rows that come, by users.
    rows: NewRows,
}

impl ScatterPlan {
    /// Cuts an import for a node of `shards`.
    pub fn cut(import: Import, hasher: KeyHasher, shards: ShardCount) -> Self {
        let gone = removals(&import.members, hasher, shards);
        let slots_of_chats: Vec<Slot> =
            import.chats.iter().map(|line| hasher.slot(line.id.as_str())).collect();
        let slot_of_member = |line: &MemberLine| hasher.slot(line.chat_id.as_str());
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
        let mut numbers: Vec<Vec<usize>> = vec![Vec::new(); parts.len()];
        for (number, (line, slot)) in import.members.into_iter().zip(slots_of_members).enumerate() {
            parts[part_of[&slot]].1.members.push(line);
            numbers[part_of[&slot]].push(number);
        }
        let rows = NewRows::of(parts.iter().map(|(_, part)| part).zip(&numbers), hasher, shards);
        let chats = parts.into_iter().map(|(shard, part)| (shard, Arc::new(part))).collect();
        Self { chats, gone, rows }
    }
}

/// The removals among these lines, in pieces that hold no shard for long.
fn removals(
    lines: &[MemberLine],
    hasher: KeyHasher,
    shards: ShardCount,
) -> Vec<(ShardId, Vec<Removal>)> {
    let mut by_shard: BTreeMap<ShardId, Vec<Removal>> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.removed == Flag::YES) {
        let (user_id, chat_id) = (line.user_id.clone(), line.chat_id.clone());
        let shard = hasher.slot(user_id.as_str()).shard(shards);
        let removal = Removal { user_id, chat_id, version: line.version };
        by_shard.entry(shard).or_default().push(removal);
    }
    let pieces = by_shard.iter().flat_map(|(shard, removals)| {
        removals.chunks(IMPORT_SLICE).map(|piece| (*shard, piece.to_vec()))
    });
    pieces.collect()
}

/// What is being done with an import.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    /// The chats' shards look at their parts, and the users' shards give places.
    Checking,
    /// The chats' shards take their parts.
    Taking,
    /// The users' shards take the removals.
    Removing,
}

/// An `import` under way.
pub(super) struct Importing {
    parts: ScatterPlan,
    stage: Stage,
    missing: Missing,
    taken: ImportReply,
}

impl<T> Router<T> {
    pub(super) fn scatter_import(
        &mut self,
        entry: u64,
        parts: ScatterPlan,
        out: &mut Vec<Sent>,
    ) -> Scattered {
        let taken = ImportReply { chats: 0, members: 0 };
        if parts.chats.is_empty() {
            return Scattered::Finished(Ok(Reply::Import(taken)));
        }
        // A single part is looked at where it is taken.
        let is_checked = parts.chats.len() > 1 || !parts.rows.is_empty();
        let stage = if is_checked { Stage::Checking } else { Stage::Taking };
        let mut importing = Importing { parts, stage, missing: Missing::default(), taken };
        if self.import_is_checked {
            self.imports_waiting.push_back(entry);
        } else {
            self.import_is_checked = is_checked;
            self.send_import(&mut importing, entry, out);
        }
        Scattered::Asked(Gather::Import(Box::new(importing)))
    }

    pub(super) fn gather_import(
        &mut self,
        importing: &mut Importing,
        to: ReplyTo,
        answer: Answer,
        out: &mut Vec<Sent>,
    ) -> Option<Outcome> {
        let outcome = match answer {
            Answer::Done(outcome) => outcome.map(Some),
            Answer::Places(places) => {
                importing.parts.rows.place(to.part, &places);
                Ok(None)
            }
            _ => mixed_up().map(Some),
        };
        if importing.stage == Stage::Taking
            && let Ok(Some(Reply::Import(part))) = &outcome
        {
            importing.taken.chats += part.chats;
            importing.taken.members += part.members;
        }
        let ended = importing.missing.note(outcome)?;
        if importing.stage == Stage::Checking {
            self.import_is_checked = false;
            if ended.is_ok() {
                importing.stage = Stage::Taking;
                self.send_import(importing, to.entry, out);
            }
            self.send_waiting_imports(out);
            return ended.err().map(Err);
        }
        if ended.is_ok() && importing.stage == Stage::Taking && !importing.parts.gone.is_empty() {
            importing.stage = Stage::Removing;
            self.send_import(importing, to.entry, out);
            return None;
        }
        self.places_under_way.retain(|(entry, _)| *entry != to.entry);
        let taken = &importing.taken;
        Some(match ended {
            Ok(()) => Ok(Reply::Import(taken.clone())),
            Err(error) if taken.chats + taken.members == 0 => Err(error),
            Err(error) => {
                let (chats, members) = (taken.chats, taken.members);
                let so_far =
                    format!("{chats} chats and {members} members of the request were taken");
                Err(Error::new(error.code, format!("{}; {so_far}", error.message)))
            }
        })
    }

    /// Goes on with those that waited, up to the next one that is checked first.
    fn send_waiting_imports(&mut self, out: &mut Vec<Sent>) {
        while !self.import_is_checked
            && let Some(entry) = self.imports_waiting.pop_front()
        {
            let Some(mut gather) = self.take_out(entry) else { continue };
            if let Gather::Import(importing) = &mut gather {
                self.import_is_checked = importing.stage == Stage::Checking;
                self.send_import(importing, entry, out);
            }
            self.put_back(entry, gather);
        }
    }

    /// Sends what the stage asks for; what is taken is the shards' alone.
    fn send_import(&mut self, importing: &mut Importing, entry: u64, out: &mut Vec<Sent>) {
        let to = self.reply_to(entry, 0);
        let ScatterPlan { chats, gone, rows } = &mut importing.parts;
        match importing.stage {
            Stage::Checking => {
                let from = out.len();
                if chats.len() > 1 {
                    let check = |part: &Arc<Import>| Op::CheckImport(Arc::clone(part));
                    out.extend(chats.iter().map(|(shard, part)| (*shard, to, check(part))));
                }
                let parts = chats.iter().map(|(_, part)| Arc::clone(part)).collect();
                let asked = rows.ask(parts, self.places_under_way.iter().map(|(_, rows)| rows));
                out.extend(asked.into_iter().map(|(part, shard, arrivals)| {
                    (shard, ReplyTo { part, ..to }, Op::Places(arrivals))
                }));
                importing.missing = Missing::of_checks(out.len() - from);
            }
            Stage::Taking => {
                importing.missing = Missing::of(chats.len());
                let places = rows.places_of_parts(chats.iter().map(|(_, part)| part.members.len()));
                self.places_under_way.extend(rows.placed().map(|placed| (entry, placed)));
                let parts = chats.drain(..).zip(places);
                out.extend(
                    parts.map(|((shard, part), places)| (shard, to, Op::Import(part, places))),
                );
            }
            Stage::Removing => {
                importing.missing = Missing::behind_others(gone.len());
                let gone = gone.drain(..);
                out.extend(gone.map(|(shard, piece)| (shard, to, Op::ImportGone(piece))));
            }
        }
    }
}
