//! Requests of one connection keep their order, although each may take another way over two to
//! eight cores that are real threads.

use chatshard::command::{Kind, Reply};
use serde_json::{Value, json};

use crate::common::TestServer;
use crate::common::raw::Raw;

/// Users, each with a chat of its own. So requests go between many pairs of cores.
const USERS: usize = 60;
const ROUNDS: u64 = 2;

/// A connection to a new server, and the commands of its requests.
struct Client {
    raw: Raw,
    next: u64,
}

impl Client {
    fn start(shards: &str) -> (TestServer, Self) {
        let server = TestServer::start(&[("shards", shards), ("fsync", "never")]);
        let raw = Raw::greeted(server.tcp());
        let mut client = Self { raw, next: 10 };
        let chats = (0..USERS).map(|number| {
            let (user, chat) = (user(number), chat(number));
            (Kind::Create, json!({"id": chat, "type": 2, "creator_id": user, "user_ids": [user]}))
        });
        client.all_ok(chats.collect());
        client.all_ok((0..USERS).map(|number| (Kind::Advance, advance(number, 1))).collect());
        (server, client)
    }

    /// Sends all requests at once; all of them must succeed.
    fn all_ok(&mut self, requests: Vec<(Kind, Value)>) -> Vec<Reply> {
        let first = self.next;
        let numbered: Vec<_> =
            (first..).zip(requests).map(|(id, (kind, arguments))| (id, kind, arguments)).collect();
        self.next += numbered.len() as u64;
        self.raw.send(&numbered);
        let mut replies = self.raw.receive_all(numbered.len());
        let reply = |(id, kind, arguments)| match replies.remove(&id).unwrap() {
            Ok(reply) => reply,
            Err(error) => panic!("{kind:?} {arguments}: {error}"),
        };
        numbered.into_iter().map(reply).collect()
    }

    /// The exported line of each user, in the order of users.
    fn lines(&mut self) -> Vec<Value> {
        let export = vec![(Kind::Export, json!({}))];
        let Some(Reply::Export(page)) = self.all_ok(export).pop() else { panic!("no page") };
        assert!(page.next_cursor.is_none());
        let lines: Vec<Value> =
            page.members.iter().map(|line| serde_json::to_value(line).unwrap()).collect();
        let line = |number| lines.iter().find(|line| line["user_id"] == user(number)).unwrap();
        (0..USERS).map(|number| line(number).clone()).collect()
    }
}

fn user(number: usize) -> String {
    format!("user-{number}")
}

fn chat(number: usize) -> String {
    format!("chat-{number}")
}

fn advance(number: usize, to: u64) -> Value {
    json!({"chat_id": chat(number), "to": to})
}

/// Requests that remove the mark of a user: up to `seq`, with a key of this round where a key is
/// possible.
fn takes_the_mark(number: usize, seq: u64) -> [(Kind, Value); 6] {
    let (user, chat, key) = (user(number), chat(number), format!("{number}-{seq}"));
    let item = json!([{"chat_id": chat, "seq": seq}]);
    [
        (Kind::MarkRead, json!({"user_id": user, "chat_id": chat, "seq": seq})),
        (
            Kind::MarkRead,
            json!({"user_id": user, "chat_id": chat, "seq": seq, "idempotency_key": key}),
        ),
        (Kind::MarkReadMany, json!({"user_id": user, "items": item})),
        (Kind::MarkReadMany, json!({"user_id": user, "items": item, "idempotency_key": key})),
        (Kind::Clear, json!({"user_id": user, "chat_id": chat})),
        (Kind::Delete, json!({"user_id": user, "ids": [chat]})),
    ]
}

