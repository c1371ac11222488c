//! Values that are valid by their type: ids, sequences, times, flags, slots.
//!
//! Each type checks a value when it is made, also when serde decodes it. So code behind the doors
//! never meets an id that is too long, or a sequence that JavaScript cannot represent.
//!
//! Invariants:
//! - [`ChatId`], [`UserId`] and [`IdempotencyKey`]: 1 to 128 bytes of UTF-8 without control
//!   characters.
//! - [`Sequence`] and [`TimeMs`]: 0 to 2^53 - 1.
//! - [`Flag`]: 0 or 1 in every encoding, `bool` in the program.

use std::fmt;

use compact_str::CompactString;
use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};
use serde::ser::{Serialize, Serializer};
use twox_hash::XxHash64;

use crate::limits::{ID_BYTES_MAX, INTEGER_MAX, SLOTS};

mod interned;

pub use interned::InternedUserId;

/// Why a value was refused, in words that the caller may see.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

fn check_id(text: &str) -> Result<(), Invalid> {
    if text.is_empty() {
        return Err(Invalid("an id must not be empty".into()));
    }
    if text.len() > ID_BYTES_MAX {
        return Err(Invalid(format!(
            "an id must be at most {ID_BYTES_MAX} bytes, this one has {}",
            text.len()
        )));
    }
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~');
    if !text.as_bytes().iter().all(is_plain) && text.chars().any(char::is_control) {
        return Err(Invalid("an id must hold no control characters".into()));
    }
    Ok(())
}

/// Whether the bytes are a valid id: 1 to 128 bytes of UTF-8 without control characters.
pub fn is_id(bytes: &[u8]) -> bool {
    // The loop has no early exit, so that the compiler turns it into a few wide comparisons.
    let is_plain = bytes.iter().fold(true, |all, byte| all & matches!(byte, b' '..=b'~'));
    match is_plain {
        true => (1..=ID_BYTES_MAX).contains(&bytes.len()),
        false => std::str::from_utf8(bytes).is_ok_and(|text| check_id(text).is_ok()),
    }
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(CompactString);

        impl $name {
            /// Checks that `text` is a valid id, and copies it.
            pub fn new(text: &str) -> Result<Self, Invalid> {
                check_id(text)?;
                Ok(Self(CompactString::new(text)))
            }

            /// Moves the id out of a value that will not be used any more.
            pub fn take(&mut self) -> Self {
                Self(std::mem::take(&mut self.0))
            }

            /// Borrows the id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Id;
                impl Visitor<'_> for Id {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an id (a string)")
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::new(text).map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Id)
            }
        }
    };
}

id_type! {
    /// The id of a chat, as the backend chose or derived it.
    ChatId
}
id_type! {
    /// The id of a user, as the backend knows it.
    UserId
}

impl UserId {
    /// The id that stands for a creator who was erased, or is no longer known.
    pub fn erased() -> Self {
        Self(CompactString::const_new("erased"))
    }
}

id_type! {
    /// A text of the client that makes a retry safe. A repeat of the same request with this key
    /// gets the first reply and applies nothing. The text has the form of an id.
    IdempotencyKey
}

macro_rules! integer_type {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(u64);

        impl $name {
            /// The smallest value.
            pub const ZERO: Self = Self(0);

            /// Checks that `value` is at most 2^53 - 1.
            pub fn new(value: u64) -> Result<Self, Invalid> {
                if value > INTEGER_MAX {
                    return Err(Invalid(format!(
                        concat!("a ", $what, " must be at most 2^53-1, this one is {}"),
                        value
                    )));
                }
                Ok(Self(value))
            }

            /// The sequence or time as a plain integer.
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_u64(self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Integer;
                impl Visitor<'_> for Integer {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("a ", $what, " (an integer from 0 to 2^53-1)"))
                    }

                    fn visit_u64<E: de::Error>(self, value: u64) -> Result<$name, E> {
                        $name::new(value).map_err(E::custom)
                    }

                    fn visit_i64<E: de::Error>(self, value: i64) -> Result<$name, E> {
                        u64::try_from(value)
                            .map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))
                            .and_then(|value| self.visit_u64(value))
                    }
                }
                deserializer.deserialize_u64(Integer)
            }
        }
    };
}

integer_type! {
    /// The number of a message in its chat; 0 means "before the first message".
    Sequence, "sequence"
}
integer_type! {
    /// Milliseconds since the Unix epoch.
    TimeMs, "time"
}

impl Sequence {
    /// `self + count`; an error if the sum exceeds 2^53 - 1.
    pub fn checked_add(self, count: u64) -> Result<Self, Invalid> {
        Self::new(self.0.saturating_add(count))
    }
}

impl From<u32> for Sequence {
    fn from(value: u32) -> Self {
        Self(u64::from(value))
    }
}

