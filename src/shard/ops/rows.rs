//! Commands on a user's own rows: `list`, `set_flags`, `touch`.

use std::collections::HashSet;

use crate::command::list::List;
use crate::command::set_flags::{SetFlags, SetFlagsReply};
use crate::command::touch::{Touch, TouchReply};
use crate::command::{Error, Outcome, Reply};
use crate::limits::SCAN_ROWS;
use crate::shard::events::{FlagsSet, Touched};
use crate::shard::keyed::Keyed;
use crate::shard::listing::UserRows;
use crate::shard::machine::{Shard, Slots, check_version};
use crate::shard::op::{Answer, Output, Step};
use crate::shard::page::ListPage;
use crate::shard::row::Row;
use crate::types::{ChatId, Flag, TimeMs, UserId};

/// The rows of these users, as they are at this instant.
pub fn rows(slots: &Slots, user_ids: Vec<UserId>) -> Answer {
    let rows = |user_id: UserId| {
        let chunks = slots.find_user(&user_id).map(|user| user.rows.chunks()).unwrap_or_default();
        UserRows { user_id, chunks }
    };
    Answer::Rows(user_ids.into_iter().map(rows).collect())
}

/// Answers a list, or makes a [`ListPage`] of a long list for the router to continue.
pub fn list(slots: &Slots, list: &List) -> Step {
    let rows = slots.find_user(&list.user_id).map(|user| &user.rows);
    match ListPage::begin(list, rows) {
        // Sharing the chunks of so many rows already takes one step.
        Ok(page) if rows.is_some_and(|rows| rows.len() > SCAN_ROWS) => {
            Step::Part(Answer::List(Box::new(page)))
        }
        Ok(page) => continue_list(page),
        Err(error) => Step::Done(Err(error)),
    }
}

/// Sets the flags of a row, unless the request is a repeat.
pub fn set_flags(shard: &mut Shard, set: SetFlags, out: &mut Output) -> Step {
    let keyed = Keyed::of_set_flags(&set, shard.slots().hasher());
    shard.once(keyed, out, |shard, out| change_flags(shard, set, out).into())
}

fn change_flags(shard: &mut Shard, set: SetFlags, out: &mut Output) -> Outcome {
    let row =
        shard.slots().find_row(&set.user_id, &set.chat_id).ok_or_else(Error::no_membership)?;
    check_version("row", row.version(), set.if_version)?;
    let differs =
        |wanted: Option<Flag>, stored: Flag| wanted.is_some_and(|wanted| wanted != stored);
    let facts = row.facts();
    if differs(set.is_top, facts.is_top)
        || differs(set.is_mute, facts.is_mute)
        || differs(set.is_hide, facts.is_hide)
        || differs(set.marked_unread, facts.marked_unread)
    {
        let slot = shard.slots().slot_of_user(&set.user_id);
        let event = FlagsSet {
            user_id: set.user_id.clone(),
            chat_id: set.chat_id.clone(),
            is_top: set.is_top,
            is_mute: set.is_mute,
            is_hide: set.is_hide,
            marked_unread: set.marked_unread,
        };
        shard.commit(slot, event, out);
    }
    let row =
        shard.slots().find_row(&set.user_id, &set.chat_id).ok_or_else(Error::no_membership)?;
    Ok(Reply::SetFlags(SetFlagsReply { row: row.list_row(), version: row.version() }))
}

pub fn touch(shard: &mut Shard, touch: Touch, out: &mut Output) -> Outcome {
    let time = shard.time_or_now(touch.time)?;
    let Some(user) = shard.slots().find_user(&touch.user_id) else {
        return Ok(Reply::Touch(TouchReply { touched: 0 }));
    };
    let (touched, changes) = match &touch.chat_ids {
        None => (user.rows.len(), user.rows.iter().any(|row| earlier(row, time))),
        Some(ids) => {
            let ids: HashSet<&ChatId> = ids.iter().collect();
            let rows = ids
                .iter()
                .filter_map(|id| user.rows.get(id.as_str(), shard.slots().hash_of(id.as_str())));
            rows.fold((0, false), |(count, changes), row| {
                (count + 1, changes || earlier(row, time))
            })
        }
    };
    if changes {
        let slot = shard.slots().slot_of_user(&touch.user_id);
        shard.commit(slot, Touched { user_id: touch.user_id, chat_ids: touch.chat_ids, time }, out);
    }
    let touched = u64::try_from(touched).unwrap_or(u64::MAX);
    Ok(Reply::Touch(TouchReply { touched }))
}

/// Makes the next slice of a list. Returns the reply, or the page if slices are missing: other
/// requests come before the next slice.
pub fn continue_list(mut page: ListPage) -> Step {
    match page.go_on() {
        Some(reply) => Step::Done(Ok(Reply::List(reply))),
        None => Step::Part(Answer::List(Box::new(page))),
    }
}

fn earlier(row: &Row, time: TimeMs) -> bool {
    row.facts().last_online_time < time
}
