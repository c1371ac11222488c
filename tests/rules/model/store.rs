//! The state of the model: a few maps, and the effect of each write on them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::acts::{Create, Forward, Write};
use super::memory::Memory;
use crate::common::NOW;

/// Largest step of `advance` without `force`, in sequences.
pub const AHEAD_MAX: u64 = 1_000_000;
/// How far ahead a client's time may be, in ms.
pub const DAY: u64 = 24 * 60 * 60 * 1000;

/// The reply in JSON, or the status of the error.
pub type Answer = Result<Value, u16>;

#[derive(Clone)]
pub struct Model {
    pub chats: BTreeMap<String, Chat>,
    pub users: BTreeMap<String, User>,
    /// Number of times that each user was erased.
    pub erased: BTreeMap<String, u64>,
    pub memory: Memory,
    /// The server's time in ms.
    pub now: u64,
    /// Time at which the current request was sent. The node decides it between then and `now`.
    pub sent: u64,
    /// Rows that the last command changed, whose versions are in no promised order.
    pub unsure: Vec<(String, String)>,
}

#[derive(Clone)]
pub struct Chat {
    /// The `create` that made it, with its users sorted.
    pub request: MadeBy,
    pub creator: String,
    pub status: u64,
    pub dissolved: bool,
    pub last: u64,
    pub last_time: u64,
    pub version: u64,
    pub members: Vec<Member>,
}

#[derive(Clone, PartialEq)]
pub struct MadeBy {
    pub kind: u64,
    pub creator: String,
    pub is_enc: u64,
    pub created_at: u64,
    pub users: BTreeSet<String>,
}

#[derive(Clone)]
pub struct Member {
    pub user: String,
    pub join: u64,
    pub sent: u64,
    pub deleted: bool,
}

#[derive(Clone, Default)]
pub struct User {
    pub version: u64,
    pub joined: u64,
    pub rows: BTreeMap<String, Row>,
    /// Chats that the user left, each with the version of the leave.
    pub gone: BTreeMap<String, u64>,
    /// Removals up to this version are forgotten.
    pub forgotten_to: u64,
}

#[derive(Clone, Default)]
pub struct Row {
    pub order: u64,
    pub version: u64,
    pub top: bool,
    pub mute: bool,
    pub hide: bool,
    pub marked: bool,
    pub deleted: bool,
    pub read: u64,
    pub online: u64,
    pub join: u64,
    pub deleted_to: u64,
}

impl Row {
    pub fn floor(&self, sent: u64) -> u64 {
        (self.join - 1).max(self.deleted_to).max(self.read).max(sent)
    }

    pub fn told(&self, chat: &str) -> Value {
        json!({
            "id": chat, "chat_id": chat, "is_top": u8::from(self.top), "is_mute": u8::from(self.mute),
            "is_show": u8::from(!self.deleted), "is_hide": u8::from(self.hide),
            "max_read_seq": self.read, "last_online_time": self.online,
        })
    }
}

impl Chat {
    pub fn member(&self, user: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.user == user)
    }

    fn member_mut(&mut self, user: &str) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.user == user)
    }

    pub fn is_single_of(&self, users: &BTreeSet<String>) -> bool {
        let members: BTreeSet<String> =
            self.members.iter().map(|member| member.user.clone()).collect();
        self.request.kind == 1 && members == *users
    }
}

/// 409 unless the stored version is the wanted one.
fn check_version(stored: u64, wanted: Option<u64>) -> Result<(), u16> {
    if wanted.is_some_and(|wanted| wanted != stored) { Err(409) } else { Ok(()) }
}

impl Model {
    pub fn new() -> Self {
        Self {
            chats: BTreeMap::new(),
            users: BTreeMap::new(),
            erased: BTreeMap::new(),
            memory: Memory::default(),
            now: NOW,
            sent: NOW,
            unsure: Vec::new(),
        }
    }

    /// The chat. 404 if it does not exist, 410 if it is dissolved.
    fn live(&mut self, id: &str) -> Result<&mut Chat, u16> {
        match self.chats.get_mut(id) {
            None => Err(404),
            Some(chat) if chat.dissolved => Err(410),
            Some(chat) => Ok(chat),
        }
    }

    pub fn find_row(&self, user: &str, chat: &str) -> Option<&Row> {
        self.users.get(user)?.rows.get(chat)
    }

    /// The user's row in this chat, of which the user must be a member.
    pub fn row(&mut self, user: &str, chat: &str) -> &mut Row {
        self.users.get_mut(user).unwrap().rows.get_mut(chat).unwrap()
    }

