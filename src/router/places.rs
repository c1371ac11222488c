//! Finds the place in list order of each row that an `import` brings: its join order.
//!
//! The user's shard assigns the places, as it has the user's existing rows. It does not have the
//! rows that earlier imports are still bringing. The router sent those imports, so it adds their
//! places to the request.
//!
//! Invariants:
//! - Lines are sorted by the hash of their user, and for one user in the order of the request.

use std::sync::Arc;

use hashbrown::HashSet;

use crate::command::import::Import;
use crate::limits::SCAN_ROWS;
use crate::shard::op::{Arrival, Arrivals, LineAt};
use crate::types::{Flag, KeyHasher, ShardCount, ShardId};

/// The places of rows that an import brings: pairs of a user's hash and a place, sorted by hash.
pub(super) type Placed = Vec<(u64, u64)>;

/// A line of an import that brings a row.
#[derive(Debug, PartialEq)]
struct Line {
    user: u64,
    /// The position of the line in the request.
    number: usize,
    at: LineAt,
    place: u64,
}

/// Lines whose users belong to one shard, small enough to be sent as one operation.
#[derive(Debug, PartialEq)]
struct Slice {
    shard: ShardId,
    /// For each user, the range of their lines in [`NewRows::lines`].
    users: Vec<std::ops::Range<usize>>,
    lines: usize,
}

/// The rows that an import brings, with their places.
#[derive(Debug, PartialEq)]
pub(super) struct NewRows {
    lines: Vec<Line>,
    slices: Vec<Slice>,
}

impl NewRows {
    /// Collects the lines that bring rows. Next to each part is the position of each of its members
    /// in the request. All lines of one membership are in one part.
    pub(super) fn of<'a>(
        parts: impl Iterator<Item = (&'a Import, &'a Vec<usize>)>,
        hasher: KeyHasher,
        shards: ShardCount,
    ) -> Self {
        let mut lines = Vec::new();
        for (part, (import, numbers)) in parts.enumerate() {
            let mut left = HashSet::new();
            for (line, (member, number)) in import.members.iter().zip(numbers).enumerate() {
                let membership = (&member.user_id, &member.chat_id);
                if member.removed == Flag::YES {
                    left.insert(membership);
                    continue;
                }
                let joins_again = !left.is_empty() && left.contains(&membership);
                let user = hasher.hash(member.user_id.as_str());
                let at = LineAt { part, line, joins_again };
                lines.push(Line { user, number: *number, at, place: 0 });
            }
        }
        lines.sort_unstable_by_key(|line| (line.user, line.number));
        let slices = slices(&lines, shards);
        Self { lines, slices }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The requests for the users' shards: for each slice its number, its shard and its lines.
    pub(super) fn ask<'a>(
        &self,
        parts: Arc<[Arc<Import>]>,
        under_way: impl Iterator<Item = &'a Placed>,
    ) -> Vec<(u32, ShardId, Arrivals)> {
        let mut taken = self.places_of_these_users(under_way);
        let mut asked = Vec::with_capacity(self.slices.len());
        for (number, slice) in (0..).zip(&self.slices) {
            let arrival = |range: &std::ops::Range<usize>| {
                let lines = self.lines.get(range.clone()).unwrap_or_default();
                let under_way = taken.get_mut(range.start).map(std::mem::take).unwrap_or_default();
                Arrival { lines: lines.iter().map(|line| line.at).collect(), under_way }
            };
            let users = slice.users.iter().map(arrival).collect();
            asked.push((number, slice.shard, Arrivals { parts: Arc::clone(&parts), users }));
        }
        asked
    }

    /// The places in `under_way` that belong to users of this import. They stand at the first line
    /// of their user.
    fn places_of_these_users<'a>(
        &self,
        under_way: impl Iterator<Item = &'a Placed>,
    ) -> Vec<Vec<u64>> {
        let mut found = Vec::new();
        for placed in under_way {
            found.resize(self.lines.len(), Vec::new());
            let (mut left, mut before) = (placed.iter().peekable(), None);
            for (line, places) in self.lines.iter().zip(&mut found) {
                if before.replace(line.user) == Some(line.user) {
                    continue;
                }
                while left.next_if(|(user, _)| *user < line.user).is_some() {}
                while let Some((_, place)) = left.next_if(|(user, _)| *user == line.user) {
                    places.push(*place);
                }
            }
        }
        found
    }

    /// Notes the places that a user's shard assigned to the lines of one slice.
    pub(super) fn place(&mut self, slice: u32, places: &[Vec<u64>]) {
        let slice = usize::try_from(slice).ok().and_then(|slice| self.slices.get(slice));
        for (range, places) in slice.iter().flat_map(|slice| &slice.users).zip(places) {
            let lines = self.lines.get_mut(range.clone()).unwrap_or_default();
            lines.iter_mut().zip(places).for_each(|(line, place)| line.place = *place);
        }
    }

    /// The places for the chats' shards: one for each member of each part. `lengths` has the number
    /// of members of each part.
    pub(super) fn places_of_parts(&self, lengths: impl Iterator<Item = usize>) -> Vec<Vec<u64>> {
        let mut parts: Vec<Vec<u64>> = lengths.map(|length| vec![0; length]).collect();
        for Line { at, place, .. } in &self.lines {
            if let Some(found) = parts.get_mut(at.part).and_then(|part| part.get_mut(at.line)) {
                *found = *place;
            }
        }
        parts
    }

    /// The places of this import's rows, for the imports that follow; `None` if it brings no rows.
    pub(super) fn placed(&self) -> Option<Placed> {
        let placed = self.lines.iter().map(|line| (line.user, line.place));
        (!self.lines.is_empty()).then(|| placed.collect())
    }
}

/// Cuts lines, which are sorted by user, into slices for the users' shards. A user is never split.
fn slices(lines: &[Line], shards: ShardCount) -> Vec<Slice> {
    let mut open: Vec<Slice> = shards.all().map(Slice::of).collect();
    let mut slices = Vec::new();
    let mut start = 0;
    for user in lines.chunk_by(|one, other| one.user == other.user) {
        let (range, shard) = (start..start + user.len(), shard_of(user, shards));
        start = range.end;
        let Some(slice) = open.get_mut(shard.index()) else { continue };
        slice.lines += range.len();
        slice.users.push(range);
        if slice.lines >= SCAN_ROWS {
            slices.push(std::mem::replace(slice, Slice::of(shard)));
        }
    }
    slices.extend(open.into_iter().filter(|slice| slice.lines > 0));
    slices
}

fn shard_of(lines: &[Line], shards: ShardCount) -> ShardId {
    let user = lines.first().map_or(0, |line| line.user);
    KeyHasher::slot_of_hash(user).shard(shards)
}

impl Slice {
    fn of(shard: ShardId) -> Self {
        Self { shard, users: Vec::new(), lines: 0 }
    }
}
