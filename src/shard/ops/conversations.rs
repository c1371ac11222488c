//! A shard's part of `conversations` and `unread`: joins its chats with the rows that the operation
//! brings.

use std::collections::HashMap;

use crate::command::conversations::{Conversation, Conversations};
use crate::command::floors::Floors;
use crate::shard::listing::{
    ConversationPlace, Listing, ListingPart, Part, RowRef, SortKey, Totals, UserRows, order,
};
use crate::shard::machine::Slots;
use crate::shard::machine::prefetch::{detail_lines, fetch_each, head_line, member_line};
use crate::shard::op::Answer;
use crate::shard::row::Row;
use crate::shard::state::Chat;
use crate::shard::table::OutOfLine;
use crate::types::{Flag, Sequence, UserId};

/// How many rows are looked up together, so that their waits for memory overlap.
const BLOCK: usize = 32;

pub fn conversations(slots: &Slots, listing: &Listing, part: &Part) -> Answer {
    let Some(user) = listing.rows.first() else {
        return Answer::Conversations(ListingPart::default());
    };
    let member = Reader { id: &user.user_id, hash: slots.hash_of(user.user_id.as_str()) };
    let mut found: Vec<(&Row, &Chat)> = Vec::new();
    let mut answer = ListingPart::default();
    for_each_joined(slots, &listing.rows, &part.refs, false, |at, row, chat| {
        if !is_wanted(&listing.asked, row, chat, &member) {
            return;
        }
        let (pinned, time) = (row.facts().is_top == Flag::YES, chat.head.last_time);
        if let Some(start) = &listing.start
            && start.place.order_of(pinned, time, &row.chat_id).is_le()
        {
            answer.seen.add(pinned, time, at.hash);
            return;
        }
        let is_behind =
            |until: &ConversationPlace| until.order_of(pinned, time, &row.chat_id).is_gt();
        if !part.until.as_ref().is_some_and(is_behind) {
            found.push((row, chat));
        }
    });
    if found.len() > listing.wanted {
        found.select_nth_unstable_by(listing.wanted, |a, b| order(key(*a), key(*b)));
        found.truncate(listing.wanted);
    }
    found.sort_unstable_by(|a, b| order(key(*a), key(*b)));
    answer.items = found.into_iter().map(|(row, chat)| conversation(row, chat, &member)).collect();
    Answer::Conversations(answer)
}

pub fn unread(slots: &Slots, rows: &[UserRows], refs: &[RowRef]) -> Answer {
    let mut totals: HashMap<u32, Totals> = HashMap::new();
    let mut reader: Option<(u32, Reader<'_>)> = None;
    for_each_joined(slots, rows, refs, true, |at, row, chat| {
        if row.facts().is_hide == Flag::YES {
            return;
        }
        // The rows of one user follow each other, so the reader changes rarely.
        if reader.as_ref().is_none_or(|(user, _)| *user != at.user) {
            let user = usize::try_from(at.user).ok().and_then(|user| rows.get(user));
            reader = user.map(|user| {
                let hash = slots.hash_of(user.user_id.as_str());
                (at.user, Reader { id: &user.user_id, hash })
            });
        }
        let Some((_, reader)) = &reader else { return };
        let unread = reader.unread(row, chat);
        totals.entry(at.user).or_default().add(
            row.facts().is_mute,
            unread,
            row.facts().marked_unread,
        );
    });
    Answer::Unread(totals.into_iter().collect())
}

/// Calls `visit` with each shown row and its chat. Leaves out rows of dissolved chats.
///
/// Waits for memory take most of the time, so a block of rows goes through rounds whose waits
/// overlap. The first round finds the chats. The second reads their cache lines, and those of a
/// member if `looks_at_members`. The last calls `visit`.
fn for_each_joined<'a>(
    slots: &'a Slots,
    rows: &'a [UserRows],
    refs: &[RowRef],
    looks_at_members: bool,
    mut visit: impl FnMut(RowRef, &'a Row, &'a Chat),
) {
    for block in refs.chunks(BLOCK) {
        let mut entries: [Option<&OutOfLine<Chat>>; BLOCK] = [None; BLOCK];
        for (place, at) in entries.iter_mut().zip(block) {
            let slot = slots.own_state(at.hash);
            *place = slot.and_then(|slot| slot.chat_candidate(at.hash));
        }
        let found = entries.map(|chat| chat.map(|chat| &**chat));
        let chats = || found.iter().flatten().copied();
        match looks_at_members {
            true => {
                fetch_each(chats(), detail_lines);
                fetch_each(chats().filter_map(|chat| chat.members.first()), member_line);
            }
            false => fetch_each(chats(), head_line),
        }
        for (candidate, at) in found.iter().zip(block) {
            let Some(row) = at.of(rows).filter(|row| row.facts().is_show == Flag::YES) else {
                continue;
            };
            let chat = slots.chat_by(*candidate, row.chat_id.as_str(), at.hash);
            if let Some(chat) = chat.filter(|chat| !chat.head.dissolved) {
                visit(*at, row, chat);
            }
        }
    }
}

