//! A shard's part of `export`.

use crate::command::lines::{ChatLine, MemberLine};
use crate::limits::IMPORT_COUNTER_MAX;
use crate::shard::machine::Slots;
use crate::shard::member::{Member, MemberFacts};
use crate::shard::op::{Answer, ExportPage, ExportPlace, ExportRow};
use crate::shard::row::RowFacts;
use crate::shard::state::{Chat, ChatHead, Removals, SlotState};
use crate::types::{ChatId, ChatType, Flag, Sequence, Slot, TimeMs, UserId};

/// A page of `export`: the chats of a slot sorted by id, each followed by its members in join
/// order. The removals of the slot's users come last.
pub fn export_page(slots: &Slots, slot: Slot, after: Option<ExportPlace>, limit: usize) -> Answer {
    let mut page = ExportPage::default();
    let Ok(state) = slots.slot(slot) else { return Answer::ExportPage(page) };
    let full = |page: &ExportPage| page.chats.len() + page.members.len() >= limit;
    let (after_member, after_removal) = match after {
        None => (None, None),
        Some(ExportPlace::Member(id, order)) => (Some((id, order)), None),
        Some(ExportPlace::Removal(id, version, chat_id)) => (None, Some((id, version, chat_id))),
    };
    if after_removal.is_none() {
        for exported in chats_from(state, after_member.as_ref()) {
            let id = exported.id();
            let resumed = after_member.as_ref().filter(|(resumed, _)| resumed == id);
            let resumed = resumed.map(|&(_, order)| order);
            if resumed.is_none() {
                if full(&page) {
                    return Answer::ExportPage(page);
                }
                page.chats.push(exported.line());
                page.next = Some(ExportPlace::Member(id.clone(), 0));
            }
            let Exported::Chat(chat) = exported else { continue };
            for member in chat.members.iter_after(resumed.unwrap_or(0)) {
                if full(&page) {
                    return Answer::ExportPage(page);
                }
                page.members.push(member_line(chat, member));
                page.next = Some(ExportPlace::Member(chat.head.id.clone(), member.facts().order));
            }
        }
    }
    for (user_id, removals) in removals_from(state, after_removal.as_ref()) {
        let resumed = after_removal.as_ref().filter(|(id, ..)| id == user_id);
        let resumed = resumed.map(|(_, version, chat_id)| (*version, chat_id));
        for (version, chat_id) in removals_after(removals, resumed) {
            if full(&page) {
                return Answer::ExportPage(page);
            }
            page.members.push(gone_line(user_id, chat_id, version));
            page.next = Some(ExportPlace::Removal(user_id.clone(), version, chat_id.clone()));
        }
    }
    page.next = None;
    Answer::ExportPage(page)
}

pub fn export_rows(slots: &Slots, pairs: &[(UserId, ChatId)]) -> Answer {
    let row = |(user_id, chat_id): &(UserId, ChatId)| {
        slots.find_row(user_id, chat_id).map(|row| ExportRow {
            facts: row.facts(),
            order: export_counter(row.state().order),
            version: export_counter(row.version()),
        })
    };
    Answer::ExportRows(pairs.iter().map(row).collect())
}

/// A chat that `export` writes.
enum Exported<'a> {
    /// A chat that is not dissolved.
    Chat(&'a Chat),
    /// A dissolved chat. `export` writes only its id and type, even if the slot still has more of
    /// it.
    Ended(ChatId, ChatType),
}

impl Exported<'_> {
    fn id(&self) -> &ChatId {
        match self {
            Self::Chat(chat) => &chat.head.id,
            Self::Ended(id, _) => id,
        }
    }

    fn line(&self) -> ChatLine {
        match self {
            Self::Chat(chat) => chat_line(&chat.head),
            Self::Ended(id, chat_type) => chat_line(&ChatHead::retired(id.clone(), *chat_type)),
        }
    }
}

