//! `conversations` and `unread`: fetches the rows of users from their shards, and then looks at the
//! rows' chats, slice by slice.
//!
//! Invariants:
//! - One slice of a command is under way at a time. Its parts go to all shards that own chats of
//!   it, and the next slice follows when all have answered. So many long lists take turns on a
//!   core.

use std::collections::HashSet;
use std::sync::Arc;

use super::Sent;
use super::scatter::{Gather, Scatter, Scattered, mixed_up};
use super::scatter_plan::ScatterPlan;
use crate::command::conversations::{Conversation, Conversations, ConversationsReply};
use crate::command::unread::{Unread, UnreadItem, UnreadReply};
use crate::command::{Outcome, Reply};
use crate::limits::{CONVERSATIONS_PAGE, SCAN_ROWS, USERS_A_SCAN};
use crate::shard::listing::{
    ConversationPlace, Listing, ListingPart, PageStart, Part, Rows, Seen, Slicer, Totals, UserRows,
    key_of, order,
};
use crate::shard::op::{Answer, Op, ReplyTo};
use crate::types::{Flag, KeyHasher, ShardId, UserId};

/// A `conversations` under way.
pub(super) struct ListingGather {
    asked: Conversations,
    start: Option<PageStart>,
    limit: usize,
    /// The rows that the slices share, and what cuts them into slices. `None` until the rows have
    /// arrived.
    scan: Option<(Arc<Listing>, Slicer)>,
    missing: usize,
    /// The conversations found so far that come first, in the order of the reply: at most one more
    /// than the page has.
    best: Vec<Conversation>,
    seen: Seen,
}

/// An `unread` under way.
pub(super) struct UnreadGather {
    users: Vec<UserId>,
    totals: Vec<Totals>,
    /// Index in `users` of the first user whose rows were not requested yet.
    next_user: usize,
    /// The rows of the users that were requested together, by position among these users.
    rows: Vec<Option<UserRows>>,
    /// Which users each part of the current request for rows has.
    asked: ScatterPlan,
    /// The rows being counted, what cuts them into slices, and the index of their first user.
    scan: Option<(Rows, Slicer, usize)>,
    missing: usize,
}

impl Scatter {
    pub(super) fn scatter_conversations(
        &self,
        entry: u64,
        asked: Conversations,
        out: &mut Vec<Sent>,
    ) -> Scattered {
        let start = match asked.cursor.as_deref().map(PageStart::parse).transpose() {
            Ok(start) => start,
            Err(error) => return Scattered::Finished(Err(error)),
        };
        let limit = asked.limit.and_then(|limit| usize::try_from(limit).ok());
        let shard = self.shard_of_user(&asked.user_id);
        out.push((shard, self.reply_to(entry, 0), Op::Rows(vec![asked.user_id.clone()])));
        Scattered::asked(ListingGather {
            asked,
            start,
            limit: limit.unwrap_or(CONVERSATIONS_PAGE),
            scan: None,
            missing: 1,
            best: Vec::new(),
            seen: Seen::default(),
        })
    }

    pub(super) fn scatter_unread(
        &self,
        entry: u64,
        unread: Unread,
        out: &mut Vec<Sent>,
    ) -> Scattered {
        let mut seen = HashSet::with_capacity(unread.user_ids.len());
        let users: Vec<UserId> =
            unread.user_ids.into_iter().filter(|id| seen.insert(id.clone())).collect();
        if users.is_empty() {
            return Scattered::Finished(Ok(Reply::Unread(UnreadReply { items: Vec::new() })));
        }
        let mut gather = UnreadGather {
            totals: vec![Totals::default(); users.len()],
            users,
            next_user: 0,
            rows: Vec::new(),
            asked: ScatterPlan::default(),
            scan: None,
            missing: 0,
        };
        self.ask_rows_of(&mut gather, entry, out);
        Scattered::asked(gather)
    }

    /// Requests the rows of the next [`USERS_A_SCAN`] users.
    fn ask_rows_of(&self, gather: &mut UnreadGather, entry: u64, out: &mut Vec<Sent>) {
        let from = gather.next_user;
        let users = gather.users.iter().skip(from).take(USERS_A_SCAN);
        let users: Vec<(usize, UserId)> = users.cloned().enumerate().collect();
        gather.next_user = from + users.len();
        gather.rows = vec![None; users.len()];
        let (asked, parts) = ScatterPlan::cut(users, |user_id| self.shard_of_user(user_id));
        for (part, shard, ids) in parts {
            out.push((shard, self.reply_to(entry, part), Op::Rows(ids)));
        }
        gather.missing = asked.len();
        gather.asked = asked;
    }
}

