//! Digests of slots: any change of what a slot holds changes its digest, and nothing else does.
//! [`SimNode`] compares the digests of its log at every start, so the stories of `model` do too.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use chatshard::command::{Command, Kind};
use chatshard::limits::COUNTER_MAX;
use chatshard::shard::Shard;
use chatshard::shard::events::{self, Decision, Event, LoggedDigest, Probed};
use chatshard::types::{KeyHasher, ShardCount, ShardId};
use serde_json::{Value, json};

use crate::common::SimNode;

const HASH_SEED: u64 = 7;
/// Items of a snapshot that count; the others are first answers.
const COUNTED: std::ops::RangeInclusive<u8> = 1..=7;

fn command(kind: Kind, arguments: Value) -> Command {
    Command::from_json(kind, arguments).unwrap()
}

/// A node with every kind of item: deliveries of three kinds are left open.
fn everything() -> SimNode {
    let mut node = SimNode::new(1, HASH_SEED);
    let mut run = |kind, arguments| drop(node.run(command(kind, arguments)).unwrap());
    for chat in ["g", "h", "i", "j", "k"] {
        let users = json!(["ann", "bob", "eve"]);
        run(
            Kind::Create,
            json!({"id": chat, "type": 2, "creator_id": "ann", "user_ids": users, "created_at": 9}),
        );
        run(Kind::Advance, json!({"chat_id": chat, "to": 7, "sender_id": "bob", "time": 50}));
    }
    run(Kind::SetFlags, json!({"user_id": "ann", "chat_id": "g", "is_top": 1, "is_mute": 1}));
    run(Kind::MarkRead, json!({"user_id": "eve", "chat_id": "g", "seq": 5}));
    run(Kind::RemoveMembers, json!({"chat_id": "h", "user_ids": ["bob", "eve"]}));
    run(Kind::Delete, json!({"user_id": "ann", "ids": ["g", "h"]}));
    run(Kind::Dissolve, json!({"chat_id": "i"}));
    node.settle();
    // Their deliveries do not begin.
    let held = [
        (Kind::Dissolve, json!({"chat_id": "j"})),
        (Kind::AddMembers, json!({"chat_id": "k", "user_ids": ["zoe", "tom"]})),
    ];
    for (kind, arguments) in held {
        node.submit(0, command(kind, arguments));
        node.step();
    }
    node
}

/// An item of a snapshot.
#[derive(Clone)]
struct Item {
    code: u8,
    fields: Value,
}

/// The items of each slot, behind the head of its blocks.
fn slots(blocks: &[Vec<u8>]) -> BTreeMap<Vec<u8>, Vec<Item>> {
    let mut slots: BTreeMap<Vec<u8>, Vec<Item>> = BTreeMap::new();
    for block in blocks {
        let (head, mut rest) = block.split_at(10);
        let items = slots.entry(head.to_vec()).or_default();
        while let Some((code, fields)) = rest.split_first() {
            rest = fields;
            let fields = rmp_serde::from_read(&mut rest).unwrap();
            items.push(Item { code: *code, fields });
        }
    }
    slots
}

/// The digest of a slot that is restored from these items; `None` if a restore refuses them.
fn digest(head: &[u8], items: &[Item]) -> Option<u64> {
    let mut shard = Shard::new(ShardId(0), ShardCount::new(1).unwrap(), KeyHasher::new(HASH_SEED));
    let mut block = head.to_vec();
    for Item { code, fields } in items {
        block.push(*code);
        rmp_serde::encode::write(&mut block, fields).unwrap();
    }
    // A debug assertion may refuse what no snapshot holds.
    let restored = catch_unwind(AssertUnwindSafe(|| {
        shard.restore(&block).ok()?;
        shard.recount().ok()
    }));
    restored.ok()??;
    shard.begin_snapshot(1);
    let captures = shard.next_captures(usize::MAX);
    assert_eq!(captures.len(), 1, "one slot was restored");
    Some(captures[0].digest().digest)
}

