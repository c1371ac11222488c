//! Any two requests that are sent together on one connection behave as if the second one had waited
//! for the first reply. Both replies are compared, and the state afterwards. Two nodes play the
//! same pair: one gets the requests one after the other, the other one gets both at once while its
//! links are slow.
//!
//! All commands that name a key are here: [`requests`] has no wildcard arm, so a new command cannot
//! be forgotten.

use std::collections::{BTreeMap, BTreeSet};

use chatshard::command::{By, Class, Command, Kind, NamedKeys, Use};
use chatshard::node::log::LogMode;
use chatshard::types::{ChatId, UserId};
use serde_json::{Value, json};

use super::connection::Connection;
use super::world::{Fault, World, in_json};

type Request = (Kind, Value);
/// A reply in JSON, or the status of an error.
type ReplyBody = Result<Value, u16>;

/// A world in which every pair begins with the same state: `u` and `v` are members of `c` and `d`,
/// and `w` of nothing.
struct Stage {
    world: World,
    connection: Connection,
}

/// The ids of a pair. Each pair has its own, so that the pairs meet on different shards.
struct Names(String);

impl Names {
    fn of(&self, name: &str) -> String {
        format!("{name}{}", self.0)
    }
}

/// The requests of a command with these names.
fn requests(kind: Kind, names: &Names) -> Vec<Value> {
    let [u, v, w] = ["u", "v", "w"].map(|name| names.of(name));
    let [c, d, e] = ["c", "d", "e"].map(|name| names.of(name));
    let key = names.of(kind.name());
    match kind {
        // These name no key.
        Kind::Hello | Kind::Ping | Kind::Stats | Kind::Snapshot => Vec::new(),
        Kind::Cluster | Kind::Handover | Kind::RaiseFormat | Kind::Report => Vec::new(),
        Kind::Export | Kind::Verify | Kind::Watch | Kind::Cancel => Vec::new(),
        Kind::Import => {
            let chat =
                json!({"id": c, "creator_id": v, "type": 2, "last_sequence": 9, "last_time": 9});
            let member = json!({"user_id": w, "chat_id": c, "join_order": 9, "version": 9});
            let other = json!({"id": e, "creator_id": v, "type": 2});
            vec![json!({"chats": [chat, other], "members": [member], "merge": true})]
        }
        Kind::List | Kind::Sync | Kind::Conversations => vec![json!({"user_id": u})],
        Kind::Unread => vec![json!({"user_ids": [v, u, w]})],
        Kind::Detail => {
            vec![json!({"ids": [c, d]}), json!({"ids": [d, c], "user_id": u})]
        }
        Kind::Explain => vec![json!({"user_id": u, "chat_id": c})],
        Kind::Members => vec![json!({"chat_id": c})],
        Kind::Delete => vec![
            json!({"user_id": u, "ids": [c]}),
            json!({"user_id": u, "ids": [c, d], "idempotency_key": key}),
            json!({"user_id": u, "ids": [d, c], "up_to": 4}),
        ],
        Kind::SetFlags => vec![
            json!({"user_id": u, "chat_id": c, "marked_unread": 1, "is_top": 0}),
            json!({"user_id": u, "chat_id": c, "is_mute": 1, "idempotency_key": key}),
            json!({"user_id": w, "chat_id": c, "is_mute": 1}),
        ],
        Kind::Touch => vec![
            json!({"user_id": u, "time": 900}),
            json!({"user_id": u, "chat_ids": [c], "time": 901, "idempotency_key": key}),
        ],
        Kind::Clear => vec![
            json!({"user_id": u, "chat_id": c}),
            json!({"user_id": u, "chat_id": c, "idempotency_key": key}),
        ],
        Kind::MarkRead => vec![
            json!({"user_id": u, "chat_id": c, "seq": 5}),
            json!({"user_id": u, "chat_id": c, "seq": 3, "idempotency_key": key}),
        ],
        Kind::MarkReadMany => {
            let items = json!([{"chat_id": c, "seq": 4}, {"chat_id": d, "seq": 5}]);
            let keyed = json!({"user_id": u, "items": items, "idempotency_key": key});
            vec![json!({"user_id": u, "items": items}), keyed]
        }
        Kind::EraseUser => vec![json!({"user_id": u, "idempotency_key": key})],
        Kind::Advance => vec![
            json!({"chat_id": c, "allocate": 1, "time": 700, "sender_id": u}),
            json!({"chat_id": c, "to": 8, "time": 701, "idempotency_key": key}),
        ],
        Kind::Create => vec![
            json!({"id": e, "type": 2, "creator_id": v, "user_ids": [u, w], "created_at": 5}),
            json!({"type": 1, "creator_id": u, "user_ids": [u, w], "created_at": 5}),
            json!({
                "type": 2, "creator_id": v, "user_ids": [w, u], "created_at": 5,
                "idempotency_key": key,
            }),
        ],
        Kind::AddMembers => vec![
            json!({"chat_id": c, "user_ids": [w]}),
            json!({"chat_id": c, "user_ids": [w, u], "idempotency_key": key}),
        ],
        Kind::RemoveMembers => vec![json!({"chat_id": c, "user_ids": [u]})],
        Kind::SetStatus => vec![json!({"chat_id": c, "status": 2})],
        Kind::Dissolve => vec![json!({"chat_id": c})],
    }
}

