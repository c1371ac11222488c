//! The turns of a core: no work occupies it for long, and work that is due is done without a
//! request.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use allocation_counter::measure;
use bytes::BytesMut;
use chatshard::access::Authenticator;
use chatshard::admission::{Admission, Budget, Door, Peer};
use chatshard::command::list::ListReply;
use chatshard::command::sync::{SyncOp, SyncReply};
use chatshard::command::{Call, Command, Kind, Reply};
use chatshard::http::head::Hosts;
use chatshard::http::serve::{self, ServeConfig};
use chatshard::http::{App, UserAuth, app_router};
use chatshard::limits::{IN_FLIGHT_BYTES_MAX, LOOK_ROWS, SCAN_ROWS};
use chatshard::metrics::SharedMeter;
use chatshard::metrics::doors::DoorMeter;
use chatshard::net::connection::{self, NetConfig};
use chatshard::net::stream::Parked;
use chatshard::node::clock::shared::Source;
use chatshard::node::log::LogMode;
use chatshard::node::worker::{LocalWorker, Worker};
use chatshard::node::{Handle, NodeInfo};
use chatshard::protocol::encode_request;
use chatshard::router::Router;
use chatshard::shard::Shard;
use chatshard::shard::machine::SlotCapture;
use chatshard::shard::op::{Answer, Op, Output};
use chatshard::types::{Flag, KeyHasher, ShardCount, ShardId, TimeMs};
use serde_json::{Value, json};
use snapshot::Lsn;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Semaphore;
use tokio::task::{LocalSet, yield_now};

use crate::bare::{self, SEED};
use crate::lone_shard::{HASHER, LoneShard, TO, operation};

const NOW: u64 = 1_800_000_000_000;

fn now() -> TimeMs {
    TimeMs::new(NOW).unwrap()
}

/// The time of a node whose clock stands still.
const STILL: Source = Source { wall: || NOW, boot: || NOW };

fn command(kind: Kind, arguments: Value) -> Command {
    Command::from_json(kind, arguments).unwrap()
}

fn empty_shard(id: u16, shards: u16) -> Shard {
    Shard::new(ShardId(id), ShardCount::new(shards).unwrap(), KeyHasher::new(SEED))
}

/// Lets a core with this shard serve until `test` ends.
fn beside(shard: Shard, node: &Arc<NodeInfo>, test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = LocalWorker::new(Worker::new(shard, Arc::clone(node), 1));
    local.start();
    let tasks = LocalSet::new();
    tasks.spawn_local(local.serve());
    tasks.block_on(&runtime, test);
}

/// Lets the first core serve this end of a connection. The returned sender stops it.
fn connect(node: &NodeInfo, server: UnixStream) -> tokio::sync::watch::Sender<bool> {
    server.set_nonblocking(true).unwrap();
    let (keep, stop) = tokio::sync::watch::channel(false);
    let authenticator = Authenticator::new(Default::default());
    let incomplete = Budget::new(1 << 20, Duration::ZERO);
    let unread = Budget::new(64 << 20, Duration::ZERO);
    let config =
        NetConfig { authenticator, idle: Duration::from_secs(60), incomplete, unread, stop };
    let door = Arc::new(Door::new(Arc::new(DoorMeter::new("test")), 1, Vec::new()));
    let Admission::Open(guest) = door.enter(Peer::Gone) else { panic!("no room") };
    connection::start(node, ShardId(0), Parked::Unix(server), guest, Arc::new(config));
    keep
}

