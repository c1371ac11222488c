//! The steps of the model's stories: commands, how clients react to replies, and what happens to
//! the node meanwhile.

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use super::store::{AHEAD_MAX, DAY, derived_id};
use crate::common::NOW;

/// A step of a story.
#[derive(Debug, Clone)]
pub struct Step {
    pub act: Act,
    pub fate: Fate,
}

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

/// A command that writes.
#[derive(Debug, Clone)]
pub enum Write {
    Create(Create),
    Add(String, Vec<String>),
    Remove(String, Vec<String>),
    Advance { chat: String, forward: Forward, time: u64, sender: Option<String> },
    Read(String, String, u64),
    ReadMany(String, Vec<(String, u64)>),
    Clear(String, String),
    Delete(String, Vec<String>, Option<u64>),
    Flags(String, String, [Option<bool>; 4]),
    Touch(String, Option<Vec<String>>, Option<u64>),
    Status(String, u64),
    Dissolve(String),
    Erase(String),
}

/// The version that `if_version` names.
#[derive(Debug, Clone, Copy)]
pub enum Wanted {
    Nothing,
    Right,
    Wrong(u64),
}

/// A command with all its arguments.
#[derive(Debug, Clone)]
pub struct Request {
    pub write: Write,
    pub key: Option<String>,
    pub if_version: Option<u64>,
}

/// The filter of a `conversations` request.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub unread_only: Option<bool>,
    pub kind: Option<u64>,
    pub hidden: Option<bool>,
    pub active_since: Option<u64>,
}

/// A fault in the point up to which a device claims to know.
#[derive(Debug, Clone, Copy)]
pub enum Spoil {
    Nothing,
    OtherLog,
    Ahead,
}

#[derive(Debug, Clone)]
pub enum Act {
    /// A write, with a key of this number.
    Write(Write, Option<u8>, Wanted),
    /// A repeat of an earlier write with a key.
    Again(Index),
    /// Time that passes, in ms.
    Wait(u64),
    /// A client of a user reads its next page. The first page names the filter.
    Page {
        user: String,
        client: u8,
        filter: Filter,
        limit: u32,
    },
    /// A device of a user calls `sync`.
    Sync {
        user: String,
        device: u8,
        limit: Option<u32>,
        spoil: Spoil,
    },
    Unread(Vec<String>),
    Explain(String, String),
}

/// Fate of the node after a command.
#[derive(Debug, Clone, Copy)]
pub enum Fate {
    /// It lives on.
    Lives,
    /// It crashes and starts from its log with this number of shards. Deliveries of the command are
    /// under way.
    Crash(u16),
    /// Like [`Self::Crash`], with a snapshot that was begun before the command on one core.
    CrashWithSnapshot(u16, u16),
    /// It crashes after some messages of the command, whatever their effect. A command with an
    /// idempotency key is repeated.
    CrashInside { steps: usize, shards: u16, snapshot_from: Option<u16> },
}

impl Request {
    pub fn command(&self) -> (&'static str, Value) {
        let flag = |flag: Option<bool>| flag.map(u8::from);
        let (name, mut arguments) = match &self.write {
            Write::Create(create) => (
                "create",
                json!({
                    "id": create.id, "type": create.kind, "creator_id": create.creator,
                    "is_enc": create.is_enc, "created_at": create.created_at, "user_ids": create.users,
                }),
            ),
            Write::Add(chat, users) => ("add_members", json!({"chat_id": chat, "user_ids": users})),
            Write::Remove(chat, users) => {
                ("remove_members", json!({"chat_id": chat, "user_ids": users}))
            }
            Write::Advance { chat, forward, time, sender } => {
                let mut advance = json!({"chat_id": chat, "time": time, "sender_id": sender});
                match forward {
                    Forward::To(to, force) => {
                        (advance["to"], advance["force"]) = (json!(to), json!(force));
                    }
                    Forward::Allocate(count) => advance["allocate"] = json!(count),
                }
                ("advance", advance)
            }
            Write::Read(user, chat, seq) => {
                ("mark_read", json!({"user_id": user, "chat_id": chat, "seq": seq}))
            }
            Write::ReadMany(user, items) => {
                let item = |(chat, seq): &(String, u64)| json!({"chat_id": chat, "seq": seq});
                let items: Vec<Value> = items.iter().map(item).collect();
                ("mark_read_many", json!({"user_id": user, "items": items}))
            }
            Write::Clear(user, chat) => ("clear", json!({"user_id": user, "chat_id": chat})),
            Write::Delete(user, ids, up_to) => {
                ("delete", json!({"user_id": user, "ids": ids, "up_to": up_to}))
            }
            Write::Flags(user, chat, [top, mute, hide, marked]) => (
                "set_flags",
                json!({
                    "user_id": user, "chat_id": chat, "is_top": flag(*top), "is_mute": flag(*mute),
                    "is_hide": flag(*hide), "marked_unread": flag(*marked),
                }),
            ),
            Write::Touch(user, chats, time) => {
                ("touch", json!({"user_id": user, "chat_ids": chats, "time": time}))
            }
            Write::Status(chat, status) => {
                ("set_status", json!({"chat_id": chat, "status": status}))
            }
            Write::Dissolve(chat) => ("dissolve", json!({"chat_id": chat})),
            Write::Erase(user) => ("erase_user", json!({"user_id": user})),
        };
        if let Some(key) = &self.key {
            arguments["idempotency_key"] = json!(key);
        }
        if let Some(version) = self.if_version {
            arguments["if_version"] = json!(version);
        }
        (name, arguments)
    }

