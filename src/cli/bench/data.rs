//! The data that the load tool works on: chats, users and rows, computed from their numbers.
//!
//! Every system under test gets the same data. The ids of chat n and user n are computed from n, so
//! that nothing has to store them.
//!
//! Invariants:
//! - Each user has [`CHATS_A_USER`] different chats, spread over all chats.
//! - The numbers of members of any two chats differ by at most one.
//! - `last_sequence` is far ahead, so that read positions can follow the clock for days. So a
//!   mark_read always changes something, in any process, and is never beyond the last message.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use super::super::generate::random::{derive, mix};
use crate::cli::Failure;

/// Chats of each user, which is also the number of rows of each list.
pub const CHATS_A_USER: u64 = 50;
/// How many rows of a user a run marks as read; it deletes the others. A delete raises the read
/// position to the last message, so a later mark_read of that row would change nothing.
pub const ROWS_MARKED: u64 = 40;
/// The last sequence of every chat, before a run advances some.
pub const LAST_SEQUENCE: u64 = 1 << 31;
/// Every read position at the beginning. It is so large that a row keeps its encoded size when it
/// is marked as read.
pub const READ_SEQUENCE: u64 = 1 << 30;
/// Every time in the data: the beginning of 2026 in UTC, in ms since the Unix epoch.
pub const TIME_MS: u64 = 1_767_225_600_000;

/// Bytes of a chat's id: `g_` and 16 hex digits.
pub const CHAT_ID_BYTES: usize = 18;
/// Bytes of a user's id: `0x` and 40 hex digits.
pub const USER_ID_BYTES: usize = 42;

const CHAT_IDS: u64 = 32;
const USER_IDS: u64 = 33;
/// A prime above every number of chats. So its multiples, modulo that number, reach all chats.
const STEP: u64 = 2_654_435_761;
const COUNT_MAX: u64 = 1_000_000_000;

/// The size of the data.
#[derive(Debug, Clone, Copy, Args)]
pub struct DataArgs {
    /// Chats
    #[arg(long, default_value_t = 100_000)]
    pub chats: u64,
    /// Users, each in 50 chats
    #[arg(long, default_value_t = 2000)]
    pub users: u64,
}

/// The data of one size. Ids and members are computed when they are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Data {
    chats: u64,
    users: u64,
    /// The inverse of `STEP` modulo the number of chats; leads from a chat back to its members.
    inverse: u64,
}

impl Data {
    /// Computes the data's constants. Fails if there are too few chats for one user, or too many
    /// chats or users.
    pub fn new(args: DataArgs) -> Result<Self, Failure> {
        let DataArgs { chats, users } = args;
        if !(CHATS_A_USER..=COUNT_MAX).contains(&chats) || !(1..=COUNT_MAX).contains(&users) {
            return Err(Failure::usage(format!(
                "--chats must be {CHATS_A_USER} to {COUNT_MAX}, --users 1 to {COUNT_MAX}"
            )));
        }
        Ok(Self { chats, users, inverse: inverse(STEP % chats, chats) })
    }

    /// How many chats the data has, at least [`CHATS_A_USER`].
    pub fn chats(&self) -> u64 {
        self.chats
    }

    /// How many users the data has, at least 1.
    pub fn users(&self) -> u64 {
        self.users
    }

    /// The number of rows of all users together.
    pub fn memberships(&self) -> u64 {
        self.users * CHATS_A_USER
    }

    /// The number of the chat in a user's row. A `row` of [`CHATS_A_USER`] or more begins again at
    /// the first.
    pub fn chat_of(&self, user: u64, row: u64) -> u64 {
        let membership = user * CHATS_A_USER + row % CHATS_A_USER;
        times(membership % self.chats, STEP % self.chats, self.chats)
    }

    /// The numbers of the users who are in a chat.
    pub fn members_of(&self, chat: u64) -> impl Iterator<Item = u64> {
        let first = times(chat, self.inverse, self.chats);
        let (all, chats) = (self.memberships(), self.chats);
        (0..)
            .map(move |round| first + round * chats)
            .take_while(move |membership| *membership < all)
            .map(|membership| membership / CHATS_A_USER)
    }
}

