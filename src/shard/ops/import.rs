//! A shard's part of `import`. It first checks all lines and plans what each chat becomes. Then it
//! applies the plans of all chats, or fails before it has applied any.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::command::import::{Import, ImportReply};
use crate::command::lines::{ChatLine, MemberLine};
use crate::command::{Error, ErrorCode, Outcome, Reply};
use crate::shard::deliveries::Effect;
use crate::shard::events::{
    AdvancedRef, ChatImported, MembersImported, MembersRemoved, RemovalImported,
};
use crate::shard::keyed::Keyed;
use crate::shard::machine::Shard;
use crate::shard::machine::prefetch::prefetch_ids;
use crate::shard::member::{Member, MemberFacts};
use crate::shard::op::{Answer, Output, Removal, Step};
use crate::shard::row::{RowFacts, RowImport};
use crate::shard::state::ChatHead;
use crate::types::{AsKey, ChatId, ChatStatus, ChatType, Flag, Sequence, TimeMs, UserId, wide};

/// Checks whether `import` would accept these lines. Changes nothing.
pub fn check_import(shard: &Shard, import: &Import) -> Answer {
    let nothing_yet = ImportReply { chats: 0, members: 0 };
    Answer::Done(plan_import(shard, import, &[]).map(|_| Reply::Import(nothing_yet)))
}

/// Applies all chats and members, or none if one line is refused. `places` has the join order of
/// each member's row, or is empty.
pub fn import(shard: &mut Shard, import: &Import, places: &[u64], out: &mut Output) -> Step {
    let Plan { chats: plan, mut taken } = match plan_import(shard, import, places) {
        Ok(plan) => plan,
        Err(error) => return Step::Done(Err(error)),
    };
    let mut touched = Vec::with_capacity(plan.len());
    for (chat_id, part) in plan {
        taken.chats += u64::from(part.head.is_some());
        taken.members += part.lines;
        import_chat(shard, &chat_id, part, out);
        touched.push(chat_id);
    }
    Step::AfterDeliveries(touched, Reply::Import(taken))
}

fn import_chat(shard: &mut Shard, chat_id: &ChatId, part: ChatPlan, out: &mut Output) {
    let slot = shard.slots().slot_of_chat(chat_id);
    if let Some(head) = part.head {
        let (to, time) = (head.last_sequence, head.last_time);
        let stored = shard.slots().find_chat(chat_id).map_or(to, |chat| chat.head.last_sequence);
        let head = ChatHead { last_sequence: stored, ..head };
        shard.commit(slot, ChatImported { head }, out);
        if to > stored {
            // Newer messages bring back rows of users who deleted the chat, as messages that arrive
            // do.
            let chat_id = chat_id.as_key(shard.slots().hasher());
            shard.commit(slot, AdvancedRef { chat_id, to, time, sent: None }, out);
        }
    }
    if !part.removed.is_empty() {
        let event = MembersRemoved { chat_id: chat_id.clone(), user_ids: part.removed };
        shard.commit(slot, event, out);
    }
    if !part.members.is_empty() {
        prefetch_ids(shard.slots(), part.members.iter().map(|(member, _)| member.user_id.as_str()));
        let event = MembersImported { chat_id: chat_id.clone(), members: part.members };
        shard.commit(slot, event, out);
    }
    if let Some(keyed) = part.keyed {
        let nothing_more = ImportReply { chats: 0, members: 0 };
        shard.keep(keyed, &Reply::Import(nothing_more), out);
    }
    shard.deliver(chat_id, out);
}

/// Adds removals to users of this shard. The chats have already removed the members, so a user who
/// has a row now has joined again and gets no removal. A removal that the user already has stays as
/// it is.
pub fn import_removals(shard: &mut Shard, removals: Vec<Removal>, out: &mut Output) -> Outcome {
    for Removal { user_id, chat_id, version } in removals {
        let is_known = shard.slots().find_user(&user_id).is_some_and(|user| {
            let hash = shard.slots().hash_of(chat_id.as_str());
            let mut removals = user.removals.iter().flat_map(|removals| &removals.chats);
            user.rows.get(chat_id.as_str(), hash).is_some()
                || removals.any(|(removed, _)| *removed == chat_id)
        });
        if !is_known {
            let slot = shard.slots().slot_of_user(&user_id);
            let event = RemovalImported { user_id: user_id.clone(), chat_id, version };
            shard.commit_of_user(slot, &user_id, event, out);
        }
    }
    shard.forget_some(out);
    Ok(Reply::Import(ImportReply { chats: 0, members: 0 }))
}

/// Checks all lines and plans what each chat becomes. Changes nothing. Chats that an earlier
/// request with this idempotency key has applied are only counted.
fn plan_import(shard: &Shard, import: &Import, places: &[u64]) -> Result<Plan, Error> {
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
        let hasher = shard.slots().hasher();
        let keyed = key.map(|key| Keyed::of_import(chat_id, chat, &members, merge, key, hasher));
        if let Some(keyed) = &keyed
            && shard.recall(keyed).map_err(|error| about_chat(chat_id, error))?.is_some()
        {
            plan.taken.chats += u64::from(chat.is_some());
            plan.taken.members += wide(members.len());
            continue;
        }
        let head = chat.map(|line| plan_chat(shard, line, merge)).transpose()?;
        let lines = wide(members.len());
        let placed = members.into_iter().zip(places).collect();
        let roster = plan_members(shard, chat_id, head.as_ref(), placed, merge)?;
        let part =
            ChatPlan { head, removed: roster.removed, members: roster.members, lines, keyed };
        plan.chats.insert(chat_id.clone(), part);
    }
    Ok(plan)
}