    /// Gives a row that changed the user's next version.
    fn bump(&mut self, user: &str, chat: &str) -> u64 {
        let stored = self.users.get_mut(user).unwrap();
        stored.version += 1;
        stored.rows.get_mut(chat).unwrap().version = stored.version;
        stored.version
    }

    fn join(&mut self, chat: &str, user: &str) {
        let stored = self.chats.get_mut(chat).unwrap();
        let join = stored.last + 1;
        stored.members.push(Member { user: user.into(), join, sent: 0, deleted: false });
        let user = self.users.entry(user.into()).or_default();
        user.version += 1;
        user.joined += 1;
        user.gone.remove(chat);
        let (order, version) = (user.joined, user.version);
        let row = Row { order, version, read: join - 1, join, ..Row::default() };
        user.rows.insert(chat.into(), row);
    }

    fn leave(&mut self, chat: &str, user: &str) {
        self.chats.get_mut(chat).unwrap().members.retain(|member| member.user != user);
        let user = self.users.get_mut(user).unwrap();
        user.rows.remove(chat);
        user.version += 1;
        user.gone.insert(chat.into(), user.version);
    }

    /// Forgets removals up to a version. A user without rows and removals is forgotten completely.
    pub fn forget(&mut self, user: &str, to: u64) {
        let Some(known) = self.users.get_mut(user) else { return };
        known.gone.retain(|_, version| *version > to);
        known.forgotten_to = known.forgotten_to.max(to);
        if known.rows.is_empty() && known.gone.is_empty() {
            self.users.remove(user);
            *self.erased.entry(user.into()).or_default() += 1;
        }
    }

    /// Creates a chat with this id, unless another chat has it.
    pub fn create_as(&mut self, id: &str, what: &Create) -> Answer {
        let users: BTreeSet<String> = what.users.iter().cloned().collect();
        let request = MadeBy {
            kind: what.kind,
            creator: what.creator.clone(),
            is_enc: what.is_enc,
            created_at: what.created_at,
            users,
        };
        if let Some(chat) = self.chats.get(id) {
            let is_same = match (&what.id, what.kind) {
                (None, 1) => chat.is_single_of(&request.users),
                _ => chat.request == request,
            };
            return match chat.dissolved {
                true => Err(410),
                false if is_same => {
                    Ok(json!({"id": id, "created": false, "version": chat.version}))
                }
                false => Err(409),
            };
        }
        let chat = Chat {
            request,
            creator: what.creator.clone(),
            status: 1,
            dissolved: false,
            last: 0,
            last_time: 0,
            version: 1,
            members: Vec::new(),
        };
        self.chats.insert(id.into(), chat);
        for user in each_once(&what.users) {
            self.join(id, &user);
        }
        Ok(json!({"id": id, "created": true, "version": 1}))
    }

    /// The users whose membership a request changes; `members` says whether they must be members
    /// before.
    fn changing(
        &mut self,
        chat: &str,
        users: &[String],
        members: bool,
        if_version: Option<u64>,
    ) -> Result<Vec<String>, u16> {
        let stored = self.live(chat)?;
        check_version(stored.version, if_version)?;
        if stored.request.kind == 1 {
            return Err(400);
        }
        let users: Vec<String> = each_once(users)
            .into_iter()
            .filter(|user| stored.member(user).is_some() == members)
            .collect();
        stored.version += u64::from(!users.is_empty());
        Ok(users)
    }

    fn advance(
        &mut self,
        chat: &str,
        what: Forward,
        time: u64,
        sender: Option<&String>,
        if_version: Option<u64>,
    ) -> Answer {
        let now = self.now;
        let stored = self.live(chat)?;
        if stored.status == 2 {
            return Err(423);
        }
        check_version(stored.version, if_version)?;
        let (first, last, sent) = match what {
            Forward::To(to, force) => {
                if to > stored.last + AHEAD_MAX && !force {
                    return Err(400);
                }
                let last = stored.last.max(to);
                (last, last, to)
            }
            Forward::Allocate(count) => (stored.last + 1, stored.last + count, stored.last + count),
        };
        if time > now + DAY {
            return Err(400);
        }
        if let Some(member) = sender.and_then(|sender| stored.member_mut(sender)) {
            member.sent = member.sent.max(sent);
        }
        let is_newer = last > stored.last;
        if is_newer {
            (stored.last, stored.last_time) = (last, time);
        }
        let answer =
            json!({"first_sequence": first, "last_sequence": last, "last_time": stored.last_time});
        if is_newer {
            self.bring_back(chat);
        }
        Ok(answer)
    }

