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

use crate::command::Reply;
use crate::command::sync::{Since, Sync};
use crate::limits::SYNC_PAGE_MAX;
use crate::shard::machine::Slots;
use crate::shard::op::{Answer, Step};
use crate::shard::state::User;
use crate::shard::sync_page::{Start, SyncLog, SyncPage};

/// Lists changes that the client does not know, or makes a [`SyncPage`] for the router to continue,
/// of a user with many rows. `incarnation` is the incarnation of the log.
pub fn sync(slots: &Slots, incarnation: u64, sync: &Sync) -> Step {
    let user = slots.find_user(&sync.user_id);
    let newest = user.map_or(0, |user| user.head.version);
    let start = start_of(incarnation, sync.since.as_ref(), user, newest);
    let limit = sync.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(SYNC_PAGE_MAX);
    let log = SyncLog { incarnation, born: born(user), began: start.began };
    continue_sync(SyncPage::begin(user, start, log, limit))
}

/// Whether the caller knows a version, or a birth of the user, that these slots have not seen.
pub fn lacks(slots: &Slots, incarnation: u64, sync: &Sync) -> bool {
    let Some(since) = &sync.since else { return false };
    let Some(log) = SyncLog::parse(&since.log) else { return false };
    if log.incarnation != incarnation {
        return false;
    }
    // A user is born with a sequence of the slot. Behind it, the slot knows better.
    let seen = slots.own_state(slots.hash_of(sync.user_id.as_str())).map_or(0, |slot| slot.seq);
    let user = slots.find_user(&sync.user_id);
    let newest = user.map_or(0, |user| user.head.version);
    let is_same_user = log.born == born(user);
    let is_newer = since.version > newest || log.began.is_some_and(|began| began > newest);
    log.born > seen || is_same_user && is_newer
}

/// Makes the next slice of a page. Returns the reply, or the page if slices are missing: other
/// requests come before the next slice.
pub fn continue_sync(mut page: SyncPage) -> Step {
    match page.go_on() {
        Some(reply) => Step::Done(Ok(Reply::Sync(reply))),
        None => Step::Part(Answer::Sync(Box::new(page))),
    }
}

fn start_of(
    own_incarnation: u64,
    since: Option<&Since>,
    user: Option<&User>,
    newest: u64,
) -> Start {
    let whole = |reset| Start { known: 0, began: Some(newest), reset };
    let Some(since) = since else { return whole(None) };
    let forgotten_to =
        user.and_then(|user| user.removals.as_ref()).map_or(0, |removals| removals.forgotten_to);
    let Some(SyncLog { incarnation, born: known_born, began }) = SyncLog::parse(&since.log) else {
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

fn born(user: Option<&User>) -> u64 {
    user.map_or(0, |user| user.head.born)
}
