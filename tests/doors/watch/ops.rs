//! The event of each change, with its fields (protocol.md, `watch`).

use std::collections::BTreeSet;

use chatshard::client::Client;
use chatshard::command::watch::WatchOp;
use serde_json::{Value, json};

use super::tools::{Stream, client, ok, record};
use crate::common::TestServer;

const TIME: u64 = 1_700_000_000_000;

struct Told {
    client: Client,
    stream: Stream,
    /// Record of the last change.
    record: u64,
    ops: BTreeSet<String>,
}

impl Told {
    /// Runs a command, and checks that the stream has exactly these changes of it.
    async fn of(&mut self, name: &str, arguments: Value, expected: &[Value]) {
        ok(&self.client, name, arguments.clone()).await;
        for expected in expected {
            let event = self.stream.next().await;
            assert!(record(&event.offset) > self.record, "{name} {arguments}: {event:?}");
            self.record = record(&event.offset);
            let mut told = serde_json::to_value(&event).unwrap();
            let fields = told.as_object_mut().unwrap();
            fields.remove("offset");
            fields.retain(|_, value| !value.is_null());
            assert_eq!(told, *expected, "{name} {arguments}");
            self.ops.insert(told["op"].as_str().unwrap().to_owned());
        }
    }
}

#[tokio::test]
async fn each_change_is_told_with_its_fields() {
    let server = TestServer::start(&[("shards", "2"), ("fsync", "always")]);
    let stream = Stream::open(server.tcp(), None).await;
    let record = record(&stream.began);
    let client = client(server.tcp()).await;
    let mut told = Told { client, stream, record, ops: BTreeSet::from(["heartbeat".into()]) };

    let group = json!({"id": "g", "type": 2, "creator_id": "boss", "user_ids": ["u"]});
    told.of(
        "create",
        group.clone(),
        &[
            json!({"op": "create", "chat_id": "g", "user_id": "boss"}),
            json!({"op": "join", "chat_id": "g", "user_id": "u", "seq": 1}),
        ],
    )
    .await;
    told.of("create", group, &[]).await;

    let message = json!({"chat_id": "g", "allocate": 3, "sender_id": "u", "time": TIME});
    let advance = json!({"op": "advance", "chat_id": "g", "last_sequence": 3, "last_time": TIME,
        "user_id": "u"});
    told.of("advance", message, &[advance]).await;
    let message = json!({"chat_id": "g", "to": 7, "time": TIME + 1});
    let advance =
        json!({"op": "advance", "chat_id": "g", "last_sequence": 7, "last_time": TIME + 1});
    told.of("advance", message.clone(), &[advance]).await;
    told.of("advance", message, &[]).await;
    // A late message of a member raises only the sender's own position.
    for seq in [5, 7] {
        let late = json!({"chat_id": "g", "to": seq, "sender_id": "u", "time": TIME + 9});
        let sent = json!({"op": "sent", "user_id": "u", "chat_id": "g", "seq": seq});
        told.of("advance", late.clone(), &[sent]).await;
        told.of("advance", late, &[]).await;
    }

    let row = json!({"user_id": "u", "chat_id": "g"});
    let read = |seq: u64| json!({"user_id": "u", "chat_id": "g", "seq": seq});
    told.of(
        "mark_read",
        read(5),
        &[json!({"op": "read", "user_id": "u", "chat_id": "g", "seq": 5})],
    )
    .await;
    told.of("mark_read", read(4), &[]).await;
    let mark = json!({"user_id": "u", "chat_id": "g", "marked_unread": 1});
    let set = json!({"op": "flags", "user_id": "u", "chat_id": "g", "marked_unread": 1});
    told.of("set_flags", mark, &[set]).await;
    told.of("mark_read", read(4), &[]).await;
    let late = json!({"user_id": "u", "items": [{"chat_id": "g", "seq": 3}]});
    told.of("mark_read_many", late, &[]).await;
    let many = json!({"user_id": "u", "items": [{"chat_id": "none", "seq": 1},
        {"chat_id": "g", "seq": 6}]});
    let read = json!({"op": "read", "user_id": "u", "chat_id": "g", "seq": 6});
    told.of("mark_read_many", many, &[read]).await;

    let flags = json!({"user_id": "u", "chat_id": "g", "is_top": 1, "marked_unread": 0});
    let set =
        json!({"op": "flags", "user_id": "u", "chat_id": "g", "is_top": 1, "marked_unread": 0});
    told.of("set_flags", flags, &[set]).await;
    let flags = json!({"user_id": "u", "chat_id": "g", "is_mute": 1, "is_hide": 0});
    let set = json!({"op": "flags", "user_id": "u", "chat_id": "g", "is_mute": 1, "is_hide": 0});
    told.of("set_flags", flags, &[set]).await;
    told.of("touch", json!({"user_id": "u"}), &[]).await;

    let clear = json!({"op": "clear", "user_id": "u", "chat_id": "g", "seq": 7});
    told.of("clear", row.clone(), &[clear]).await;
    let mark = json!({"user_id": "u", "chat_id": "g", "marked_unread": 1});
    let set = json!({"op": "flags", "user_id": "u", "chat_id": "g", "marked_unread": 1});
    told.of("set_flags", mark, &[set]).await;
    told.of("clear", row, &[]).await;
    let delete = json!({"op": "delete", "user_id": "u", "chat_id": "g", "seq": 7});
    told.of("delete", json!({"user_id": "u", "ids": ["g", "none"]}), &[delete]).await;
    let pin = json!({"user_id": "u", "chat_id": "g", "is_top": 1, "marked_unread": 1});
    let set =
        json!({"op": "flags", "user_id": "u", "chat_id": "g", "is_top": 1, "marked_unread": 1});
    told.of("set_flags", pin, &[set]).await;
    told.of("delete", json!({"user_id": "u", "ids": ["g"]}), &[]).await;
    let advance =
        json!({"op": "advance", "chat_id": "g", "last_sequence": 8, "last_time": TIME + 2});
    told.of(
        "advance",
        json!({"chat_id": "g", "to": 8, "time": TIME + 2}),
        &[advance, json!({"op": "return", "user_id": "u", "chat_id": "g"})],
    )
    .await;
    // The row stays, because there is a message behind those that the user saw.
    let message = json!({"chat_id": "g", "to": 10, "time": TIME + 3});
    let advance =
        json!({"op": "advance", "chat_id": "g", "last_sequence": 10, "last_time": TIME + 3});
    told.of("advance", message, &[advance]).await;
    let delete = json!({"op": "delete", "user_id": "u", "chat_id": "g", "seq": 9});
    told.of("delete", json!({"user_id": "u", "ids": ["g"], "up_to": 9}), &[delete]).await;
    let list = ok(&told.client, "list", json!({"user_id": "u"})).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);

    let members = json!({"chat_id": "g", "user_ids": ["u", "v"]});
    let join = json!({"op": "join", "user_id": "v", "chat_id": "g", "seq": 11});
    told.of("add_members", members, &[join]).await;
    let members = json!({"chat_id": "g", "user_ids": ["v", "w"]});
    let leave = json!({"op": "leave", "user_id": "v", "chat_id": "g"});
    told.of("remove_members", members, &[leave]).await;
    for status in [2, 1] {
        let set = json!({"chat_id": "g", "status": status});
        let told_status = json!({"op": "status", "chat_id": "g", "status": status});
        told.of("set_status", set, &[told_status]).await;
    }
    told.of(
        "dissolve",
        json!({"chat_id": "g"}),
        &[
            json!({"op": "dissolve", "chat_id": "g"}),
            json!({"op": "leave", "user_id": "u", "chat_id": "g"}),
        ],
    )
    .await;

    import_and_erase(&mut told).await;
    let ops: BTreeSet<String> = WatchOp::ALL
        .iter()
        .filter(|op| **op != WatchOp::Other)
        .map(|op| serde_json::to_value(op).unwrap().as_str().unwrap().to_owned())
        .collect();
    assert_eq!(told.ops, ops);
    server.stop();
}

