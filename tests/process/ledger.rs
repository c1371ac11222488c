//! The promises of a server: every request that was sent, and what its reply said.
//!
//! Invariants:
//! - A row, and the members of a chat, have at most one request under way that sets them. So after
//!   a crash two states are right: without it and with it. `advance` is free.
//! - A reply that cannot be right (a sequence handed out twice, a position that went back) panics
//!   as soon as it comes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chatshard::command::add_members::AddMembers;
use chatshard::command::advance::Advance;
use chatshard::command::create::Create;
use chatshard::command::delete::Delete;
use chatshard::command::dissolve::Dissolve;
use chatshard::command::mark_read::MarkRead;
use chatshard::command::remove_members::RemoveMembers;
use chatshard::command::set_flags::SetFlags;
use chatshard::command::{Command, Error, ErrorCode, Outcome, Reply};
use chatshard::types::{ChatId, ChatType, Flag, Sequence, UserId};

/// The flags that `set_flags` sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// The row is pinned.
    pub is_top: bool,
    /// The row is muted.
    pub is_mute: bool,
    /// The row is hidden.
    pub is_hide: bool,
    /// The row is marked as unread.
    pub marked_unread: bool,
}

impl Flags {
    /// These flags after a delete.
    pub fn deleted(self) -> Self {
        Self { is_top: false, marked_unread: false, ..self }
    }

    /// These flags after `mark_read`.
    pub fn read(self) -> Self {
        Self { marked_unread: false, ..self }
    }
}

/// A user's row, as acknowledged.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// Flags of the newest acknowledged request.
    pub flags: Flags,
    /// The user has read at least up to here.
    pub read: u64,
    /// Times at which the newest delete was sent and acknowledged; `None` if no delete may be in
    /// force.
    pub deleted: Option<(u64, u64)>,
    /// The request under way that sets this row.
    pub open: Option<RowOp>,
}

/// A request that sets a row.
#[derive(Debug, Clone)]
pub enum RowOp {
    /// `set_flags` with these flags.
    Flags(Flags),
    /// `mark_read` up to here.
    Read(u64),
    /// `delete` of the chat.
    Delete,
    /// A change of members that this user belongs to.
    Membership,
}

/// State of a request that can take effect only once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Once {
    /// It had no effect.
    No,
    /// It is under way.
    Sent,
    /// It took effect.
    Yes,
}

/// A chat, as acknowledged.
#[derive(Debug, Clone)]
pub struct Chat {
    /// The request that created it.
    pub create: Create,
    /// Whether it was created.
    pub created: Once,
    /// Whether it was dissolved.
    pub dissolved: Once,
    /// Rows of its members.
    pub rows: BTreeMap<UserId, Row>,
    /// Users that the request under way adds (`true`) or removes.
    pub change: Option<(bool, Vec<UserId>)>,
    /// Sequences that `allocate` returned: first and last.
    pub handed: BTreeMap<u64, u64>,
    /// Lower bound of the last sequence.
    pub last: u64,
    /// Upper bound of the last sequence.
    pub last_max: u64,
    /// Time at which the newest acknowledged `allocate` was sent.
    pub raised: u64,
    /// Time at which the newest acknowledged `advance` got its reply.
    pub maybe_raised: u64,
    /// Number of `advance` requests under way.
    pub advancing: u64,
}

/// A request that was sent.
#[derive(Debug, Clone)]
pub enum Op {
    /// `create` of this chat.
    Create(ChatId),
    /// `advance`, with the number of sequences that it allocates.
    Advance(ChatId, u64),
    /// A request about one row.
    Row(ChatId, UserId),
    /// `add_members` or `remove_members`.
    Members(ChatId),
    /// `dissolve` of this chat.
    Dissolve(ChatId),
}

/// All requests and replies so far, reduced to what a server must hold.
#[derive(Default)]
pub struct Ledger {
    /// Every chat that a request named so far.
    pub chats: BTreeMap<ChatId, Chat>,
    /// Chats that further requests may name, for random choice.
    pub live: Vec<ChatId>,
    /// Requests under way, each with the time at which it was sent.
    pub open: HashMap<u64, (Op, u64)>,
    /// Replies of this round that acknowledged a write.
    pub acknowledged: u64,
    /// Replies of this round that applied nothing, and those with an unknown outcome.
    pub refused: u64,
    pub unknown: u64,
    clock: u64,
}