/// The chats of a slot sorted by id. Begins with the chat in which the page before ended.
fn chats_from<'a>(state: &'a SlotState, after: Option<&(ChatId, u64)>) -> Vec<Exported<'a>> {
    let is_due = |id: &ChatId| after.is_none_or(|(resumed, _)| id >= resumed);
    let retired = state.retired.iter().map(|(id, chat_type)| Exported::Ended(id, chat_type));
    let chats = state.chats().map(|chat| match chat.head.dissolved {
        true => Exported::Ended(chat.head.id.clone(), chat.head.chat_type),
        false => Exported::Chat(chat),
    });
    let mut due: Vec<_> = chats.chain(retired).filter(|chat| is_due(chat.id())).collect();
    due.sort_unstable_by(|a, b| a.id().cmp(b.id()));
    due
}

/// The users of a slot who have removals, sorted by id. Begins with the user at whom the page
/// before ended.
fn removals_from<'a>(
    state: &'a SlotState,
    after: Option<&(UserId, u64, ChatId)>,
) -> Vec<(&'a UserId, &'a Removals)> {
    let users = state.users().filter(|user| after.is_none_or(|(id, ..)| user.head.id >= *id));
    let mut removals: Vec<_> =
        users.filter_map(|user| Some((&user.head.id, user.removals.as_deref()?))).collect();
    removals.sort_unstable_by_key(|(user_id, _)| *user_id);
    removals
}

/// The removals of a user behind `after`, each with the version that `export` writes. Removals with
/// equal versions are sorted by chat, so an import of the export keeps their order.
fn removals_after<'a>(
    removals: &'a Removals,
    after: Option<(u64, &ChatId)>,
) -> Vec<(u64, &'a ChatId)> {
    let removals =
        removals.chats.iter().map(|(chat_id, version)| (export_counter(*version), chat_id));
    let mut left: Vec<_> =
        removals.filter(|removal| after.is_none_or(|after| *removal > after)).collect();
    left.sort_unstable();
    left
}

/// A counter as `export` writes it: lowered to the largest value that `import` accepts.
fn export_counter(value: u64) -> u64 {
    value.min(IMPORT_COUNTER_MAX)
}

fn chat_line(head: &ChatHead) -> ChatLine {
    ChatLine {
        id: head.id.clone(),
        creator_id: head.creator_id.to_user_id(),
        chat_type: head.chat_type,
        status: Some(head.status),
        is_enc: head.is_enc,
        last_sequence: head.last_sequence,
        last_time: head.last_time,
        created_at: head.created_at,
        version: Some(export_counter(head.version)),
        dissolved: Flag(head.dissolved),
        request_digest: (head.request_digest != 0).then(|| format!("{:016x}", head.request_digest)),
    }
}

/// The line of a member, with what the chat knows. The shard of the row replaces the other fields.
/// If the row does not exist yet, they are what the join on its way will write.
fn member_line(chat: &Chat, member: &Member) -> MemberLine {
    let MemberFacts { join_seq, sent_seq, .. } = member.facts();
    let facts = RowFacts::joined(join_seq);
    MemberLine {
        user_id: member.user_id.to_user_id(),
        chat_id: chat.head.id.clone(),
        id: None,
        is_top: facts.is_top,
        is_mute: facts.is_mute,
        is_show: Some(Flag(!chat.is_deleted_by(member))),
        is_hide: facts.is_hide,
        max_read_seq: facts.max_read_seq,
        last_online_time: facts.last_online_time,
        join_seq: Some(join_seq),
        deleted_to_seq: None,
        sent_seq,
        marked_unread: facts.marked_unread,
        join_order: None,
        version: None,
        removed: Flag::NO,
    }
}

/// The line of a removal: the user is no longer a member of the chat.
fn gone_line(user_id: &UserId, chat_id: &ChatId, version: u64) -> MemberLine {
    MemberLine {
        user_id: user_id.clone(),
        chat_id: chat_id.clone(),
        id: None,
        is_top: Flag::NO,
        is_mute: Flag::NO,
        is_show: Some(Flag::NO),
        is_hide: Flag::NO,
        max_read_seq: Sequence::ZERO,
        last_online_time: TimeMs::ZERO,
        join_seq: None,
        deleted_to_seq: None,
        sent_seq: Sequence::ZERO,
        marked_unread: Flag::NO,
        join_order: None,
        version: Some(version),
        removed: Flag::YES,
    }
}
