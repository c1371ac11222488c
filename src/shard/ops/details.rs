//! What chats and rows know for `detail`, and what the chat knows for `explain`.

use crate::command::explain::Explain;
use crate::shard::machine::Slots;
use crate::shard::op::{Answer, ChatView, DetailPart};
use crate::types::{ChatId, Sequence, UserId};

pub fn details(slots: &Slots, ids: &[ChatId], user_id: Option<&UserId>) -> Answer {
    let part = |id: &ChatId| {
        let chat = slots.find_chat(id).filter(|chat| !chat.head.dissolved)?;
        let member = user_id.and_then(|user_id| slots.floors_of(chat, user_id));
        Some(DetailPart { item: chat.head.item(Sequence::ZERO), member })
    };
    Answer::Details(ids.iter().map(part).collect())
}

pub fn facts(slots: &Slots, user_id: &UserId, ids: &[ChatId]) -> Answer {
    let facts = |id: &ChatId| slots.find_row(user_id, id).map(|row| row.facts());
    Answer::Facts(ids.iter().map(facts).collect())
}

pub fn explain_chat(slots: &Slots, explain: &Explain) -> Answer {
    let view = slots.live_chat(&explain.chat_id).map(|chat| ChatView {
        item: chat.head.item(Sequence::ZERO),
        member: slots.floors_of(chat, &explain.user_id),
    });
    Answer::ExplainChat(view)
}