    /// The part of a request that must be equal in a repeat. The order and repetition of a new
    /// chat's members do not count.
    pub fn content(&self) -> Value {
        let (name, mut arguments) = self.command();
        if let Write::Create(create) = &self.write {
            let mut users = create.users.clone();
            users.sort();
            users.dedup();
            arguments["user_ids"] = json!(users);
        }
        json!([name, arguments])
    }
}

impl Filter {
    pub fn arguments(&self, user: &str, limit: u32, cursor: Option<&str>) -> Value {
        json!({
            "user_id": user, "limit": limit, "cursor": cursor, "unread_only": self.unread_only,
            "type": self.kind, "hidden": self.hidden.map(u8::from), "active_since": self.active_since,
        })
    }
}

// ---- at random ----

pub const USERS: u32 = 3;
pub const CHATS: u32 = 4;

fn user() -> impl Strategy<Value = String> {
    (0..USERS).prop_map(|number| format!("u{number}"))
}

fn users() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(user(), 0..5)
}

fn chat() -> impl Strategy<Value = String> {
    prop_oneof![
        16 => (0..CHATS).prop_map(|number| format!("c{number}")),
        1 => Just(derived_id(&["u0".into(), "u1".into()].into())),
    ]
}

/// Mostly small, so that commands meet.
fn seq() -> impl Strategy<Value = u64> {
    prop_oneof![10 => 0..12_u64, 1 => 10..40_u64]
}

