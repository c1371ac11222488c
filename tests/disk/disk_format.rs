//! Payloads of records and of snapshot blocks stay readable. A fixed story is written as in the
//! golden files, and reading the golden files gives the end of that story.
//!
//! A difference means that the format changed: an older data directory would not be read as it was.
//! Then give events and items new codes, keep the old codes readable, and add golden files of the
//! new form beside these.
//!
//! `directories` starts whole directories of each version of the identity file. In `refused` and
//! `copies` real processes meet directories with missing, newer or damaged files, and copies of
//! directories.

mod copies;
mod directories;
mod refused;

use std::collections::BTreeSet;

use crate::common::SimNode;
use crate::common::golden::{
    RECORDS_1, RECORDS_2, RECORDS_3, RECORDS_4, RECORDS_5, SNAPSHOT_1, SNAPSHOT_2, SNAPSHOT_3,
    SNAPSHOT_4,
};
use crate::common::sim::SimSnapshot;
use chatshard::command::{Command, Kind};
use serde_json::{Value, json};

/// Every event of the first form at least once. Times are given, so that every run writes the same.
fn story() -> Vec<(Kind, Value)> {
    let row = |more: Value| {
        let mut row = json!({"user_id": "ann", "chat_id": "g"});
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        row
    };
    vec![
        (
            Kind::Create,
            json!({"id": "g", "type": 2, "creator_id": "ann", "is_enc": 1, "created_at": 1, "user_ids": ["ann", "bob"]}),
        ),
        (
            Kind::Create,
            json!({"type": 1, "creator_id": "bob", "created_at": 2, "user_ids": ["ann", "bob"]}),
        ),
        (
            Kind::Create,
            json!({"id": "h", "type": 3, "creator_id": "eve", "created_at": 3, "user_ids": ["bob"]}),
        ),
        (Kind::AddMembers, json!({"chat_id": "g", "user_ids": ["eve", "会"]})),
        (Kind::Advance, json!({"chat_id": "g", "allocate": 7, "time": 70, "sender_id": "bob"})),
        (Kind::MarkRead, row(json!({"seq": 5}))),
        (Kind::SetFlags, row(json!({"is_top": 1, "is_mute": 1, "is_hide": 1, "marked_unread": 1}))),
        (Kind::Touch, json!({"user_id": "ann", "time": 90})),
        (Kind::Touch, json!({"user_id": "bob", "chat_ids": ["g"], "time": 91})),
        (Kind::Clear, json!({"user_id": "bob", "chat_id": "g"})),
        (Kind::Delete, json!({"user_id": "ann", "ids": ["g"]})),
        (Kind::Advance, json!({"chat_id": "g", "to": 8, "time": 80})),
        (Kind::Delete, json!({"user_id": "eve", "ids": ["g"], "up_to": 3})),
        (Kind::Delete, json!({"user_id": "bob", "ids": ["g"]})),
        (Kind::RemoveMembers, json!({"chat_id": "g", "user_ids": ["会"]})),
        (Kind::SetStatus, json!({"chat_id": "g", "status": 2})),
        (Kind::Dissolve, json!({"chat_id": "h"})),
        (
            Kind::Import,
            json!({
                "chats": [{"id": "i", "type": 2, "creator_id": "eve", "last_sequence": 9, "last_time": 99, "created_at": 4}],
                "members": [
                    {"user_id": "ann", "chat_id": "i", "max_read_seq": 4, "join_order": 40, "version": 50},
                    {"user_id": "bob", "chat_id": "i", "is_show": 0, "sent_seq": 2},
                ],
            }),
        ),
    ]
}