/// The places of all values without parts, as lists of indexes and keys.
fn leaves(value: &Value, at: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let parts: Vec<(String, &Value)> = match value {
        Value::Array(parts) => parts.iter().enumerate().map(|(n, v)| (n.to_string(), v)).collect(),
        Value::Object(parts) => parts.iter().map(|(key, v)| (key.clone(), v)).collect(),
        _ => return found.push(at.clone()),
    };
    for (key, part) in parts {
        at.push(key);
        leaves(part, at, found);
        at.pop();
    }
}

fn at<'a>(value: &'a mut Value, place: &[String]) -> &'a mut Value {
    place.iter().fold(value, |value, key| match value {
        Value::Array(parts) => &mut parts[key.parse::<usize>().unwrap()],
        value => &mut value[key.as_str()],
    })
}

/// Other values of the same type.
fn others(value: &Value) -> Vec<Value> {
    match value {
        Value::Number(number) => {
            let number = number.as_u64().unwrap();
            [number.checked_add(1), number.checked_sub(1)]
                .into_iter()
                .flatten()
                .map(Value::from)
                .collect()
        }
        Value::Bool(is) => vec![json!(!is)],
        // `x` is the effect of an erasure.
        Value::String(text) => vec![json!(format!("{text}x")), json!("joe"), json!("x")],
        Value::Null => vec![json!(1), json!("x")],
        Value::Array(_) | Value::Object(_) => unreachable!("it has parts"),
    }
}

/// A place without the number of the entry in its list.
fn named(code: u8, place: &[String]) -> String {
    let is_entry = |(depth, key): (usize, &String)| match depth {
        0 => key.clone(),
        _ if key.parse::<u64>().is_ok() => "*".to_owned(),
        _ => key.clone(),
    };
    let place: Vec<String> = place.iter().enumerate().map(is_entry).collect();
    format!("{code}: {}", place.join("."))
}

#[test]
fn any_other_value_in_any_item_is_another_digest() {
    let mut node = everything();
    node.begin_snapshot(0);
    let blocks = node.finish_snapshot().blocks;
    let (mut seen, mut changed, mut refused) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (head, items) in slots(&blocks) {
        let before = digest(&head, &items).unwrap();
        for (number, item) in items.iter().enumerate().filter(|(_, it)| COUNTED.contains(&it.code))
        {
            seen.insert(item.code);
            let mut places = Vec::new();
            leaves(&item.fields, &mut Vec::new(), &mut places);
            // Of a retired chat only id and type are kept.
            let is_retired =
                item.code == 1 && item.fields[5] == json!(true) && item.fields[10] == 0;
            for place in places.iter().filter(|_| !is_retired) {
                let mut other = items.clone();
                let old = at(&mut other[number].fields, place).clone();
                for new in others(&old) {
                    *at(&mut other[number].fields, place) = new.clone();
                    let name = named(item.code, place);
                    match digest(&head, &other) {
                        Some(after) => {
                            assert_ne!(before, after, "{name}: {old} and {new}");
                            changed.insert(name);
                        }
                        None => drop(refused.insert(name)),
                    }
                }
            }
        }
        for left_out in items.iter().enumerate().filter(|(_, it)| COUNTED.contains(&it.code)) {
            let mut fewer = items.clone();
            fewer.remove(left_out.0);
            if let Some(after) = digest(&head, &fewer) {
                assert_ne!(before, after, "without an item {}", left_out.1.code);
            }
        }
    }
    assert!(seen.iter().eq(&COUNTED.collect::<BTreeSet<_>>()), "{seen:?}");
    // Another id is of another slot, or names a chat or user that is not there.
    let ids: Vec<_> = COUNTED.map(|code| format!("{code}: 0")).collect();
    let never: Vec<_> = refused.difference(&changed).cloned().collect();
    assert_eq!(never, ids, "only ids are always refused");
}

/// Digests of all slots that have something.
fn all_digests(node: &mut SimNode) -> BTreeSet<(u16, u64)> {
    node.begin_snapshot(0);
    let slots = node.finish_snapshot().blocks;
    let slots: BTreeSet<u16> = slots.iter().map(|it| u16::from_be_bytes([it[0], it[1]])).collect();
    slots.into_iter().map(|slot| (slot, node.probe_slot(slot))).collect()
}

