//! The change that a record reports to `watch`.
//!
//! Everything comes from the record itself: a change is reported as it was decided, whatever the
//! state has become since. One record reports at most one change. Some records only continue or
//! finish a change that another record reports: an event on its way to users, a confirmed delivery,
//! a kept answer. They report nothing.

use super::event::{
    Advanced, ChatImported, Cleared, Created, Dissolved, Event, FlagsSet, GoneImported, Read,
    RowChanged, StatusSet, UserErased,
};
use super::state::Effect;
use crate::command::watch::{WatchEvent, WatchOp};

/// The change that an event reports, with an empty offset; None if it reports nothing.
pub fn told(event: Event) -> Option<WatchEvent> {
    Some(match event {
        Event::Created(Created { chat_id, creator_id, .. }) => WatchEvent {
            chat_id: Some(chat_id),
            user_id: Some(creator_id),
            ..nothing(WatchOp::Create)
        },
        Event::ChatImported(ChatImported { head }) if head.dissolved => {
            WatchEvent { chat_id: Some(head.id), ..nothing(WatchOp::Dissolve) }
        }
        Event::ChatImported(ChatImported { head }) => WatchEvent {
            chat_id: Some(head.id),
            user_id: Some(head.creator_id.to_user_id()),
            last_sequence: Some(head.last_sequence),
            last_time: Some(head.last_time),
            status: Some(head.status),
            ..nothing(WatchOp::Create)
        },
        // A late message raises only its sender's position. In that case, records of older builds
        // have the stored sequence in `to`, which is not the sender's own.
        Event::Advanced(Advanced { chat_id, to, sent: Some((user_id, seq)), .. }) if to != seq => {
            WatchEvent {
                user_id: Some(user_id),
                chat_id: Some(chat_id),
                seq: Some(seq),
                ..nothing(WatchOp::Sent)
            }
        }
        Event::Advanced(Advanced { chat_id, to, time, sent }) => WatchEvent {
            chat_id: Some(chat_id),
            user_id: sent.map(|(user_id, _)| user_id),
            last_sequence: Some(to),
            last_time: Some(time),
            ..nothing(WatchOp::Advance)
        },
        Event::StatusSet(StatusSet { chat_id, status }) => {
            WatchEvent { chat_id: Some(chat_id), status: Some(status), ..nothing(WatchOp::Status) }
        }
        Event::Dissolved(Dissolved { chat_id }) => {
            WatchEvent { chat_id: Some(chat_id), ..nothing(WatchOp::Dissolve) }
        }
        Event::RowChanged(changed) => row_changed(changed),
        Event::Read(Read { user_id, chat_id, seq }) => WatchEvent {
            user_id: Some(user_id),
            chat_id: Some(chat_id),
            seq: Some(seq),
            ..nothing(WatchOp::Read)
        },
        Event::Cleared(Cleared { user_id, chat_id, to }) => WatchEvent {
            user_id: Some(user_id),
            chat_id: Some(chat_id),
            seq: Some(to),
            ..nothing(WatchOp::Clear)
        },
        Event::FlagsSet(set) => flags_set(set),
        Event::GoneImported(GoneImported { user_id, chat_id, .. }) => {
            WatchEvent { user_id: Some(user_id), chat_id: Some(chat_id), ..nothing(WatchOp::Leave) }
        }
        Event::UserErased(UserErased { user_id }) => {
            WatchEvent { user_id: Some(user_id), ..nothing(WatchOp::Erase) }
        }
        Event::MembersAdded(_)
        | Event::MembersRemoved(_)
        | Event::MembersImported(_)
        | Event::MemberErased(_)
        | Event::Deleted(_)
        | Event::DeliveryDone(_)
        | Event::Touched(_)
        | Event::Forgotten(_)
        | Event::Answered(_) => return None,
    })
}

fn row_changed(changed: RowChanged) -> WatchEvent {
    let RowChanged { user_id, chat_id, effect, .. } = changed;
    let (op, seq) = match effect {
        Effect::Join { join_seq } => (WatchOp::Join, Some(join_seq)),
        Effect::Remove | Effect::Erase => (WatchOp::Leave, None),
        Effect::Delete { to, .. } => (WatchOp::Delete, Some(to)),
        Effect::Return => (WatchOp::Return, None),
        Effect::Import(import) => (WatchOp::Import, Some(import.row.max_read_seq)),
    };
    WatchEvent { user_id: Some(user_id), chat_id: Some(chat_id), seq, ..nothing(op) }
}

fn flags_set(set: FlagsSet) -> WatchEvent {
    WatchEvent {
        user_id: Some(set.user_id),
        chat_id: Some(set.chat_id),
        is_top: set.is_top,
        is_mute: set.is_mute,
        is_hide: set.is_hide,
        marked_unread: set.marked_unread,
        ..nothing(WatchOp::Flags)
    }
}

/// A change with only its kind filled in.
pub fn nothing(op: WatchOp) -> WatchEvent {
    WatchEvent {
        offset: String::new(),
        user_id: None,
        chat_id: None,
        op,
        last_sequence: None,
        last_time: None,
        seq: None,
        is_top: None,
        is_mute: None,
        is_hide: None,
        marked_unread: None,
        status: None,
    }
}
