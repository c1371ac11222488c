//! The keys that a request names, and what it does to each: see [`Footprint::of`].
//!
//! Invariants:
//! - A footprint names each key once.
//! - A footprint names every key at which the order of two requests could make a difference. So two
//!   requests without a common key may be applied in any order.

use smallvec::SmallVec;

use crate::command::{By, NamedKeys, Use};
use crate::node::Work;
use crate::types::{ChatId, KeyHasher, UserId};

/// Most keys of one footprint. A request that names more waits for all others, and all later ones
/// wait for it.
pub const KEYS_A_REQUEST_MAX: usize = 1024;

impl Use {
    /// The number of uses.
    pub const COUNT: usize = 4;

    /// The position of this use in a table of [`Self::COUNT`] uses.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether several requests with this use of one key may be under way at the same time.
    pub const fn is_shared(self) -> bool {
        !matches!(self, Self::Write)
    }

    const fn from_bits(bits: u64) -> Self {
        match bits {
            0 => Self::Read,
            1 => Self::Mark,
            2 => Self::Import,
            _ => Self::Write,
        }
    }
}

/// What one request does to one key, in one number: the key's hash, with flags in its lowest five
/// bits.
///
/// Two keys whose hashes differ only in those bits count as one. Their requests wait for each other
/// without need; nothing else happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyTouch(pub(super) u64);

impl KeyTouch {
    const CHAT: u64 = 0b1;
    const USE_SHIFT: u32 = 1;
    const USE: u64 = 0b11 << Self::USE_SHIFT;
    /// The request goes over other shards: only its reply shows that it has reached the key.
    pub(super) const DETOUR: u64 = 0b1000;
    /// A bit without a meaning here; [`super::OrderKey`] uses it in marks.
    pub(super) const FREE: u64 = 0b1_0000;

    pub(super) fn user(hash: u64, used: Use) -> Self {
        let hash = hash & !(Self::CHAT | Self::USE | Self::DETOUR | Self::FREE);
        Self(hash | ((used.index() as u64) << Self::USE_SHIFT))
    }

    pub(super) fn chat(hash: u64, used: Use) -> Self {
        Self(Self::user(hash, used).0 | Self::CHAT)
    }

    fn by_detour(self, is_detour: bool) -> Self {
        if is_detour { Self(self.0 | Self::DETOUR) } else { self }
    }

    /// The key's hash and its kind, without the use and the flags.
    pub(super) fn key(self) -> u64 {
        self.0 & !(Self::USE | Self::DETOUR | Self::FREE)
    }

    pub(super) fn is_of_chat(self) -> bool {
        self.0 & Self::CHAT != 0
    }

    pub(super) fn used(self) -> Use {
        Use::from_bits((self.0 & Self::USE) >> Self::USE_SHIFT)
    }

    pub(super) fn is_detour(self) -> bool {
        self.0 & Self::DETOUR != 0
    }

    /// Joins two touches of one key by the same request into the stricter use.
    fn join(self, other: Self) -> Self {
        let used = if self.used() == other.used() { self.used() } else { Use::Write };
        let key = Self(self.key() | ((used.index() as u64) << Self::USE_SHIFT));
        key.by_detour(self.is_detour() || other.is_detour())
    }
}

/// For which keys [`Footprint::of`] gathers a [`KeyTouch`]. Each costs a hash, so the caller
/// chooses the smallest scope that is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Only touches by a detour. Enough while no request under way could block this one.
    Detours,
    /// Also direct touches of users. Enough while no request under way touches a chat.
    Users,
    All,
}

/// What a request does to which keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// What the request does to single keys: one touch for each key.
    pub(super) touches: SmallVec<[KeyTouch; 4]>,
    /// The use of all keys, if single keys cannot describe the request. Such a request is always a
    /// detour.
    pub(super) all: Option<Use>,
}

impl Footprint {
    /// Gathers the keys that a request touches, as far as `scope` asks for them.
    ///
    /// A direct touch happens when the request arrives at the key's shard. A detour happens in a
    /// later step, or through another shard's message.
    pub fn of(work: &Work, hasher: KeyHasher, scope: Scope) -> Self {
        let mut keys = Gathered { hasher, scope, touches: SmallVec::new(), all: None };
        match work {
            Work::Import(_) => keys.all(Use::Import),
            Work::Command(command) => command.touch(&mut keys),
        }
        let Gathered { mut touches, all, .. } = keys;
        if touches.len() > 1 {
            each_once(&mut touches);
        }
        if touches.len() > KEYS_A_REQUEST_MAX {
            return Self::everything();
        }
        Self { touches, all }
    }

    /// The footprint of a request that touches everything: it waits for all others, and all later
    /// ones wait for it.
    pub(super) fn everything() -> Self {
        Self { touches: SmallVec::new(), all: Some(Use::Write) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.touches.is_empty() && self.all.is_none()
    }

    /// What the request is in the lane of all keys. A request with single keys counts there as a
    /// reader, so that an `import` waits for it.
    pub(super) fn of_all(&self) -> Use {
        self.all.unwrap_or(Use::Read)
    }

    /// Whether the request has a detour. Then later requests for its keys wait until it is
    /// answered.
    pub(super) fn is_detour(&self) -> bool {
        self.all.is_some() || self.touches.iter().any(|touch| touch.is_detour())
    }
}

/// Joins touches of one key, so that each key is there once.
fn each_once(touches: &mut SmallVec<[KeyTouch; 4]>) {
    touches.sort_unstable_by_key(|touch| touch.key());
    touches.dedup_by(|next, kept| {
        let is_same = next.key() == kept.key();
        if is_same {
            *kept = kept.join(*next);
        }
        is_same
    });
}

struct Gathered {
    hasher: KeyHasher,
    scope: Scope,
    touches: SmallVec<[KeyTouch; 4]>,
    all: Option<Use>,
}

impl NamedKeys for Gathered {
    fn user(&mut self, id: &UserId, used: Use, by: By) {
        if by == By::Detour || self.scope >= Scope::Users {
            let touch = KeyTouch::user(self.hasher.hash(id.as_str()), used);
            self.touches.push(touch.by_detour(by == By::Detour));
        }
    }

    fn chat(&mut self, id: &ChatId, used: Use, by: By) {
        if by == By::Detour || self.scope == Scope::All {
            let touch = KeyTouch::chat(self.hasher.hash(id.as_str()), used);
            self.touches.push(touch.by_detour(by == By::Detour));
        }
    }

    fn all(&mut self, used: Use) {
        self.all = Some(used);
    }
}