impl TimeMs {
    /// Joins the upper 16 and the lower 32 bits of a time of 48 bits.
    pub fn from_48_bits(upper: u16, lower: u32) -> Self {
        Self(u64::from(upper) << u32::BITS | u64::from(lower))
    }

    /// `self + milliseconds`, but at most 2^53 - 1.
    pub fn saturating_add(self, milliseconds: u64) -> Self {
        Self(self.0.saturating_add(milliseconds).min(INTEGER_MAX))
    }
}

/// Yes or no; 1 or 0 in every encoding, as in the tables of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Flag(pub bool);

impl Flag {
    /// The flag that is encoded as 1.
    pub const YES: Self = Self(true);
    /// The flag that is encoded as 0.
    pub const NO: Self = Self(false);
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 { "1" } else { "0" })
    }
}

impl Serialize for Flag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(u8::from(self.0))
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match small_integer(deserializer, "0 or 1")? {
            0 => Ok(Self::NO),
            1 => Ok(Self::YES),
            other => Err(de::Error::invalid_value(Unexpected::Unsigned(other), &"0 or 1")),
        }
    }
}

/// Reads an unsigned integer. If there is another type, the error says that `expected` was
/// expected.
fn small_integer<'de, D: Deserializer<'de>>(
    deserializer: D,
    expected: &'static str,
) -> Result<u64, D::Error> {
    struct Small(&'static str);
    impl Visitor<'_> for Small {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_u64<E: de::Error>(self, value: u64) -> Result<u64, E> {
            Ok(value)
        }

        fn visit_i64<E: de::Error>(self, value: i64) -> Result<u64, E> {
            u64::try_from(value).map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))
        }
    }
    deserializer.deserialize_u64(Small(expected))
}

macro_rules! code_type {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $($(#[$variant_doc:meta])* $variant:ident = $code:literal),+) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$variant_doc])* $variant = $code),+
        }

        impl $name {
            /// The number that stands for this value in every encoding.
            pub const fn code(self) -> u8 {
                match self {
                    $(Self::$variant => $code),+
                }
            }

            /// The value that has this number; `None` if there is none.
            pub const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.code(), f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_u8(self.code())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match small_integer(deserializer, $expected)? {
                    $($code => Ok(Self::$variant),)+
                    other => Err(de::Error::invalid_value(Unexpected::Unsigned(other), &$expected)),
                }
            }
        }
    };
}

code_type! {
    /// The type of a chat, which decides who its members are.
    ChatType, "a type (1 single, 2 group, 3 official)",
    /// Two users, who never change.
    Single = 1,
    /// Any number of members, who come and go.
    Group = 2,
    /// The chat of an official account.
    Official = 3
}

code_type! {
    /// Whether a chat accepts messages.
    ChatStatus, "a status (1 normal, 2 disabled)",
    /// The chat accepts messages.
    Normal = 1,
    /// The chat refuses `advance`; everything else works.
    Disabled = 2
}

/// Converts a count to 64 bits, as encodings have it. No supported machine counts further.
pub fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// A part of the keys, by their hash. It is the unit of maps, of snapshots, and of placement on
/// shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// Returns the slot with this number, or `None` from `SLOTS` on.
    pub fn new(number: u16) -> Option<Self> {
        (number < SLOTS).then_some(Self(number))
    }

    /// The number of the slot, below `SLOTS`.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// All slots in the order of their numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SLOTS).map(Self)
    }

    /// The shard that owns this slot, on a node with `shards` shards.
    pub fn shard(self, shards: ShardCount) -> ShardId {
        ShardId(self.0 % shards.0)
    }
}

/// The number of a shard on its node, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

impl ShardId {
    /// The number of the shard as an index into tables with one entry per shard.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// How many shards a node has: at least one, at most `SLOTS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardCount(u16);

impl ShardCount {
    /// Checks that `count` is 1 to `SLOTS`.
    pub fn new(count: u16) -> Result<Self, Invalid> {
        if count == 0 || count > SLOTS {
            return Err(Invalid(format!("the number of shards must be 1 to {SLOTS}")));
        }
        Ok(Self(count))
    }

    /// The number of shards as a plain integer, at least 1.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// All shards in the order of their numbers.
    pub fn all(self) -> impl Iterator<Item = ShardId> {
        (0..self.0).map(ShardId)
    }
}

/// An id with its hash, so that each key of a request is hashed once.
///
/// The id is borrowed as bytes from the request. To check that they are UTF-8 would cost more than
/// to look the id up, and no stored id equals invalid bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hashed<'a> {
    /// The id of a user or a chat, of the form that [`is_id`] accepts.
    pub id: &'a [u8],
    /// The hash of the id by the node's [`KeyHasher`].
    pub hash: u64,
}

impl Hashed<'_> {
    /// The slot that the id belongs to.
    pub fn slot(&self) -> Slot {
        KeyHasher::slot_of_hash(self.hash)
    }
}

impl fmt::Display for Hashed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.id))
    }
}

