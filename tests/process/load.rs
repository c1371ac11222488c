//! Random writes on several connections at once, each noted in the ledger.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use chatshard::client::{ClientOptions, Connection};
use chatshard::command::Command;
use chatshard::command::add_members::AddMembers;
use chatshard::command::create::Create;
use chatshard::command::dissolve::Dissolve;
use chatshard::command::remove_members::RemoveMembers;
use chatshard::command::set_flags::SetFlags;
use chatshard::command::snapshot::Snapshot;
use chatshard::types::{ChatId, ChatType, Flag, UserId};
use tokio::sync::Notify;

use super::Random;
use super::ledger::{Chat, Ledger, Once, commands};

/// Connections that write at once.
const CONNECTIONS: u64 = 4;
/// Requests under way on each of them.
const DEPTH: usize = 48;
/// Users of all requests: few, so that the requests meet.
const USERS: u64 = 40;
/// Users of giant chats: more than one slice of a delivery.
const GIANT_USERS: u64 = 600;
/// Bounds of giant chats and of all chats. Beyond them most requests go to existing chats.
const GIANTS_MAX: usize = 12;
const CHATS_MAX: usize = 400;

/// State that all connections share.
pub struct Load {
    /// Requests that were sent, and their replies.
    pub ledger: RefCell<Ledger>,
    random: RefCell<Random>,
    /// Chats that the newest published snapshot holds at least, each with its last sequence.
    pub saved: RefCell<BTreeMap<ChatId, u64>>,
    /// Notified with each reply.
    pub answered: Notify,
}

/// The id of a user, by number.
pub fn user(number: u64) -> UserId {
    UserId::new(&format!("user-{number}")).unwrap()
}

/// Every user that may have a row.
pub fn all_users() -> impl Iterator<Item = UserId> {
    (0..GIANT_USERS).map(user)
}

impl Load {
    /// A load from a seed. It repeats as far as the server's speed allows.
    pub fn new(seed: u64) -> Rc<Self> {
        Rc::new(Self {
            ledger: RefCell::default(),
            random: RefCell::new(Random(seed)),
            saved: RefCell::default(),
            answered: Notify::new(),
        })
    }

    /// A random number below `bound`.
    pub fn below(&self, bound: u64) -> u64 {
        self.random.borrow_mut().below(bound)
    }

    /// Writes, and takes snapshots, until the server is gone.
    pub async fn write(self: &Rc<Self>, address: SocketAddr) {
        tokio::join!(self.write_without_snapshots(address), self.take_snapshots(address));
    }

    /// Writes until the server is gone.
    pub async fn write_without_snapshots(self: &Rc<Self>, address: SocketAddr) {
        let one = |_| tokio::task::spawn_local(Self::write_one(Rc::clone(self), address));
        for writer in (0..CONNECTIONS).map(one).collect::<Vec<_>>() {
            writer.await.unwrap();
        }
    }

    /// Waits for this many acknowledged writes of this round.
    pub async fn wait_acknowledged(&self, count: u64) {
        self.wait_until(|ledger| ledger.acknowledged >= count).await;
    }

    /// Waits until the ledger satisfies `is_so`.
    pub async fn wait_until(&self, is_so: impl Fn(&Ledger) -> bool) {
        while !is_so(&self.ledger.borrow()) {
            self.answered.notified().await;
        }
    }

    async fn write_one(self: Rc<Self>, address: SocketAddr) {
        let Ok((mut connection, _)) = Connection::connect(address, &ClientOptions::default()).await
        else {
            return;
        };
        let mut tokens = HashMap::new();
        loop {
            while connection.in_flight() < DEPTH {
                let Some(command) = self.next_command() else { break };
                let token = self.ledger.borrow_mut().send(&command);
                tokens.insert(connection.send(&command).unwrap(), token);
            }
            let sent = connection.flush().await;
            let mut next = connection.receive().await.map(Some);
            loop {
                match next {
                    Ok(Some(answer)) => {
                        let token = tokens.remove(&answer.id).unwrap();
                        self.ledger.borrow_mut().answered(token, answer.outcome);
                        self.answered.notify_one();
                    }
                    Ok(None) => break,
                    Err(_) => return,
                }
                next = match sent {
                    Ok(()) => connection.received(),
                    // Nothing can be sent any more, and replies that arrived before still count.
                    Err(_) => connection.receive().await.map(Some),
                };
            }
        }
    }

    /// Takes snapshots one after the other until the server is gone.
    async fn take_snapshots(&self, address: SocketAddr) {
        let Ok((mut connection, _)) = Connection::connect(address, &ClientOptions::default()).await
        else {
            return;
        };
        loop {
            let held = self.ledger.borrow().held();
            connection.send(&Snapshot {}.into()).unwrap();
            if connection.flush().await.is_err() {
                return;
            }
            match connection.receive().await.map(|answer| answer.outcome) {
                Ok(Ok(_)) => _ = self.saved.replace(held),
                // For example, the disk is full: wait before the next one.
                Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(_) => return,
            }
        }
    }

