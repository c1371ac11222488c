//! The shape of a data set: how large each group is, and who is in each chat. Members are computed
//! when they are asked for.
//!
//! - Two thirds of the chats are single, each with a different pair of users.
//! - Group sizes have a long tail: for each doubling of the size there are half as many groups.
//!   They are scaled so that their sum is exactly the memberships that the single chats leave.
//! - One user in 40 000 (1 to 100 users) is heavy: in about 10 000 groups, or in all groups if
//!   there are fewer.
//! - Each group draws its other members from all users, or from the first half of them, the first
//!   quarter, and so on. So a few users are in many chats, and half of them in few.
//!
//! Invariants: a user is in a chat at most once, and the number of memberships is the one that was
//! asked for.

use super::random::{Permutation, Random, derive};

/// Most members of a group.
pub const GROUP_SIZE_MAX: u64 = 50_000;
/// Fewest members of a group.
pub const GROUP_SIZE_MIN: u64 = 2;
/// Groups of a heavy user, unless there are fewer groups.
pub const HEAVY_GROUPS: u64 = 10_000;
/// There is one heavy user for this many users.
pub const USERS_PER_HEAVY: u64 = 40_000;
/// Most heavy users. Each of them costs work for each group.
pub const HEAVY_MAX: u64 = 100;
/// Most users and most chats of a data set.
pub const COUNT_MAX: u64 = 100_000_000;

const SIZES: u64 = 1;
const PAIRS: u64 = 2;
const LEVELS: u64 = 3;
const MEMBERS: u64 = 4;
const HEAVY: u64 = 5;

/// The kind of a chat, with its number among the chats of that kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChatShape {
    /// The single chat with this number.
    Single(u64),
    /// The group with this number.
    Group(u64),
}

/// The shape of the chat with this number: every third one is a group.
pub fn chat(number: u64) -> ChatShape {
    match (number / 3, number % 3) {
        (row, 2) => ChatShape::Group(row),
        (row, place) => ChatShape::Single(row * 2 + place),
    }
}

/// The shape of a whole data set.
pub struct Shape {
    seed: u64,
    heavy: u64,
    heavy_groups: u64,
    /// The number of users who are not heavy.
    ordinary: u64,
    pairs: Permutation,
    /// The number of members of each group.
    sizes: Vec<u64>,
}

impl Shape {
    /// Decides the sizes of all groups. The error says which number is impossible.
    pub fn new(users: u64, chats: u64, memberships: u64, seed: u64) -> Result<Self, String> {
        if !(3..=COUNT_MAX).contains(&users) || !(1..=COUNT_MAX).contains(&chats) {
            return Err(format!("there must be 3 to {COUNT_MAX} users and 1 to {COUNT_MAX} chats"));
        }
        let groups = chats / 3;
        let singles = chats - groups;
        let pairs = users * (users - 1) / 2;
        if singles > pairs {
            return Err(format!(
                "{users} users are {pairs} pairs, too few for {singles} single chats"
            ));
        }
        let heavy = (users / USERS_PER_HEAVY).clamp(1, HEAVY_MAX);
        let ordinary = users - heavy;
        let size_max = GROUP_SIZE_MAX.min(ordinary);
        let (least, most) =
            (2 * singles + GROUP_SIZE_MIN * groups, 2 * singles + size_max * groups);
        if !(least..=most).contains(&memberships) {
            return Err(format!(
                "{chats} chats of {users} users have {least} to {most} memberships, not {memberships}"
            ));
        }
        let mut random = Random::new(derive(seed, SIZES, 0));
        let mut sizes: Vec<u64> = (0..groups).map(|_| draw_size(&mut random, size_max)).collect();
        fit(&mut sizes, memberships - 2 * singles, size_max);
        let pairs = Permutation::new(derive(seed, PAIRS, 0), pairs);
        Ok(Self { seed, heavy, heavy_groups: HEAVY_GROUPS.min(groups), ordinary, pairs, sizes })
    }

    /// The groups in the order in which a heavy user joins them. The user is in the first of them.
    fn heavy_order(&self, user: u64) -> Permutation {
        let groups = u64::try_from(self.sizes.len()).unwrap_or(u64::MAX);
        Permutation::new(derive(self.seed, HEAVY, user), groups)
    }

    /// Replaces `members` by the numbers of the users in a chat.
    pub fn members(&self, chat: ChatShape, members: &mut Vec<u64>) {
        members.clear();
        match chat {
            ChatShape::Single(number) => {
                let (first, second) = pair(self.pairs.at(number));
                members.extend([first, second]);
            }
            ChatShape::Group(number) => self.group_members(number, members),
        }
    }

