//! Random commands over a few ids, and random lines with values at the bounds of every field.

use chatshard::command::import::Import;
use chatshard::command::{Command, Kind};
use chatshard::limits::{IMPORT_COUNTER_MAX, INTEGER_MAX};
use serde_json::{Map, Value, json};

use crate::common::random::Random;

const USERS: [&str; 5] = ["ann", "bob", "eve", "会", "erased"];
const CHATS: [&str; 7] = ["g1", "g2", "g3", "o.1", "s1", "s2", "會話"];

/// A random item of `values`.
fn one_of<T: Clone>(random: &mut Random, values: &[T]) -> T {
    let at = random.below(u64::try_from(values.len()).unwrap());
    values[usize::try_from(at).unwrap()].clone()
}

fn user(random: &mut Random) -> Value {
    one_of(random, &USERS).into()
}

fn chat(random: &mut Random) -> Value {
    one_of(random, &CHATS).into()
}

fn flag(random: &mut Random) -> Value {
    random.below(2).into()
}

/// Some users without repetition.
fn users(random: &mut Random) -> Vec<&'static str> {
    let chosen = random.draw();
    let users = USERS.iter().enumerate().filter(|(at, _)| chosen >> at & 1 == 1);
    users.map(|(_, user)| *user).collect()
}

/// Any write but `import`.
pub fn command(random: &mut Random) -> Command {
    let kinds: Vec<Kind> = [
        (Kind::Create, 4),
        (Kind::AddMembers, 4),
        (Kind::RemoveMembers, 2),
        (Kind::Advance, 5),
        (Kind::MarkRead, 3),
        (Kind::SetFlags, 3),
        (Kind::Delete, 3),
        (Kind::Clear, 2),
        (Kind::Touch, 1),
        (Kind::SetStatus, 1),
        (Kind::Dissolve, 1),
        (Kind::EraseUser, 1),
    ]
    .iter()
    .flat_map(|(kind, weight)| std::iter::repeat_n(*kind, *weight))
    .collect();
    let kind = one_of(random, &kinds);
    let (user_id, chat_id) = (user(random), chat(random));
    let seq = random.below(12);
    let arguments = match kind {
        Kind::Create => match random.below(3) {
            0 => json!({"type": 1, "creator_id": user_id, "user_ids": [user_id, user(random)]}),
            _ => json!({"id": chat_id, "type": 2 + random.below(2), "creator_id": user_id,
                "is_enc": flag(random), "user_ids": users(random)}),
        },
        Kind::AddMembers | Kind::RemoveMembers => {
            json!({"chat_id": chat_id, "user_ids": users(random)})
        }
        Kind::Advance => match random.below(2) {
            0 => json!({"chat_id": chat_id, "allocate": 1 + random.below(3), "sender_id": user_id}),
            _ => json!({"chat_id": chat_id, "to": seq, "sender_id": user_id, "time": seq}),
        },
        Kind::MarkRead => json!({"chat_id": chat_id, "user_id": user_id, "seq": seq}),
        Kind::SetFlags => json!({"chat_id": chat_id, "user_id": user_id, "is_top": flag(random),
            "is_mute": flag(random), "is_hide": flag(random), "marked_unread": flag(random)}),
        Kind::Delete => match random.below(2) {
            0 => json!({"user_id": user_id, "ids": [chat_id, chat(random)]}),
            _ => json!({"user_id": user_id, "ids": [chat_id], "up_to": random.below(4)}),
        },
        Kind::Clear => json!({"chat_id": chat_id, "user_id": user_id}),
        Kind::Touch => json!({"user_id": user_id, "time": random.below(1000)}),
        Kind::SetStatus => json!({"chat_id": chat_id, "status": 1 + random.below(2)}),
        Kind::Dissolve => json!({"chat_id": chat_id}),
        Kind::EraseUser => json!({"user_id": user_id}),
        other => panic!("{} is not drawn", other.name()),
    };
    // A single chat of one user with themselves is no request at all.
    Command::from_json(kind, arguments).unwrap_or_else(|_| command(random))
}