/// The keys that a request names, as `protocol.md` defines them.
fn keys(kind: Kind, arguments: &Value) -> BTreeSet<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let one = ["user_id", "chat_id"].iter().filter_map(|name| text(&arguments[name]));
    let id = (kind == Kind::Create).then(|| text(&arguments["id"])).flatten();
    let many = ["user_ids", "chat_ids", "ids"].iter().filter_map(|name| arguments[name].as_array());
    let items = arguments["items"].as_array().into_iter().flatten();
    one.chain(id)
        .chain(many.flatten().filter_map(text))
        .chain(items.filter_map(|item| text(&item["chat_id"])))
        .collect()
}

/// The keys that a command names itself, and whether it changes any of them.
#[derive(Default)]
struct Touched {
    ids: BTreeSet<String>,
    writes: bool,
    is_all: bool,
}

impl Touched {
    fn note(&mut self, id: &str, used: Use) {
        self.ids.insert(id.to_owned());
        self.writes |= used != Use::Read;
    }
}

impl NamedKeys for Touched {
    fn user(&mut self, id: &UserId, used: Use, _: By) {
        self.note(id.as_str(), used);
    }

    fn chat(&mut self, id: &ChatId, used: Use, _: By) {
        self.note(id.as_str(), used);
    }

    fn all(&mut self, used: Use) {
        self.is_all = true;
        self.writes |= used != Use::Read;
    }
}

/// Checks that every command names the keys that `protocol.md` gives it, and says of them whether
/// it writes.
pub fn check_keys() {
    let names = Names(String::new());
    for &kind in Kind::ALL {
        let requests = requests(kind, &names);
        if let Some(example) = kind.example() {
            let mut touched = Touched::default();
            Command::from_json_text(kind, example).unwrap().touch(&mut touched);
            let has_key = touched.is_all || !touched.ids.is_empty();
            assert_eq!(has_key, !requests.is_empty(), "requests of {}", kind.name());
        }
        for arguments in requests {
            let mut touched = Touched::default();
            Command::from_json(kind, arguments.clone()).unwrap().touch(&mut touched);
            let named = keys(kind, &arguments);
            assert!(touched.is_all || touched.ids == named, "{} {arguments}", kind.name());
            assert_eq!(touched.writes, kind.class() == Class::Write, "{} {arguments}", kind.name());
        }
    }
}

/// Whether the requests of the pair must keep their order.
fn has_order(first: &Request, second: &Request) -> bool {
    let is_import = |request: &Request| request.0 == Kind::Import;
    let is_mark = |(kind, arguments): &Request| {
        matches!(kind, Kind::MarkRead | Kind::MarkReadMany)
            && arguments["idempotency_key"].is_null()
    };
    let (ours, theirs) = (keys(first.0, &first.1), keys(second.0, &second.1));
    let shares = is_import(first) || is_import(second) || !ours.is_disjoint(&theirs);
    shares && !(is_mark(first) && is_mark(second))
}

/// Removes from a reply what depends on the order of chats that have none: the parts of one request
/// are applied in any order.
fn plain(mut told: Value) -> Value {
    fn forget(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for name in ["version", "join_order", "log"] {
                    fields.remove(name);
                }
                fields.values_mut().for_each(forget);
            }
            Value::Array(items) => items.iter_mut().for_each(forget),
            _ => {}
        }
    }
    forget(&mut told);
    if told["reset"].is_boolean() {
        told["items"].as_array_mut().unwrap().sort_by_key(Value::to_string);
    }
    told
}

impl Stage {
    fn new(seed: u64, shards: u16) -> Result<Self, Fault> {
        let mut world = World::new(seed);
        world.start(shards, LogMode::Never).map_err(|error| error.to_string())?;
        let connection = world.connect();
        Ok(Self { world, connection })
    }