fn plan_chat(shard: &Shard, line: &ChatLine, merge: bool) -> Result<ChatHead, Error> {
    let head = head_of_line(line)?;
    if shard.slots().is_retired(shard.slots().hasher().hashed(line.id.as_str())) {
        return match (merge, head.dissolved) {
            (true, true) => Ok(head),
            (_, false) => Err(about_chat(&line.id, Error::gone())),
            (false, true) => Err(there_already(&line.id)),
        };
    }
    let Some(stored) = shard.slots().find_chat(&line.id).map(|chat| &chat.head) else {
        return shard.room().map(|()| head);
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
        return Err(Error::new(ErrorCode::Conflict, format!("chat {}: of another type", line.id)));
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
        returns: stored.returns,
        next_order: stored.next_order,
        request_digest: match head.request_digest {
            0 => stored.request_digest,
            known => known,
        },
        ..head
    })
}

/// Plans which members of a chat leave, come or change. Takes the lines in their order.
fn plan_members(
    shard: &Shard,
    chat_id: &ChatId,
    head: Option<&ChatHead>,
    lines: Vec<(&MemberLine, Option<u64>)>,
    merge: bool,
) -> Result<RosterPlan, Error> {
    let chat = shard.slots().find_chat(chat_id);
    let head = match head {
        Some(head) if head.dissolved => Err(Error::gone()),
        Some(head) => Ok(head),
        None => shard.slots().live_chat(chat_id).map(|chat| &chat.head),
    };
    let head = match head {
        Ok(head) => head,
        // A chat that does not exist has no members, so the lines only add removals to users.
        Err(_) if lines.iter().all(|(line, _)| line.removed == Flag::YES) => {
            shard.room()?;
            return Ok(RosterPlan::default());
        }
        Err(error) => return Err(about_chat(chat_id, error)),
    };
    let stored = |line: &MemberLine| {
        let hash = shard.slots().hash_of(line.user_id.as_str());
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
                // The user will remember this removal, which takes memory.
                None => shard.room()?,
            }
            count -= usize::from(stored.is_some() || withdrawn.is_some());
            continue;
        }
        if seen.insert(&line.user_id, planned.len()).is_some() || (stored.is_some() && !merge) {
            return Err(Error::new(ErrorCode::Conflict, describe(line, "it is there already")));
        }
        if stored.is_none() {
            shard.room()?;
            count += 1;
        }
        let order = head.next_order.saturating_add(wide(planned.len()));
        // Whether the member deleted the chat and stays deleted, because this import brings no
        // newer message.
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

/// What an import changes.
struct Plan {
    chats: BTreeMap<ChatId, ChatPlan>,
    /// How many lines an earlier request with this idempotency key has applied.
    taken: ImportReply,
}

/// The lines of an import for one chat.
#[derive(Default)]
struct ChatLines<'a> {
    chat: Option<&'a ChatLine>,
    members: Vec<&'a MemberLine>,
    /// For each member's line, the join order that the router gives, else that of the line. None
    /// without either.
    places: Vec<Option<u64>>,
}

/// What an import changes in one chat.
struct ChatPlan {
    head: Option<ChatHead>,
    /// Members who leave. They leave before `members` join, because a user may be in both.
    removed: Vec<UserId>,
    members: Vec<(Member, Effect)>,
    /// How many lines of members the import has for this chat.
    lines: u64,
    keyed: Option<Keyed>,
}

/// What an import changes in the members of one chat.
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
        returns: 0,
        next_order: 1,
    })
}

fn plan_member(
    head: &ChatHead,
    (line, join_order): (&MemberLine, Option<u64>),
    order: u64,
    stored: Option<&Member>,
    stays_deleted: bool,
) -> Result<(Member, Effect), Error> {
    // An export from a working node may have read the row later than the chat. The row can then
    // name sequences above the chat's last one. No such message exists here, so all sequences are
    // lowered to the last one.
    let last = head.last_sequence;
    let shown = line.is_show.unwrap_or(Flag::YES);
    let deleted_to_seq =
        line.deleted_to_seq.unwrap_or(if shown.0 { Sequence::ZERO } else { last }).min(last);
    let sent_seq = line.sent_seq.min(last);
    // If a message lies above the watermark, the row is shown. So each message is either below the
    // watermark or in a shown chat.
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
        // A flag: applying the event replaces it by a number of the chat's returns.
        deleted_in: u64::from(!shown.0),
    };
    let member = Member::new((&line.user_id).into(), facts);
    Ok((member, Effect::Import(Box::new(RowImport { row, join_order, version: line.version }))))
}