fn create() -> impl Strategy<Value = Create> {
    let named =
        (chat().prop_map(Some), prop_oneof![1 => Just(1), 4 => Just(2), 1 => Just(3)], users());
    let single = (user(), user()).prop_map(|(one, other)| (None, 1, vec![one, other]));
    let unnamed = (Just(None), 2..4_u64, users());
    let which = prop_oneof![12 => named, 2 => single, 1 => unnamed];
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

/// The first steps of a chat's story: a group, some messages in it, a user's flags.
fn beginning(number: u32) -> impl Strategy<Value = Vec<Step>> {
    let several = prop::collection::vec(user(), 1..5);
    let last = prop::option::weighted(0.8, 1..10_u64);
    let flags = prop::option::weighted(0.4, (user(), any::<[bool; 4]>()));
    (several, user(), last, 100..110_u64, flags).prop_map(
        move |(users, creator, last, time, flags)| {
            let chat = format!("c{number}");
            let id = Some(chat.clone());
            let create = Create { id, kind: 2, creator, is_enc: 0, created_at: 5, users };
            let advance = last.map(|last| {
                let forward = Forward::To(last, false);
                Write::Advance { chat: chat.clone(), forward, time, sender: None }
            });
            let flags = flags.map(|(user, flags)| Write::Flags(user, chat, flags.map(Some)));
            [Some(Write::Create(create)), advance, flags]
                .into_iter()
                .flatten()
                .map(|write| Act::Write(write, None, Wanted::Nothing))
                .map(|act| Step { act, fate: Fate::Lives })
                .collect()
        },
    )
}

fn advance() -> impl Strategy<Value = Write> {
    let forward = prop_oneof![
        8 => seq().prop_map(|to| Forward::To(to, false)),
        6 => (1..4_u64).prop_map(Forward::Allocate),
        1 => any::<bool>().prop_map(|force| Forward::To(AHEAD_MAX + 30, force)),
    ];
    let time = prop_oneof![12 => 100..110_u64, 1 => Just(NOW + DAY), 1 => Just(NOW + DAY + 1)];
    (chat(), forward, time, prop::option::of(user()))
        .prop_map(|(chat, forward, time, sender)| Write::Advance { chat, forward, time, sender })
}

fn write() -> impl Strategy<Value = Write> {
    let flag = || prop::option::weighted(0.4, any::<bool>());
    let chats = || prop::collection::vec(chat(), 0..4);
    let reads = prop::collection::btree_map(chat(), seq(), 0..4);
    prop_oneof![
        5 => create().prop_map(Write::Create),
        3 => (chat(), users()).prop_map(|(chat, users)| Write::Add(chat, users)),
        2 => (chat(), users()).prop_map(|(chat, users)| Write::Remove(chat, users)),
        9 => advance(),
        4 => (user(), chat(), seq()).prop_map(|(user, chat, seq)| Write::Read(user, chat, seq)),
        2 => (user(), reads).prop_map(|(user, reads)| Write::ReadMany(user, reads.into_iter().collect())),
        2 => (user(), chat()).prop_map(|(user, chat)| Write::Clear(user, chat)),
        7 => (user(), chats(), prop::option::of(seq())).prop_map(|(user, ids, up_to)| Write::Delete(user, ids, up_to)),
        5 => (user(), chat(), [flag(), flag(), flag(), flag()]).prop_map(|(user, chat, flags)| Write::Flags(user, chat, flags)),
        2 => (user(), prop::option::of(chats()), prop::option::of(100..200_u64)).prop_map(|(user, chats, time)| Write::Touch(user, chats, time)),
        1 => (chat(), 1..3_u64).prop_map(|(chat, status)| Write::Status(chat, status)),
        1 => chat().prop_map(Write::Dissolve),
        1 => user().prop_map(Write::Erase),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    (
        prop::option::weighted(0.2, any::<bool>()),
        prop::option::weighted(0.1, 1..4_u64),
        prop::option::weighted(0.2, any::<bool>()),
        prop::option::weighted(0.1, 100..110_u64),
    )
        .prop_map(|(unread_only, kind, hidden, active_since)| Filter {
            unread_only,
            kind,
            hidden,
            active_since,
        })
}

fn act() -> impl Strategy<Value = Act> {
    // Few keys, shared by all commands, so that they meet.
    let key = prop::option::weighted(0.3, 0..5_u8);
    let wanted = prop_oneof![
        8 => Just(Wanted::Nothing),
        2 => Just(Wanted::Right),
        1 => (1..4_u64).prop_map(Wanted::Wrong),
    ];
    let spoil = prop_oneof![16 => Just(Spoil::Nothing), 1 => Just(Spoil::OtherLog), 1 => Just(Spoil::Ahead)];
    let page = (user(), 0..2_u8, filter(), 1..4_u32)
        .prop_map(|(user, client, filter, limit)| Act::Page { user, client, filter, limit });
    let sync = (user(), 0..2_u8, prop::option::weighted(0.7, 1..4_u32), spoil)
        .prop_map(|(user, device, limit, spoil)| Act::Sync { user, device, limit, spoil });
    // No sum of these equals the window.
    let wait = prop_oneof![Just(1), Just(240_000), Just(400_001)];
    prop_oneof![
        20 => (write(), key, wanted).prop_map(|(write, key, wanted)| Act::Write(write, key, wanted)),
        2 => any::<Index>().prop_map(Act::Again),
        1 => wait.prop_map(Act::Wait),
        7 => page,
        8 => sync,
        1 => prop::collection::vec(user(), 0..4).prop_map(Act::Unread),
        1 => (user(), chat()).prop_map(|(user, chat)| Act::Explain(user, chat)),
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    let inside = (0..9_usize, 1..6_u16, prop::option::of(0..5_u16)).prop_map(
        |(steps, shards, snapshot_from)| Fate::CrashInside { steps, shards, snapshot_from },
    );
    prop_oneof![
        16 => Just(Fate::Lives),
        1 => (1..6_u16).prop_map(Fate::Crash),
        1 => (1..6_u16, 0..5_u16).prop_map(|(shards, at)| Fate::CrashWithSnapshot(shards, at)),
        2 => inside,
    ]
}

/// A story, mostly short and sometimes long.
pub fn story() -> impl Strategy<Value = Vec<Step>> {
    let step = || (act(), fate()).prop_map(|(act, fate)| Step { act, fate });
    let begins = (0..CHATS).map(|number| prop::option::weighted(0.8, beginning(number)));
    let rest = prop_oneof![
        9 => prop::collection::vec(step(), 1..=14),
        1 => prop::collection::vec(step(), 1..=80),
    ];
    (begins.collect::<Vec<_>>(), rest)
        .prop_map(|(begins, rest)| begins.into_iter().flatten().flatten().chain(rest).collect())
}
