//! Sends requests on one connection, chosen by hand and at random. No request is submitted too
//! early, and each is submitted at some time.

use std::time::Instant;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::command::{Command, Kind};

fn hasher() -> KeyHasher {
    KeyHasher::new(1)
}

fn command(name: &str, arguments: Value) -> Command {
    Command::from_json(Kind::from_name(name).unwrap(), arguments).unwrap()
}

/// The order under test, and the order keys of the submitted requests by their request ids.
#[derive(Default)]
struct Connection {
    order: Order,
    order_keys: HashMap<u64, Option<OrderKey>>,
}

impl Connection {
    /// Sends a request. Returns whether it is submitted at once.
    fn goes(&mut self, id: u64, command: &Command) -> bool {
        let asked = RequestInfo { id, started: Instant::now(), bytes: 100 };
        let going = self.order.take(asked, command.clone().into(), hasher());
        going.is_some_and(|going| self.order_keys.insert(id, going.order_key).is_none())
    }

    /// Answers a request. Returns the ids of the held requests that are submitted because of it.
    fn done(&mut self, id: u64) -> Vec<u64> {
        if let Some(order_key) = self.order_keys.remove(&id).unwrap() {
            self.order.done(order_key);
        }
        let mut gone = Vec::new();
        while let Some(going) = self.order.release() {
            self.order_keys.insert(going.asked.id, going.order_key);
            gone.push(going.asked.id);
        }
        gone
    }

    #[track_caller]
    fn assert_empty(&self) {
        let Order { tracked, touches, chats, held, held_bytes, .. } = self.order;
        assert_eq!((tracked, touches, chats, held, held_bytes), (0, 0, 0, 0, 0));
        assert!(self.order.lanes.is_empty() && self.order.entries.is_empty());
        assert!(self.order.all.is_idle() && !self.order.has_ready());
    }
}

fn list(user: &str) -> Command {
    command("list", json!({"user_id": user}))
}

fn clear(user: &str) -> Command {
    command("clear", json!({"user_id": user, "chat_id": "c"}))
}

fn mark_read(user: &str) -> Command {
    command("mark_read", json!({"user_id": user, "chat_id": "c", "seq": 1}))
}

fn advance(chat: &str) -> Command {
    command("advance", json!({"chat_id": chat, "allocate": 1}))
}

#[test]
fn what_follows_a_detour_waits_and_keeps_its_order() {
    let mut sent = Connection::default();
    assert!(sent.goes(1, &clear("a")));
    assert!(sent.goes(5, &advance("c")), "the chat was reached before");
    assert!(!sent.goes(2, &list("a")));
    assert!(!sent.goes(3, &mark_read("a")));
    assert!(!sent.goes(4, &list("a")));
    assert!(sent.goes(6, &list("b")), "another user does not wait");
    assert_eq!((sent.order.held(), sent.order.held_bytes()), (3, 300));
    assert_eq!(sent.done(1), [2, 3]);
    assert_eq!((sent.order.held(), sent.order.held_bytes()), (1, 100));
    assert!(!sent.goes(7, &list("a")), "the read is under way");
    assert_eq!(sent.done(3), [4, 7]);
    sent.assert_empty();
}

#[test]
fn reads_do_not_wait_for_reads_nor_marks_for_marks() {
    let mut sent = Connection::default();
    let conversations = command("conversations", json!({"user_id": "a"}));
    let unread = command("unread", json!({"user_ids": ["a", "b", "a"]}));
    assert!(sent.goes(1, &conversations) && sent.goes(2, &unread) && sent.goes(3, &list("a")));
    assert!(!sent.goes(4, &mark_read("b")) && !sent.goes(5, &mark_read("b")));
    assert_eq!(sent.done(1), [0; 0]);
    assert_eq!(sent.done(2), [4, 5]);
    assert!(sent.goes(6, &mark_read("b")));
    let keyed = json!({"user_id": "b", "chat_id": "c", "seq": 1, "idempotency_key": "k"});
    assert!(!sent.goes(7, &command("mark_read", keyed)), "the first with a key is answered");
    assert!(sent.done(4).is_empty() && sent.done(5).is_empty());
    assert_eq!(sent.done(6), [7]);
    sent.done(7);
    sent.assert_empty();
}

#[test]
fn what_names_several_keys_waits_for_each_and_each_for_it() {
    let mut sent = Connection::default();
    let create = json!({"id": "g", "type": 2, "creator_id": "x", "user_ids": ["a", "b", "a"]});
    assert!(sent.goes(1, &clear("a")) && sent.goes(2, &clear("b")));
    assert!(!sent.goes(3, &command("create", create)));
    assert!(!sent.goes(4, &advance("g")), "the chat is not there before");
    assert!(!sent.goes(5, &list("b")));
    assert!(sent.goes(6, &list("x")), "who makes a chat is named as its author only");
    assert_eq!(sent.done(1), [0; 0]);
    assert_eq!(sent.done(2), [3, 4]);
    assert_eq!(sent.done(3), [5]);
    sent.assert_empty();
}