/// Requests that come as fast as they are read, of a size that only a few fit one read. Each turn
/// ends for want of whole requests, while more are there.
#[test]
fn a_connection_that_is_never_out_of_requests_lets_others_have_their_turn() {
    let (mut client, server) = UnixStream::pair().unwrap();
    let mut requests = BytesMut::new();
    encode_request(1, &command(Kind::Hello, json!({})), &mut requests).unwrap();
    // It is wrong, and long for its cost.
    let list = json!({"user_id": "u", "limit": 1, "cursor": "x".repeat(4000)});
    let asked = 5000;
    for id in 0..asked {
        encode_request(2 + id, &command(Kind::List, list.clone()), &mut requests).unwrap();
    }
    let mut replies = client.try_clone().unwrap();
    let reading = std::thread::spawn(move || io::copy(&mut replies, &mut io::sink()));
    let sending = std::thread::spawn(move || client.write_all(&requests));

    let node = bare::node(1, LogMode::Off, STILL);
    let _stop = connect(&node, server);
    beside(empty_shard(0, 1), &node, async {
        let answered = || node.mailboxes[0].answered.load(Ordering::Relaxed);
        let (mut seen, mut most) = (0, 0);
        while seen < asked {
            yield_now().await;
            most = most.max(answered() - seen);
            seen = answered();
        }
        assert!(most > 0 && most < 350, "{most} requests of one connection in one go");
    });
    sending.join().unwrap().unwrap();
    // The server's end went with its core.
    reading.join().unwrap().unwrap();
}

/// A socket that takes all bytes at once. Its client sends one request.
struct Greedy {
    request: Vec<u8>,
    taken: Rc<Cell<usize>>,
}

