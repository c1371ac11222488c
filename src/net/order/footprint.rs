//! The keys that a request names, and what it does to each: see [`Footprint::of`].
//!
//! Invariants:
//! - A footprint names each key once.
//! - A footprint names every key at which another request of the connection could make a
//!   difference. So two requests without a common key may be applied in any order.

use smallvec::SmallVec;

use crate::command::Command;
use crate::node::Work;
use crate::types::{ChatId, KeyHasher, UserId};

/// Most keys of one request. A request that names more waits for all others, and all later ones
/// wait for it.
pub const KEYS_A_REQUEST_MAX: usize = 1024;

/// How a request uses a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It reads and changes nothing.
    Read,
    /// It raises read positions. In whichever order marks are applied, the highest stays.
    Mark,
    /// It imports lines. Imports keep their order among themselves, see [`crate::router`].
    Import,
    /// It changes the key in any other way.
    Write,
}

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
/// Two keys with the same remaining bits wait for each other, and nothing worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyTouch(pub(super) u64);

impl KeyTouch {
    const CHAT: u64 = 0b1;
    const USE_SHIFT: u32 = 1;
    const USE: u64 = 0b11 << Self::USE_SHIFT;
    /// The request goes over other shards, and has reached the key only when it is answered.
    pub(super) const DETOUR: u64 = 0b1000;
    /// A bit that the holder of a touch may use.
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

    /// The key without its use and the flags.
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

    /// The touch of a request that does both to their common key.
    fn join(self, other: Self) -> Self {
        let used = if self.used() == other.used() { self.used() } else { Use::Write };
        let key = Self(self.key() | ((used.index() as u64) << Self::USE_SHIFT));
        key.by_detour(self.is_detour() || other.is_detour())
    }
}

/// Which touches [`Footprint::of`] gathers. Fewer touches cost fewer hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Touches by a detour. Enough while no request is under way that this one could wait for.
    Detours,
    /// Also those of users. Enough while no request that is under way touches a chat.
    Users,
    All,
}

/// The keys that a request touches, and how.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// The touches, one for each key.
    pub(super) touches: SmallVec<[KeyTouch; 4]>,
    /// The use of all keys, if single keys cannot describe the request. It is always by a detour.
    pub(super) all: Option<Use>,
}

impl Footprint {
    /// Gathers the footprint of a request, as far as `scope` asks for it.
    ///
    /// A shard does the direct part when the request arrives there. A detour is the part that
    /// happens in a later step, or through another shard's message.
    pub fn of(work: &Work, hasher: KeyHasher, scope: Scope) -> Self {
        let mut keys = Gathered { hasher, scope, touches: SmallVec::new() };
        match work {
            Work::Import(_) => return Self::import(),
            Work::Command(command) if !keys.of_command(command) => return Self::import(),
            Work::Command(_) => {}
        }
        let mut touches = keys.touches;
        if touches.len() > 1 {
            each_once(&mut touches);
        }
        if touches.len() > KEYS_A_REQUEST_MAX {
            return Self::everything();
        }
        Self { touches, all: None }
    }

    /// The footprint of a request that waits for all others, and for which all later ones wait.
    pub(super) fn everything() -> Self {
        Self { touches: SmallVec::new(), all: Some(Use::Write) }
    }

    fn import() -> Self {
        Self { touches: SmallVec::new(), all: Some(Use::Import) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.touches.is_empty() && self.all.is_none()
    }

    /// The use of all keys, in the lane of all. Even a request with single keys is there as a
    /// reader, because an `import` waits for it.
    pub(super) fn of_all(&self) -> Use {
        self.all.unwrap_or(Use::Read)
    }

    /// Whether the request counts as under way until it is answered.
    pub(super) fn is_detour(&self) -> bool {
        self.all.is_some() || self.touches.iter().any(|touch| touch.is_detour())
    }
}

/// Joins the touches of equal keys.
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
}

/// How a request reaches a key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Arrival,
    Detour,
}

impl Gathered {
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

    fn users(&mut self, ids: &[UserId], used: Use) {
        ids.iter().for_each(|id| self.user(id, used, By::Detour));
    }