fn flag(value: Option<Flag>, stored: bool) -> bool {
    value.map_or(stored, |flag| flag.0)
}

impl Ledger {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// The time, on a clock that counts requests and replies.
    pub fn now(&self) -> u64 {
        self.clock
    }

    fn chat(&mut self, id: &ChatId) -> &mut Chat {
        self.chats.get_mut(id).unwrap()
    }

    /// Notes that a command is sent. The token names it from here on.
    pub fn send(&mut self, command: &Command) -> u64 {
        let now = self.tick();
        let op = match command {
            Command::Create(create) => self.send_create(create),
            Command::Advance(advance) => self.send_advance(advance),
            Command::SetFlags(set) => self.send_flags(set),
            Command::MarkRead(read) => {
                self.send_row(&read.chat_id, &read.user_id, RowOp::Read(read.seq.get()))
            }
            Command::Delete(delete) => {
                self.send_row(&delete.ids[0], &delete.user_id, RowOp::Delete)
            }
            Command::AddMembers(AddMembers { chat_id, user_ids, .. }) => {
                self.send_members(chat_id, user_ids, true)
            }
            Command::RemoveMembers(RemoveMembers { chat_id, user_ids, .. }) => {
                self.send_members(chat_id, user_ids, false)
            }
            Command::Dissolve(Dissolve { chat_id, .. }) => {
                self.chat(chat_id).dissolved = Once::Sent;
                self.live.retain(|id| id != chat_id);
                Op::Dissolve(chat_id.clone())
            }
            other => panic!("no rule for {}", other.kind().name()),
        };
        self.open.insert(now, (op, now));
        now
    }

    fn send_create(&mut self, create: &Create) -> Op {
        let id = create.id.clone().unwrap();
        let chat = Chat {
            create: create.clone(),
            created: Once::Sent,
            dissolved: Once::No,
            rows: BTreeMap::new(),
            change: None,
            handed: BTreeMap::new(),
            last: 0,
            last_max: 0,
            raised: 0,
            maybe_raised: 0,
            advancing: 0,
        };
        assert!(self.chats.insert(id.clone(), chat).is_none());
        Op::Create(id)
    }

    fn send_advance(&mut self, advance: &Advance) -> Op {
        let chat = self.chat(&advance.chat_id);
        chat.advancing += 1;
        // In any order of arrival, the last sequence does not exceed this.
        chat.last_max = match advance.to {
            Some(to) => chat.last_max.max(to.get() + (chat.last_max - chat.last)),
            None => chat.last_max + advance.allocate.unwrap(),
        };
        Op::Advance(advance.chat_id.clone(), advance.allocate.unwrap_or(0))
    }

    fn send_flags(&mut self, set: &SetFlags) -> Op {
        let stored = self.chat(&set.chat_id).rows[&set.user_id].flags;
        let flags = Flags {
            is_top: flag(set.is_top, stored.is_top),
            is_mute: flag(set.is_mute, stored.is_mute),
            is_hide: flag(set.is_hide, stored.is_hide),
            marked_unread: flag(set.marked_unread, stored.marked_unread),
        };
        self.send_row(&set.chat_id, &set.user_id, RowOp::Flags(flags))
    }

    fn send_row(&mut self, chat_id: &ChatId, user_id: &UserId, op: RowOp) -> Op {
        let row = self.chat(chat_id).rows.get_mut(user_id).unwrap();
        assert!(row.open.is_none(), "one request a row at a time");
        row.open = Some(op);
        Op::Row(chat_id.clone(), user_id.clone())
    }

    fn send_members(&mut self, chat_id: &ChatId, user_ids: &[UserId], come: bool) -> Op {
        let chat = self.chat(chat_id);
        assert!(chat.change.is_none(), "one change of members at a time");
        chat.change = Some((come, user_ids.to_vec()));
        for user_id in user_ids {
            if let Some(row) = chat.rows.get_mut(user_id) {
                row.open = Some(RowOp::Membership);
            }
        }
        Op::Members(chat_id.clone())
    }

