//! A shard's part of `export` and `import`.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::idempotency::Keyed;
use super::{Core, Step};
use crate::command::import::{Import, ImportReply};
use crate::command::lines::{ChatLine, MemberLine};
use crate::command::{Error, ErrorCode, Outcome, Reply};
use crate::limits::IMPORT_COUNTER_MAX;
use crate::shard::deliveries::Effect;
use crate::shard::events::{Advanced, ChatImported, GoneImported, MembersImported, MembersRemoved};
use crate::shard::member::{Member, MemberFacts};
use crate::shard::op::{Answer, ExportPage, ExportPlace, ExportRow, Output, Removal};
use crate::shard::row::{RowFacts, RowImport};
use crate::shard::state::{Chat, ChatHead, Gone, SlotState};
use crate::types::{ChatId, ChatStatus, ChatType, Flag, Sequence, Slot, TimeMs, UserId, wide};

impl Core {
    /// A page of a slot: chats by id, each followed by its members in join order; then the removals
    /// of users.
    pub(super) fn export_page(
        &self,
        slot: Slot,
        after: Option<ExportPlace>,
        limit: usize,
    ) -> Answer {
        let mut page = ExportPage::default();
        let Ok(state) = self.slot(slot) else { return Answer::ExportPage(page) };
        let full = |page: &ExportPage| page.chats.len() + page.members.len() >= limit;
        let (after_member, after_gone) = match after {
            None => (None, None),
            Some(ExportPlace::Member(id, order)) => (Some((id, order)), None),
            Some(ExportPlace::Gone(id, version, chat_id)) => (None, Some((id, version, chat_id))),
        };
        if after_gone.is_none() {
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
                    page.next =
                        Some(ExportPlace::Member(chat.head.id.clone(), member.facts().order));
                }
            }
        }
        for (user_id, gone) in gone_from(state, after_gone.as_ref()) {
            let resumed = after_gone.as_ref().filter(|(id, ..)| id == user_id);
            let resumed = resumed.map(|(_, version, chat_id)| (*version, chat_id));
            for (version, chat_id) in gone_after(gone, resumed) {
                if full(&page) {
                    return Answer::ExportPage(page);
                }
                page.members.push(gone_line(user_id, chat_id, version));
                page.next = Some(ExportPlace::Gone(user_id.clone(), version, chat_id.clone()));
            }
        }
        page.next = None;
        Answer::ExportPage(page)
    }

    pub(super) fn export_rows(&self, pairs: &[(UserId, ChatId)]) -> Answer {
        let row = |(user_id, chat_id): &(UserId, ChatId)| {
            self.find_row(user_id, chat_id).map(|row| ExportRow {
                facts: row.facts(),
                order: told_counter(row.state().order),
                version: told_counter(row.version()),
            })
        };
        Answer::ExportRows(pairs.iter().map(row).collect())
    }

    /// Checks whether these lines would be accepted.
    pub(super) fn check_import(&self, import: &Import) -> Answer {
        let nothing_yet = ImportReply { chats: 0, members: 0 };
        Answer::Done(self.plan_import(import, &[]).map(|_| Reply::Import(nothing_yet)))
    }

    /// Applies chats and members, all of them or none; `places` has one place for each member's
    /// line, or is empty.
    pub(super) fn import(&mut self, import: &Import, places: &[u64], out: &mut Output) -> Step {
        let Plan { chats: plan, mut taken } = match self.plan_import(import, places) {
            Ok(plan) => plan,
            Err(error) => return Step::Done(Err(error)),
        };
        let mut touched = Vec::with_capacity(plan.len());
        for (chat_id, part) in plan {
            taken.chats += u64::from(part.head.is_some());
            taken.members += part.lines;
            self.import_chat(&chat_id, part, out);
            touched.push(chat_id);
        }
        Step::AfterDeliveries(touched, Reply::Import(taken))
    }

    fn import_chat(&mut self, chat_id: &ChatId, part: ChatPlan, out: &mut Output) {
        let slot = self.slot_of_chat(chat_id);
        if let Some(head) = part.head {
            let (to, time) = (head.last_sequence, head.last_time);
            let stored = self.find_chat(chat_id).map_or(to, |chat| chat.head.last_sequence);
            let head = ChatHead { last_sequence: stored, ..head };
            self.commit(slot, ChatImported { head }, out);
            if to > stored {
                // Newer messages bring deleted rows back, as they do when they arrive.
                let chat_id = chat_id.clone();
                self.commit(slot, Advanced { chat_id, to, time, sent: None }, out);
            }
        }
        if !part.removed.is_empty() {
            let event = MembersRemoved { chat_id: chat_id.clone(), user_ids: part.removed };
            self.commit(slot, event, out);
        }
        if !part.members.is_empty() {
            self.prefetch_ids(part.members.iter().map(|(member, _)| member.user_id.as_str()));
            let event = MembersImported { chat_id: chat_id.clone(), members: part.members };
            self.commit(slot, event, out);
        }
        if let Some(keyed) = part.keyed {
            let nothing_more = ImportReply { chats: 0, members: 0 };
            self.keep(keyed, &Reply::Import(nothing_more), out);
        }
        self.deliver(chat_id, out);
    }

    /// Records removals of users of this shard. The chats have applied them already, so a user with
    /// a row has joined again since. A removal that is known already stays as it is.
    pub(super) fn import_gone(&mut self, removals: Vec<Removal>, out: &mut Output) -> Outcome {
        for Removal { user_id, chat_id, version } in removals {
            let is_known = self.find_user(&user_id).is_some_and(|user| {
                let hash = self.hash_of(chat_id.as_str());
                let mut gone = user.gone.iter().flat_map(|gone| &gone.chats);
                user.rows.get(chat_id.as_str(), hash).is_some()
                    || gone.any(|(removed, _)| *removed == chat_id)
            });
            if !is_known {
                let slot = self.slot_of_user(&user_id);
                let event = GoneImported { user_id: user_id.clone(), chat_id, version };
                self.commit_of_user(slot, &user_id, event, out);
            }
        }
        self.forget_some(out);
        Ok(Reply::Import(ImportReply { chats: 0, members: 0 }))
    }

    /// Checks every line and decides what each chat becomes; changes nothing. Chats that were
    /// applied before with this key are only counted.
    fn plan_import(&self, import: &Import, places: &[u64]) -> Result<Plan, Error> {
        let merge = import.merge == Some(true);
        let mut lines: BTreeMap<&ChatId, ChatLines<'_>> = BTreeMap::new();
        for line in &import.chats {
            if lines.entry(&line.id).or_default().chat.replace(line).is_some() {
                return Err(Error::invalid(format!("chat {}: twice in one request", line.id)));
            }
        }
        for (at, line) in import.members.iter().enumerate() {
            let lines = lines.entry(&line.chat_id).or_default();
            lines.members.push(line);
            lines.places.push(places.get(at).copied().or(line.join_order));
        }
        let mut plan = Plan { chats: BTreeMap::new(), taken: ImportReply { chats: 0, members: 0 } };
        for (chat_id, ChatLines { chat, members, places }) in lines {
            let key = import.idempotency_key.as_ref();
            let keyed = key.map(|key| self.keyed_import(chat_id, chat, &members, merge, key));
            if let Some(keyed) = &keyed
                && self.recall(keyed).map_err(|error| about_chat(chat_id, error))?.is_some()
            {
                plan.taken.chats += u64::from(chat.is_some());
                plan.taken.members += wide(members.len());
                continue;
            }
            let head = chat.map(|line| self.plan_chat(line, merge)).transpose()?;
            let lines = wide(members.len());
            let placed = members.into_iter().zip(places).collect();
            let roster = self.plan_members(chat_id, head.as_ref(), placed, merge)?;
            let part =
                ChatPlan { head, removed: roster.removed, members: roster.members, lines, keyed };
            plan.chats.insert(chat_id.clone(), part);
        }
        Ok(plan)
    }

    fn plan_chat(&self, line: &ChatLine, merge: bool) -> Result<ChatHead, Error> {
        let head = head_of_line(line)?;
        if self.is_retired(self.hasher.hashed(line.id.as_str())) {
            return match (merge, head.dissolved) {
                (true, true) => Ok(head),
                (_, false) => Err(about_chat(&line.id, Error::gone())),
                (false, true) => Err(there_already(&line.id)),
            };
        }
        let Some(stored) = self.find_chat(&line.id).map(|chat| &chat.head) else {
            return self.room().map(|()| head);
        };
        if stored.dissolved && !head.dissolved {
            return Err(about_chat(&line.id, Error::gone()));
        }
        if !merge {
            return Err(there_already(&line.id));
        }
        if stored.dissolved != head.dissolved {
            return Err(Error::new(
                ErrorCode::Conflict,
                format!("chat {}: it is not dissolved here; dissolve it first", line.id),
            ));
        }
        if stored.chat_type != head.chat_type {
            return Err(Error::new(
                ErrorCode::Conflict,
                format!("chat {}: of another type", line.id),
            ));
        }
        let newer = head.last_sequence > stored.last_sequence;
        let unknown = head.created_at == TimeMs::ZERO;
        Ok(ChatHead {
            last_sequence: head.last_sequence.max(stored.last_sequence),
            last_time: if newer { head.last_time } else { stored.last_time },
            version: head.version.max(stored.version.saturating_add(1)),
            status: line.status.unwrap_or(stored.status),
            created_at: if unknown { stored.created_at } else { head.created_at },
            event: stored.event,
            epoch: stored.epoch,
            next_order: stored.next_order,
            request_digest: match head.request_digest {
                0 => stored.request_digest,
                known => known,
            },
            ..head
        })
    }

    /// Decides line after line which members of a chat leave, come or change.
    fn plan_members(
        &self,
        chat_id: &ChatId,
        head: Option<&ChatHead>,
        lines: Vec<(&MemberLine, Option<u64>)>,
        merge: bool,
    ) -> Result<RosterPlan, Error> {
        let chat = self.find_chat(chat_id);
        let head = match head {
            Some(head) if head.dissolved => Err(Error::gone()),
            Some(head) => Ok(head),
            None => self.live_chat(chat_id).map(|chat| &chat.head),
        };
        let head = match head {
            Ok(head) => head,
            // Nobody is a member of a chat that does not exist, so the lines only add removals.
            Err(_) if lines.iter().all(|(line, _)| line.removed == Flag::YES) => {
                self.room()?;
                return Ok(RosterPlan::default());
            }
            Err(error) => return Err(about_chat(chat_id, error)),
        };
        let stored = |line: &MemberLine| {
            let hash = self.hash_of(line.user_id.as_str());
            chat.and_then(|chat| chat.members.get(line.user_id.as_str(), hash))
        };
        let mut removed: HashSet<&UserId> = HashSet::new();
        let mut planned: Vec<Option<(Member, Effect)>> = Vec::with_capacity(lines.len());
        let mut seen: HashMap<&UserId, usize> = HashMap::with_capacity(lines.len());
        let mut count = chat.map_or(0, |chat| chat.members.len());
        for (line, place) in lines {
            let stored = stored(line).filter(|_| !removed.contains(&line.user_id));
            if line.removed == Flag::YES {
                let withdrawn = seen.get(&line.user_id).and_then(|at| planned.get_mut(*at)?.take());
                match stored {
                    Some(_) => _ = removed.insert(&line.user_id),
                    // The removal is remembered, which takes memory.
                    None => self.room()?,
                }
                count -= usize::from(stored.is_some() || withdrawn.is_some());
                continue;
            }
            if seen.insert(&line.user_id, planned.len()).is_some() || (stored.is_some() && !merge) {
                return Err(Error::new(ErrorCode::Conflict, describe(line, "it is there already")));
            }
            if stored.is_none() {
                self.room()?;
                count += 1;
            }
            let order = head.next_order.saturating_add(wide(planned.len()));
            // Whether the stored member is deleted and stays so: this import brings no newer
            // message.
            let stays_deleted = chat.zip(stored).is_some_and(|(chat, stored)| {
                chat.is_deleted_by(stored) && chat.head.last_sequence == head.last_sequence
            });
            let placed = (line, place);
            planned.push(Some(plan_member(head, placed, order, stored, stays_deleted)?));
        }
        if head.chat_type == ChatType::Single && count > 2 {
            return Err(Error::invalid(format!("chat {}: a single chat has two members", head.id)));
        }
        let mut removed: Vec<UserId> = removed.into_iter().cloned().collect();
        removed.sort_unstable();
        Ok(RosterPlan { removed, members: planned.into_iter().flatten().collect() })
    }
}