#[test]
fn neither_restarts_nor_other_shard_counts_change_a_digest() {
    let mut node = everything();
    let before = all_digests(&mut node);
    assert!(before.len() > 5, "{before:?}");
    for shards in [1, 2, 3, 7] {
        let mut again = node.crashed(shards);
        assert_eq!(again.compared(), before.len() as u64, "{shards} shards");
        // What the start sends ends deliveries, and changes slots.
        let mut other = node.crashed(1);
        again.settle();
        other.settle();
        assert_eq!(all_digests(&mut again), all_digests(&mut other), "{shards} shards");
        again.restart_from_snapshot(shards);
    }
}

#[test]
fn a_probe_that_a_snapshot_or_a_stop_cuts_in_two_is_passed_over() {
    let mut node = everything();
    node.settle();
    node.probe();
    // The snapshot begins between the two records.
    node.begin_snapshot(0);
    let snapshot = node.finish_snapshot();
    node.probe();
    assert_eq!(node.crashed_with_snapshot(2, &snapshot).compared(), 0);
    assert_eq!(node.crashed(2).compared(), 1);
    // A stop forgets the first half, and the next probe counts.
    node.probe();
    let mut again = node.crashed(3);
    again.probe();
    again.probe();
    assert_eq!(again.crashed(1).compared(), 2);
}

/// The record with its event changed.
fn changed(record: &[u8], change: impl FnOnce(&mut Event)) -> Vec<u8> {
    let (slot, seq, mut event) = events::decode(record).unwrap();
    change(&mut event);
    let mut bytes = Vec::new();
    match event {
        Event::Advanced(event) => events::encode(slot, seq, &event, &mut bytes).unwrap(),
        Event::Probed(event) => events::encode(slot, seq, &event, &mut bytes).unwrap(),
        event => panic!("{event:?} is not changed here"),
    }
    bytes
}

#[test]
fn a_replay_that_makes_another_state_is_found() {
    let mut node = everything();
    node.settle();
    all_digests(&mut node);
    let is_advanced =
        |record: &Vec<u8>| matches!(events::decode(record).unwrap().2, Event::Advanced(_));
    let victim = node.log().iter().position(is_advanced).unwrap();
    let (slot, ..) = events::decode(&node.log()[victim]).unwrap();
    for other in [false, true] {
        let mut shard =
            Shard::new(ShardId(0), ShardCount::new(1).unwrap(), KeyHasher::new(HASH_SEED));
        let mut differences = Vec::new();
        for (number, record) in node.log().iter().enumerate() {
            let record = match number == victim && other {
                true => changed(record, |event| {
                    let Event::Advanced(event) = event else { panic!() };
                    event.time = event.time.saturating_add(1);
                }),
                false => record.clone(),
            };
            shard.replay(&record).unwrap();
            if let Some(capture) = shard.take_probe(snapshot::Lsn(number as u64 + 1)) {
                shard.hashed_in_replay(capture.digest());
            }
            differences.extend(shard.take_comparison().filter(|compared| !compared.is_equal()));
        }
        let slots: Vec<_> = differences.iter().map(|difference| difference.slot).collect();
        assert_eq!(slots, if other { vec![slot] } else { vec![] });
    }
}

#[test]
fn a_digest_in_the_log_is_read_as_it_was_written() {
    for digest in [None, Some(LoggedDigest { seq: COUNTER_MAX + 1, digest: u64::MAX })] {
        let (slot, event) = (chatshard::types::Slot::new(9).unwrap(), Probed { digest });
        let mut bytes = Vec::new();
        events::encode(slot, 5, &event, &mut bytes).unwrap();
        assert_eq!(bytes[10], Probed::CODE);
        let read = events::decode(&bytes);
        match digest {
            None => assert_eq!(read.unwrap(), (slot, 5, event.into())),
            // No slot has so many records.
            Some(_) => assert!(read.is_err()),
        }
    }
}
