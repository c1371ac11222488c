//! A shard's part of `verify`: the memberships as its chats and its users know them, and its
//! counts.

use std::collections::HashSet;

use crate::limits::SCAN_ROWS;
use crate::shard::machine::Slots;
use crate::shard::member::Member;
use crate::shard::op::{Answer, ChatSide, Pair, RowSide, SlotsView};
use crate::shard::row::Row;
use crate::shard::state::{Chat, SlotState, User};
use crate::types::{ChatId, Flag, Slot, UserId, wide};

/// A step ends behind the slot with which it has read this many memberships. Long rosters do not
/// count.
const PAIRS_A_STEP: usize = 1024;
/// A roster with more entries is long: it is read in pages of this size, one page per step.
const LONG: usize = SCAN_ROWS;

/// Recounts some slots, as many as one step has time for. `from` is the index of the first of them.
pub fn verify_slots(slots: &Slots, from: usize) -> Answer {
    let mut view = SlotsView::default();
    let mut index = from;
    while view.members.len() + view.rows.len() < PAIRS_A_STEP
        && let Some(state) = slots.states().get(index)
    {
        look_at(slots.own_slot(index), state, &mut view);
        index += 1;
    }
    view.next = (index < slots.states().len()).then_some(index);
    Answer::VerifySlots(Box::new(view))
}

/// A page of the members of a chat with a long roster, after join order `after`.
pub fn verify_members(slots: &Slots, id: &ChatId, after: u64) -> Answer {
    let mut view = SlotsView::default();
    let Some(chat) = slots.find_chat(id) else { return Answer::VerifyPage(view.into(), None) };
    let page: Vec<&Member> = chat.members.iter_after(after).take(LONG).collect();
    view.differences.extend(not_remembered(chat, page.iter().copied()));
    view.members.extend(page.iter().map(|member| member_pair(chat, member)));
    let more = page.last().filter(|_| page.len() == LONG).map(|last| last.facts().order);
    Answer::VerifyPage(view.into(), more)
}

/// A page of the rows of a user with a long roster, after join order `after`.
pub fn verify_rows_of(slots: &Slots, id: &UserId, after: u64) -> Answer {
    let mut view = SlotsView::default();
    let Some(user) = slots.find_user(id) else { return Answer::VerifyPage(view.into(), None) };
    let page: Vec<&Row> = user.rows.iter_after(after).take(LONG).collect();
    view.differences.extend(ahead(user, page.iter().copied()));
    view.rows.extend(page.iter().map(|row| row_pair(user, row)));
    let more = page.last().filter(|_| page.len() == LONG).map(|last| last.state().order);
    Answer::VerifyPage(view.into(), more)
}

pub fn verify_chats(slots: &Slots, pairs: &[Pair]) -> Answer {
    let side = |(user_id, chat_id): &Pair| match slots.find_chat(chat_id) {
        None => ChatSide { event: 0, is_busy: false, member: None },
        Some(chat) => {
            let hash = slots.hash_of(user_id.as_str());
            let member = chat.members.get(user_id.as_str(), hash);
            let member = member.map(|member| (member.facts().join_seq, chat.is_deleted_by(member)));
            ChatSide { member, ..without_member(chat) }
        }
    };
    Answer::VerifyChats(pairs.iter().map(side).collect())
}

pub fn verify_rows(slots: &Slots, pairs: &[Pair]) -> Answer {
    let side = |(user_id, chat_id): &Pair| slots.find_row(user_id, chat_id).map(row_side);
    Answer::VerifyRows(pairs.iter().map(side).collect())
}

fn look_at(slot: Option<Slot>, state: &SlotState, view: &mut SlotsView) {
    view.differences.extend(miscounted(slot.map_or(0, Slot::get), state));
    view.chats += wide(state.retired.len());
    for chat in state.chats() {
        view.chats += 1;
        view.differences.extend(chat_differences(chat));
        if chat.members.len() > LONG {
            view.long_chats.push(chat.head.id.clone());
        } else {
            view.differences.extend(not_remembered(chat, chat.members.iter()));
            view.members.extend(chat.members.iter().map(|member| member_pair(chat, member)));
        }
    }
    for user in state.users() {
        view.differences.extend(user_differences(user));
        if user.rows.len() > LONG {
            view.long_users.push(user.head.id.clone());
        } else {
            view.differences.extend(ahead(user, user.rows.iter()));
            view.rows.extend(user.rows.iter().map(|row| row_pair(user, row)));
        }
    }
}