/// A sequence or a time: small, or as large as possible.
fn integer(random: &mut Random) -> Value {
    one_of(random, &[0, 1, 2, 3, 5, INTEGER_MAX - 1, INTEGER_MAX]).into()
}

/// A version or an order in a list; seldom too large.
fn counter(random: &mut Random) -> Value {
    let most = IMPORT_COUNTER_MAX;
    let large = if random.below(16) == 0 { most + 1 } else { most };
    one_of(random, &[0, 1, 2, 3, 7, most - 1, large]).into()
}

/// A line with some of these fields, some of them null; those in `keep` stay.
fn some(random: &mut Random, mut line: Map<String, Value>, keep: &[&str]) -> Value {
    let names: Vec<String> = line.keys().cloned().collect();
    for name in names.iter().filter(|name| !keep.contains(&name.as_str())) {
        match random.below(6) {
            0 => line[name] = Value::Null,
            1 | 2 => _ = line.remove(name),
            _ => {}
        }
    }
    line.into()
}

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(fields) = value else { panic!("no object: {value}") };
    fields
}

fn type_of(chat_id: &str) -> u64 {
    match chat_id.as_bytes()[0] {
        b's' => 1,
        b'o' => 3,
        _ => 2,
    }
}

fn chat_line(random: &mut Random) -> Value {
    let id = one_of(random, &CHATS);
    let chat_type = type_of(id);
    let digests = ["00000000000000ff", "FFFFFFFFFFFFFFFF", "0000000000000000", "+5", "é"];
    let digest = digests[usize::try_from(random.below(40)).unwrap().saturating_sub(35)];
    let line = json!({"id": id, "creator_id": user(random), "type": chat_type,
        "status": 1 + random.below(2), "is_enc": flag(random), "last_sequence": integer(random),
        "last_time": integer(random), "created_at": integer(random), "version": counter(random),
        "dissolved": u8::from(random.below(12) == 0), "request_digest": digest});
    some(random, object(line), &["id", "creator_id", "type"])
}

fn member_line(random: &mut Random) -> Value {
    let chat_id = chat(random);
    let line = json!({"user_id": user(random), "chat_id": chat_id, "id": chat_id,
        "is_top": flag(random), "is_mute": flag(random), "is_show": flag(random),
        "is_hide": flag(random), "max_read_seq": integer(random),
        "last_online_time": integer(random), "join_seq": integer(random),
        "deleted_to_seq": integer(random), "sent_seq": integer(random),
        "marked_unread": flag(random), "join_order": counter(random), "version": counter(random),
        "removed": u8::from(random.below(4) == 0)});
    some(random, object(line), &["user_id", "chat_id"])
}

/// An import of every chat, without members.
pub fn all_chats() -> Command {
    let chats = CHATS.map(|id| json!({"id": id, "creator_id": "maker", "type": type_of(id)}));
    import(json!({"chats": chats}))
}

/// A removal in each of these chats, counted up from the largest version that `import` accepts.
pub fn removals_beyond_the_largest_version(chats: &[&str]) -> Command {
    let mut lines: Vec<Value> = chats
        .iter()
        .map(|chat_id| json!({"user_id": "ann", "chat_id": chat_id, "removed": 1}))
        .collect();
    lines[0]["version"] = IMPORT_COUNTER_MAX.into();
    import(json!({"members": lines}))
}

fn import(arguments: Value) -> Command {
    serde_json::from_value::<Import>(arguments).unwrap().into()
}

/// An import of a few lines, mostly of chats that exist or are in it.
pub fn lines(random: &mut Random) -> Command {
    let chats: Vec<Value> = (0..random.below(4)).map(|_| chat_line(random)).collect();
    let members: Vec<Value> = (0..random.below(6)).map(|_| member_line(random)).collect();
    let merge = random.below(4) > 0;
    let arguments = json!({"chats": chats, "members": members, "merge": merge});
    import(arguments)
}
