//! Refusals of a node that cannot write, or that has no memory for more chats and members. A change
//! that was "not applied" leaves no trace.

use chatshard::command::advance::AdvanceRef;
use chatshard::command::mark_read::MarkReadRef;
use chatshard::command::{Class, Command, Error, ErrorCode, Kind, Outcome, Reply};
use chatshard::types::{KeyHasher, Sequence, ShardId};
use serde_json::{Value, json};

use crate::common::SimNode;

const SHARDS: u16 = 3;
/// Chats that exist, on all shards.
const CHATS: [&str; 5] = ["g0", "g1", "g2", "g3", "g4"];

fn command(kind: Kind, arguments: Value) -> Command {
    Command::from_json(kind, arguments).unwrap()
}

fn group(id: &str) -> Command {
    let create = json!({"id": id, "type": 2, "creator_id": "u", "user_ids": ["u", "v"]});
    command(Kind::Create, create)
}

/// Groups of `u` and `v` with three messages each, and a single chat.
fn node() -> SimNode {
    let mut node = SimNode::new(SHARDS, 11);
    for id in CHATS {
        node.run(group(id)).unwrap();
        node.run(command(Kind::Advance, json!({"chat_id": id, "allocate": 3}))).unwrap();
    }
    let single = json!({"type": 1, "creator_id": "u", "user_ids": ["u", "w"]});
    node.run(command(Kind::Create, single)).unwrap();
    node.settle();
    node
}

fn refusal() -> Error {
    Error::not_applied("the test says so")
}

fn says_not_applied(outcome: &Outcome) -> bool {
    outcome.as_ref().is_err_and(|error| error.message.starts_with("not applied"))
}

/// A request of each command: its own example, unless that changes nothing on a [`node`].
fn example(kind: Kind) -> Command {
    let arguments = match kind {
        Kind::Cancel => json!({"request_id": 1}),
        Kind::Import => {
            let chats = ["i0", "i1", "i2", "i3"]
                .map(|id| json!({"id": id, "type": 2, "creator_id": "u"}))
                .to_vec();
            let mut members =
                ["i0", "i1", "i2", "i3"].map(|id| json!({"user_id": "u", "chat_id": id})).to_vec();
            let removed = |user| json!({"user_id": user, "chat_id": "i0", "removed": 1});
            members.extend(["u", "v", "w"].map(removed));
            json!({"chats": chats, "members": members})
        }
        Kind::EraseUser => json!({"user_id": "u"}),
        Kind::Detail => json!({"ids": CHATS}),
        Kind::Delete => json!({"user_id": "u", "ids": CHATS}),
        Kind::Touch => json!({"user_id": "u", "time": 5}),
        Kind::Clear => json!({"user_id": "u", "chat_id": "g0"}),
        Kind::MarkRead => json!({"user_id": "u", "chat_id": "g0", "seq": 2}),
        Kind::MarkReadMany => {
            let items: Vec<Value> = CHATS.map(|id| json!({"chat_id": id, "seq": 2})).to_vec();
            json!({"user_id": "u", "items": items})
        }
        Kind::AddMembers => json!({"chat_id": "g0", "user_ids": ["x", "y", "z"]}),
        Kind::RemoveMembers => json!({"chat_id": "g0", "user_ids": ["u", "v"]}),
        Kind::Dissolve => json!({"chat_id": "g0"}),
        Kind::SetStatus => json!({"chat_id": "g0", "status": 2}),
        _ => {
            let text = kind.example().unwrap().replace("USER", "u").replace("GROUP", "g0");
            serde_json::from_str(&text).unwrap()
        }
    };
    command(kind, arguments)
}

/// The writes. All other commands belong to connections, or change nothing.
fn writes() -> impl Iterator<Item = Kind> {
    Kind::ALL.iter().copied().filter(|kind| kind.class() == Class::Write)
}

fn refuse_growth(node: &mut SimNode, why: Option<&Error>) {
    (0..SHARDS).for_each(|shard| node.shard(ShardId(shard)).refuse_growth(why.cloned()));
}