    fn group_members(&self, group: u64, members: &mut Vec<u64>) {
        let size = usize::try_from(group).ok().and_then(|index| self.sizes.get(index));
        let size = size.copied().unwrap_or_default();
        let room = usize::try_from(size).unwrap_or(usize::MAX);
        // Each group asks another heavy user first. Otherwise groups with little room would always
        // leave out the same ones.
        let asked = (0..self.heavy).map(|index| (index + group) % self.heavy);
        let chosen = asked.filter(|&user| self.heavy_order(user).at(group) < self.heavy_groups);
        members.extend(chosen.take(room));
        let count = size - u64::try_from(members.len()).unwrap_or(size);
        let mut random = Random::new(derive(self.seed, LEVELS, group));
        let mut halvings = random.next().trailing_zeros().min(6);
        while halvings > 0 && self.ordinary >> halvings < 4 * count {
            halvings -= 1;
        }
        let range = self.ordinary >> halvings;
        let order = Permutation::new(derive(self.seed, MEMBERS, group), range);
        members.extend((0..count).map(|index| self.heavy + order.at(index)));
        // The first member becomes the creator, who should not always be a heavy user.
        let last = members.len().saturating_sub(1);
        members.swap(0, last);
    }
}

/// The pair with this number, in the order (0,1), (0,2), (1,2), (0,3), ...
fn pair(number: u64) -> (u64, u64) {
    let second = u64::midpoint(1, (8 * number + 1).isqrt());
    (number - second * (second - 1) / 2, second)
}

/// Draws the size of a group, up to twice the bound. Most data sets are scaled down afterwards, and
/// their largest groups should then still reach the bound.
fn draw_size(random: &mut Random, size_max: u64) -> u64 {
    let doubled = random.next().trailing_zeros().min(20);
    let least = 3_u64 << doubled;
    (least + random.below(least)).clamp(GROUP_SIZE_MIN, 2 * size_max)
}

/// Scales the sizes so that their sum is `target`, which [`Shape::new`] found possible.
fn fit(sizes: &mut [u64], target: u64, size_max: u64) {
    let drawn: u64 = sizes.iter().sum();
    for size in &mut *sizes {
        *size = (*size * target / drawn.max(1)).clamp(GROUP_SIZE_MIN, size_max);
    }
    // Rounding and the bounds leave a difference. Each round spreads a part of it over all sizes in
    // proportion, so that the shape stays. A size with room changes by at least one.
    let mut sum: u64 = sizes.iter().sum();
    while sum != target {
        for size in &mut *sizes {
            let share = (*size / 8).max(1);
            if sum < target {
                let more = share.min(size_max - *size).min(target - sum);
                (*size, sum) = (*size + more, sum + more);
            } else {
                let less = share.min(*size - GROUP_SIZE_MIN).min(sum - target);
                (*size, sum) = (*size - less, sum - less);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_counted_through() {
        let pairs: Vec<_> = (0..6).map(pair).collect();
        assert_eq!(pairs, [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]);
        let last = 100_000_000 * 99_999_999 / 2 - 1;
        assert_eq!(pair(last), (99_999_998, 99_999_999));
    }

    #[test]
    fn two_thirds_are_single() {
        let chats: Vec<_> = (0..6).map(chat).collect();
        assert_eq!(chats[..3], [ChatShape::Single(0), ChatShape::Single(1), ChatShape::Group(0)]);
        assert_eq!(chats[3..], [ChatShape::Single(2), ChatShape::Single(3), ChatShape::Group(1)]);
    }

    #[test]
    fn sizes_fit_at_both_ends() {
        for target in [20, 21, 500, 999, 1000] {
            let mut sizes = vec![3, 900, 5, 7, 100, 3, 3, 4, 60, 3];
            fit(&mut sizes, target, 100);
            assert_eq!(sizes.iter().sum::<u64>(), target);
            assert!(sizes.iter().all(|size| (2..=100).contains(size)));
        }
    }

    #[test]
    fn what_cannot_be_is_said() {
        assert!(Shape::new(2, 10, 20, 1).is_err());
        assert!(Shape::new(10, 100, 1000, 1).err().unwrap().contains("45 pairs"));
        assert!(Shape::new(100, 30, 59, 1).err().unwrap().contains("60 to"));
    }
}