/// The id of a chat or a user: owned, or borrowed with its hash. What is made for both is a type or
/// a function of an `AsKey`.
pub trait AsKey {
    /// The bytes of the id.
    fn id(&self) -> &[u8];

    /// Borrows the id with its hash, which is computed unless it is there already.
    fn as_key(&self, hasher: KeyHasher) -> Hashed<'_> {
        hasher.hashed(self.id())
    }
}

impl AsKey for ChatId {
    fn id(&self) -> &[u8] {
        self.as_str().as_bytes()
    }
}

impl AsKey for UserId {
    fn id(&self) -> &[u8] {
        self.as_str().as_bytes()
    }
}

impl AsKey for Hashed<'_> {
    fn id(&self) -> &[u8] {
        self.id
    }

    fn as_key(&self, _: KeyHasher) -> Hashed<'_> {
        *self
    }
}

/// The seeded hash (xxh64) that places keys in slots. Every language has a library for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyHasher {
    seed: u64,
}

impl KeyHasher {
    /// Makes a hasher with the node's seed, which is kept in the data directory.
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The seed of the hash, as `hello` reports it to clients.
    pub const fn seed(self) -> u64 {
        self.seed
    }

    /// The 64-bit hash of a key, by the node's seed.
    pub fn hash(self, key: impl AsRef<[u8]>) -> u64 {
        self.hash_bytes(key.as_ref())
    }

    /// Borrows the key together with its hash.
    pub fn hashed<T: AsRef<[u8]> + ?Sized>(self, id: &T) -> Hashed<'_> {
        let id = id.as_ref();
        Hashed { id, hash: self.hash_bytes(id) }
    }

    /// The 64-bit hash of any bytes, by the node's seed.
    pub fn hash_bytes(self, bytes: &[u8]) -> u64 {
        XxHash64::oneshot(self.seed, bytes)
    }

    /// The slot of a key with this hash: the remainder by `SLOTS`.
    pub fn slot_of_hash(hash: u64) -> Slot {
        // `SLOTS` fits into 16 bits, so the remainder does too.
        Slot(u16::try_from(hash % u64::from(SLOTS)).unwrap_or(0))
    }

    /// The slot of a key.
    pub fn slot(self, key: impl AsRef<[u8]>) -> Slot {
        Self::slot_of_hash(self.hash(key))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_are_checked() {
        assert!(ChatId::new("").is_err());
        assert!(ChatId::new(&"x".repeat(128)).is_ok());
        assert!(ChatId::new(&"x".repeat(129)).is_err());
        assert!(UserId::new("a\nb").is_err());
        assert!(UserId::new("a\u{85}b").is_err());
        assert!(UserId::new("会话").is_ok());
        assert!(serde_json::from_str::<UserId>("7").is_err());
    }

    proptest! {
        #[test]
        fn bytes_are_an_id_if_they_are_one_as_text(bytes: Vec<u8>, text in ".{0,140}", plain in "[ -~]{0,140}") {
            for bytes in [&bytes[..], text.as_bytes(), plain.as_bytes()] {
                let as_text = std::str::from_utf8(bytes).ok().map(ChatId::new);
                prop_assert_eq!(is_id(bytes), matches!(as_text, Some(Ok(_))));
            }
        }
    }

    #[test]
    fn integers_stay_exact_in_javascript() {
        assert_eq!(Sequence::new(INTEGER_MAX).unwrap().get(), INTEGER_MAX);
        assert!(Sequence::new(INTEGER_MAX + 1).is_err());
        assert!(serde_json::from_str::<TimeMs>("-1").is_err());
        assert!(serde_json::from_str::<TimeMs>("1.0").is_err());
        assert!(serde_json::from_str::<TimeMs>("9007199254740992").is_err());
    }

    #[test]
    fn flags_are_zero_or_one() {
        assert_eq!(serde_json::from_str::<Flag>("1").unwrap(), Flag::YES);
        assert!(serde_json::from_str::<Flag>("2").is_err());
        assert!(serde_json::from_str::<Flag>("true").is_err());
        assert_eq!(serde_json::to_string(&Flag::YES).unwrap(), "1");
    }

    #[test]
    fn the_hash_is_the_published_xxh64() {
        // Test vectors of the reference implementation: xxh64("", 0) and xxh64("a", 0).
        assert_eq!(KeyHasher::new(0).hash(""), 0xEF46_DB37_51D8_E999);
        assert_eq!(KeyHasher::new(0).hash("a"), 0xD24E_C4F1_A98C_6E5B);
    }

    #[test]
    fn every_slot_has_one_shard() {
        let shards = ShardCount::new(3).unwrap();
        assert_eq!(Slot::all().count(), usize::from(SLOTS));
        assert!(Slot::all().all(|slot| slot.shard(shards).0 < 3));
        assert!(Slot::new(SLOTS).is_none());
    }
}
