//! The keys that a request names, and what it does to each: see [`Footprint::of`].
//!
//! Invariants:
//! - A footprint names each key once.
//! - What another request of the same connection could make differ is named. So two requests without a
//!   common key may be applied in any order.

use smallvec::SmallVec;

use crate::command::Command;
use crate::node::Work;
use crate::types::{ChatId, KeyHasher, UserId};

/// Most keys of one request. One that names more waits for all, and all behind it wait for it.
pub const KEYS_A_REQUEST_MAX: usize = 1024;

/// What a request does to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It changes nothing.
    Read,
    /// It raises read positions. However these follow each other, the highest stays.
    Mark,
    /// It imports lines: imports keep their order by themselves, see [`crate::router`].
    Import,
    /// It changes anything else.
    Write,
}

impl Use {
    /// How many there are.
    pub const COUNT: usize = 4;

    /// Position in a table of uses.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether several requests of this use may be under way at once.
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

/// What one request does to one key, in one number: the key's hash, but for its lowest five bits.
/// (Two keys with one hash wait for each other; that is all.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyTouch(pub(super) u64);

impl KeyTouch {
    const CHAT: u64 = 0b1;
    const USE_SHIFT: u32 = 1;
    const USE: u64 = 0b11 << Self::USE_SHIFT;
    /// It goes over other shards, and has reached the key only when it is answered.
    pub(super) const DETOUR: u64 = 0b1000;
    /// Left to those who keep a touch with something else.
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

    /// The key alone.
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

    /// What both do to their common key.
    fn join(self, other: Self) -> Self {
        let used = if self.used() == other.used() { self.used() } else { Use::Write };
        let key = Self(self.key() | ((used.index() as u64) << Self::USE_SHIFT));
        key.by_detour(self.is_detour() || other.is_detour())
    }
}

/// Which touches are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Those by a detour: nothing is under way that the request would have to wait for.
    Detours,
    /// Those of users too: nothing that is under way has a chat.
    Users,
    /// All.
    All,
}

/// What a request touches.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Each key once.
    pub(super) touches: SmallVec<[KeyTouch; 4]>,
    /// What it does to everything, where keys are not enough to tell it; always by a detour.
    pub(super) all: Option<Use>,
}

impl Footprint {
    /// The footprint of a request. Direct is what a shard does when the request arrives there; a detour is what
    /// is done in a later step, or by another shard's message.
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

    /// That of a request which waits for all, and all for it.
    pub(super) fn everything() -> Self {
        Self { touches: SmallVec::new(), all: Some(Use::Write) }
    }

    fn import() -> Self {
        Self { touches: SmallVec::new(), all: Some(Use::Import) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.touches.is_empty() && self.all.is_none()
    }

    /// What it does to everything: the least of all is to be one of those that an `import` waits for.
    pub(super) fn of_all(&self) -> Use {
        self.all.unwrap_or(Use::Read)
    }

    /// Whether it is under way until it is answered.
    pub(super) fn is_detour(&self) -> bool {
        self.all.is_some() || self.touches.iter().any(|touch| touch.is_detour())
    }
}

/// Joins the touches of one key.
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

/// How a request comes to a key.
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

    /// Gathers what a command touches; false for `import`, which touches anything.
    fn of_command(&mut self, command: &Command) -> bool {
        use By::{Arrival, Detour};
        use Use::{Mark, Read, Write};
        match command {
            Command::Import(_) => return false,
            // They name no key.
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
            // Shards are asked at once, and each answers by itself.
            Command::Detail(detail) => {
                detail.user_id.iter().for_each(|id| self.user(id, Read, Arrival));
                self.chats(&detail.ids, Read, Arrival);
            }
            // The chat may be asked behind the row; what a message brings back may be in the answer.
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
            // The chat is asked first, and tells the row.
            Command::Clear(clear) => {
                self.user(&clear.user_id, Write, Detour);
                self.chat(&clear.chat_id, Read, Arrival);
            }
            Command::MarkRead(read) => {
                let is_plain = read.idempotency_key.is_none() && read.if_version.is_none();
                self.user(&read.user_id, if is_plain { Mark } else { Write }, Detour);
                self.chat(&read.chat_id, Read, Arrival);
            }
            // With a key the rows are asked when all chats have answered.
            Command::MarkReadMany(many) => {
                let has_key = many.idempotency_key.is_some();
                self.user(&many.user_id, if has_key { Write } else { Mark }, Detour);
                let chats = many.items.iter().map(|item| &item.chat_id);
                self.chats(chats, Read, if has_key { Detour } else { Arrival });
            }
            // With a key or `up_to` the chats are asked in a second step.
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
            // It tells the rows of those who are named.
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
            // It tells all rows of the chat.
            Command::Dissolve(dissolve) => self.chat(&dissolve.chat_id, Write, Detour),
        }
        true
    }
}