/// Events of the second form: removals that are remembered, erased users, first answers.
fn second_story() -> Vec<(Kind, Value)> {
    vec![
        (
            Kind::Advance,
            json!({"chat_id": "i", "allocate": 2, "time": 100, "idempotency_key": "k"}),
        ),
        (
            Kind::SetFlags,
            json!({"user_id": "ann", "chat_id": "i", "is_top": 1, "idempotency_key": "k"}),
        ),
        (Kind::EraseUser, json!({"user_id": "eve"})),
        (
            Kind::Import,
            json!({"members": [{"user_id": "zoe", "chat_id": "long-gone", "removed": 1, "version": 7}]}),
        ),
    ]
}

/// Events of the third form. Users' keys are stored under the user's hash, keys are taken before
/// the parts of a request, and both go when the user is erased.
fn third_story() -> Vec<(Kind, Value)> {
    vec![
        (Kind::Delete, json!({"user_id": "ann", "ids": ["i", "none"], "idempotency_key": "d"})),
        (
            Kind::MarkReadMany,
            json!({"user_id": "bob", "items": [{"chat_id": "g", "seq": 8}], "idempotency_key": "m"}),
        ),
        (
            Kind::Create,
            json!({"type": 3, "creator_id": "zoe", "created_at": 6, "user_ids": ["zoe"], "idempotency_key": "n"}),
        ),
        (Kind::Touch, json!({"user_id": "zoe", "time": 92, "idempotency_key": "t"})),
        (Kind::EraseUser, json!({"user_id": "zoe", "idempotency_key": "e"})),
    ]
}

/// Events of the fourth form. Of dissolved chats only ids stay, and their creators are not erased
/// again. Removals are forgotten.
fn fourth_story() -> Vec<(Kind, Value)> {
    vec![
        (
            Kind::Create,
            json!({"id": "j", "type": 2, "creator_id": "bob", "created_at": 7, "user_ids": ["bob", "zed"]}),
        ),
        (Kind::Dissolve, json!({"chat_id": "j"})),
    ]
}

fn told(story: Vec<(Kind, Value)>) -> SimNode {
    let mut node = SimNode::new(1, 7);
    tell(&mut node, story);
    node
}

fn tell(node: &mut SimNode, story: Vec<(Kind, Value)>) {
    for (kind, arguments) in story {
        let command = Command::from_json(kind, arguments).unwrap();
        let outcome = node.run(command);
        assert!(outcome.is_ok(), "{outcome:?}");
    }
    node.settle();
}

fn both_stories() -> SimNode {
    told(story().into_iter().chain(second_story()).collect())
}

fn three_stories() -> SimNode {
    told(story().into_iter().chain(second_story()).chain(third_story()).collect())
}

fn all_stories() -> SimNode {
    let mut node = three_stories();
    node.remember_at_least(0);
    tell(&mut node, fourth_story());
    node
}

/// The state of a node without the number of records that made it: older forms needed more of them.
fn without_counts(state: BTreeSet<String>) -> BTreeSet<String> {
    state.into_iter().filter(|item| item.contains(": ")).collect()
}

fn lines(pieces: &[Vec<u8>]) -> String {
    pieces.iter().map(|piece| crate::common::vectors::hex(piece) + "\n").collect()
}

fn bytes(text: &str) -> Vec<Vec<u8>> {
    let byte = |hex: &[u8]| u8::from_str_radix(str::from_utf8(hex).unwrap(), 16).unwrap();
    let line = |line: &str| {
        let hex: Vec<u8> = line.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        hex.chunks(2).map(byte).collect()
    };
    text.lines().map(line).collect()
}

#[test]
fn records_are_written_as_ever() {
    let written = lines(all_stories().log());
    assert!(written == RECORDS_5, "records are written in another form:\n{written}");
}

#[test]
fn snapshots_are_written_as_ever() {
    let mut node = all_stories();
    node.begin_snapshot(0);
    let written = lines(&node.finish_snapshot().blocks);
    assert!(written == SNAPSHOT_4, "snapshots are written in another form:\n{written}");
}