impl Gather for ListingGather {
    fn gather(
        &mut self,
        scatter: &mut Scatter,
        to: ReplyTo,
        answer: Answer,
        out: &mut Vec<Sent>,
    ) -> Option<Outcome> {
        match answer {
            Answer::Rows(rows) => {
                let rows: Rows = Arc::new(rows);
                let shared = Listing {
                    rows: Arc::clone(&rows),
                    asked: self.asked.clone(),
                    wanted: self.limit + 1,
                    start: self.start.clone(),
                };
                self.scan = Some((Arc::new(shared), Slicer::new(rows)));
            }
            Answer::Conversations(part) => self.take(part),
            Answer::Done(outcome @ Err(_)) => return Some(outcome),
            _ => return Some(mixed_up()),
        }
        self.missing = self.missing.saturating_sub(1);
        if self.missing > 0 {
            return None;
        }
        let until = self.until();
        let Some((shared, slicer)) = &mut self.scan else { return Some(mixed_up()) };
        let parts = slicer.next(SCAN_ROWS, scatter.hasher, scatter.shards);
        if parts.is_empty() {
            return Some(Ok(Reply::Conversations(self.finish(scatter.hasher))));
        }
        self.missing = parts.len();
        for (shard, refs) in parts {
            let part = Part { refs, until: until.clone() };
            let op = Op::Conversations(Arc::clone(shared), part);
            out.push((shard, scatter.reply_to(to.entry, 0), op));
        }
        None
    }
}

impl Gather for UnreadGather {
    fn gather(
        &mut self,
        scatter: &mut Scatter,
        to: ReplyTo,
        answer: Answer,
        out: &mut Vec<Sent>,
    ) -> Option<Outcome> {
        match answer {
            Answer::Rows(rows) => self.take_rows(to, rows),
            Answer::Unread(totals) => self.take_totals(totals),
            Answer::Done(outcome @ Err(_)) => return Some(outcome),
            _ => return Some(mixed_up()),
        }
        self.missing = self.missing.saturating_sub(1);
        if self.missing > 0 {
            return None;
        }
        if self.scan.is_none() {
            let rows: Rows =
                Arc::new(std::mem::take(&mut self.rows).into_iter().flatten().collect());
            let first = self.next_user - rows.len();
            self.scan = Some((Arc::clone(&rows), Slicer::new(rows), first));
        }
        let (rows, slicer, _) = self.scan.as_mut()?;
        let parts: Vec<(ShardId, _)> = slicer.next(SCAN_ROWS, scatter.hasher, scatter.shards);
        if !parts.is_empty() {
            self.missing = parts.len();
            for (shard, refs) in parts {
                let op = Op::Unread(Arc::clone(rows), refs);
                out.push((shard, scatter.reply_to(to.entry, 0), op));
            }
            return None;
        }
        self.scan = None;
        if self.next_user < self.users.len() {
            scatter.ask_rows_of(self, to.entry, out);
            return None;
        }
        Some(Ok(Reply::Unread(self.finish())))
    }
}

impl ListingGather {
    /// Merges the conversations of one part into the best ones so far.
    fn take(&mut self, part: ListingPart) {
        self.seen.join(part.seen);
        self.best.extend(part.items);
        self.best.sort_by(|a, b| order(key_of(a), key_of(b)));
        self.best.truncate(self.limit + 1);
    }

    /// The last place that can still be on the page; `None` while the page is not full.
    fn until(&self) -> Option<ConversationPlace> {
        (self.best.len() > self.limit)
            .then(|| self.best.last().map(ConversationPlace::of))
            .flatten()
    }

    fn finish(&mut self, hasher: KeyHasher) -> ConversationsReply {
        let mut items = std::mem::take(&mut self.best);
        let more = items.len() > self.limit;
        items.truncate(self.limit);
        let moved = self.start.as_ref().is_some_and(|start| start.seen != self.seen);
        let mut seen = self.seen;
        for item in &items {
            let hash = hasher.hash(item.chat_id.as_str());
            seen.add(item.is_top == Flag::YES, item.last_time, hash);
        }
        let last = items.last().filter(|_| more);
        let next_cursor =
            last.map(|last| PageStart { place: ConversationPlace::of(last), seen }.to_cursor());
        ConversationsReply { items, next_cursor, moved }
    }
}

impl UnreadGather {
    fn take_rows(&mut self, to: ReplyTo, rows: Vec<UserRows>) {
        self.asked.put(to, rows, &mut self.rows, |place, rows| *place = Some(rows));
    }

    fn take_totals(&mut self, totals: Vec<(u32, Totals)>) {
        let first = self.scan.as_ref().map_or(0, |(_, _, first)| *first);
        for (user, part) in totals {
            let position = usize::try_from(user).ok().and_then(|user| user.checked_add(first));
            if let Some(total) = position.and_then(|position| self.totals.get_mut(position)) {
                total.join(part);
            }
        }
    }

    fn finish(&mut self) -> UnreadReply {
        let users = std::mem::take(&mut self.users).into_iter();
        let item = |(user_id, totals): (UserId, &Totals)| UnreadItem {
            user_id,
            messages: totals.messages,
            chats: totals.chats,
            muted_messages: totals.muted_messages,
            muted_chats: totals.muted_chats,
        };
        UnreadReply { items: users.zip(&self.totals).map(item).collect() }
    }
}
