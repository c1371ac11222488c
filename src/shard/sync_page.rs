//! A page of `sync`, made a slice at a time.
//!
//! The rows are those of one instant: their chunks are shared, not copied, and later changes are
//! not seen. So a shard that makes a page of a user with many rows can serve other requests in
//! between.
//!
//! Invariants:
//! - A slice looks at about [`LOOK_ROWS`] rows.
//! - Between slices the page holds the oldest changes so far: the limit of the page, and those that
//!   share the version of the last one.

use std::sync::Arc;

use crate::command::sync::{SyncItem, SyncOp, SyncReply};
use crate::limits::LOOK_ROWS;
use crate::shard::roster::Chunks;
use crate::shard::row::Row;
use crate::shard::state::{Removals, User};
use crate::types::{ChatId, Flag, Sequence, TimeMs};

/// Where a `sync` continues.
#[derive(Debug, Clone)]
pub struct Start {
    /// The client already has all changes up to this version.
    pub known: u64,
    /// In a listing from the start, the version at which the listing began.
    pub began: Option<u64>,
    /// Why the client must drop all rows that it has. None if it need not.
    pub reset: Option<String>,
}

/// A page that is being made.
#[derive(Debug, Clone)]
pub struct SyncPage {
    rows: Chunks<Row>,
    removals: Option<Arc<Removals>>,
    /// The user's newest version.
    newest: u64,
    start: Start,
    log: SyncLog,
    limit: usize,
    /// The chunk where the next slice begins.
    next: usize,
    /// Changes that the client does not know, each with its version, in no order.
    changes: Vec<(u64, ChangePlace)>,
    /// Whether changes were left out because `limit` older ones were found.
    more: bool,
}

/// Where a change stands.
#[derive(Debug, Clone, Copy)]
enum ChangePlace {
    Row { chunk: usize, row: usize },
    Removal(usize),
}

impl SyncPage {
    /// Begins a page of about `limit` changes: all changes of its last version are on it, because
    /// imported rows may share a version.
    pub fn begin(user: Option<&User>, start: Start, log: SyncLog, limit: usize) -> Self {
        let mut page = Self {
            rows: user.map(|user| user.rows.chunks()).unwrap_or_default(),
            removals: user.and_then(|user| user.removals.clone()),
            newest: user.map_or(0, |user| user.head.version),
            start,
            log,
            limit,
            next: 0,
            changes: Vec::new(),
            more: false,
        };
        let removed_from = page.removed_from();
        let removals = page.removals.iter().flat_map(|removals| &removals.chats).enumerate();
        let removals = removals.filter(|(_, (_, version))| *version > removed_from);
        page.changes =
            removals.map(|(index, (_, version))| (*version, ChangePlace::Removal(index))).collect();
        page
    }

    /// Makes a slice. Returns the reply if it was the last one.
    pub fn go_on(&mut self) -> Option<SyncReply> {
        let (known, removed_from) = (self.start.known, self.removed_from());
        let mut looked_at = 0;
        while let Some(rows) = self.rows.get(self.next) {
            if looked_at >= LOOK_ROWS {
                self.keep_oldest();
                return None;
            }
            for (row, entry) in rows.iter().enumerate() {
                let shown = entry.facts().is_show == Flag::YES;
                if entry.version() > if shown { known } else { removed_from } {
                    self.changes
                        .push((entry.version(), ChangePlace::Row { chunk: self.next, row }));
                }
            }
            looked_at += rows.len();
            self.next += 1;
        }
        self.keep_oldest();
        Some(self.reply())
    }

    /// The client never got the rows that were removed up to this version: it does not know them,
    /// or they were removed before the listing began.
    fn removed_from(&self) -> u64 {
        self.start.began.unwrap_or(0).max(self.start.known)
    }

    /// Leaves out the changes that are newer than the last one on the page.
    fn keep_oldest(&mut self) {
        let found = self.changes.len();
        let Some(last) = self.limit.checked_sub(1).filter(|last| *last < found) else { return };
        let (_, (last, _), _) = self.changes.select_nth_unstable_by_key(last, |(at, _)| *at);
        let last = *last;
        self.changes.retain(|(version, _)| *version <= last);
        self.more |= self.changes.len() < found;
    }

    fn reply(&mut self) -> SyncReply {
        let mut changes = std::mem::take(&mut self.changes);
        changes.sort_unstable_by_key(|(version, _)| *version);
        let version = match changes.last() {
            Some((version, _)) if self.more => *version,
            _ => self.newest,
        };
        let log = SyncLog { began: self.log.began.filter(|_| self.more), ..self.log };
        SyncReply {
            log: log.to_string(),
            version,
            reset: self.start.reset.is_some(),
            reason: self.start.reset.take(),
            more: self.more,
            items: changes.iter().filter_map(|(version, at)| self.item(*version, *at)).collect(),
        }
    }

    fn item(&self, version: u64, place: ChangePlace) -> Option<SyncItem> {
        match place {
            ChangePlace::Row { chunk, row } => {
                self.rows.get(chunk)?.get(row).map(|row| changed(version, row))
            }
            ChangePlace::Removal(index) => {
                let (chat_id, _) = self.removals.as_ref()?.chats.get(index)?;
                Some(removed(version, chat_id))
            }
        }
    }

    /// Changes for which the page holds memory.
    pub fn changes_held(&self) -> usize {
        self.changes.capacity()
    }
}

fn changed(version: u64, row: &Row) -> SyncItem {
    let shown = row.facts().is_show == Flag::YES;
    SyncItem {
        op: if shown { SyncOp::Upsert } else { SyncOp::Remove },
        id: row.chat_id.clone(),
        chat_id: row.chat_id.clone(),
        is_top: row.facts().is_top,
        is_mute: row.facts().is_mute,
        is_show: row.facts().is_show,
        is_hide: row.facts().is_hide,
        max_read_seq: row.facts().max_read_seq,
        last_online_time: row.facts().last_online_time,
        marked_unread: row.facts().marked_unread,
        version,
    }
}

/// The change of a row that is no more.
fn removed(version: u64, chat_id: &ChatId) -> SyncItem {
    SyncItem {
        op: SyncOp::Remove,
        id: chat_id.clone(),
        chat_id: chat_id.clone(),
        is_top: Flag::NO,
        is_mute: Flag::NO,
        is_show: Flag::NO,
        is_hide: Flag::NO,
        max_read_seq: Sequence::ZERO,
        last_online_time: TimeMs::ZERO,
        marked_unread: Flag::NO,
        version,
    }
}

/// What the text `log` of a `sync` says.
#[derive(Debug, Clone)]
pub struct SyncLog {
    pub incarnation: u64,
    /// When the user was created: [`UserHead::born`](crate::shard::state::UserHead::born). 0
    /// without such a user.
    pub born: u64,
    /// The version at which the listing began. None outside a listing.
    pub began: Option<u64>,
}

impl SyncLog {
    /// Reads the text. None if it is not of this form.
    pub fn parse(text: &str) -> Option<Self> {
        let (log, began) = match text.split_once('.') {
            None => (text, None),
            Some((log, began)) => (log, Some(began.parse().ok()?)),
        };
        let (incarnation, born) = log.split_once('-')?;
        let hex = |text| u64::from_str_radix(text, 16).ok();
        Some(Self { incarnation: hex(incarnation)?, born: hex(born)?, began })
    }
}

impl std::fmt::Display for SyncLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}-{:x}", self.incarnation, self.born)?;
        self.began.map_or(Ok(()), |began| write!(f, ".{began}"))
    }
}