#[test]
fn what_goes_over_the_chat_overtakes_nothing_that_went_to_the_user() {
    for shards in ["3", "5", "8"] {
        let (server, mut client) = Client::start(shards);
        let mut last = 1;
        for _ in 0..ROUNDS {
            for way in 0..takes_the_mark(0, 0).len() {
                last += 1;
                let messages = (0..USERS).map(|number| (Kind::Advance, advance(number, last)));
                client.all_ok(messages.collect());
                let pairs = (0..USERS).flat_map(|number| {
                    let mark = json!({
                        "user_id": user(number), "chat_id": chat(number), "marked_unread": 1,
                    });
                    [(Kind::SetFlags, mark), takes_the_mark(number, last)[way].clone()]
                });
                client.all_ok(pairs.collect());
                for line in client.lines() {
                    let what = &takes_the_mark(0, last)[way];
                    assert_eq!(line["marked_unread"], 0, "{shards} shards, {what:?}: {line}");
                }
            }
        }
        server.stop();
    }
}

#[test]
fn a_message_does_not_overtake_the_delete_before_it() {
    for shards in ["2", "8"] {
        let (server, mut client) = Client::start(shards);
        for last in 1..=ROUNDS {
            let pairs = (0..USERS).flat_map(|number| {
                let key = format!("{number}-{last}");
                let (user, chat) = (user(number), chat(number));
                let delete = json!({"user_id": user, "ids": [chat], "idempotency_key": key});
                [(Kind::Delete, delete), (Kind::Advance, advance(number, last + 1))]
            });
            client.all_ok(pairs.collect());
            for line in client.lines() {
                assert_eq!(line["deleted_to_seq"], last, "{shards} shards: {line}");
            }
        }
        server.stop();
    }
}

#[test]
fn what_follows_new_members_and_chats_finds_them() {
    for shards in ["2", "8"] {
        let (server, mut client) = Client::start(shards);
        let chats = 0..USERS;
        let made = chats.clone().flat_map(|number| {
            let (user, made, imported) = (user(number), format!("m{number}"), format!("i{number}"));
            let create = json!({"id": made, "type": 2, "creator_id": "x", "user_ids": ["x"]});
            let import = json!({"chats": [{"id": imported, "creator_id": "x", "type": 2}]});
            let add = json!({"chat_id": made, "user_ids": [user]});
            let pin = json!({"user_id": user, "chat_id": made, "is_top": 1});
            [
                (Kind::Create, create),
                (Kind::AddMembers, add),
                (Kind::SetFlags, pin),
                (Kind::List, json!({"user_id": user})),
                (Kind::Import, import),
                (Kind::Advance, json!({"chat_id": imported, "allocate": 1})),
            ]
        });
        for (number, replies) in client.all_ok(made.collect()).chunks(6).enumerate() {
            let Reply::List(list) = &replies[3] else { panic!("{:?}", replies[3]) };
            assert_eq!(list.items[0].chat_id.as_str(), format!("m{number}"), "{shards} shards");
        }
        server.stop();
    }
}

#[test]
fn a_read_does_not_see_what_was_sent_behind_it() {
    // More users than one step reads.
    const MANY: usize = 600;
    for shards in ["2", "8"] {
        let (server, mut client) = Client::start(shards);
        let users: Vec<String> = (0..MANY).map(|number| format!("reader-{number}")).collect();
        let create = json!({"id": "all", "type": 2, "creator_id": "x", "user_ids": users});
        client.all_ok(vec![(Kind::Create, create)]);
        for round in 0..ROUNDS {
            let flag = round % 2;
            let mut requests = vec![(Kind::Unread, json!({"user_ids": users}))];
            requests.extend(users.iter().rev().take(100).map(|user| {
                let mark = json!({"user_id": user, "chat_id": "all", "marked_unread": 1 - flag});
                (Kind::SetFlags, mark)
            }));
            let replies = client.all_ok(requests);
            let Reply::Unread(unread) = &replies[0] else { panic!("{:?}", replies[0]) };
            for item in unread.items.iter().rev().take(100) {
                assert_eq!(item.chats, flag, "{shards} shards: {item:?}");
            }
        }
        server.stop();
    }
}
