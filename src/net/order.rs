//! Keeps the requests of one connection that name the same user in the order sent.
//!
//! Most requests keep their order by themselves: they travel to their shard in a queue. But
//! `delete`, `clear` and `mark_read` go to the chat first and reach the user's row from there; what
//! the same connection sends for the same user behind them would overtake them. So it is held until
//! they are answered. (`mark_read`s do not wait for each other: they may be applied in any order.)
//! `unread` names many users: it waits for every detour, and what is behind it waits for it.
//!
//! Invariants:
//! - A held request leaves in its turn: never before one for the same user that was held earlier.
//! - A user is in the table exactly while a detour or a held request of theirs is there.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::command::Command;
use crate::node::ticket::Asked;
use crate::types::KeyHasher;

/// What a request means for the order, in one number: the hash of the user that it names, but for
/// its lowest four bits. (Two users with one hash wait for each other; that is all.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way(u64);

impl Way {
    /// It goes over the chat, and has reached the user only when it is answered.
    const DETOUR: u64 = 0b01;
    /// It is a `mark_read`.
    const READ: u64 = 0b10;
    /// It names any number of users.
    const EVERYONE: u64 = 0b100;
    /// Beside a way, in a mark alone: the reply may be large.
    const LARGE: u64 = 0b1000;
    const BITS: u64 = Self::DETOUR | Self::READ | Self::EVERYONE | Self::LARGE;

    /// The way of a command; none if it names no user.
    pub fn of(command: &Command, hasher: KeyHasher) -> Option<Self> {
        let (user_id, bits) = match command {
            Command::List(list) => (&list.user_id, 0),
            Command::Detail(detail) => (detail.user_id.as_ref()?, 0),
            Command::SetFlags(set) => (&set.user_id, 0),
            Command::Touch(touch) => (&touch.user_id, 0),
            Command::Delete(delete) => (&delete.user_id, Self::DETOUR),
            Command::Clear(clear) => (&clear.user_id, Self::DETOUR),
            Command::MarkRead(read) => (&read.user_id, Self::DETOUR | Self::READ),
            Command::MarkReadMany(many) => (&many.user_id, Self::DETOUR | Self::READ),
            Command::EraseUser(erase) => (&erase.user_id, Self::DETOUR),
            Command::Conversations(asked) => (&asked.user_id, 0),
            Command::Sync(sync) => (&sync.user_id, 0),
            Command::Explain(explain) => (&explain.user_id, 0),
            Command::Unread(_) => return Some(Self(Self::EVERYONE)),
            _ => return None,
        };
        let user = hasher.hash(user_id.as_str()) & !Self::BITS;
        Some(Self(user | bits))
    }

    /// The number that a ticket carries: what is to be noted when it is answered.
    pub fn mark(way: Option<Self>, is_large: bool) -> u64 {
        let way = way.filter(|way| way.is_detour()).map_or(0, |way| way.0);
        if is_large { way | Self::LARGE } else { way }
    }

    /// The way of an answer that needs to be noted, and whether the reply might have been large.
    pub fn of_mark(mark: u64) -> (Option<Self>, bool) {
        let way = mark & !Self::LARGE;
        ((way != 0).then_some(Self(way)), mark & Self::LARGE != 0)
    }

    fn user(self) -> u64 {
        self.0 & !Self::BITS
    }

    fn is_detour(self) -> bool {
        self.0 & Self::DETOUR != 0
    }

    fn is_read(self) -> bool {
        self.0 & Self::READ != 0
    }

    fn is_everyone(self) -> bool {
        self.0 & Self::EVERYONE != 0
    }
}

#[derive(Debug, Default)]
struct User {
    reads: usize,
    others: usize,
    held: usize,
}

impl User {
    fn is_on_detour(&self) -> bool {
        self.reads > 0 || self.others > 0
    }

    fn is_idle(&self) -> bool {
        self.reads == 0 && self.others == 0 && self.held == 0
    }
}

/// A request that waits for its turn.
#[derive(Debug)]
pub struct Held {
    /// Which.
    pub asked: Asked,
    /// What it asks.
    pub command: Command,
    /// Its way.
    pub way: Way,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Order {
    users: HashMap<u64, User>,
    held: VecDeque<Held>,
    held_bytes: usize,
    /// Held requests that name any number of users.
    everyone_held: usize,
}

impl Order {
    /// Requests that wait.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Their bytes.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Whether a read that names the user with this hash may go now.
    pub fn may_read(&self, user_hash: u64) -> bool {
        if self.users.is_empty() && self.everyone_held == 0 {
            return true;
        }
        let user = user_hash & !Way::BITS;
        self.everyone_held == 0 && !self.users.contains_key(&user)
    }

    /// Whether a request may go now. If it takes a detour it is noted; [`Self::done`] must follow
    /// when it is answered.
    pub fn may_go(&mut self, way: Way) -> bool {
        if self.everyone_held > 0 {
            return false;
        }
        if way.is_everyone() {
            return self.users.is_empty();
        }
        match self.users.get_mut(&way.user()) {
            Some(user)
                if user.held > 0 || user.others > 0 || (user.reads > 0 && !way.is_read()) =>
            {
                false
            }
            Some(user) => {
                note(user, way);
                true
            }
            None => {
                if way.is_detour() {
                    note(self.users.entry(way.user()).or_default(), way);
                }
                true
            }
        }
    }