    /// Notes the outcome of a request. A refused request counts as never sent; one with an unknown
    /// outcome stays under way.
    pub fn answered(&mut self, token: u64, outcome: Outcome) {
        let (op, sent) = self.open.remove(&token).unwrap();
        match outcome {
            Ok(reply) => {
                self.acknowledged += 1;
                let now = self.tick();
                self.applied(&op, reply, sent, now);
            }
            Err(error) if is_refusal(&error) => {
                self.refused += 1;
                self.not_applied(&op);
            }
            Err(error) if error.is_outcome_unknown() => {
                self.unknown += 1;
                self.open.insert(token, (op, sent));
            }
            Err(error) => {
                let gone = error.code == ErrorCode::Gone;
                let Op::Advance(id, _) = &op else { panic!("{op:?} was answered: {error}") };
                assert!(
                    gone && self.chat(id).dissolved != Once::No,
                    "{op:?} was answered: {error}"
                );
                self.chat(id).advancing -= 1;
            }
        }
    }

    fn applied(&mut self, op: &Op, reply: Reply, sent: u64, now: u64) {
        match (op, reply) {
            (Op::Create(id), Reply::Create(reply)) => {
                assert!(reply.created && reply.id == *id, "create of {id} was answered: {reply:?}");
                self.is_created(&id.clone());
            }
            (Op::Advance(id, _), Reply::Advance(reply)) => {
                let (first, last) = (reply.first_sequence.get(), reply.last_sequence.get());
                let chat = self.chat(id);
                chat.advancing -= 1;
                chat.last = chat.last.max(last);
                chat.maybe_raised = chat.maybe_raised.max(now);
                if chat.takes_only_allocate() {
                    chat.hand_out(id, first, last);
                    chat.raised = chat.raised.max(sent);
                }
            }
            (Op::Row(chat_id, user_id), reply) => {
                let row = self.chat(chat_id).rows.get_mut(user_id).unwrap();
                row.applied(reply, sent, now);
            }
            (Op::Members(id), Reply::AddMembers(_) | Reply::RemoveMembers(_)) => {
                let chat = self.chat(id);
                chat.change_members();
            }
            (Op::Dissolve(id), Reply::Dissolve(())) => self.chat(id).dissolved = Once::Yes,
            (op, reply) => panic!("{op:?} was answered: {reply:?}"),
        }
    }

    /// The chats that certainly exist, each with the lower bound of its last sequence.
    pub fn held(&self) -> BTreeMap<ChatId, u64> {
        let there = self.chats.iter().filter(|(_, chat)| chat.created == Once::Yes);
        there.map(|(id, chat)| (id.clone(), chat.last)).collect()
    }

    /// Notes that a chat exists with all its members.
    pub fn is_created(&mut self, id: &ChatId) {
        let chat = self.chat(id);
        chat.created = Once::Yes;
        chat.rows =
            chat.create.user_ids.iter().map(|user| (user.clone(), Row::default())).collect();
        self.live.push(id.clone());
    }

    fn not_applied(&mut self, op: &Op) {
        match op {
            Op::Create(id) => drop(self.chats.remove(id)),
            Op::Advance(id, allocated) => {
                let chat = self.chat(id);
                chat.advancing -= 1;
                chat.last_max -= allocated;
            }
            Op::Row(chat_id, user_id) => {
                self.chat(chat_id).rows.get_mut(user_id).unwrap().open = None
            }
            Op::Members(id) => {
                let chat = self.chat(id);
                chat.change = None;
                for row in chat.rows.values_mut() {
                    row.open.take_if(|open| matches!(open, RowOp::Membership));
                }
            }
            Op::Dissolve(id) => {
                self.chat(id).dissolved = Once::No;
                self.live.push(id.clone());
            }
        }
    }
}

/// Whether this error says that nothing was applied.
fn is_refusal(error: &Error) -> bool {
    matches!(error.code, ErrorCode::Busy | ErrorCode::Moved)
        || error.message.starts_with("not applied")
}

