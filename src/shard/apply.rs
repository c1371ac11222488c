//! The one place where a slot changes: an event is applied to it, live and in replay alike.
//!
//! Invariants:
//! - Applying an event reads only the slot and the event: no clock, no randomness, no other slot.
//! - The shard that commits an event has checked that it fits. An event that does not fit the slot
//!   is damage, and is reported as such.

use std::sync::Arc;

use thin_vec::ThinVec;

use super::counts::UserCounts;
use super::deliveries::Deliveries;
use super::event::{
    AdvancedRef, Answered, BadRecord, ChatImported, Cleared, Created, Deleted, DeliveryDone,
    Dissolved, Event, FlagsSet, Forgotten, GoneImported, MemberErased, MembersAdded,
    MembersImported, MembersRemoved, ReadRef, RowChanged, StatusSet, Touched, UserErased,
};
use super::interner::Interner;
use super::member::{Member, MemberFacts};
use super::row::{Row, RowFacts, RowImport, RowState};
use super::state::{Chat, ChatHead, Effect, NewestBy, OutboxEntry, SlotState, User};
use crate::types::{ChatId, ChatStatus, Flag, Hashed, KeyHasher, Sequence, TimeMs, UserId, wide};

/// A slot, with everything that is needed to change it.
pub struct Applier<'a> {
    /// The slot that the events belong to.
    pub slot: &'a mut SlotState,
    /// The interner of the shard.
    pub interner: &'a mut Interner,
    /// The node's key hash.
    pub hasher: KeyHasher,
}

fn misfit(what: &str, id: &dyn std::fmt::Display) -> BadRecord {
    BadRecord(format!("{what} {id} does not fit the state"))
}

