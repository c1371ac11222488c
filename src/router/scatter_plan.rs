//! Splits a request by shard, and puts the answers back into the order of the request.

use std::collections::BTreeMap;

use crate::shard::op::ReplyTo;
use crate::types::ShardId;

/// The positions in the request of each part's items.
#[derive(Default)]
pub(super) struct ScatterPlan(Vec<Vec<usize>>);

impl ScatterPlan {
    /// Groups items, each given with its position, by the shards that own them. The parts come in
    /// the order of shards, each with the number for [`ReplyTo::part`].
    pub(super) fn cut<I>(
        items: impl IntoIterator<Item = (usize, I)>,
        shard_of: impl Fn(&I) -> ShardId,
    ) -> (Self, Vec<(u32, ShardId, Vec<I>)>) {
        let mut by_shard: BTreeMap<u16, (Vec<usize>, Vec<I>)> = BTreeMap::new();
        for (position, item) in items {
            let (positions, part) = by_shard.entry(shard_of(&item).0).or_default();
            positions.push(position);
            part.push(item);
        }
        let mut parts = Self(Vec::with_capacity(by_shard.len()));
        let mut asked = Vec::with_capacity(by_shard.len());
        for (number, (shard, (positions, items))) in (0u32..).zip(by_shard) {
            parts.0.push(positions);
            asked.push((number, ShardId(shard), items));
        }
        (parts, asked)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Calls `put` for each answer of one part, with the element of `places` at the item's
    /// position.
    pub(super) fn put<A, P>(
        &self,
        to: ReplyTo,
        answers: Vec<A>,
        places: &mut [P],
        mut put: impl FnMut(&mut P, A),
    ) {
        let positions = usize::try_from(to.part).ok().and_then(|part| self.0.get(part));
        for (answer, &position) in answers.into_iter().zip(positions.into_iter().flatten()) {
            if let Some(place) = places.get_mut(position) {
                put(place, answer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_back_to_where_they_were_asked() {
        let items = ["a", "b", "c", "d"].into_iter().enumerate().filter(|(at, _)| *at != 1);
        let (parts, asked) = ScatterPlan::cut(items, |item| ShardId(u16::from(*item == "a")));
        assert_eq!(parts.len(), 2);
        assert_eq!(asked, [(0, ShardId(0), vec!["c", "d"]), (1, ShardId(1), vec!["a"])]);
        let mut places = [None; 4];
        for (part, _, items) in asked {
            let to = ReplyTo { core: ShardId(0), entry: 0, part };
            parts.put(to, items, &mut places, |place, item| *place = Some(item));
        }
        assert_eq!(places, [Some("a"), None, Some("c"), Some("d")]);
        let unknown = ReplyTo { core: ShardId(0), entry: 0, part: 9 };
        parts.put(unknown, vec!["x"], &mut places, |place, item| *place = Some(item));
        assert_eq!(places[0], Some("a"));
    }
}