impl Chat {
    /// Whether the server allocates every sequence of this chat.
    pub fn takes_only_allocate(&self) -> bool {
        self.create.chat_type != ChatType::Official
    }

    /// Whether only its two users can ever be members.
    pub fn is_single(&self) -> bool {
        self.create.chat_type == ChatType::Single
    }

    fn hand_out(&mut self, id: &ChatId, first: u64, last: u64) {
        let below = self.handed.range(..=last).next_back();
        if let Some((&other_first, &other_last)) = below {
            assert!(
                other_last < first,
                "chat {id}: {first} to {last} was handed out, and {other_first} to {other_last} before"
            );
        }
        self.handed.insert(first, last);
    }

    /// Applies the change of members that is under way.
    pub fn change_members(&mut self) {
        match self.change.take().unwrap() {
            (true, user_ids) => {
                for user_id in user_ids {
                    self.rows.entry(user_id).or_default();
                }
            }
            (false, user_ids) => {
                for user_id in user_ids {
                    self.rows.remove(&user_id);
                }
            }
        }
    }

    /// The members after the change that is under way.
    pub fn members_after_change(&self) -> BTreeSet<&UserId> {
        let mut members: BTreeSet<&UserId> = self.rows.keys().collect();
        if let Some((come, user_ids)) = &self.change {
            for user_id in user_ids {
                if *come {
                    members.insert(user_id)
                } else {
                    members.remove(user_id)
                };
            }
        }
        members
    }
}

impl Row {
    /// Whether the row is certainly in the user's list. A delete of a row that is not listed
    /// changes nothing.
    pub fn is_shown(&self, chat: &Chat) -> bool {
        self.deleted.is_none_or(|(_, answered)| chat.raised > answered)
    }

    fn applied(&mut self, reply: Reply, sent: u64, now: u64) {
        match (self.open.take().unwrap(), reply) {
            (RowOp::Flags(flags), Reply::SetFlags(reply)) => {
                let row = reply.row;
                assert_eq!(
                    (row.is_top.0, row.is_mute.0, row.is_hide.0),
                    (flags.is_top, flags.is_mute, flags.is_hide),
                    "set_flags answers another row"
                );
                self.flags = flags;
            }
            (RowOp::Read(seq), Reply::MarkRead(reply)) => {
                let stored = reply.max_read_seq.get();
                assert!(
                    stored >= seq && stored >= self.read,
                    "mark_read went back: {self:?}, {reply:?}"
                );
                self.read = stored;
                if stored == seq {
                    self.flags = self.flags.read();
                }
            }
            (RowOp::Delete, Reply::Delete(())) => {
                self.flags = self.flags.deleted();
                self.deleted = Some((sent, now));
            }
            (open, reply) => panic!("{open:?} was answered: {reply:?}"),
        }
    }
}

/// The commands that the load sends.
pub mod commands {
    use super::*;

    /// `advance` with `to` or with `allocate`.
    pub fn advance(
        chat_id: &ChatId,
        to: Option<u64>,
        allocate: Option<u64>,
        sender: Option<&UserId>,
    ) -> Command {
        let to = to.map(|to| Sequence::new(to).unwrap());
        let chat_id = chat_id.clone();
        Advance {
            chat_id,
            to,
            allocate,
            time: None,
            sender_id: sender.cloned(),
            force: None,
            idempotency_key: None,
            if_version: None,
        }
        .into()
    }

    /// `mark_read` up to `seq`.
    pub fn mark_read(user_id: &UserId, chat_id: &ChatId, seq: u64) -> Command {
        let seq = Sequence::new(seq).unwrap();
        MarkRead {
            user_id: user_id.clone(),
            chat_id: chat_id.clone(),
            seq,
            idempotency_key: None,
            if_version: None,
        }
        .into()
    }

    /// `delete` of one chat.
    pub fn delete(user_id: &UserId, chat_id: &ChatId) -> Command {
        Delete {
            user_id: user_id.clone(),
            ids: vec![chat_id.clone()],
            up_to: None,
            idempotency_key: None,
        }
        .into()
    }
}