impl Applier<'_> {
    /// Applies one event.
    ///
    /// # Errors
    /// If the event does not fit the slot, which in replay means damage.
    pub fn apply(&mut self, event: Event) -> Result<(), BadRecord> {
        match event {
            Event::Created(event) => self.created(event),
            Event::MembersAdded(event) => self.members_added(event),
            Event::MembersRemoved(event) => self.members_removed(event),
            Event::Advanced(event) => self.advanced(event.as_ref(self.hasher)),
            Event::Deleted(event) => self.deleted(event),
            Event::StatusSet(event) => self.status_set(event),
            Event::Dissolved(event) => self.dissolved(event),
            Event::DeliveryDone(event) => self.delivery_done(event),
            Event::ChatImported(event) => self.chat_imported(event),
            Event::MembersImported(event) => self.members_imported(event),
            Event::RowChanged(event) => self.row_changed(event),
            Event::Read(event) => self.read(event.as_ref(self.hasher)),
            Event::FlagsSet(event) => self.flags_set(event),
            Event::Touched(event) => self.touched(event),
            Event::Cleared(event) => self.cleared(event),
            Event::MemberErased(event) => self.member_erased(event),
            Event::UserErased(event) => self.user_erased(event),
            Event::GoneImported(event) => self.gone_imported(event),
            Event::Forgotten(event) => self.forgotten(event),
            Event::Answered(event) => self.answered(event),
        }
    }

    fn chat(&mut self, id: &ChatId) -> Result<&mut Chat, BadRecord> {
        self.chat_and_interner(id).map(|(chat, _)| chat)
    }

    fn chat_and_interner(&mut self, id: &ChatId) -> Result<(&mut Chat, &mut Interner), BadRecord> {
        let hash = self.hasher.hash(id.as_str());
        let chat = self.slot.chat_mut(id.as_str(), hash).ok_or_else(|| misfit("chat", id))?;
        Ok((chat, self.interner))
    }

    fn created(&mut self, event: Created) -> Result<(), BadRecord> {
        let hash = self.hasher.hash(event.chat_id.as_str());
        if self.slot.chat(event.chat_id.as_str(), hash).is_some() || self.is_retired(&event.chat_id)
        {
            return Err(misfit("new chat", &event.chat_id));
        }
        let mut chat = Chat::new(ChatHead {
            id: event.chat_id,
            creator_id: self.interner.intern(&event.creator_id),
            chat_type: event.chat_type,
            status: ChatStatus::Normal,
            is_enc: event.is_enc,
            dissolved: false,
            last_sequence: Sequence::ZERO,
            last_time: TimeMs::ZERO,
            created_at: event.created_at,
            version: 1,
            event: 0,
            request_digest: event.request_digest,
            epoch: 0,
            next_order: 1,
        });
        self.slot.counts.outbox += join(&mut chat, event.user_ids, self.interner, self.hasher)?;
        self.slot.counts.chats += 1;
        self.slot.insert_chat(chat, self.hasher);
        Ok(())
    }

    fn members_added(&mut self, event: MembersAdded) -> Result<(), BadRecord> {
        let hasher = self.hasher;
        let (chat, interner) = self.chat_and_interner(&event.chat_id)?;
        chat.head.version += 1;
        let posted = join(chat, event.user_ids, interner, hasher)?;
        self.slot.counts.outbox += posted;
        Ok(())
    }

    fn members_removed(&mut self, event: MembersRemoved) -> Result<(), BadRecord> {
        let hasher = self.hasher;
        let chat = self.chat(&event.chat_id)?;
        chat.head.version += 1;
        for user_id in &event.user_ids {
            chat.members.remove(user_id.as_str(), hasher.hash(user_id.as_str()));
        }
        let released = event.user_ids.len();
        post(chat, Deliveries::Same(Effect::Remove, event.user_ids));
        self.interner.note_released(released);
        self.slot.counts.outbox += 1;
        Ok(())
    }

    /// Applies an [`AdvancedRef`], the most frequent event.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn advanced(&mut self, event: AdvancedRef<'_>) -> Result<(), BadRecord> {
        let Hashed { id, hash } = event.chat_id;
        let chat = self.slot.chat_mut(id, hash).ok_or_else(|| misfit("chat", &id))?;
        let mut sent = None;
        if let Some((Hashed { id, hash }, sent_seq)) = event.sent
            && let Some(member) = chat.members.get_mut(id, hash)
        {
            let sent_seq = member.facts().sent_seq.max(sent_seq);
            member.update(|member| member.sent_seq = sent_seq);
            sent = Some((hash, sent_seq));
        }
        let is_newer = event.to > chat.head.last_sequence;
        if is_newer {
            chat.newest_by = NewestBy::Nobody;
            chat.head.last_sequence = event.to;
            chat.head.last_time = event.time;
        }
        if let Some((hash, sent_seq)) = sent {
            chat.note_sent(hash, sent_seq);
        }
        if is_newer && let Some(deleters) = chat.deleters.take() {
            chat.head.epoch += 1;
            post(chat, Deliveries::Same(Effect::Return, Arc::unwrap_or_clone(deleters)));
            self.slot.counts.outbox += 1;
        }
        Ok(())
    }

    fn deleted(&mut self, event: Deleted) -> Result<(), BadRecord> {
        let hasher = self.hasher;
        let chat = self.chat(&event.chat_id)?;
        let back = event.to < chat.head.last_sequence;
        if !back {
            let deleted_in = chat.head.epoch + 1;
            let member = chat
                .members
                .get_mut(event.user_id.as_str(), hasher.hash(event.user_id.as_str()))
                .ok_or_else(|| misfit("member", &event.user_id))?;
            if member.facts().deleted_in != deleted_in {
                member.update(|member| member.deleted_in = deleted_in);
                chat.add_deleters([event.user_id.clone()]);
            }
        }
        post(chat, Deliveries::Same(Effect::Delete { to: event.to, back }, vec![event.user_id]));
        self.slot.counts.outbox += 1;
        Ok(())
    }

    fn status_set(&mut self, event: StatusSet) -> Result<(), BadRecord> {
        let chat = self.chat(&event.chat_id)?;
        chat.head.status = event.status;
        chat.head.version += 1;
        Ok(())
    }

    fn dissolved(&mut self, event: Dissolved) -> Result<(), BadRecord> {
        let chat = self.chat(&event.chat_id)?;
        if chat.head.dissolved {
            return Err(misfit("dissolved chat", &event.chat_id));
        }
        chat.head.dissolved = true;
        chat.head.version += 1;
        chat.deleters = None;
        let members = std::mem::take(&mut chat.members);
        let posted = !members.is_empty();
        if posted {
            post(chat, Deliveries::Members(Effect::Remove, members.into_chunks()));
        }
        self.slot.counts.outbox += u64::from(posted);
        self.slot.counts.chats -= 1;
        self.slot.counts.dissolved += 1;
        self.retire(&event.chat_id)
    }

    /// Retires a chat as [`SlotState::retire`] does, and fails if there is no room for its id.
    fn retire(&mut self, id: &ChatId) -> Result<(), BadRecord> {
        let hash = self.hasher.hash(id.as_str());
        match self.slot.retire(id.as_str(), hash, self.hasher) {
            true => Ok(()),
            false => Err(misfit("dissolved chat", id)),
        }
    }

    fn is_retired(&self, id: &ChatId) -> bool {
        self.slot.retired.contains(id.as_str(), self.hasher.hash(id.as_str()))
    }

    fn delivery_done(&mut self, event: DeliveryDone) -> Result<(), BadRecord> {
        let (chat, interner) = self.chat_and_interner(&event.chat_id)?;
        match chat.outbox.first() {
            Some(entry) if entry.event == event.event => {
                interner.drop_later(chat.outbox.remove(0));
                if chat.outbox.is_empty() {
                    // Most chats never have another event: their outbox keeps no memory.
                    chat.outbox = ThinVec::new();
                }
                let is_over = chat.head.dissolved && chat.outbox.is_empty();
                self.slot.counts.outbox -= 1;
                if is_over { self.retire(&event.chat_id) } else { Ok(()) }
            }
            _ => Err(misfit("delivery of", &event.chat_id)),
        }
    }

    fn chat_imported(&mut self, event: ChatImported) -> Result<(), BadRecord> {
        let hash = self.hasher.hash(event.head.id.as_str());
        let mut head = event.head;
        if self.is_retired(&head.id) {
            // A merge has nothing to change.
            return if head.dissolved { Ok(()) } else { Err(misfit("imported chat", &head.id)) };
        }
        self.interner.share(&mut head.creator_id);
        if let Some(chat) = self.slot.chat_mut(head.id.as_str(), hash) {
            let (old, new) = (&chat.head, &head);
            if old.dissolved != new.dissolved
                || (old.event, old.epoch, old.next_order) != (new.event, new.epoch, new.next_order)
            {
                return Err(misfit("imported chat", &head.id));
            }
            chat.head = head;
            return Ok(());
        }
        if head.dissolved {
            self.slot.counts.dissolved += 1;
        } else {
            self.slot.counts.chats += 1;
        }
        let id = head.id.clone();
        self.slot.insert_chat(Chat::new(head), self.hasher);
        self.retire(&id)
    }

    fn members_imported(&mut self, event: MembersImported) -> Result<(), BadRecord> {
        let hasher = self.hasher;
        let (chat, interner) = self.chat_and_interner(&event.chat_id)?;
        let mut deliveries = Vec::with_capacity(event.members.len());
        let mut new = Vec::with_capacity(event.members.len());
        for (mut member, effect) in event.members {
            interner.share(&mut member.user_id);
            if member.facts().deleted_in != 0 {
                member.update(|member| member.deleted_in = chat.head.epoch + 1);
            }
            deliveries.push((member.user_id.to_user_id(), effect));
            if chat.is_deleted_by(&member) {
                chat.add_deleters([member.user_id.to_user_id()]);
            }
            let hash = hasher.hash(member.user_id.as_str());
            let facts = member.facts();
            chat.head.next_order = chat.head.next_order.max(facts.order.saturating_add(1));
            chat.note_sent(hash, facts.sent_seq);
            if let Some(stored) = chat.members.get_mut(member.user_id.as_str(), hash) {
                stored.update(|stored| *stored = MemberFacts { order: stored.order, ..facts });
            } else {
                new.push(member);
            }
        }
        if !chat.members.try_append(new, hasher) {
            return Err(misfit("imported member of", &event.chat_id));
        }
        post(chat, Deliveries::Each(deliveries));
        self.slot.counts.outbox += 1;
        Ok(())
    }

    fn row_changed(&mut self, event: RowChanged) -> Result<(), BadRecord> {
        let hasher = self.hasher;
        let user =
            self.slot.user_or_new(&event.user_id, hasher.hash(event.user_id.as_str()), hasher);
        let before = UserCounts::of(user);
        change_row(user, event, hasher);
        let after = UserCounts::of(user);
        self.recount_user(before, after);
        Ok(())
    }

    fn recount_user(&mut self, before: UserCounts, after: UserCounts) {
        self.slot.counts.add_user(after);
        self.slot.counts.take_user(before);
    }

    fn forgotten(&mut self, event: Forgotten) -> Result<(), BadRecord> {
        let id = &event.user_id;
        let hash = self.hasher.hash(id.as_str());
        let user = self.slot.user_mut(id.as_str(), hash).ok_or_else(|| misfit("user", id))?;
        let before = UserCounts::of(user);
        user.forget_to(event.to);
        let is_there = !user.rows.is_empty() || user.gone_count() > 0;
        let after = if is_there { UserCounts::of(user) } else { UserCounts::default() };
        self.recount_user(before, after);
        if !is_there {
            self.slot.remove_user(id, hash, self.hasher);
        }
        Ok(())
    }

    /// Changes a row that exists, as the user's next version.
    fn change(
        &mut self,
        user_id: Hashed<&str>,
        chat_id: Hashed<&str>,
        change: impl FnOnce(&mut RowFacts),
    ) -> Result<(), BadRecord> {
        let Hashed { id, hash } = user_id;
        let user = self.slot.user_mut(id, hash).ok_or_else(|| misfit("user", &id))?;
        let row = user.rows.get_mut(chat_id.id, chat_id.hash);
        let row = row.ok_or_else(|| misfit("row of", &id))?;
        let version = user.head.next_version();
        row.update(|row| {
            change(&mut row.facts);
            row.version = version;
        });
        Ok(())
    }

    fn change_of(
        &mut self,
        user_id: &UserId,
        chat_id: &ChatId,
        change: impl FnOnce(&mut RowFacts),
    ) -> Result<(), BadRecord> {
        let hasher = self.hasher;
        self.change(hasher.hashed(user_id.as_str()), hasher.hashed(chat_id.as_str()), change)
    }

    /// Applies a read position.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn read(&mut self, event: ReadRef<'_>) -> Result<(), BadRecord> {
        self.change(event.user_id, event.chat_id, |facts| {
            facts.max_read_seq = facts.max_read_seq.max(event.seq);
            facts.marked_unread = Flag::NO;
        })
    }

    fn flags_set(&mut self, event: FlagsSet) -> Result<(), BadRecord> {
        self.change_of(&event.user_id, &event.chat_id, |facts| {
            facts.is_top = event.is_top.unwrap_or(facts.is_top);
            facts.is_mute = event.is_mute.unwrap_or(facts.is_mute);
            facts.is_hide = event.is_hide.unwrap_or(facts.is_hide);
            facts.marked_unread = event.marked_unread.unwrap_or(facts.marked_unread);
        })
    }

    fn cleared(&mut self, event: Cleared) -> Result<(), BadRecord> {
        self.change_of(&event.user_id, &event.chat_id, |facts| cover(facts, event.to))
    }

    fn member_erased(&mut self, event: MemberErased) -> Result<(), BadRecord> {
        let hasher = self.hasher;
        if self.is_retired(&event.chat_id) {
            // The log is of a build that kept dissolved chats whole, and erased their creators. Now
            // only their ids are left.
            return Ok(());
        }
        let (chat, interner) = self.chat_and_interner(&event.chat_id)?;
        let is_creator = chat.head.creator_id == event.user_id;
        if is_creator {
            chat.head.creator_id = interner.intern(&UserId::erased());
        }
        chat.forget_deleter(&event.user_id);
        let hash = hasher.hash(event.user_id.as_str());
        let was_member = chat.members.remove(event.user_id.as_str(), hash).is_some();
        // A user who left before is at most a deleter, which no reader sees: the version stays.
        chat.head.version += u64::from(is_creator || was_member);
        interner.note_released(usize::from(was_member));
        if was_member {
            post(chat, Deliveries::Same(Effect::Erase, vec![event.user_id]));
            self.slot.counts.outbox += 1;
        }
        Ok(())
    }

    fn user_erased(&mut self, event: UserErased) -> Result<(), BadRecord> {
        let hash = self.hasher.hash(event.user_id.as_str());
        let scopes: Vec<_> =
            self.slot.answers_of(hash).map(|answer| answer.scope.clone()).collect();
        for scope in scopes {
            self.slot.answers.remove(&scope, self.hasher.hash(&scope));
        }
        if let Some(user) = self.slot.remove_user(&event.user_id, hash, self.hasher) {
            if !user.rows.is_empty() {
                return Err(misfit("erased user", &event.user_id));
            }
            self.recount_user(UserCounts::of(&user), UserCounts::default());
        }
        Ok(())
    }

    fn gone_imported(&mut self, event: GoneImported) -> Result<(), BadRecord> {
        let hasher = self.hasher;
        let hash = hasher.hash(event.user_id.as_str());
        let user = self.slot.user_or_new(&event.user_id, hash, hasher);
        let before = UserCounts::of(user);
        let version = import_version(user, event.version);
        user.unbury(&event.chat_id);
        user.bury(event.chat_id, version);
        let after = UserCounts::of(user);
        self.recount_user(before, after);
        Ok(())
    }

    fn answered(&mut self, event: Answered) -> Result<(), BadRecord> {
        let mut answer = event.answer;
        let hash = self.hasher.hash(&answer.scope);
        // An answer whose time is over may still be there.
        self.slot.answers.remove(&answer.scope, hash);
        answer.order = self.slot.answers.last().map_or(1, |last| last.order.saturating_add(1));
        self.slot.answers.insert(answer, self.hasher);
        Ok(())
    }

    fn touched(&mut self, event: Touched) -> Result<(), BadRecord> {
        let hasher = self.hasher;
        let user = self
            .slot
            .user_mut(event.user_id.as_str(), hasher.hash(event.user_id.as_str()))
            .ok_or_else(|| misfit("user", &event.user_id))?;
        let later = |row: &Row| row.facts().last_online_time < event.time;
        let touch = |row: &mut Row| row.update(|row| row.facts.last_online_time = event.time);
        match event.chat_ids {
            None => user.rows.update_all(later, touch),
            Some(chat_ids) => {
                for chat_id in chat_ids {
                    let hash = hasher.hash(chat_id.as_str());
                    if user.rows.get(chat_id.as_str(), hash).is_some_and(later)
                        && let Some(row) = user.rows.get_mut(chat_id.as_str(), hash)
                    {
                        touch(row);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Raises the watermark: nothing up to it is shown or unread.
fn cover(facts: &mut RowFacts, to: Sequence) {
    facts.deleted_to_seq = facts.deleted_to_seq.max(to);
    facts.max_read_seq = facts.max_read_seq.max(to);
    facts.marked_unread = Flag::NO;
}

/// Adds members, and the event for their rows. Returns the number of events.
fn join(
    chat: &mut Chat,
    user_ids: Vec<UserId>,
    interner: &mut Interner,
    hasher: KeyHasher,
) -> Result<u64, BadRecord> {
    if user_ids.is_empty() {
        return Ok(0);
    }
    let join_seq =
        chat.head.last_sequence.checked_add(1).map_err(|_| misfit("join of", &chat.head.id))?;
    let first = chat.head.next_order;
    chat.head.next_order += wide(user_ids.len());
    let member = |(order, user_id)| {
        let facts = MemberFacts { order, join_seq, sent_seq: Sequence::ZERO, deleted_in: 0 };
        Member::new(interner.intern(user_id), facts)
    };
    if !chat.members.try_append((first..).zip(&user_ids).map(member).collect(), hasher) {
        return Err(misfit("new member of", &chat.head.id));
    }
    post(chat, Deliveries::Same(Effect::Join { join_seq }, user_ids));
    Ok(1)
}

/// Puts the chat's next event into its outbox.
fn post(chat: &mut Chat, deliveries: Deliveries) {
    chat.head.event += 1;
    chat.outbox.push(Arc::new(OutboxEntry { event: chat.head.event, deliveries }));
}

/// Applies a chat's event to a user's row. Deletes and returns do nothing if there is no row.
fn change_row(user: &mut User, event: RowChanged, hasher: KeyHasher) {
    let hash = hasher.hash(event.chat_id.as_str());
    let RowChanged { chat_id, event, effect, .. } = event;
    match effect {
        Effect::Remove | Effect::Erase => {
            if user.rows.remove(chat_id.as_str(), hash).is_some() {
                let version = user.head.next_version();
                user.bury(chat_id, version);
            }
        }
        Effect::Delete { to, back } => update_row(user, &chat_id, hash, event, |facts| {
            cover(facts, to);
            facts.is_top = Flag::NO;
            facts.is_show = Flag(back);
        }),
        Effect::Return => {
            update_row(user, &chat_id, hash, event, |facts| facts.is_show = Flag::YES)
        }
        Effect::Join { join_seq } => {
            let version = user.head.next_version();
            let (order, facts) = (user.head.next_order, RowFacts::joined(join_seq));
            put_row(user, hasher, chat_id, RowState { order, facts, version, event });
        }
        Effect::Import(import) => import_row(user, hasher, chat_id, event, *import),
    }
}

fn update_row(
    user: &mut User,
    chat_id: &ChatId,
    hash: u64,
    event: u64,
    change: impl FnOnce(&mut RowFacts),
) {
    if let Some(row) = user.rows.get_mut(chat_id.as_str(), hash) {
        let version = user.head.next_version();
        row.update(|row| {
            change(&mut row.facts);
            (row.version, row.event) = (version, event);
        });
    }
}

/// Adds a row. If the user has one for this chat, replaces its state but keeps its order.
fn put_row(user: &mut User, hasher: KeyHasher, chat_id: ChatId, row: RowState) {
    let hash = hasher.hash(chat_id.as_str());
    user.head.next_order = user.head.next_order.max(row.order.saturating_add(1));
    user.unbury(&chat_id);
    match user.rows.get_mut(chat_id.as_str(), hash) {
        Some(stored) => stored.update(|stored| *stored = RowState { order: stored.order, ..row }),
        None => user.rows.insert(Row::new(chat_id, row), hasher),
    }
}

/// The version of an imported change. A named version counts only as long as all changes of the
/// user were imported. Otherwise a client that follows the user's changes would not see an older
/// one.
fn import_version(user: &mut User, named: Option<u64>) -> u64 {
    match named {
        Some(version) if user.head.imported => {
            user.head.version = user.head.version.max(version);
            version
        }
        None if user.head.imported => {
            user.head.version += 1;
            user.head.version
        }
        _ => user.head.next_version(),
    }
}

/// Applies an imported row. Merged with a row that exists, the higher positions of both stay.
fn import_row(user: &mut User, hasher: KeyHasher, chat_id: ChatId, event: u64, import: RowImport) {
    let version = import_version(user, import.version);
    let order = match import.join_order {
        Some(order) if !user.rows.has_order(order) => order,
        _ => user.head.next_order,
    };
    let mut facts = import.row;
    if let Some(stored) = user.rows.get(chat_id.as_str(), hasher.hash(chat_id.as_str())) {
        let stored = stored.facts();
        facts.max_read_seq = facts.max_read_seq.max(stored.max_read_seq);
        facts.deleted_to_seq = facts.deleted_to_seq.max(stored.deleted_to_seq);
        facts.last_online_time = facts.last_online_time.max(stored.last_online_time);
        facts.join_seq = facts.join_seq.max(stored.join_seq);
    }
    put_row(user, hasher, chat_id, RowState { order, facts, version, event });
}
