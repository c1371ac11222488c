//! A client of chats with many members. Each chat is created once, perhaps dissolved, and left alone
//! otherwise: a delivery that a takeover leaves open stays open, unless the next active sends it.
//!
//! Often the member that got the request is killed right behind it, in the midst of the deliveries.

use std::time::Duration;

use chatshard::command::Kind;
use serde_json::{Value, json};
use tokio::sync::oneshot::error::TryRecvError;

use super::world::{Asked, World};

/// Members of a chat: several slices of a delivery, on both shards.
const USERS: u64 = 100;
/// Steps between two looks whether a request is due.
const PAUSE: u64 = 200;
/// Steps within which a member is killed. Deliveries of one chat take about as long.
const KILL_WITHIN: u64 = 150;
/// Longest time until the killed one starts again, in ms.
const DOWN_MS: u64 = 1500;

#[derive(Default)]
pub struct Crowds {
    chats: u64,
    open: Option<(Asked, Act)>,
    /// Chats whose creation was acknowledged, and that nobody asked to dissolve.
    made: Vec<String>,
    /// The member that is killed, and in how many steps.
    doomed: Option<(usize, u64)>,
}

enum Act {
    Create(String),
    Dissolve,
}

impl Crowds {
    /// What happens between two steps of the world.
    pub fn turn(&mut self, world: &mut World, at: usize) {
        self.doomed = match self.doomed.take() {
            Some((doomed, 0)) => {
                let until = world.now() + Duration::from_millis(world.random.below(DOWN_MS));
                world.kill(doomed, false, until);
                None
            }
            Some((doomed, steps)) => Some((doomed, steps - 1)),
            None => None,
        };
        match self.open.take() {
            Some((mut asked, act)) => match (asked.try_recv(), act) {
                (Err(TryRecvError::Empty), act) => self.open = Some((asked, act)),
                (Ok(Ok(_)), Act::Create(chat)) => self.made.push(chat),
                (Ok(_) | Err(TryRecvError::Closed), _) => {}
            },
            None if world.one_in(PAUSE) => self.ask(world, at),
            None => {}
        }
    }

    fn ask(&mut self, world: &mut World, at: usize) {
        if !world.may_reply(at) {
            return;
        }
        let dissolved = if world.one_in(3) { self.made.pop() } else { None };
        let (act, kind, arguments) = match dissolved {
            Some(chat) => (Act::Dissolve, Kind::Dissolve, json!({"chat_id": chat})),
            None => {
                self.chats += 1;
                let chat = format!("crowd{}", self.chats);
                let users: Vec<String> = (0..USERS).map(|user| format!("u{user}")).collect();
                let create = json!({"id": chat, "creator_id": "u0", "type": 2, "user_ids": users});
                (Act::Create(chat), Kind::Create, create)
            }
        };
        self.open = world.ask(at, kind, arguments).map(|asked| (asked, act));
        if self.doomed.is_none() && world.one_in(2) {
            self.doomed = Some((at, world.random.below(KILL_WITHIN)));
        }
    }

    /// A chat that was acknowledged and is missing in an export.
    pub fn missing(&self, chats: &[Value]) -> Option<&str> {
        let is_there = |chat: &&String| chats.iter().any(|line| line["id"] == chat.as_str());
        self.made.iter().find(|chat| !is_there(chat)).map(String::as_str)
    }
}