    fn next_command(&self) -> Option<Command> {
        let random = &mut *self.random.borrow_mut();
        let ledger = self.ledger.borrow();
        let room = ledger.chats.len() < CHATS_MAX;
        if ledger.live.is_empty() || random.below(1000) < if room { 120 } else { 10 } {
            return Some(create(random, &ledger));
        }
        let id = random.pick(&ledger.live)?;
        let chat = &ledger.chats[id];
        let other = match random.below(100) {
            0..40 => None,
            40..58 => mark_read(random, id, chat),
            58..70 => free_row(random, chat).map(|user| commands::delete(user, id)),
            70..88 => set_flags(random, id, chat),
            88..99 => change_members(random, id, chat),
            _ => dissolve(id, chat),
        };
        Some(other.unwrap_or_else(|| advance(random, id, chat)))
    }
}

fn create(random: &mut Random, ledger: &Ledger) -> Command {
    let number = ledger.now();
    let id = ChatId::new(&format!("chat-{number}")).unwrap();
    let chat_type = match random.below(4) {
        0 => ChatType::Single,
        1 => ChatType::Official,
        _ => ChatType::Group,
    };
    let giants = ledger.chats.values().filter(|chat| chat.create.user_ids.len() > 300).count();
    let user_ids = if chat_type == ChatType::Single {
        let first = random.below(USERS);
        vec![user(first), user((first + 1 + random.below(USERS - 1)) % USERS)]
    } else if giants < GIANTS_MAX && random.below(25) == 0 {
        (random.below(200)..GIANT_USERS).map(user).collect()
    } else {
        some_users(random)
    };
    let creator_id = user(0);
    Create {
        id: Some(id),
        chat_type,
        creator_id,
        is_enc: None,
        created_at: None,
        user_ids,
        idempotency_key: None,
    }
    .into()
}

/// Some users without repetition.
fn some_users(random: &mut Random) -> Vec<UserId> {
    let (first, step) = (random.below(USERS), random.below(3) + 1);
    (0..random.below(12)).map(|number| user((first + number * step) % USERS)).collect()
}

fn advance(random: &mut Random, id: &ChatId, chat: &Chat) -> Command {
    let members: Vec<&UserId> = chat.rows.keys().take(20).collect();
    let sender = random.pick(&members).copied().filter(|_| id.as_str().ends_with('7'));
    if chat.takes_only_allocate() || random.below(2) == 0 {
        commands::advance(id, None, Some(1 + random.below(5)), sender)
    } else {
        commands::advance(id, Some((chat.last + random.below(20)).saturating_sub(3)), None, sender)
    }
}

/// A member whose row no request under way sets.
fn free_row<'a>(random: &mut Random, chat: &'a Chat) -> Option<&'a UserId> {
    let free: Vec<&UserId> =
        chat.rows.iter().filter(|(_, row)| row.open.is_none()).map(|(user, _)| user).collect();
    random.pick(&free).copied()
}

fn mark_read(random: &mut Random, id: &ChatId, chat: &Chat) -> Option<Command> {
    let user_id = free_row(random, chat)?;
    let read = chat.rows[user_id].read;
    let seq = read + random.below(chat.last.saturating_sub(read) + 1);
    (seq <= chat.last).then(|| commands::mark_read(user_id, id, seq))
}

fn set_flags(random: &mut Random, id: &ChatId, chat: &Chat) -> Option<Command> {
    // If the row may be deleted, it is not clear whether the next delete clears the flags.
    let user_id = free_row(random, chat).filter(|user| chat.rows[user].is_shown(chat))?.clone();
    let mut some = || (random.below(2) == 0).then(|| Flag(random.below(2) == 0));
    let (is_mute, is_hide) = (some(), some());
    let (is_top, marked_unread) = (some(), some());
    Some(
        SetFlags {
            user_id,
            chat_id: id.clone(),
            is_top,
            is_mute,
            is_hide,
            marked_unread,
            idempotency_key: None,
            if_version: None,
        }
        .into(),
    )
}

fn change_members(random: &mut Random, id: &ChatId, chat: &Chat) -> Option<Command> {
    if chat.is_single() || chat.change.is_some() {
        return None;
    }
    let giant = chat.create.user_ids.len() > 300;
    let users = if giant { (300..GIANT_USERS).map(user).collect() } else { some_users(random) };
    let come = random.below(2) == 0;
    let (user_ids, chat_id): (Vec<UserId>, _) = match come {
        true => {
            (users.into_iter().filter(|user| !chat.rows.contains_key(user)).collect(), id.clone())
        }
        false => {
            let free = |user: &UserId| chat.rows.get(user).is_some_and(|row| row.open.is_none());
            (users.into_iter().filter(free).collect(), id.clone())
        }
    };
    Some(match come {
        true => AddMembers { chat_id, user_ids, idempotency_key: None, if_version: None }.into(),
        false => {
            RemoveMembers { chat_id, user_ids, idempotency_key: None, if_version: None }.into()
        }
    })
}

fn dissolve(id: &ChatId, chat: &Chat) -> Option<Command> {
    let quiet = chat.change.is_none() && chat.rows.values().all(|row| row.open.is_none());
    let may = quiet && !chat.is_single() && chat.dissolved == Once::No;
    may.then(|| Dissolve { chat_id: id.clone(), idempotency_key: None, if_version: None }.into())
}
