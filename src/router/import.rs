//! `import`: sends lines to the shards of their chats, all of them or none.
//!
//! The lines are cut into parts, each small enough for one step of a shard. All lines of a slot are
//! in one part. If there are several parts, each shard first checks whether it could apply its
//! part. The parts are applied only if all could be. Between check and application another
//! connection may act, and a shard may still reject its part. Then the error says that other parts
//! were applied.
//!
//! The removal of a member concerns two shards: the chat's, which may have the member, and the
//! user's, which keeps it for `sync`. The user's shard gets it after all chats have applied their
//! parts.
//!
//! Deliveries of several chats reach a user in no fixed order. So the user's shard assigns each row
//! its place in the user's list while the parts are checked; see [`super::places`].
//!
//! Invariants:
//! - An import is checked only after all parts of the imports before it were sent. Shards work in
//!   the order of sending. So the lines of a request may build on those of the request before it,
//!   even if that has no reply yet.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hashbrown::HashMap;

use super::Sent;
use super::missing::Missing;
use super::places::{NewRows, Placed};
use super::scatter::{Gather, Scatter, Scattered, mixed_up};
use crate::command::import::{Import, ImportReply};
use crate::command::lines::MemberLine;
use crate::command::{Error, Outcome, Reply};
use crate::limits::IMPORT_SLICE;
use crate::shard::op::{Answer, Op, Removal, ReplyTo};
use crate::types::{Flag, KeyHasher, ShardCount, ShardId, Slot};

/// An import cut into parts, which the router sends to shards.
#[derive(Debug, PartialEq)]
pub struct ImportParts {
    /// Lines of chats and members. Each part has all lines of some slots of one shard.
    chats: Vec<(ShardId, Arc<Import>)>,
    /// Removals of members for the users' shards, in slices.
    removals: Vec<(ShardId, Vec<Removal>)>,
    /// The rows that the import creates or changes, sorted by user.
    rows: NewRows,
}

impl ImportParts {
    /// Cuts an import into parts for a node with this number of shards.
    pub fn cut(import: Import, hasher: KeyHasher, shards: ShardCount) -> Self {
        let removals = removals(&import.members, hasher, shards);
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
        Self { chats, removals, rows }
    }
}

/// The removals among `lines`, by the user's shard and in slices of at most `IMPORT_SLICE`.
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

/// What an import waits for.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    /// The chats' shards check their parts, and the users' shards assign places in list order.
    Checking,
    /// The chats' shards apply their parts.
    Taking,
    /// The users' shards apply the removals.
    Removing,
}

/// An `import` under way.
pub(super) struct Importing {
    parts: ImportParts,
    stage: Stage,
    missing: Missing,
    taken: ImportReply,
}

/// The imports of one router that wait for each other.
#[derive(Default)]
pub(super) struct ImportQueue {
    /// Whether an import is being checked. Imports that arrive meanwhile must wait.
    is_checking: bool,
    /// Imports that wait until the one that is being checked has sent its parts. The number is that
    /// of their entry.
    waiting: VecDeque<(u64, Importing)>,
    /// Imports that waited until now; their first operations were just sent.
    resumed: Vec<(u64, Box<dyn Gather>)>,
    /// Places that unanswered imports have given to their rows. The number is the entry of the
    /// import.
    places: Vec<(u64, Placed)>,
}

impl ImportQueue {
    /// Takes the imports that no longer wait, so that the router keeps them in their entries.
    pub(super) fn resumed(&mut self) -> impl Iterator<Item = (u64, Box<dyn Gather>)> {
        self.resumed.drain(..)
    }
}