    /// Holds a request that may not go.
    pub fn hold(&mut self, held: Held) {
        if held.way.is_everyone() {
            self.everyone_held += 1;
        } else {
            self.users.entry(held.way.user()).or_default().held += 1;
        }
        self.held_bytes += held.asked.bytes;
        self.held.push_back(held);
    }

    /// A request that took a detour is answered.
    pub fn done(&mut self, way: Way) {
        let Some(user) = self.users.get_mut(&way.user()) else { return };
        let count = if way.is_read() { &mut user.reads } else { &mut user.others };
        *count = count.saturating_sub(1);
        if user.is_idle() {
            self.users.remove(&way.user());
        }
    }

    /// The next held request that may go now; it is noted as by [`Self::may_go`].
    pub fn release(&mut self) -> Option<Held> {
        let mut passed: Vec<u64> = Vec::new();
        for at in 0..self.held.len() {
            let way = self.held.get(at)?.way;
            if way.is_everyone() {
                // Nothing behind it goes before it.
                if at > 0 || self.users.values().any(User::is_on_detour) {
                    return None;
                }
                self.everyone_held -= 1;
                return self.let_go(at);
            }
            let user = self.users.get_mut(&way.user())?;
            let free = user.others == 0 && (user.reads == 0 || way.is_read());
            if free && !passed.contains(&way.user()) {
                user.held -= 1;
                note(user, way);
                if user.is_idle() {
                    self.users.remove(&way.user());
                }
                return self.let_go(at);
            }
            passed.push(way.user());
        }
        None
    }

    fn let_go(&mut self, at: usize) -> Option<Held> {
        let held = self.held.remove(at)?;
        self.held_bytes -= held.asked.bytes;
        Some(held)
    }
}

fn note(user: &mut User, way: Way) {
    if way.is_detour() {
        let count = if way.is_read() { &mut user.reads } else { &mut user.others };
        *count += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::command::Kind;

    fn asked(id: u64) -> Asked {
        Asked { id, started: Instant::now(), bytes: 100 }
    }

    fn command(kind: Kind, user: &str) -> Command {
        let arguments = match kind {
            Kind::List => serde_json::json!({"user_id": user}),
            Kind::MarkRead => serde_json::json!({"user_id": user, "chat_id": "c", "seq": 1}),
            _ => serde_json::json!({"user_id": user, "chat_id": "c"}),
        };
        Command::from_json(kind, arguments).unwrap()
    }

    fn way(kind: Kind, user: &str) -> Way {
        Way::of(&command(kind, user), KeyHasher::new(1)).unwrap()
    }

    fn held(id: u64, kind: Kind, user: &str) -> Held {
        Held { asked: asked(id), command: command(kind, user), way: way(kind, user) }
    }

    #[test]
    fn what_follows_a_detour_waits_and_keeps_its_order() {
        let mut order = Order::default();
        assert!(order.may_go(way(Kind::Clear, "a")));
        assert!(!order.may_go(way(Kind::List, "a")));
        order.hold(held(1, Kind::List, "a"));
        order.hold(held(2, Kind::MarkRead, "a"));
        order.hold(held(3, Kind::List, "a"));
        assert!(order.may_go(way(Kind::List, "b")), "another user does not wait");
        assert!(order.release().is_none());
        assert_eq!((order.held(), order.held_bytes()), (3, 300));
        order.done(way(Kind::Clear, "a"));
        assert_eq!(order.release().unwrap().asked.id, 1);
        assert_eq!(order.release().unwrap().asked.id, 2);
        assert_eq!((order.held(), order.held_bytes()), (1, 100));
        assert!(order.release().is_none(), "the read is under way");
        assert!(!order.may_go(way(Kind::List, "a")));
        order.done(way(Kind::MarkRead, "a"));
        assert_eq!(order.release().unwrap().asked.id, 3);
        assert_eq!((order.held(), order.held_bytes()), (0, 0));
        assert!(order.users.is_empty());
    }

    #[test]
    fn what_names_everyone_waits_for_all_and_all_for_it() {
        let unread = Command::from_json(Kind::Unread, serde_json::json!({"user_ids": ["a"]}));
        let unread = unread.unwrap();
        let everyone = Way::of(&unread, KeyHasher::new(1)).unwrap();
        let held_unread = |id| Held { asked: asked(id), command: unread.clone(), way: everyone };
        let mut order = Order::default();
        assert!(order.may_go(everyone), "nothing is under way");
        assert!(order.may_go(way(Kind::Clear, "a")));
        assert!(!order.may_go(everyone));
        order.hold(held_unread(1));
        assert!(!order.may_go(way(Kind::List, "b")), "it would overtake");
        order.hold(held(2, Kind::List, "b"));
        assert!(order.release().is_none());
        order.done(way(Kind::Clear, "a"));
        assert_eq!(order.release().unwrap().asked.id, 1);
        assert_eq!(order.release().unwrap().asked.id, 2);
        assert!(order.release().is_none());
        assert!(order.users.is_empty() && order.everyone_held == 0 && order.held_bytes() == 0);
    }

    #[test]
    fn reads_do_not_wait_for_reads() {
        let mut order = Order::default();
        assert!(order.may_go(way(Kind::MarkRead, "a")));
        assert!(order.may_go(way(Kind::MarkRead, "a")));
        order.done(way(Kind::MarkRead, "a"));
        assert!(!order.may_go(way(Kind::List, "a")));
        order.done(way(Kind::MarkRead, "a"));
        assert!(order.may_go(way(Kind::List, "a")));
        assert!(order.users.is_empty());
    }
}