    fn chats<'a>(&mut self, ids: impl IntoIterator<Item = &'a ChatId>, used: Use, by: By) {
        ids.into_iter().for_each(|id| self.chat(id, used, by));
    }

    /// Gathers the touches of a command. Returns false for `import`, which may touch any key.
    fn of_command(&mut self, command: &Command) -> bool {
        use By::{Arrival, Detour};
        use Use::{Mark, Read, Write};
        match command {
            Command::Import(_) => return false,
            // These name no key.
            Command::Hello(_)
            | Command::Ping(_)
            | Command::Stats(_)
            | Command::Snapshot(_)
            | Command::Export(_)
            | Command::Verify(_)
            | Command::Watch(_)
            | Command::Cancel(_) => {}
            // The user's shard answers alone.
            Command::List(list) => self.user(&list.user_id, Read, Arrival),
            Command::Sync(sync) => self.user(&sync.user_id, Read, Arrival),
            Command::Touch(touch) => {
                self.user(&touch.user_id, Write, Arrival);
                self.chats(touch.chat_ids.iter().flatten(), Read, Arrival);
            }
            // All shards are asked in one step, and each answers by itself.
            Command::Detail(detail) => {
                detail.user_id.iter().for_each(|id| self.user(id, Read, Arrival));
                self.chats(&detail.ids, Read, Arrival);
            }
            // The chat may be asked after the row. The answer may show what a message brings back.
            Command::SetFlags(set) => {
                self.user(&set.user_id, Write, Arrival);
                self.chat(&set.chat_id, Read, Detour);
            }
            Command::Explain(explain) => {
                self.user(&explain.user_id, Read, Arrival);
                self.chat(&explain.chat_id, Read, Detour);
            }
            // The rows are asked first, some users at a time, then their chats.
            Command::Conversations(asked) => self.user(&asked.user_id, Read, Detour),
            Command::Unread(unread) => self.users(&unread.user_ids, Read),
            // The chat is asked first, and delivers to the row.
            Command::Clear(clear) => {
                self.user(&clear.user_id, Write, Detour);
                self.chat(&clear.chat_id, Read, Arrival);
            }
            Command::MarkRead(read) => {
                let is_plain = read.idempotency_key.is_none() && read.if_version.is_none();
                self.user(&read.user_id, if is_plain { Mark } else { Write }, Detour);
                self.chat(&read.chat_id, Read, Arrival);
            }
            // With an idempotency key, the rows are asked after all chats have answered.
            Command::MarkReadMany(many) => {
                let has_key = many.idempotency_key.is_some();
                self.user(&many.user_id, if has_key { Write } else { Mark }, Detour);
                let chats = many.items.iter().map(|item| &item.chat_id);
                self.chats(chats, Read, if has_key { Detour } else { Arrival });
            }
            // With an idempotency key or `up_to`, the chats are asked in a second step.
            Command::Delete(delete) => {
                let has_steps = delete.idempotency_key.is_some() || delete.up_to.is_some();
                self.user(&delete.user_id, Write, Detour);
                self.chats(&delete.ids, Write, if has_steps { Detour } else { Arrival });
            }
            Command::EraseUser(erase) => self.user(&erase.user_id, Write, Detour),
            // The chat's shard decides alone.
            Command::Advance(advance) => self.chat(&advance.chat_id, Write, Arrival),
            Command::Members(members) => self.chat(&members.chat_id, Read, Arrival),
            Command::SetStatus(set) => self.chat(&set.chat_id, Write, Arrival),
            // It delivers to the rows of the users that it names.
            Command::Create(create) => {
                self.chats(&create.id, Write, Arrival);
                self.users(&create.user_ids, Write);
            }
            Command::AddMembers(add) => {
                self.chat(&add.chat_id, Write, Arrival);
                self.users(&add.user_ids, Write);
            }
            Command::RemoveMembers(remove) => {
                self.chat(&remove.chat_id, Write, Arrival);
                self.users(&remove.user_ids, Write);
            }
            // It delivers to all rows of the chat.
            Command::Dissolve(dissolve) => self.chat(&dissolve.chat_id, Write, Detour),
        }
        true
    }
}
