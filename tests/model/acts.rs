//! What happens in the model's stories: commands, and what becomes of the node after each.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{AHEAD_MAX, DAY, derived_id};
use crate::common::NOW;

#[derive(Debug, Clone)]
pub struct Create {
    pub id: Option<String>,
    pub kind: u64,
    pub creator: String,
    pub is_enc: u64,
    pub created_at: u64,
    pub users: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
pub enum Forward {
    To(u64, bool),
    Allocate(u64),
}

#[derive(Debug, Clone)]
pub enum Act {
    Create(Create),
    Add(String, Vec<String>),
    Remove(String, Vec<String>),
    Advance { chat: String, forward: Forward, time: u64, sender: Option<String> },
    Read(String, String, u64),
    Clear(String, String),
    Delete(String, Vec<String>, Option<u64>),
    Flags(String, String, [Option<bool>; 4]),
    Touch(String, Option<Vec<String>>, u64),
    Status(String, u64),
    Dissolve(String),
}

impl Act {
    pub fn command(&self) -> (&'static str, Value) {
        let flag = |flag: Option<bool>| flag.map(u8::from);
        match self {
            Self::Create(create) => (
                "create",
                json!({
                    "id": create.id, "type": create.kind, "creator_id": create.creator,
                    "is_enc": create.is_enc, "created_at": create.created_at, "user_ids": create.users,
                }),
            ),
            Self::Add(chat, users) => ("add_members", json!({"chat_id": chat, "user_ids": users})),
            Self::Remove(chat, users) => {
                ("remove_members", json!({"chat_id": chat, "user_ids": users}))
            }
            Self::Advance { chat, forward, time, sender } => {
                let mut advance = json!({"chat_id": chat, "time": time, "sender_id": sender});
                match forward {
                    Forward::To(to, force) => {
                        (advance["to"], advance["force"]) = (json!(to), json!(force));
                    }
                    Forward::Allocate(count) => advance["allocate"] = json!(count),
                }
                ("advance", advance)
            }
            Self::Read(user, chat, seq) => {
                ("mark_read", json!({"user_id": user, "chat_id": chat, "seq": seq}))
            }
            Self::Clear(user, chat) => ("clear", json!({"user_id": user, "chat_id": chat})),
            Self::Delete(user, ids, up_to) => {
                ("delete", json!({"user_id": user, "ids": ids, "up_to": up_to}))
            }
            Self::Flags(user, chat, [top, mute, hide, marked]) => (
                "set_flags",
                json!({
                    "user_id": user, "chat_id": chat, "is_top": flag(*top), "is_mute": flag(*mute),
                    "is_hide": flag(*hide), "marked_unread": flag(*marked),
                }),
            ),
            Self::Touch(user, chats, time) => {
                ("touch", json!({"user_id": user, "chat_ids": chats, "time": time}))
            }
            Self::Status(chat, status) => {
                ("set_status", json!({"chat_id": chat, "status": status}))
            }
            Self::Dissolve(chat) => ("dissolve", json!({"chat_id": chat})),
        }
    }
}

/// What happens to the node after a command.
#[derive(Debug, Clone, Copy)]
pub enum Fate {
    /// Nothing.
    Lives,
    /// A crash, while what the command led to is under way; the log is there.
    Crash(u16),
    /// The same, with an image begun before the command on one core.
    CrashWithImage(u16, u16),
}

fn user() -> impl Strategy<Value = String> {
    (0..6).prop_map(|number| format!("u{number}"))
}

fn users() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(user(), 0..5)
}

fn chat() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => (0..6).prop_map(|number| format!("c{number}")),
        1 => Just(derived_id(&["u0".into(), "u1".into()].into())),
    ]
}

/// Small, mostly, so that commands meet.
fn seq() -> impl Strategy<Value = u64> {
    prop_oneof![10 => 0..12_u64, 1 => 10..40_u64]
}

fn create() -> impl Strategy<Value = Create> {
    let named =
        (chat().prop_map(Some), prop_oneof![1 => Just(1), 4 => Just(2), 1 => Just(3)], users());
    let single = (user(), user()).prop_map(|(one, other)| (None, 1, vec![one, other]));
    let which = prop_oneof![6 => named, 1 => single];
    (which, user(), 0..2_u64, 5..7_u64).prop_map(
        |((id, kind, users), creator, is_enc, created_at)| Create {
            id,
            kind,
            creator,
            is_enc,
            created_at,
            users,
        },
    )
}

fn advance() -> impl Strategy<Value = Act> {
    let forward = prop_oneof![
        8 => seq().prop_map(|to| Forward::To(to, false)),
        4 => (1..4_u64).prop_map(Forward::Allocate),
        1 => any::<bool>().prop_map(|force| Forward::To(AHEAD_MAX + 30, force)),
    ];
    let time = prop_oneof![10 => 100..200_u64, 1 => Just(NOW + DAY), 1 => Just(NOW + DAY + 1)];
    (chat(), forward, time, prop::option::of(user()))
        .prop_map(|(chat, forward, time, sender)| Act::Advance { chat, forward, time, sender })
}

pub fn act() -> impl Strategy<Value = Act> {
    let flag = || prop::option::weighted(0.4, any::<bool>());
    let chats = || prop::collection::vec(chat(), 0..4);
    prop_oneof![
        5 => create().prop_map(Act::Create),
        3 => (chat(), users()).prop_map(|(chat, users)| Act::Add(chat, users)),
        2 => (chat(), users()).prop_map(|(chat, users)| Act::Remove(chat, users)),
        8 => advance(),
        4 => (user(), chat(), seq()).prop_map(|(user, chat, seq)| Act::Read(user, chat, seq)),
        2 => (user(), chat()).prop_map(|(user, chat)| Act::Clear(user, chat)),
        8 => (user(), chats(), prop::option::of(seq())).prop_map(|(user, ids, up_to)| Act::Delete(user, ids, up_to)),
        4 => (user(), chat(), [flag(), flag(), flag(), flag()]).prop_map(|(user, chat, flags)| Act::Flags(user, chat, flags)),
        2 => (user(), prop::option::of(chats()), 100..200_u64).prop_map(|(user, chats, time)| Act::Touch(user, chats, time)),
        1 => (chat(), 1..3_u64).prop_map(|(chat, status)| Act::Status(chat, status)),
        1 => chat().prop_map(Act::Dissolve),
    ]
}

pub fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Lives),
        1 => (1..6_u16).prop_map(Fate::Crash),
        1 => (1..6_u16, 0..5_u16).prop_map(|(shards, core)| Fate::CrashWithImage(shards, core)),
    ]
}
