//! Every command gets its reply, however many messages between and inside shards it takes. A core
//! that has used up its turn continues by itself, and does not hold back an answer that no later
//! event would release. A reply for several shards is true of all of them.

use chatshard::command::{Command, Error, Kind, Outcome, Reply};
use chatshard::router::Router;
use chatshard::shard::op::Answer;
use chatshard::types::{KeyHasher, ShardCount, ShardId};
use serde_json::json;

use crate::common::{AdminDoor, Door, TcpDoor};

#[test]
fn a_handover_and_a_format_need_a_journal() {
    let (mut tcp, mut admin) = (TcpDoor::start(1), AdminDoor::start(1));
    let doors: [&mut dyn Door; 2] = [&mut tcp, &mut admin];
    for door in doors {
        let why = door.fails("handover", json!({"to": "m2"}), 400);
        assert!(why.contains("this node has no journal"), "{why}");
        let why = door.fails("raise_format", json!({"without": ["m2"]}), 400);
        assert!(why.contains("this node has no journal"), "{why}");
    }
    tcp.stop();
    admin.stop();
}

#[test]
fn any_number_of_messages_ends_in_an_answer() {
    for shards in [1, 2] {
        let mut tcp = TcpDoor::start(shards);
        let door: &mut dyn Door = &mut tcp;
        let ids: Vec<String> = (0..70).map(|number| format!("g{number}")).collect();
        let users: Vec<String> = (0..70).map(|number| format!("u{number}")).collect();
        let chats: Vec<_> =
            ids.iter().map(|id| json!({"id": id, "type": 2, "creator_id": "m"})).collect();
        let members: Vec<_> = ids.iter().map(|id| json!({"user_id": "a", "chat_id": id})).collect();
        door.ok("import", json!({"chats": chats, "members": members}));
        // On one shard each chat takes two messages: the delivery and its confirmation. A message
        // to each chat in between brings the rows back for the next round.
        for count in 1..=40 {
            door.ok("delete", json!({"user_id": "a", "ids": &ids[..count]}));
            assert_eq!(door.listed("a").len(), ids.len() - count, "{count} chats");
            for id in &ids[..count] {
                door.ok("advance", json!({"chat_id": id, "allocate": 1}));
            }
            door.settle();
        }
        for count in [1, 15, 16, 17, 31, 32, 33, 64] {
            let chat = format!("of {count}");
            let create =
                json!({"id": chat, "type": 2, "creator_id": "m", "user_ids": &users[..count]});
            door.ok("create", create);
            door.ok("dissolve", json!({"chat_id": chat}));
        }
        tcp.stop();
    }
}

/// The error of a delete on two shards: the first one did its part or not, and the second one
/// refused.
fn told_when_a_part_is_refused(first: Outcome) -> String {
    let shards = ShardCount::new(2).unwrap();
    let mut router = Router::new(ShardId(0), shards, KeyHasher::new(7), 1);
    let ids: Vec<String> = (0..20).map(|number| format!("g{number}")).collect();
    let delete = Command::from_json(Kind::Delete, json!({"user_id": "a", "ids": ids})).unwrap();
    let mut asked = Vec::new();
    assert!(router.submit((), delete, &mut asked).is_none());
    let [(_, one, _), (_, other, _)] = asked[..] else { panic!("{asked:?}") };
    assert!(router.answer(one, Answer::Done(first), &mut Vec::new()).is_none());
    let refused = Answer::Done(Err(Error::not_applied("the disk is full")));
    let (_, outcome) = router.answer(other, refused, &mut Vec::new()).unwrap();
    outcome.unwrap_err().message.into_owned()
}

#[test]
fn nobody_is_told_that_nothing_was_done_when_a_part_was() {
    let not_applied = Err(Error::not_applied("the disk is full"));
    assert!(told_when_a_part_is_refused(not_applied).starts_with("not applied"));
    let unknown = Err(Error::outcome_unknown("a sync failed"));
    for first in [Ok(Reply::Delete(())), unknown] {
        let told = told_when_a_part_is_refused(first);
        assert!(told.starts_with("outcome unknown"), "{told}");
    }
}
