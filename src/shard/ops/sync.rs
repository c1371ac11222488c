//! `sync`: what changed in a user's rows since a version.
//!
//! A row has the version of its newest change, and a removal has a version too. So the changes
//! since a version are the rows and removals with a higher one. Each chat is reported once, in its
//! present state.
//!
//! A listing from the start may take several replies. Changes during the listing have higher
//! versions, so a later reply reports them. `log` in these replies has the version at which the
//! listing began. Removals up to that version need no report: the client never got their rows.
//!
//! `log` also says when the user was created. A user who was erased and joins again begins with
//! version 1, so versions from before do not count.

use crate::command::sync::{Since, Sync, SyncItem, SyncOp, SyncReply};
use crate::command::{Outcome, Reply};
use crate::limits::SYNC_PAGE_MAX;
use crate::shard::core::Slots;
use crate::shard::row::Row;
use crate::shard::state::User;
use crate::types::{ChatId, Flag, Sequence, TimeMs};

/// Where a `sync` continues.
struct Start {
    /// The client already has all changes up to this version.
    known: u64,
    /// In a listing from the start, the version at which the listing began.
    began: Option<u64>,
    /// Why the client must drop all rows that it has. None if it need not.
    reset: Option<String>,
}

/// A change of a user's rows.
enum Change<'a> {
    Row(&'a Row),
    Gone(&'a ChatId),
}

/// Lists changes that the client does not know. `incarnation` is the incarnation of the log.
pub fn sync(slots: &Slots, incarnation: u64, sync: &Sync) -> Outcome {
    let user = slots.find_user(&sync.user_id);
    let newest = user.map_or(0, |user| user.head.version);
    let start = start_of(incarnation, sync.since.as_ref(), user, newest);
    let limit = sync.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(SYNC_PAGE_MAX);
    let (changes, more) = user.map_or((Vec::new(), false), |user| changes(user, &start, limit));
    let version = match changes.last() {
        Some((version, _)) if more => *version,
        _ => newest,
    };
    let log = Log { incarnation, born: born(user), began: start.began.filter(|_| more) };
    let log = log.to_string();
    let items = changes.into_iter().map(|(version, change)| item(version, &change)).collect();
    Ok(Reply::Sync(SyncReply {
        log,
        version,
        reset: start.reset.is_some(),
        reason: start.reset,
        more,
        items,
    }))
}

fn start_of(
    own_incarnation: u64,
    since: Option<&Since>,
    user: Option<&User>,
    newest: u64,
) -> Start {
    let whole = |reset| Start { known: 0, began: Some(newest), reset };
    let Some(since) = since else { return whole(None) };
    let forgotten_to = user.and_then(|user| user.gone.as_ref()).map_or(0, |gone| gone.forgotten_to);
    let Some(Log { incarnation, born: known_born, began }) = Log::parse(&since.log) else {
        return whole(Some("since.log is none of this server's".into()));
    };
    if incarnation != own_incarnation {
        return whole(Some(
            "since.log is of another log: changes that it told may have been lost".into(),
        ));
    }
    let version = since.version;
    // A client without any version has no rows to drop.
    if version > 0 && known_born != born(user) {
        return whole(Some("the user was erased since: versions start again".into()));
    }
    if version > newest || began.is_some_and(|began| began > newest) {
        return whole(Some(format!("since.version {version} is above the user's {newest}")));
    }
    if began.unwrap_or(version) < forgotten_to {
        return whole(Some(format!(
            "since.version {version} is too old: removals are kept from {forgotten_to} on"
        )));
    }
    Start { known: version, began, reset: None }
}

/// What the text `log` of a `sync` says.
struct Log {
    incarnation: u64,
    /// When the user was created: [`UserHead::born`](crate::shard::state::UserHead::born). 0
    /// without such a user.
    born: u64,
    /// The version at which the listing began. None outside a listing.
    began: Option<u64>,
}

impl Log {
    fn parse(text: &str) -> Option<Self> {
        let (log, began) = match text.split_once('.') {
            None => (text, None),
            Some((log, began)) => (log, Some(began.parse().ok()?)),
        };
        let (incarnation, born) = log.split_once('-')?;
        let hex = |text| u64::from_str_radix(text, 16).ok();
        Some(Self { incarnation: hex(incarnation)?, born: hex(born)?, began })
    }
}

impl std::fmt::Display for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}-{:x}", self.incarnation, self.born)?;
        self.began.map_or(Ok(()), |began| write!(f, ".{began}"))
    }
}

fn born(user: Option<&User>) -> u64 {
    user.map_or(0, |user| user.head.born)
}

/// The oldest changes that the client does not know, about `limit` of them, in order of versions.
/// Also whether there are more. Imported rows may share a version, so all changes of the last
/// version are included.
fn changes<'a>(user: &'a User, start: &Start, limit: usize) -> (Vec<(u64, Change<'a>)>, bool) {
    let mut versions: Vec<u64> = unknown(user, start).map(|(version, _)| version).collect();
    let last = match limit.checked_sub(1).filter(|_| versions.len() > limit) {
        None => u64::MAX,
        Some(last) => *versions.select_nth_unstable(last).1,
    };
    // Walks the rows a second time, to collect only the few changes that one reply holds.
    let listed = unknown(user, start).filter(|(version, _)| *version <= last);
    let mut listed: Vec<(u64, Change<'a>)> = listed.collect();
    listed.sort_unstable_by_key(|(version, _)| *version);
    let more = listed.len() < versions.len();
    (listed, more)
}

/// All changes that the client does not know, in no order.
fn unknown<'a>(user: &'a User, start: &Start) -> impl Iterator<Item = (u64, Change<'a>)> {
    let known = start.known;
    // In a listing, the client never got a row that was removed before the listing began.
    let removed_from = start.began.unwrap_or(0).max(known);
    let rows = user.rows.iter().filter(move |row| {
        let shown = row.facts().is_show == Flag::YES;
        row.version() > if shown { known } else { removed_from }
    });
    let gone = user.gone.iter().flat_map(|gone| &gone.chats);
    let gone = gone.filter(move |(_, version)| *version > removed_from);
    rows.map(|row| (row.version(), Change::Row(row)))
        .chain(gone.map(|(chat_id, version)| (*version, Change::Gone(chat_id))))
}

fn item(version: u64, change: &Change<'_>) -> SyncItem {
    match change {
        Change::Row(row) => {
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
        Change::Gone(chat_id) => SyncItem {
            op: SyncOp::Remove,
            id: (*chat_id).clone(),
            chat_id: (*chat_id).clone(),
            is_top: Flag::NO,
            is_mute: Flag::NO,
            is_show: Flag::NO,
            is_hide: Flag::NO,
            max_read_seq: Sequence::ZERO,
            last_online_time: TimeMs::ZERO,
            marked_unread: Flag::NO,
            version,
        },
    }
}