#[test]
fn without_memory_only_new_chats_and_members_are_refused() {
    for kind in writes() {
        let grows = matches!(kind, Kind::Create | Kind::AddMembers | Kind::Import);
        let mut node = node();
        let before = node.state();
        refuse_growth(&mut node, Some(&refusal()));
        let outcome = node.run(example(kind));
        node.settle();
        if grows {
            assert_eq!(outcome, Err(refusal()), "{}", kind.name());
            assert_eq!(node.state(), before, "{}", kind.name());
            refuse_growth(&mut node, None);
            assert!(node.run(example(kind)).is_ok(), "{} when there is room", kind.name());
        } else {
            assert!(outcome.is_ok(), "{}: {outcome:?}", kind.name());
            assert_ne!(node.state(), before, "{} changes something", kind.name());
        }
    }
}

#[test]
fn what_is_there_already_needs_no_memory() {
    let mut node = node();
    refuse_growth(&mut node, Some(&refusal()));
    let Ok(Reply::Create(again)) = node.run(group("g1")) else { panic!("a repeat is refused") };
    assert!(!again.created);
    let single = json!({"type": 1, "creator_id": "u", "user_ids": ["w", "u"]});
    assert!(node.run(command(Kind::Create, single)).is_ok());
    let add = json!({"chat_id": "g1", "user_ids": ["u"]});
    assert!(node.run(command(Kind::AddMembers, add)).is_ok());
    let merge = json!({"chats": [{"id": "g1", "type": 2, "creator_id": "u"}],
        "members": [{"user_id": "u", "chat_id": "g1", "is_top": 1}], "merge": true});
    assert!(node.run(command(Kind::Import, merge)).is_ok());
    // Rows that a message brings back were there all the time.
    node.run(example(Kind::Delete)).unwrap();
    node.run(example(Kind::Advance)).unwrap();
    node.settle();
    let Ok(Reply::List(list)) = node.run(example(Kind::List)) else { panic!("no list") };
    assert!(list.items.iter().any(|row| row.chat_id.as_str() == "g0"));
}

/// Each write meets a shard that begins to refuse after any number of steps. A command of several
/// shards may be applied by some of them. Then it must not reply that nothing was applied.
#[test]
fn not_applied_is_never_said_of_what_was_applied_in_part() {
    let mut unknown = 0;
    for kind in writes() {
        let prepared = node();
        for shard in (0..SHARDS).map(ShardId) {
            for steps in 0.. {
                let mut node = prepared.crashed(SHARDS);
                let before = node.state();
                let ticket = node.submit(0, example(kind));
                let went_on = (0..steps).take_while(|_| node.step()).count() == steps;
                node.shard(shard).refuse_writes(Some(refusal()));
                node.settle();
                let outcome = node.take(ticket).unwrap();
                let place = format!("{}, {shard:?} after {steps} steps", kind.name());
                match &outcome {
                    Ok(_) => {}
                    Err(_) if says_not_applied(&outcome) => {
                        assert_eq!(node.state(), before, "{place}");
                    }
                    Err(error) => {
                        assert!(error.is_outcome_unknown(), "{place}: {error}");
                        unknown += 1;
                    }
                }
                if !went_on {
                    assert!(outcome.is_ok(), "{place}: {outcome:?}");
                    break;
                }
            }
        }
    }
    assert!(unknown > 0, "no command was caught half way");
}

#[test]
fn the_fast_path_refuses_another_version_too() {
    let mut node = SimNode::new(1, 11);
    node.run(group("g0")).unwrap();
    node.settle();
    let hasher = KeyHasher::new(11);
    let (chat_id, user_id) = (hasher.hashed("g0"), hasher.hashed("u"));
    let mut run = |if_version| {
        let to = Some(Sequence::from(1));
        let (allocate, time, sender_id, force, idempotency_key) = (None, None, None, None, None);
        let advance = AdvanceRef {
            chat_id,
            to,
            allocate,
            time,
            sender_id,
            force,
            idempotency_key,
            if_version,
        };
        let seq = Sequence::ZERO;
        let read = MarkReadRef { user_id, chat_id, seq, idempotency_key: None, if_version };
        node.at_shard(0, |shard, out| {
            let advanced = shard.fast_advance(advance, out).unwrap().map(drop);
            let read = shard.fast_mark_read(read, out).unwrap().map(drop);
            [advanced, read].map(|outcome| outcome.map_err(|error| error.code))
        })
    };
    assert_eq!(run(Some(99)), [Err(ErrorCode::Conflict); 2]);
    assert_eq!(run(None), [Ok(()); 2]);
}