/// The changes that an import makes.
struct Plan {
    chats: BTreeMap<ChatId, ChatPlan>,
    /// The lines that an earlier request with this key has applied.
    taken: ImportReply,
}

/// The lines of an import for one chat.
#[derive(Default)]
struct ChatLines<'a> {
    chat: Option<&'a ChatLine>,
    members: Vec<&'a MemberLine>,
    /// For each member's line its place in the user's list; None if it names none.
    places: Vec<Option<u64>>,
}

/// The changes that an import makes to one chat.
struct ChatPlan {
    head: Option<ChatHead>,
    /// Members who leave, before others join.
    removed: Vec<UserId>,
    members: Vec<(Member, Effect)>,
    /// Number of member lines.
    lines: u64,
    keyed: Option<Keyed>,
}

/// The changes that an import makes to the members of one chat.
#[derive(Default)]
struct RosterPlan {
    removed: Vec<UserId>,
    members: Vec<(Member, Effect)>,
}

fn about_chat(id: &ChatId, error: Error) -> Error {
    Error::new(error.code, format!("chat {id}: {}", error.message))
}

fn there_already(id: &ChatId) -> Error {
    let message = format!("chat {id}: it is there already; import with merge to join both");
    Error::new(ErrorCode::Conflict, message)
}

fn describe(line: &MemberLine, why: &str) -> String {
    format!("member {} of {}: {why}", line.user_id, line.chat_id)
}