    /// Brings back the rows of members who deleted the chat, when a newer message comes.
    fn bring_back(&mut self, chat: &str) {
        let stored = self.chats.get_mut(chat).unwrap();
        let mut back = Vec::new();
        for member in stored.members.iter_mut().filter(|member| member.deleted) {
            member.deleted = false;
            back.push(member.user.clone());
        }
        for user in back {
            self.row(&user, chat).deleted = false;
            self.bump(&user, chat);
        }
    }

    fn mark_read(
        &mut self,
        user: &str,
        chat: &str,
        seq: u64,
        if_version: Option<u64>,
    ) -> Result<(u64, u64), u16> {
        let stored = self.live(chat)?;
        let last = stored.last;
        let sent = stored.member(user).ok_or(404_u16)?.sent;
        if seq > last {
            return Err(400);
        }
        let row = self.row(user, chat);
        check_version(row.version, if_version)?;
        let changes = seq > row.read || (seq == row.read && row.marked);
        row.marked &= seq < row.read;
        row.read = row.read.max(seq);
        let answer = (row.read, last.saturating_sub(row.floor(sent)));
        if changes {
            self.bump(user, chat);
        }
        Ok(answer)
    }

    /// Applies one item of a `mark_read_many`. Returns its reply, and whether a row changed.
    pub fn read_one_of_many(&mut self, user: &str, chat: &str, seq: u64) -> (Value, bool) {
        let before = self.find_row(user, chat).map(|row| row.version);
        let told = match self.mark_read(user, chat, seq, None) {
            Ok((read, unread)) => {
                json!({"chat_id": chat, "status": 200, "max_read_seq": read, "unread": unread})
            }
            Err(status) => {
                json!({"chat_id": chat, "status": status, "max_read_seq": null, "unread": null})
            }
        };
        (told, self.find_row(user, chat).map(|row| row.version) != before)
    }

    fn clear(&mut self, user: &str, chat: &str, if_version: Option<u64>) -> Answer {
        let stored = self.live(chat)?;
        let last = stored.last;
        stored.member(user).ok_or(404_u16)?;
        let row = self.row(user, chat);
        check_version(row.version, if_version)?;
        if row.deleted_to < last {
            row.deleted_to = last;
            row.read = last;
            row.marked = false;
            self.bump(user, chat);
        }
        Ok(json!({"deleted_to_seq": last}))
    }

    /// Applies a `delete` to one chat. Returns whether a row changed.
    pub fn delete_one(&mut self, user: &str, id: &str, up_to: Option<u64>) -> bool {
        let Ok(stored) = self.live(id) else { return false };
        let last = stored.last;
        let Some(member) = stored.member_mut(user) else { return false };
        // A deleted chat stays deleted, whatever the caller saw, and flags that were set since
        // stay.
        if member.deleted {
            return false;
        }
        let to = up_to.unwrap_or(last);
        let gone = to == last;
        member.deleted = gone;
        let row = self.row(user, id);
        if !gone && to <= row.deleted_to {
            return false;
        }
        row.deleted_to = row.deleted_to.max(to);
        row.read = row.read.max(to);
        row.deleted = gone;
        (row.top, row.marked) = (false, false);
        self.bump(user, id);
        true
    }

    /// Whether `up_to` is beyond the last sequence of one of the user's chats.
    pub fn is_beyond(&mut self, user: &str, ids: &[String], up_to: Option<u64>) -> bool {
        let beyond = |id: &String| match self.live(id) {
            Ok(chat) => chat.member(user).is_some() && up_to.is_some_and(|to| to > chat.last),
            Err(_) => false,
        };
        ids.iter().any(beyond)
    }

    fn set_flags(
        &mut self,
        user: &str,
        chat: &str,
        flags: [Option<bool>; 4],
        if_version: Option<u64>,
    ) -> Answer {
        if self.find_row(user, chat).is_none() {
            return Err(self.live(chat).map_or_else(|status| status, |_| 404));
        }
        let row = self.row(user, chat);
        check_version(row.version, if_version)?;
        let mut changes = false;
        for (stored, wanted) in
            [&mut row.top, &mut row.mute, &mut row.hide, &mut row.marked].into_iter().zip(flags)
        {
            if let Some(wanted) = wanted {
                changes |= *stored != wanted;
                *stored = wanted;
            }
        }
        let (told, mut version) = (row.told(chat), row.version);
        if changes {
            version = self.bump(user, chat);
        }
        Ok(json!({"row": told, "version": version}))
    }