impl Scatter {
    pub(super) fn scatter_import(
        &mut self,
        entry: u64,
        parts: ImportParts,
        out: &mut Vec<Sent>,
    ) -> Scattered {
        let taken = ImportReply { chats: 0, members: 0 };
        if parts.chats.is_empty() {
            return Scattered::Finished(Ok(Reply::Import(taken)));
        }
        // A single part without rows needs no check of its own: its shard checks and applies it in
        // one step.
        let is_checked = parts.chats.len() > 1 || !parts.rows.is_empty();
        let stage = if is_checked { Stage::Checking } else { Stage::Taking };
        let mut importing = Importing { parts, stage, missing: Missing::default(), taken };
        if self.imports.is_checking {
            self.imports.waiting.push_back((entry, importing));
            return Scattered::Waits;
        }
        self.imports.is_checking = is_checked;
        self.send_import(&mut importing, entry, out);
        Scattered::asked(importing)
    }

    /// Sends the imports that waited, up to and including the first one that must be checked.
    fn send_waiting_imports(&mut self, out: &mut Vec<Sent>) {
        while !self.imports.is_checking
            && let Some((entry, mut importing)) = self.imports.waiting.pop_front()
        {
            self.imports.is_checking = importing.stage == Stage::Checking;
            self.send_import(&mut importing, entry, out);
            self.imports.resumed.push((entry, Box::new(importing)));
        }
    }

    /// Sends the operations of the import's stage. Parts to apply are moved out of `importing`.
    fn send_import(&mut self, importing: &mut Importing, entry: u64, out: &mut Vec<Sent>) {
        let to = self.reply_to(entry, 0);
        let ImportParts { chats, removals, rows } = &mut importing.parts;
        match importing.stage {
            Stage::Checking => {
                let from = out.len();
                if chats.len() > 1 {
                    let check = |part: &Arc<Import>| Op::CheckImport(Arc::clone(part));
                    out.extend(chats.iter().map(|(shard, part)| (*shard, to, check(part))));
                }
                let parts = chats.iter().map(|(_, part)| Arc::clone(part)).collect();
                let asked = rows.ask(parts, self.imports.places.iter().map(|(_, rows)| rows));
                out.extend(asked.into_iter().map(|(part, shard, arrivals)| {
                    (shard, ReplyTo { part, ..to }, Op::Places(arrivals))
                }));
                importing.missing = Missing::of_checks(out.len() - from);
            }
            Stage::Taking => {
                importing.missing = Missing::of(chats.len());
                let places = rows.places_of_parts(chats.iter().map(|(_, part)| part.members.len()));
                self.imports.places.extend(rows.placed().map(|placed| (entry, placed)));
                let parts = chats.drain(..).zip(places);
                out.extend(
                    parts.map(|((shard, part), places)| (shard, to, Op::Import(part, places))),
                );
            }
            Stage::Removing => {
                importing.missing = Missing::behind_others(removals.len());
                let removals = removals.drain(..);
                out.extend(removals.map(|(shard, piece)| (shard, to, Op::ImportRemovals(piece))));
            }
        }
    }
}

impl Gather for Importing {
    fn gather(
        &mut self,
        scatter: &mut Scatter,
        to: ReplyTo,
        answer: Answer,
        out: &mut Vec<Sent>,
    ) -> Option<Outcome> {
        let outcome = match answer {
            Answer::Done(outcome) => outcome.map(Some),
            Answer::Places(places) => {
                self.parts.rows.place(to.part, &places);
                Ok(None)
            }
            _ => mixed_up().map(Some),
        };
        if self.stage == Stage::Taking
            && let Ok(Some(Reply::Import(part))) = &outcome
        {
            self.taken.chats += part.chats;
            self.taken.members += part.members;
        }
        let ended = self.missing.note(outcome)?;
        if self.stage == Stage::Checking {
            scatter.imports.is_checking = false;
            if ended.is_ok() {
                self.stage = Stage::Taking;
                scatter.send_import(self, to.entry, out);
            }
            scatter.send_waiting_imports(out);
            return ended.err().map(Err);
        }
        if ended.is_ok() && self.stage == Stage::Taking && !self.parts.removals.is_empty() {
            self.stage = Stage::Removing;
            scatter.send_import(self, to.entry, out);
            return None;
        }
        scatter.imports.places.retain(|(entry, _)| *entry != to.entry);
        let taken = &self.taken;
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
}
