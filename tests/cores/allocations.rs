//! Requests on the fast path allocate nothing, from the bytes of the request to the bytes of the
//! reply. The connection around them (buffers, the socket) is not measured here.

use allocation_counter::measure;
use bytes::BytesMut;
use chatshard::command::Command;
use chatshard::node::worker::fast_path::prefetch_keys;
use chatshard::protocol::fast_path::{self, PlainCommand};
use chatshard::protocol::{encode_request, frame};
use serde_json::json;

use crate::lone_shard::{HASHER, LoneShard, operation};

/// Requests of each kind: one to warm up, and a thousand that are measured.
const TIMES: usize = 1001;
const CHATS: usize = 50;

fn chat_id(number: usize) -> String {
    format!("group-with-a-rather-long-id-{number:04}")
}

const USER: &str = "0x52908400098527886e0f7030069857d2e4169ee7";

fn command(name: &str, arguments: serde_json::Value) -> Command {
    let kind = chatshard::command::Kind::from_name(name).unwrap();
    Command::from_json(kind, arguments).unwrap()
}

/// A shard with a user in fifty chats. Ids are longer than a small string holds in place.
fn filled() -> LoneShard {
    let chats: Vec<_> = (0..CHATS)
        .map(|chat| json!({"id": chat_id(chat), "creator_id": USER, "type": 2, "last_sequence": 300, "created_at": 5}))
        .collect();
    let members: Vec<_> =
        (0..CHATS).map(|chat| json!({"user_id": USER, "chat_id": chat_id(chat)})).collect();
    let mut lone = LoneShard::new(1_767_225_600_000);
    lone.run(operation(command("import", json!({"chats": chats, "members": members}))));
    lone
}

impl LoneShard {
    /// Answers a request as a connection does.
    fn answer(&mut self, payload: &[u8], reply: &mut BytesMut) {
        reply.clear();
        self.out.records.clear();
        let request = fast_path::read(payload, HASHER).expect("it is plain");
        self.shard.prefetch(&[prefetch_keys(&request)]);
        match request.command {
            PlainCommand::List { user_id } => {
                let rows = self.shard.read_list(user_id, fast_path::ROWS_MAX).unwrap();
                assert_eq!(rows.len(), CHATS);
                fast_path::write_list(request.id, rows, reply);
            }
            PlainCommand::Detail { ids, user_id } => {
                let tell = |items: &[_]| {
                    assert!(!items.is_empty());
                    fast_path::write_detail(request.id, items, reply);
                };
                self.shard.read_details(ids, user_id, tell).unwrap();
            }
            PlainCommand::Advance(advance) => {
                let told = self.shard.fast_advance(advance, &mut self.out).unwrap().unwrap();
                assert_eq!(self.out.records.count(), 1, "it is logged");
                fast_path::write_advance(request.id, &told, reply);
            }
            PlainCommand::MarkRead(read) => {
                let told = self.shard.fast_mark_read(read, &mut self.out).unwrap().unwrap();
                assert_eq!(self.out.records.count(), 1, "it is logged");
                fast_path::write_mark_read(request.id, &told, reply);
            }
        }
    }
}

fn payload(command: &Command) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode_request(7, command, &mut out).unwrap();
    frame::next(&mut out, usize::MAX).unwrap().unwrap().to_vec()
}

#[test]
fn hot_requests_allocate_nothing() {
    let mut shard = filled();
    let ids = |count: usize| (0..count).map(chat_id).collect::<Vec<_>>();
    let advance = json!({"chat_id": chat_id(3), "allocate": 1, "time": 1_767_225_600_001_u64});
    let same = |arguments: serde_json::Value| vec![arguments; TIMES];
    let read = |seq: usize| json!({"user_id": USER, "chat_id": chat_id(3), "seq": seq});
    let requests = [
        ("list", 20, same(json!({"user_id": USER}))),
        ("detail", 20, same(json!({"ids": ids(1), "user_id": USER}))),
        ("detail", 20, same(json!({"ids": ids(20), "user_id": USER}))),
        ("detail", 20, same(json!({"ids": ids(20)}))),
        ("advance", 20, same(advance)),
        // Two integers take fewer.
        ("mark_read", 10, (1..=TIMES).map(read).collect()),
    ];
    let mut reply = BytesMut::with_capacity(64 << 10);
    for (name, least, requests) in requests {
        let payloads: Vec<_> =
            requests.into_iter().map(|arguments| payload(&command(name, arguments))).collect();
        // One request before, so that shared buffers have their size.
        shard.answer(&payloads[0], &mut reply);
        let rest = &payloads[1..];
        let counted = measure(|| rest.iter().for_each(|payload| shard.answer(payload, &mut reply)));
        assert_eq!(counted.count_total, 0, "{name}: {counted:?}");
        assert!(reply.len() > least, "{name} was answered");
    }
    // That it would be seen if something were allocated.
    assert!(measure(|| drop(std::hint::black_box(vec![1_u8]))).count_total > 0);
}