/// A chat to export.
enum Exported<'a> {
    /// A chat that is not dissolved.
    Chat(&'a Chat),
    /// A dissolved chat. Only its id and type are exported, even if more is still known.
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

/// The chats of a slot by id, from the one in which the cursor is.
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

/// The users of a slot with removals, by id, from the one in which the cursor is.
fn gone_from<'a>(
    state: &'a SlotState,
    after: Option<&(UserId, u64, ChatId)>,
) -> Vec<(&'a UserId, &'a Gone)> {
    let users = state.users().filter(|user| after.is_none_or(|(id, ..)| user.head.id >= *id));
    let mut gone: Vec<_> =
        users.filter_map(|user| Some((&user.head.id, user.gone.as_deref()?))).collect();
    gone.sort_unstable_by_key(|(user_id, _)| *user_id);
    gone
}

/// A user's removals after a given one, with their versions as `export` writes them. Several may
/// share one: then the order is by chat, so that an import of the export has the same order.
fn gone_after<'a>(gone: &'a Gone, after: Option<(u64, &ChatId)>) -> Vec<(u64, &'a ChatId)> {
    let removals = gone.chats.iter().map(|(chat_id, version)| (told_counter(*version), chat_id));
    let mut left: Vec<_> =
        removals.filter(|removal| after.is_none_or(|after| *removal > after)).collect();
    left.sort_unstable();
    left
}