#[test]
fn golden_records_and_snapshots_are_read_as_the_story_ended() {
    let stories =
        [(told(story()), RECORDS_1), (all_stories(), RECORDS_4), (all_stories(), RECORDS_5)];
    for (story, records) in stories {
        let mut node = story;
        let mut replayed = SimNode::from_log(1, 7, &bytes(records));
        replayed.assert_same_state(&mut node, "from the records");
    }
    let mut node = all_stories();
    let snapshot = SimSnapshot { blocks: bytes(SNAPSHOT_4), ..SimSnapshot::default() };
    let mut restored = node.crashed_without_log(1, &snapshot);
    restored.assert_same_state(&mut node, "from the snapshot");
}

/// The third form kept dissolved chats completely, and erased their creators from them.
#[test]
fn golden_records_and_snapshots_of_the_third_form_are_read() {
    let mut node = three_stories();
    let snapshot = SimSnapshot { blocks: bytes(SNAPSHOT_3), ..SimSnapshot::default() };
    let replayed = SimNode::from_log(1, 7, &bytes(RECORDS_3));
    let restored = node.crashed_without_log(1, &snapshot);
    let expected = without_counts(node.state());
    assert!(expected.iter().any(|item| item.contains("[\"h\",\"erased\"")), "{expected:?}");
    for mut found in [replayed, restored] {
        assert_eq!(without_counts(found.state()), expected);
        found.run(Command::from_json(Kind::Verify, json!({})).unwrap()).unwrap();
    }
}

/// The second form stored the first answer of a user's key with the user's name, and for each chat
/// by itself. It is read, and no longer given to any request.
#[test]
fn golden_records_and_snapshots_of_the_second_form_are_read() {
    let mut node = both_stories();
    let snapshot = SimSnapshot { blocks: bytes(SNAPSHOT_2), ..SimSnapshot::default() };
    let replayed = SimNode::from_log(1, 7, &bytes(RECORDS_2));
    let restored = node.crashed_without_log(1, &snapshot);
    let others = |state: BTreeSet<String>| -> Vec<String> {
        let is_of_a_user =
            |item: &String| item.contains(": 8 \"ann\\n") || item.contains(": 8 \"u");
        without_counts(state).into_iter().filter(|item| !is_of_a_user(item)).collect()
    };
    let expected = others(node.state());
    for mut found in [replayed, restored] {
        assert_eq!(without_counts(found.state()).len(), expected.len() + 1);
        assert_eq!(others(found.state()), expected);
        let mut run =
            |kind: Kind, arguments: Value| found.run(Command::from_json(kind, arguments).unwrap());
        // The key of a chat is stored as before.
        let allocate = |count: u64| json!({"chat_id": "i", "allocate": count, "time": 100, "idempotency_key": "k"});
        let first = serde_json::to_value(run(Kind::Advance, allocate(2)).unwrap()).unwrap();
        assert_eq!(first["last_sequence"], 11);
        run(Kind::Advance, allocate(1)).unwrap_err();
        run(Kind::EraseUser, json!({"user_id": "ann", "idempotency_key": "k"})).unwrap();
        run(Kind::Verify, json!({})).unwrap();
    }
}

/// The first form did not remember removals, nor whether all of a user's changes were imported. So
/// an imported row had the version of its line, whatever earlier replies said.
#[test]
fn a_golden_snapshot_of_the_first_form_is_read() {
    let mut node = told(story());
    let snapshot = SimSnapshot { blocks: bytes(SNAPSHOT_1), ..SimSnapshot::default() };
    let mut restored = node.crashed_without_log(1, &snapshot);
    let older = |state: BTreeSet<String>| -> Vec<String> {
        let newer = |item: &String| {
            item.contains(": 5 ") || item.contains(": 7 ") || item.contains("[\"i\",40,")
        };
        state.into_iter().filter(|item| !newer(item)).collect()
    };
    let (found, told) = (older(restored.state()), older(node.state()));
    assert!(found.len() > 10);
    assert_eq!(found, told);
    restored.run(Command::from_json(Kind::Verify, json!({})).unwrap()).unwrap();
}