/// The owner of the rows, who reads the chats.
struct Reader<'a> {
    id: &'a UserId,
    hash: u64,
}

impl Reader<'_> {
    /// The floors of the row, with the sent sequence that the chat knows.
    fn floors(&self, row: &Row, chat: &Chat) -> Floors {
        let member = chat.members.get(self.id.as_str(), self.hash);
        row.facts().floors(member.map_or(Sequence::ZERO, |member| member.facts().sent_seq))
    }

    /// Whether the reader has anything unread. Rarely needs to look up the member.
    fn has_unread(&self, row: &Row, chat: &Chat) -> bool {
        let without_sent = row.facts().floors(Sequence::ZERO).unread(chat.head.last_sequence);
        without_sent > 0 && (!chat.newest_may_be_by(self.hash) || self.unread(row, chat) > 0)
    }

    fn unread(&self, row: &Row, chat: &Chat) -> u64 {
        // Usually nothing is unread, even without the sent sequence. Then the member is not looked
        // up.
        match row.facts().floors(Sequence::ZERO).unread(chat.head.last_sequence) {
            0 => 0,
            _ => self.floors(row, chat).unread(chat.head.last_sequence),
        }
    }
}

fn is_wanted(asked: &Conversations, row: &Row, chat: &Chat, reader: &Reader<'_>) -> bool {
    asked.chat_type.is_none_or(|wanted| wanted == chat.head.chat_type)
        && asked.hidden.is_none_or(|wanted| wanted == row.facts().is_hide)
        && asked.active_since.is_none_or(|since| chat.head.last_time >= since)
        && (asked.unread_only != Some(true)
            || row.facts().marked_unread == Flag::YES
            || reader.has_unread(row, chat))
}

fn key<'a>((row, chat): (&'a Row, &'a Chat)) -> SortKey<'a> {
    (row.facts().is_top == Flag::YES, chat.head.last_time, &row.chat_id)
}

fn conversation(row: &Row, chat: &Chat, reader: &Reader<'_>) -> Conversation {
    let (facts, head) = (row.facts(), &chat.head);
    let floors = reader.floors(row, chat);
    Conversation {
        id: row.chat_id.clone(),
        chat_id: row.chat_id.clone(),
        is_top: facts.is_top,
        is_mute: facts.is_mute,
        is_show: facts.is_show,
        is_hide: facts.is_hide,
        max_read_seq: facts.max_read_seq.min(head.last_sequence),
        last_online_time: facts.last_online_time,
        creator_id: head.creator_id.to_user_id(),
        chat_type: head.chat_type,
        status: head.status,
        is_enc: head.is_enc,
        last_read_sequence: floors.floor().min(head.last_sequence),
        last_sequence: head.last_sequence,
        last_time: head.last_time,
        created_at: head.created_at,
        unread: floors.unread(head.last_sequence),
        marked_unread: facts.marked_unread,
    }
}