/// A counter as `export` writes it: at most what `import` accepts, however far it was counted.
fn told_counter(value: u64) -> u64 {
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
        version: Some(told_counter(head.version)),
        dissolved: Flag(head.dissolved),
        request_digest: (head.request_digest != 0).then(|| format!("{:016x}", head.request_digest)),
    }
}

fn head_of_line(line: &ChatLine) -> Result<ChatHead, Error> {
    Ok(ChatHead {
        id: line.id.clone(),
        creator_id: (&line.creator_id).into(),
        chat_type: line.chat_type,
        status: line.status.unwrap_or(ChatStatus::Normal),
        is_enc: line.is_enc,
        dissolved: line.dissolved.0,
        last_sequence: line.last_sequence,
        last_time: line.last_time,
        created_at: line.created_at,
        version: line.version.unwrap_or(1),
        event: 0,
        request_digest: line.digest()?,
        epoch: 0,
        next_order: 1,
    })
}

/// A member's line with the facts that the chat knows. The row's shard fills in the others. Until
/// then they are those of the row that a delivery on its way will create.
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

/// The line of a removal: the user is no longer a member of the chat. `import` accepts `version`.
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

fn plan_member(
    head: &ChatHead,
    (line, join_order): (&MemberLine, Option<u64>),
    order: u64,
    stored: Option<&Member>,
    stays_deleted: bool,
) -> Result<(Member, Effect), Error> {
    // An export of a working node may read a row later than its chat. A position beyond the chat's
    // last message does not exist here, so nobody can have read, sent or deleted it.
    let last = head.last_sequence;
    let shown = line.is_show.unwrap_or(Flag::YES);
    let deleted_to_seq =
        line.deleted_to_seq.unwrap_or(if shown.0 { Sequence::ZERO } else { last }).min(last);
    let sent_seq = line.sent_seq.min(last);
    // A message above the watermark brings the row back: a message is covered or shown, never
    // neither.
    let shown = Flag(shown.0 || (deleted_to_seq < last && !stays_deleted));
    let next = last.checked_add(1).unwrap_or(last);
    let join_seq = line.join_seq.unwrap_or(Sequence::new(1)?).min(next);
    let stored = stored.map(Member::facts);
    let join_seq = stored.map_or(join_seq, |stored| stored.join_seq.max(join_seq));
    let row = RowFacts {
        is_top: line.is_top,
        is_mute: line.is_mute,
        is_show: shown,
        is_hide: line.is_hide,
        marked_unread: line.marked_unread,
        max_read_seq: line.max_read_seq.min(last),
        last_online_time: line.last_online_time,
        join_seq,
        deleted_to_seq,
    };
    let facts = MemberFacts {
        order,
        join_seq,
        sent_seq: stored.map_or(sent_seq, |stored| stored.sent_seq.max(sent_seq)),
        // Only yes or no; applying the event sets the epoch.
        deleted_in: u64::from(!shown.0),
    };
    let member = Member::new((&line.user_id).into(), facts);
    Ok((member, Effect::Import(Box::new(RowImport { row, join_order, version: line.version }))))
}
