//! Every command is answered, however many messages between and inside shards it takes: a core that
//! has done a turn's share goes on by itself, and holds no answer back that nothing will wake it for.
#![allow(clippy::unwrap_used)]

mod common;

use serde_json::json;

use common::{Door, TcpDoor};

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
        // On one shard each chat takes two messages: the delivery and its confirmation. A message of
        // each chat in between has the rows back for the next round.
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