impl AsyncRead for Greedy {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.request.is_empty() {
            return Poll::Pending;
        }
        into.put_slice(&std::mem::take(&mut self.request));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Greedy {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.taken.set(self.taken.get() + bytes.len());
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        self.poll_write(context, &bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A long answer by HTTP for a client that reads it as fast as it comes, with and without
/// compression.
#[test]
fn an_http_client_that_takes_a_long_answer_lets_others_have_their_turn() {
    let node = bare::node(1, LogMode::Off, STILL);
    beside(empty_shard(0, 1), &node, async {
        let store = Handle::on_core(Arc::clone(&node), ShardId(0));
        let rows = 20_000;
        for numbers in (0..rows).collect::<Vec<_>>().chunks(5000) {
            let id = |number: &usize| format!("chat-{number:016}");
            let chats: Vec<_> = numbers
                .iter()
                .map(|n| json!({"id": id(n), "type": 2, "creator_id": "m"}))
                .collect();
            let members: Vec<_> =
                numbers.iter().map(|n| json!({"user_id": "a", "chat_id": id(n)})).collect();
            let lines = json!({"chats": chats, "members": members});
            store.call(command(Kind::Import, lines)).await.unwrap();
        }
        let auth = UserAuth::Header;
        let router = app_router(App { store, auth, meter: SharedMeter::default() });

        let taken = Rc::new(Cell::new(0));
        let request = b"POST /chat/mine-list HTTP/1.1\r\nhost: localhost\r\nx-user-id: a\r\n\
                        content-length: 0\r\n\r\n";
        let socket = Greedy { request: request.to_vec(), taken: Rc::clone(&taken) };
        let budget = || Budget::new(64 << 20, Duration::ZERO);
        let (_keep, stop) = tokio::sync::watch::channel(false);
        let config = ServeConfig {
            incomplete: budget(),
            unread: budget(),
            reads: Arc::new(Semaphore::new(1)),
            hosts: Hosts::Any,
            stop,
        };
        let door = Arc::new(Door::new(Arc::new(DoorMeter::new("test")), 1, Vec::new()));
        let Admission::Open(guest) = door.enter(Peer::Gone) else { panic!("no room") };
        let serving = tokio::task::spawn_local(serve::connection(socket, router, guest, config));
        let (mut seen, mut most) = (0, 0);
        while seen < rows * 150 {
            yield_now().await;
            most = most.max(taken.get() - seen);
            seen = taken.get();
        }
        serving.abort();
        assert!(most <= 160 << 10, "{most} bytes of one answer in one go");
    });
}

/// A slow log: whatever a client sends, a bounded number of its bytes is read. Every second request
/// waits for the one before it.
#[test]
fn the_bytes_of_open_requests_are_bounded() {
    let (mut client, server) = UnixStream::pair().unwrap();
    client.set_nonblocking(true).unwrap();
    let ids: Vec<String> = (0..1000).map(|number| format!("{number:->100}")).collect();
    let mut requests = BytesMut::new();
    let create = json!({"id": "g", "type": 2, "creator_id": "u", "user_ids": ["u"]});
    encode_request(1, &command(Kind::Hello, json!({})), &mut requests).unwrap();
    encode_request(2, &command(Kind::Create, create), &mut requests).unwrap();
    for id in 0..200 {
        let delete = json!({"user_id": format!("u{}", id / 2), "ids": ids});
        encode_request(3 + id, &command(Kind::Delete, delete), &mut requests).unwrap();
    }
    assert!(requests.len() > 4 * IN_FLIGHT_BYTES_MAX);

    let node = bare::node(1, LogMode::Always, STILL);
    let _stop = connect(&node, server);
    beside(empty_shard(0, 1), &node, async {
        let (mut taken, mut idle) = (0, 0);
        while idle < 1000 {
            yield_now().await;
            match client.write(&requests[taken..]) {
                Ok(0) => break,
                Ok(bytes) => (taken, idle) = (taken + bytes, 0),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    idle += 1;
                }
            }
        }
        // The buffers of the sockets come on top.
        let most = IN_FLIGHT_BYTES_MAX + (1 << 20);
        assert!((IN_FLIGHT_BYTES_MAX..most).contains(&taken), "{taken} bytes were taken");
    });
}

/// The members of a chat on the other shard have not got its delivery when the process stops.
#[test]
fn what_a_stop_left_open_goes_out_without_a_request() {
    let (mut before, mut out) = (empty_shard(0, 2), Output::default());
    before.tick(now());
    let shards = ShardCount::new(2).unwrap();
    let mut router = Router::new(ShardId(0), shards, KeyHasher::new(SEED), 1);
    let id = on_shard(0, "chat");
    let user = on_shard(1, "user");
    let create = json!({"id": id, "type": 2, "creator_id": user, "user_ids": [user]});
    let mut asked = Vec::new();
    router.submit((), command(Kind::Create, create), &mut asked);
    for (shard, to, op) in asked {
        assert_eq!(shard, ShardId(0));
        before.operation(to, op, &mut out);
    }
    assert_eq!(out.messages.len(), 1, "a delivery, which is lost");

    let mut after = empty_shard(0, 2);
    for record in out.records.payloads() {
        after.replay(record).unwrap();
    }
    let node = bare::node(2, LogMode::Off, STILL);
    beside(after, &node, async {
        for _ in 0..100 {
            yield_now().await;
        }
        assert_eq!(node.mailboxes[1].peers.len(), 1, "it goes out again");
    });
}

/// The first id of this kind on a shard of two.
fn on_shard(shard: u16, kind: &str) -> String {
    let shards = ShardCount::new(2).unwrap();
    let is_there = |id: &String| KeyHasher::new(SEED).slot(id).shard(shards) == ShardId(shard);
    (0..).map(|number| format!("{kind}-{number}")).find(is_there).unwrap()
}

/// The id of a chat in the list of the user `a`.
fn chat(number: usize) -> String {
    format!("g{number:05}")
}

impl LoneShard {
    /// Imports so many rows of the user `a`. Few of them are pinned.
    fn fill(&mut self, rows: usize) {
        for numbers in (0..rows).collect::<Vec<_>>().chunks(2000) {
            let chats: Vec<_> = numbers
                .iter()
                .map(|n| json!({"id": chat(*n), "type": 2, "creator_id": "m"}))
                .collect();
            let pin = |n: &usize| u8::from(n % 1000 == 7);
            let members: Vec<_> = numbers
                .iter()
                .map(|n| json!({"user_id": "a", "chat_id": chat(*n), "is_top": pin(n)}))
                .collect();
            let lines = command(Kind::Import, json!({"chats": chats, "members": members}));
            let answer = self.run(operation(lines));
            assert!(matches!(answer, Answer::Done(Ok(_))));
        }
    }

    fn ask(&mut self, kind: Kind, arguments: Value) -> Answer {
        self.run(operation(command(kind, arguments)))
    }

    /// A list, and the steps that it took; `meanwhile` runs between them.
    fn list(
        &mut self,
        limit: Value,
        cursor: Value,
        meanwhile: impl Fn(&mut Self),
    ) -> (ListReply, usize) {
        let arguments = json!({"user_id": "a", "limit": limit, "cursor": cursor});
        let mut answer = self.ask(Kind::List, arguments);
        for steps in 1.. {
            match answer {
                Answer::List(page) => {
                    meanwhile(self);
                    answer = self.run(Op::ContinueList(page));
                }
                Answer::Done(Ok(Reply::List(list))) => return (list, steps),
                other => panic!("{other:?}"),
            }
        }
        unreachable!("it ends")
    }

    /// A `sync`, and the steps that it took; `meanwhile` runs between them.
    fn sync(&mut self, since: Value, meanwhile: &mut impl FnMut(&mut Self)) -> (SyncReply, usize) {
        let mut answer = self.ask(Kind::Sync, json!({"user_id": "a", "since": since}));
        for steps in 1.. {
            match answer {
                Answer::Sync(page) => {
                    meanwhile(self);
                    answer = self.run(Op::ContinueSync(page));
                }
                Answer::Done(Ok(Reply::Sync(reply))) => return (reply, steps),
                other => panic!("{other:?}"),
            }
        }
        unreachable!("it ends")
    }
}

#[test]
fn a_sync_over_many_rows_takes_steps_and_misses_no_change_between_them() {
    let mut shard = LoneShard::new(NOW);
    let rows = 2 * LOOK_ROWS + 100;
    shard.fill(rows);
    let mut device: BTreeMap<String, Flag> = BTreeMap::new();
    let (mut since, mut pages, mut changed) = (json!(null), 0, 0..rows);
    loop {
        // Rows that the page has passed change as well as rows that it has not reached.
        let mut change = |shard: &mut LoneShard| {
            for n in [changed.next(), changed.next_back()].into_iter().flatten() {
                let flags = json!({"user_id": "a", "chat_id": chat(n), "is_mute": 1});
                shard.ask(Kind::SetFlags, flags);
            }
        };
        let few = pages > 20;
        let (reply, steps) = shard.sync(since, &mut |shard| {
            if !few {
                change(shard)
            }
        });
        assert_eq!(steps, 3, "steps for {rows} rows");
        assert!(!reply.reset && reply.items.len() <= 1000, "{} changes", reply.items.len());
        assert!(reply.items.is_sorted_by_key(|item| item.version));
        for item in &reply.items {
            assert_eq!(item.op, SyncOp::Upsert);
            device.insert(item.id.to_string(), item.is_mute);
        }
        since = json!({"log": reply.log, "version": reply.version});
        pages += 1;
        if !reply.more && few {
            break;
        }
    }
    let (list, _) = shard.list(json!(null), json!(null), |_| {});
    let listed = list.items.iter().map(|row| (row.chat_id.to_string(), row.is_mute));
    assert!(device == listed.collect(), "the device has other rows than the list");
    assert_eq!(device.values().filter(|muted| **muted == Flag::YES).count(), rows - changed.len());
}

#[test]
fn a_long_list_takes_many_steps_and_is_that_of_one_instant() {
    let mut shard = LoneShard::new(NOW);
    let rows = 10 * SCAN_ROWS;
    shard.fill(rows);
    let pinned = (0..rows).rev().filter(|n| n % 1000 == 7);
    let expected: Vec<String> =
        pinned.chain((0..rows).rev().filter(|n| n % 1000 != 7)).map(chat).collect();
    let ids = |list: &ListReply| -> Vec<String> {
        list.items.iter().map(|row| row.chat_id.to_string()).collect()
    };

    let pin = |shard: &mut LoneShard, number: usize, is_top: u8| {
        let flags = json!({"user_id": "a", "chat_id": chat(number), "is_top": is_top});
        shard.ask(Kind::SetFlags, flags);
    };
    let (list, steps) = shard.list(json!(null), json!(null), |shard| {
        pin(shard, 8, 1);
        pin(shard, 1007, 0);
    });
    assert!(ids(&list) == expected && list.next_cursor.is_none());
    assert!(steps >= 10, "{steps} steps for {rows} rows");
    pin(&mut shard, 8, 0);
    pin(&mut shard, 1007, 1);

    // The steps of a page depend on the rows that it returns, because only few rows are pinned.
    let (mut cursor, mut paged) = (json!(null), Vec::new());
    for limit in [3, 1, 2, SCAN_ROWS, 1, 3 * SCAN_ROWS, rows] {
        let (page, steps) = shard.list(json!(limit), cursor, |_| {});
        assert!(steps <= limit.min(rows) / SCAN_ROWS + 3, "{steps} steps for {limit} rows");
        paged.extend(ids(&page));
        cursor = json!(page.next_cursor);
    }
    assert!(paged == expected && cursor.is_null());
}

/// A giant group and a giant list: each step of `verify` returns a page of one of them.
#[test]
fn verify_looks_at_a_giant_in_many_steps() {
    let mut shard = LoneShard::new(NOW);
    let entries = 10 * SCAN_ROWS + 7;
    let group = json!([{"id": "giant", "type": 2, "creator_id": "m"}]);
    let members: Vec<_> =
        (0..entries).map(|n| json!({"user_id": format!("u{n}"), "chat_id": "giant"})).collect();
    let chats: Vec<_> = (0..entries)
        .map(|n| json!({"id": format!("g{n}"), "type": 2, "creator_id": "m"}))
        .collect();
    let rows: Vec<_> =
        (0..entries).map(|n| json!({"user_id": "many", "chat_id": format!("g{n}")})).collect();
    for (chats, members) in [(group, json!(members)), (json!(chats), json!(rows))] {
        let lines = command(Kind::Import, json!({"chats": chats, "members": members}));
        assert!(matches!(shard.run(operation(lines)), Answer::Done(Ok(_))));
    }

    let mut router = Router::new(ShardId(0), ShardCount::new(1).unwrap(), KeyHasher::new(SEED), 1);
    let (mut asked, mut steps, mut most) = (Vec::new(), 0, 0);
    router.submit((), command(Kind::Verify, json!({})), &mut asked);
    let outcome = loop {
        let (_, to, op) = asked.pop().expect("it asks one thing after the other");
        shard.shard.operation(to, op, &mut shard.out);
        let answer = shard.out.answers.pop().unwrap().answer;
        most = most.max(match &answer {
            Answer::VerifySlots(view) | Answer::VerifyPage(view, _) => {
                // Short rosters of a slot come together, up to a thousand memberships.
                steps += 1;
                view.members.len().max(view.rows.len())
            }
            Answer::VerifyChats(sides) => sides.len(),
            Answer::VerifyRows(sides) => sides.len(),
            other => panic!("{other:?}"),
        });
        if let Some(((), outcome)) = router.answer(to, answer, &mut asked) {
            break outcome;
        }
    };
    let Ok(Reply::Verify(verified)) = outcome else { panic!("{outcome:?}") };
    let all = u64::try_from(2 * entries).unwrap();
    assert_eq!((verified.members, verified.rows, verified.differences), (all, all, 0));
    assert!(steps > 20 && most <= 4 * SCAN_ROWS, "{steps} steps, {most} memberships in one");
}

/// A giant group is dissolved. No step allocates or frees more than a bounded number of blocks of
/// memory. Each member has one, for its id.
#[test]
fn a_giant_is_dissolved_in_many_steps() {
    let mut shard = LoneShard::new(NOW);
    let members = 9000;
    let user = |n: usize| json!({"user_id": format!("user-{n:->60}"), "chat_id": "giant"});
    let chats = json!([{"id": "giant", "type": 2, "creator_id": "m"}]);
    let lines = json!({"chats": chats, "members": (0..members).map(user).collect::<Vec<_>>()});
    let imported = shard.run(operation(command(Kind::Import, lines)));
    assert!(matches!(imported, Answer::Done(Ok(_))));

    let (mut steps, mut most, mut answers) = (0, 0, 0);
    let LoneShard { shard, out, .. } = &mut shard;
    let mut step = |step: &mut dyn FnMut(&mut Shard, &mut Output)| {
        let info = measure(|| step(shard, out));
        steps += 1;
        most = most.max(info.count_total).max(info.count_current.unsigned_abs());
        answers += out.answers.drain(..).count();
        out.records.clear();
        std::mem::take(&mut out.messages)
    };
    let mut dissolve = Some(operation(command(Kind::Dissolve, json!({"chat_id": "giant"}))));
    let mut messages = step(&mut |shard, out| shard.operation(TO, dissolve.take().unwrap(), out));
    while let Some((_, envelope)) = messages.pop() {
        let mut envelope = Some(envelope);
        messages.extend(step(&mut |shard, out| shard.message(envelope.take().unwrap(), out)));
    }
    let mut has_more = true;
    while has_more {
        step(&mut |shard, _| has_more = shard.sweep_some());
    }
    assert_eq!(answers, 1);
    assert!(most <= 1024, "{most} pieces of memory in one of {steps} steps");
}

/// A slice of a snapshot is bounded by the chats and users that it copies, and not by slots: beside
/// busy cores each slice waits its turn, and a store of few chats has 4096 slots too.
#[test]
fn a_snapshot_of_little_is_one_slice_and_one_of_much_has_bounded_ones() {
    let slices = |rows: usize| {
        let mut shard = LoneShard::new(NOW);
        shard.fill(rows);
        let shard = &mut shard.shard;
        shard.begin_snapshot(1);
        let slices = std::iter::from_fn(|| Some(shard.next_captures(512)));
        let slices = slices.take_while(|slice| !slice.is_empty());
        slices.map(|slice| slice.iter().map(SlotCapture::records).sum::<u64>()).collect::<Vec<_>>()
    };
    assert_eq!(slices(0), [0_u64; 0]);
    // 30 chats, and as many rows of their one user.
    assert_eq!(slices(30), [60]);
    let many = slices(20_000);
    assert!((30..60).contains(&many.len()), "{} slices", many.len());
    assert!(many.iter().all(|records| *records < 30_000), "{many:?}");
}

/// A probe holds the core of a giant no longer than a snapshot does: it copies heads, and shares
/// chunks.
#[test]
fn a_probe_of_a_giant_copies_none_of_its_members() {
    let mut shard = LoneShard::new(NOW);
    let members = 9000;
    let user = |n: usize| json!({"user_id": format!("user-{n:->60}"), "chat_id": "giant"});
    let chats = json!([{"id": "giant", "type": 2, "creator_id": "m"}]);
    let lines = json!({"chats": chats, "members": (0..members).map(user).collect::<Vec<_>>()});
    let imported = shard.run(operation(command(Kind::Import, lines)));
    assert!(matches!(imported, Answer::Done(Ok(_))));

    let LoneShard { shard, out, .. } = &mut shard;
    let mut captured = None;
    let info = measure(|| {
        shard.begin_probe(HASHER.slot("giant"), out);
        captured = shard.take_probe(Lsn(0));
    });
    let captured = captured.expect("a capture");
    assert!(captured.records() > 0, "it has the chat");
    assert!(info.count_total < 64, "{} pieces of memory", info.count_total);
    let digest = captured.digest();
    drop(captured);
    let info = measure(|| shard.end_probe(digest, out));
    assert!(info.count_total < 8, "{} pieces of memory", info.count_total);
}