    fn touch(&mut self, user: &str, chats: Option<&[String]>, time: Option<u64>) -> Answer {
        let time = time.unwrap_or(self.now);
        if time > self.now + DAY {
            return Err(400);
        }
        let mut touched = 0;
        for (chat, row) in self.users.get_mut(user).into_iter().flat_map(|user| &mut user.rows) {
            if chats.is_none_or(|chats| chats.contains(chat)) {
                row.online = row.online.max(time);
                touched += 1;
            }
        }
        Ok(json!({"touched": touched}))
    }

    fn set_status(&mut self, chat: &str, status: u64, if_version: Option<u64>) -> Answer {
        let stored = self.live(chat)?;
        check_version(stored.version, if_version)?;
        stored.version += u64::from(stored.status != status);
        stored.status = status;
        Ok(json!({"version": stored.version}))
    }

    fn dissolve(&mut self, chat: &str, if_version: Option<u64>) -> Answer {
        let stored = self.live(chat)?;
        check_version(stored.version, if_version)?;
        if stored.request.kind == 1 {
            return Err(400);
        }
        stored.dissolved = true;
        let users: Vec<String> = stored.members.iter().map(|member| member.user.clone()).collect();
        for user in users {
            self.leave(chat, &user);
        }
        Ok(Value::Null)
    }

    fn erase(&mut self, user: &str) -> Answer {
        let memberships = self.users.get(user).map_or(0, |user| user.rows.len());
        for chat in self.chats.values_mut() {
            let concerns = chat.creator == user || chat.member(user).is_some();
            chat.version += u64::from(concerns);
            chat.members.retain(|member| member.user != user);
            if chat.creator == user {
                chat.creator = "erased".into();
            }
        }
        if self.users.remove(user).is_some() {
            *self.erased.entry(user.into()).or_default() += 1;
        }
        self.memory.forget(user);
        Ok(json!({"memberships": memberships}))
    }

    /// Applies a write without regard to keys. `memory.rs` handles writes of several chats and the
    /// creation of chats.
    pub fn write(&mut self, write: &Write, if_version: Option<u64>) -> Answer {
        match write {
            Write::Create(_) | Write::ReadMany(..) | Write::Delete(..) => {
                unreachable!("see memory.rs")
            }
            Write::Add(chat, users) => {
                let users = self.changing(chat, users, false, if_version)?;
                for user in &users {
                    self.join(chat, user);
                }
                Ok(json!({"added": users.len(), "members": self.live(chat)?.members.len()}))
            }
            Write::Remove(chat, users) => {
                let users = self.changing(chat, users, true, if_version)?;
                for user in &users {
                    self.leave(chat, user);
                }
                Ok(json!({"removed": users.len(), "members": self.live(chat)?.members.len()}))
            }
            Write::Advance { chat, forward, time, sender } => {
                self.advance(chat, *forward, *time, sender.as_ref(), if_version)
            }
            Write::Read(user, chat, seq) => {
                let (read, unread) = self.mark_read(user, chat, *seq, if_version)?;
                Ok(json!({"max_read_seq": read, "unread": unread}))
            }
            Write::Clear(user, chat) => self.clear(user, chat, if_version),
            Write::Flags(user, chat, flags) => self.set_flags(user, chat, *flags, if_version),
            Write::Touch(user, chats, time) => self.touch(user, chats.as_deref(), *time),
            Write::Status(chat, status) => self.set_status(chat, *status, if_version),
            Write::Dissolve(chat) => self.dissolve(chat, if_version),
            Write::Erase(user) => self.erase(user),
        }
    }
}

pub fn each_once(ids: &[String]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    ids.iter().filter(|id| seen.insert(*id)).cloned().collect()
}

/// Ids of a single chat, in the order in which they are tried: from the hash of its users, then
/// from the hash of that hash, and so on.
pub fn derived_ids(users: &BTreeSet<String>) -> impl Iterator<Item = String> {
    let text: String = users.iter().map(|user| format!("{user}\0")).collect();
    let hashes =
        std::iter::successors(Some(Sha256::digest(text)), |hash| Some(Sha256::digest(hash)));
    hashes.map(|hash| {
        let hex: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("s_{hex}")
    })
}

pub fn derived_id(users: &BTreeSet<String>) -> String {
    derived_ids(users).next().unwrap()
}