async fn import_and_erase(told: &mut Told) {
    let chat = json!({"id": "old", "creator_id": "boss", "type": 2, "status": 2,
        "last_sequence": 9, "last_time": TIME, "created_at": TIME});
    let member = json!({"user_id": "u", "chat_id": "old", "max_read_seq": 4, "is_top": 1});
    told.of(
        "import",
        json!({"chats": [chat], "members": [member]}),
        &[
            json!({"op": "create", "chat_id": "old", "user_id": "boss", "status": 2,
                "last_sequence": 9, "last_time": TIME}),
            json!({"op": "import", "chat_id": "old", "user_id": "u", "seq": 4}),
        ],
    )
    .await;
    let chat = json!({"id": "ended", "creator_id": "boss", "type": 2, "dissolved": 1});
    let dissolve = json!({"op": "dissolve", "chat_id": "ended"});
    told.of("import", json!({"chats": [chat], "members": []}), &[dissolve]).await;
    let member = json!({"user_id": "x", "chat_id": "old", "removed": 1});
    let leave = json!({"op": "leave", "chat_id": "old", "user_id": "x"});
    told.of("import", json!({"chats": [], "members": [member]}), &[leave]).await;

    // The log also holds the first answer to a key, which is no change.
    let message = json!({"chat_id": "once", "allocate": 1, "time": TIME, "idempotency_key": "k"});
    let group = json!({"id": "once", "type": 2, "creator_id": "u", "user_ids": ["w"]});
    told.of(
        "create",
        group,
        &[
            json!({"op": "create", "chat_id": "once", "user_id": "u"}),
            json!({"op": "join", "chat_id": "once", "user_id": "w", "seq": 1}),
        ],
    )
    .await;
    let advance =
        json!({"op": "advance", "chat_id": "once", "last_sequence": 1, "last_time": TIME});
    told.of("advance", message.clone(), &[advance]).await;
    told.of("advance", message, &[]).await;

    told.of(
        "erase_user",
        json!({"user_id": "u"}),
        &[
            json!({"op": "leave", "chat_id": "old", "user_id": "u"}),
            json!({"op": "erase", "user_id": "u"}),
        ],
    )
    .await;
    told.of(
        "set_status",
        json!({"chat_id": "old", "status": 1}),
        &[json!({"op": "status", "chat_id": "old", "status": 1})],
    )
    .await;
}