fn member_pair(chat: &Chat, member: &Member) -> (Pair, ChatSide) {
    let pair = (member.user_id.to_user_id(), chat.head.id.clone());
    let member = Some((member.facts().join_seq, chat.is_deleted_by(member)));
    (pair, ChatSide { member, ..without_member(chat) })
}

fn row_pair(user: &User, row: &Row) -> (Pair, RowSide) {
    ((user.head.id.clone(), row.chat_id.clone()), row_side(row))
}

fn without_member(chat: &Chat) -> ChatSide {
    ChatSide { event: chat.head.event, is_busy: !chat.outbox.is_empty(), member: None }
}

fn row_side(row: &Row) -> RowSide {
    RowSide {
        event: row.state().event,
        join_seq: row.facts().join_seq,
        is_deleted: row.facts().is_show == Flag::NO,
    }
}

fn miscounted(number: u16, state: &SlotState) -> Vec<String> {
    let (counted, real) = (state.counts, state.recount());
    let pairs = [
        ("chats", counted.chats, real.chats),
        ("dissolved chats", counted.dissolved, real.dissolved),
        ("users", counted.users, real.users),
        ("memberships", counted.memberships, real.memberships),
        ("outbox", counted.outbox, real.outbox),
        ("removals", counted.removals, real.removals),
        ("users without rows", counted.idle, real.idle),
    ];
    let wrong = pairs.into_iter().filter(|(_, counted, real)| counted != real);
    wrong
        .map(|(what, counted, real)| {
            format!("slot {number}: {what} counted as {counted}, are {real}")
        })
        .collect()
}

fn chat_differences(chat: &Chat) -> Vec<String> {
    let head = &chat.head;
    let mut found = Vec::new();
    if head.dissolved && !chat.members.is_empty() {
        found.push(format!("chat {}: dissolved, and has members", head.id));
    }
    if chat.members.last().is_some_and(|last| last.facts().order >= head.next_order) {
        found.push(format!("chat {}: next_order {} is taken", head.id, head.next_order));
    }
    if chat.outbox.last().is_some_and(|last| last.event > head.event) {
        found.push(format!("chat {}: its outbox is ahead of event {}", head.id, head.event));
    }
    found
}

/// Reports members who count as deleted but are not among the chat's deleters. The next message
/// would not bring back their rows.
fn not_remembered<'a>(
    chat: &Chat,
    members: impl Iterator<Item = &'a Member>,
) -> impl Iterator<Item = String> {
    let deleted = members.filter(|member| chat.is_deleted_by(member));
    let mut missing: HashSet<&str> = deleted.map(|member| member.user_id.as_str()).collect();
    if !missing.is_empty() {
        for user_id in chat.deleters() {
            missing.remove(user_id.as_str());
        }
    }
    let id = &chat.head.id;
    missing
        .into_iter()
        .map(move |user| format!("chat {id}: {user} deleted it and is not remembered for it"))
}

/// Reports rows whose version is above the version of their user.
fn ahead<'a>(user: &User, rows: impl Iterator<Item = &'a Row>) -> impl Iterator<Item = String> {
    let head = &user.head;
    rows.filter(|row| row.version() > head.version).map(|row| {
        let (version, of) = (row.version(), head.version);
        format!("user {}: row {} has version {version} of {of}", head.id, row.chat_id)
    })
}

fn user_differences(user: &User) -> Vec<String> {
    let head = &user.head;
    let mut found = Vec::new();
    if user.rows.last().is_some_and(|last| last.state().order >= head.next_order) {
        found.push(format!("user {}: next_order {} is taken", head.id, head.next_order));
    }
    let removals = user.removals.iter().flat_map(|removals| &removals.chats);
    found.extend(removals.filter(|(_, version)| *version > head.version).map(
        |(chat_id, version)| {
            format!(
                "user {}: {chat_id} is gone with version {version} of {}",
                head.id, head.version
            )
        },
    ));
    found
}