#[test]
fn an_import_waits_for_all_but_imports_and_all_for_it() {
    let mut sent = Connection::default();
    let import = command("import", json!({"chats": [], "members": []}));
    let ping = command("ping", json!({}));
    assert!(sent.goes(1, &clear("a")));
    assert!(!sent.goes(2, &import) && !sent.goes(3, &import));
    assert!(!sent.goes(4, &list("b")));
    assert!(sent.goes(5, &ping), "it names nothing");
    assert_eq!(sent.done(1), [2, 3]);
    assert_eq!(sent.done(2), [0; 0]);
    assert_eq!(sent.done(3), [4]);
    sent.assert_empty();
}

#[test]
fn the_table_has_a_bound() {
    let mut sent = Connection::default();
    let create = |first: usize, count: usize| {
        let users: Vec<_> = (first..first + count).map(|user| format!("u{user}")).collect();
        command("create", json!({"type": 2, "creator_id": "x", "user_ids": users}))
    };
    assert!(sent.goes(1, &create(0, footprint::KEYS_A_REQUEST_MAX + 1)));
    assert!(!sent.goes(2, &list("nobody")), "all wait for one that names too many");
    assert_eq!(sent.done(1), [2]);
    let mut id = 2;
    let mut last = 0;
    while sent.order.touches + 1000 <= KEYS_MAX {
        id += 1;
        last += 1000;
        assert!(sent.goes(id, &create(last, 1000)));
    }
    assert!(!sent.goes(id + 1, &create(last + 1000, 1000)), "there is no room for its keys");
    assert!(sent.order.touches <= KEYS_MAX);
    for id in 3..=id {
        sent.done(id);
    }
    assert!(sent.done(id + 1).is_empty());
    sent.assert_empty();
}

/// Draws a request on few keys, so that many pairs have a key in common.
fn some_command() -> impl Strategy<Value = Command> {
    let (user, chat) = (prop::sample::select(vec!["a", "b"]), prop::sample::select(vec!["g", "h"]));
    (0..14, user, chat, any::<bool>()).prop_map(|(which, user, chat, has_key)| {
        let row = json!({"user_id": user, "chat_id": chat});
        let key = has_key.then_some("k");
        let read = json!({"user_id": user, "chat_id": chat, "seq": 1, "idempotency_key": key});
        let delete = json!({"user_id": user, "ids": [chat], "idempotency_key": key});
        let create = json!({"type": 2, "creator_id": "x", "user_ids": ["a", "b"], "id": chat});
        match which {
            0 => command("list", json!({"user_id": user})),
            1 => command("detail", json!({"user_id": user, "ids": ["g", "h", chat]})),
            2 => command("set_flags", row),
            3 => command("clear", row),
            4 => command("explain", row),
            5 | 6 => command("mark_read", read),
            7 => command("delete", delete),
            8 => command("create", create),
            9 => command("unread", json!({"user_ids": ["a", "b"]})),
            10 => command("import", json!({})),
            11 => command("dissolve", json!({"chat_id": chat})),
            12 => command("conversations", json!({"user_id": user})),
            _ => advance(chat),
        }
    })
}

/// Whether the second request must be held until the first is answered.
fn must_wait(first: &Command, second: &Command) -> bool {
    let footprint =
        |command: &Command| Footprint::of(&command.clone().into(), hasher(), Scope::All);
    let (first, second) = (footprint(first), footprint(second));
    let clash = |ours: Use, theirs: Use| ours != theirs || !ours.is_shared();
    let all = first.is_detour() && clash(first.of_all(), second.of_all());
    let open = first.touches.iter().filter(|touch| touch.is_detour());
    all || open.clone().any(|ours| {
        let same = second.touches.iter().filter(|theirs| theirs.key() == ours.key());
        same.clone().any(|theirs| clash(ours.used(), theirs.used()))
    })
}

proptest! {
    #[test]
    fn none_goes_before_what_it_must_wait_for_and_each_goes(
        commands in prop::collection::vec((some_command(), 0..4_usize), 1..40),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 200),
    ) {
        let mut sent = Connection::default();
        let mut open: Vec<u64> = Vec::new();
        let mut gone: Vec<u64> = Vec::new();
        let mut picks = picks.iter();
        let check = |open: &[u64], goes: u64| {
            let command = |id: u64| &commands[usize::try_from(id).unwrap()].0;
            open.iter().filter(|id| **id < goes).all(|id| !must_wait(command(*id), command(goes)))
        };
        for (id, (command, answers)) in (0_u64..).zip(&commands) {
            if sent.goes(id, command) {
                prop_assert!(check(&open, id), "{id} goes while {open:?} are open");
                open.push(id);
                gone.push(id);
            }
            for _ in 0..*answers {
                let Some(pick) = picks.next().filter(|_| !open.is_empty()) else { break };
                let done = open.swap_remove(pick.index(open.len()));
                for next in sent.done(done) {
                    prop_assert!(check(&open, next), "{next} goes while {open:?} are open");
                    open.push(next);
                    gone.push(next);
                }
            }
        }
        while let Some(done) = open.pop() {
            for next in sent.done(done) {
                prop_assert!(check(&open, next), "{next} goes while {open:?} are open");
                open.push(next);
                gone.push(next);
            }
        }
        prop_assert_eq!(gone.len(), commands.len(), "some were forgotten");
        sent.assert_empty();
    }
}