    fn send(&mut self, requests: &[Request]) -> Result<Vec<u64>, Fault> {
        let ids = requests.iter().map(|(kind, arguments)| {
            let id = self.world.put(&mut self.connection, kind.name(), arguments);
            id.map_err(|error| format!("{} {arguments}: {error}", kind.name()))
        });
        let ids = ids.collect();
        self.world.flush(&self.connection);
        ids
    }

    /// Sends all requests at once. Returns the replies in the order of the requests, when nothing
    /// is under way any more.
    fn ask(&mut self, requests: &[Request]) -> Result<Vec<ReplyBody>, Fault> {
        let ids = self.send(requests)?;
        let mut replies = BTreeMap::new();
        loop {
            replies.extend(self.world.receive(&mut self.connection));
            if !self.world.step() && self.world.is_quiet(&self.connection) {
                break;
            }
        }
        let reply = |id: u64| replies.remove(&id).ok_or("a request gets no reply".to_owned());
        ids.into_iter().map(reply).map(|told| Ok(in_json(told?).map(plain))).collect()
    }

    /// Makes the state that every pair begins with.
    fn set(&mut self, names: &Names) -> Result<(), Fault> {
        let chats: Vec<Value> = ["c", "d"]
            .map(|chat| {
                let id = names.of(chat);
                json!({"id": id, "creator_id": names.of("v"), "type": 2, "last_sequence": 5, "last_time": 5})
            })
            .into();
        let members: Vec<Value> = [("u", "c", 1), ("u", "d", 2), ("v", "c", 1), ("v", "d", 2)]
            .map(|(user, chat, number)| {
                json!({
                    "user_id": names.of(user), "chat_id": names.of(chat), "join_order": number,
                    "version": number, "max_read_seq": 2, "is_top": 1, "marked_unread": 1,
                })
            })
            .into();
        let made = self.ask(&[(Kind::Import, json!({"chats": chats, "members": members}))])?;
        made.into_iter().all(|told| told.is_ok()).then_some(()).ok_or("no stage".to_owned())
    }

    /// Reads everything that the pair can have changed.
    fn look(&mut self, names: &Names) -> Result<Vec<ReplyBody>, Fault> {
        let [u, v, w] = ["u", "v", "w"].map(|name| names.of(name));
        let chats = ["c", "d", "e"].map(|name| names.of(name));
        let mut looks = vec![(Kind::Unread, json!({"user_ids": [u, v, w]}))];
        for user in [u, v, w] {
            looks.push((Kind::Sync, json!({"user_id": user})));
            looks.push((Kind::List, json!({"user_id": user})));
            looks.push((Kind::Detail, json!({"ids": chats, "user_id": user})));
        }
        looks.extend(chats.map(|chat| (Kind::Members, json!({"chat_id": chat}))));
        self.ask(&looks)
    }
}

/// Plays all pairs, and returns their number.
///
/// # Errors
/// The first pair whose result differs from that of requests one after the other.
pub fn play_pairs(seed: u64, shards: u16) -> Result<u64, Fault> {
    let (mut patient, mut hasty) = (Stage::new(seed, shards)?, Stage::new(seed, shards)?);
    let all = |names: &Names| -> Vec<Request> {
        let of = |kind: &Kind| {
            requests(*kind, names).into_iter().map(|request| (*kind, request)).collect()
        };
        Kind::ALL.iter().flat_map(|kind| -> Vec<Request> { of(kind) }).collect()
    };
    let count = all(&Names(String::new())).len();
    let mut played = 0;
    for (first, second) in
        (0..count).flat_map(|first| (0..count).map(move |second| (first, second)))
    {
        let names = Names(format!("-{first}-{second}"));
        let mut pair = [all(&names)[first].clone(), all(&names)[second].clone()];
        if first == second && !pair[1].1["idempotency_key"].is_null() {
            pair[1].1["idempotency_key"] = json!(names.of("another"));
        }
        if !has_order(&pair[0], &pair[1]) {
            continue;
        }
        played += 1;
        patient.set(&names)?;
        hasty.set(&names)?;
        let mut expected = patient.ask(&pair[..1])?;
        expected.extend(patient.ask(&pair[1..])?);
        let told = hasty.ask(&pair)?;
        let told_of = |what: &str, expected: &[ReplyBody], told: &[ReplyBody]| {
            let [(a, first), (b, second)] = &pair;
            format!(
                "{what}, seed {seed}, {shards} shards\n  {a:?} {first}\n  {b:?} {second}\n  \
                 in order: {expected:?}\n  together: {told:?}"
            )
        };
        if told != expected {
            return Err(told_of("replies of a pair", &expected, &told));
        }
        let (expected, told) = (patient.look(&names)?, hasty.look(&names)?);
        if told != expected {
            return Err(told_of("what a pair leaves", &expected, &told));
        }
    }
    Ok(played)
}