/// The id of the chat with this number.
pub fn chat_id(chat: u64) -> [u8; CHAT_ID_BYTES] {
    let mut id = *b"g_0000000000000000";
    // `mix` is a bijection, so no two chats get the same id.
    put_hex(id.iter_mut().skip(2), mix(derive(0, CHAT_IDS, 0).wrapping_add(chat)));
    id
}

/// The id of the user with this number.
pub fn user_id(user: u64) -> [u8; USER_ID_BYTES] {
    let mut id = *b"0x0000000000000000000000000000000000000000";
    let first = mix(derive(0, USER_IDS, 0).wrapping_add(user));
    put_hex(id.iter_mut().skip(2).take(16), first);
    put_hex(id.iter_mut().skip(18).take(16), mix(first.rotate_left(32)));
    put_hex(id.iter_mut().skip(34), mix(!first));
    id
}

/// Fills `places` with the hex digits of `value`, the highest digit first.
fn put_hex<'a>(places: impl Iterator<Item = &'a mut u8>, value: u64) {
    let mut rest = value;
    for place in places {
        let digit = u8::try_from(rest >> 60).unwrap_or(0);
        *place = if digit < 10 { b'0' + digit } else { b'a' - 10 + digit };
        rest <<= 4;
    }
}

/// The read position for a mark_read at this moment. It rises each millisecond, and starts again
/// after 12 days.
pub fn sequence_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    READ_SEQUENCE + 1 + now % (LAST_SEQUENCE - READ_SEQUENCE)
}

/// `a * b` modulo `modulus`.
fn times(a: u64, b: u64, modulus: u64) -> u64 {
    let product = u128::from(a) * u128::from(b) % u128::from(modulus);
    u64::try_from(product).unwrap_or(0)
}

/// The inverse of `value` modulo `modulus`, by Euclid's algorithm. The two must have no common
/// divisor.
fn inverse(value: u64, modulus: u64) -> u64 {
    let (mut old, mut new) = (i128::from(modulus), i128::from(value));
    let (mut old_factor, mut new_factor) = (0_i128, 1_i128);
    while new != 0 {
        let quotient = old / new;
        (old, new) = (new, old - quotient * new);
        (old_factor, new_factor) = (new_factor, old_factor - quotient * new_factor);
    }
    u64::try_from(old_factor.rem_euclid(i128::from(modulus))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    #[test]
    fn both_directions_tell_the_same() {
        for (chats, users) in [(50, 1), (50, 7), (1000, 20), (997, 133), (100_000, 2000)] {
            let data = Data::new(DataArgs { chats, users }).unwrap();
            let mut members: HashMap<u64, Vec<u64>> = HashMap::new();
            for user in 0..users {
                let rows: HashSet<u64> =
                    (0..CHATS_A_USER).map(|row| data.chat_of(user, row)).collect();
                assert_eq!(rows.len(), 50, "a user is in a chat once");
                rows.into_iter().for_each(|chat| members.entry(chat).or_default().push(user));
            }
            let even = data.memberships() / chats;
            for chat in 0..chats {
                let found: Vec<u64> = data.members_of(chat).collect();
                assert!((even..=even + 1).contains(&u64::try_from(found.len()).unwrap()));
                assert_eq!(members.remove(&chat).unwrap_or_default(), found);
            }
        }
        assert!(Data::new(DataArgs { chats: 49, users: 1 }).is_err());
    }

    #[test]
    fn ids_are_valid_and_different() {
        let chats: HashSet<_> = (0..1000).map(chat_id).collect();
        let users: HashSet<_> = (0..1000).map(user_id).collect();
        assert_eq!((chats.len(), users.len()), (1000, 1000));
        let digits = |id: &[u8]| id[2..].iter().all(u8::is_ascii_hexdigit);
        assert!(chats.iter().all(|id| digits(id)) && users.iter().all(|id| digits(id)));
    }

    #[test]
    fn a_read_position_is_between_the_first_and_the_last() {
        assert!((READ_SEQUENCE + 1..=LAST_SEQUENCE).contains(&sequence_now()));
    }
}
