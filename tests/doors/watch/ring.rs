//! The stream behind the doors: log, ring and files on a disk in memory, step by step. Bounds are
//! so small that everything is on the edge.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use chatshard::command::watch::WatchEvent;
use chatshard::command::{Error, ErrorCode, Kind, Reply};
use chatshard::limits::{REPLY_BYTES_MAX, UNSENT_BYTES_MAX};
use chatshard::net::watching::Watches;
use chatshard::node::log::{Log, LogMode, LogState};
use chatshard::node::log_thread::LogThread;
use chatshard::node::mailbox::Mailbox;
use chatshard::node::watch::{Next, WatchBounds, WatchHub, WatchThread};
use chatshard::protocol::{decode_reply, frame};
use chatshard::shard::events::{self, Advanced};
use chatshard::types::{ChatId, Sequence, Slot, TimeMs};
use snapshot::{Batch, Disk, FaultyDisk, LogWriter, Lsn};

use super::tools::{PATIENCE, offset_in};
use crate::process::Random;

const NODE: u64 = 7;
const INCARNATION: u64 = 0x1234;
/// Request id of the one watch that a [`Reader`] has.
const REQUEST: u64 = 5;

/// A log and its stream.
struct Node {
    disk: FaultyDisk,
    log: Arc<Log>,
    watch: Arc<WatchHub>,
    log_thread: Option<JoinHandle<bool>>,
    telling: Option<JoinHandle<()>>,
}

impl Node {
    /// Starts a node without the stream's own thread, which [`Self::tell`] starts.
    fn start(mode: LogMode, bounds: WatchBounds) -> Self {
        let disk = FaultyDisk::new(1);
        disk.create_dir(dir()).unwrap();
        let mailboxes: Arc<[Mailbox]> = std::iter::once(Mailbox::default()).collect();
        let log = Arc::new(Log::new(mode, Lsn(0), mailboxes));
        let mut writer = LogWriter::create(&disk, dir(), NODE, Lsn(1)).unwrap();
        writer.set_segment_bytes_max(2000);
        let watch = Arc::new(WatchHub::bounded(Arc::clone(&log), INCARNATION, bounds));
        let thread = LogThread::new(Arc::clone(&log), writer).with_watch(Arc::clone(&watch));
        let log_thread = Some(std::thread::spawn(move || thread.run()));
        Self { disk, log, watch, log_thread, telling: None }
    }

    /// Like [`Self::start`], with a ring that holds a few records, and with the stream's thread.
    fn small(mode: LogMode) -> Self {
        let mut node = Self::start(mode, WatchBounds { ring_bytes: 400, page_bytes: 150 });
        node.tell();
        node
    }

    fn tell(&mut self) {
        let watch = Arc::clone(&self.watch);
        let thread = WatchThread::new(watch, self.disk.clone(), dir().to_owned(), NODE);
        self.telling = Some(std::thread::spawn(move || thread.run()));
    }

    /// Writes message number `number` of the one chat.
    fn push(&self, number: u64) {
        push(&self.log, number);
    }

    /// Waits until replies may rely on this many records.
    #[track_caller]
    fn until_reached(&self, number: u64) {
        until("the record", || self.log.reached() >= Lsn(number));
    }

    fn reader(&self, from: Option<&str>) -> Reader {
        Reader::open(&self.watch, from).unwrap()
    }

    fn offset(&self, number: u64) -> String {
        self.watch.offset(Lsn(number))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.log.stop();
        self.watch.stop();
        for thread in [self.telling.take()].into_iter().flatten() {
            assert!(thread.join().is_ok() || std::thread::panicking());
        }
        assert!(self.log_thread.take().unwrap().join().is_ok() || std::thread::panicking());
    }
}

fn dir() -> &'static Path {
    Path::new("/data")
}

fn push(log: &Log, number: u64) {
    let event: Advanced = Advanced {
        chat_id: ChatId::new("g").unwrap(),
        to: Sequence::new(number).unwrap(),
        time: TimeMs::new(number).unwrap(),
        sent: None,
    };
    let mut record = Vec::new();
    events::encode(Slot::new(0).unwrap(), number, &event, &mut record).unwrap();
    let mut batch = Batch::new();
    batch.push(&record).unwrap();
    if log.push(&mut batch) {
        log.rouse();
    }
}

#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} does not come");
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// One watch of a connection, without the connection.
struct Reader {
    watches: Watches,
    runtime: tokio::runtime::Runtime,
    /// Offset of the first event.
    began: Option<String>,
    /// Sequences of the events.
    seen: Vec<u64>,
    ended: Option<Error>,
    /// Number of requests for a page of the files that the node will deny, and of requests so far.
    denials: usize,
    asked: usize,
}

impl Reader {
    fn open(watch: &Arc<WatchHub>, from: Option<&str>) -> Result<Self, Error> {
        let mut watches = Watches::new(Arc::clone(watch));
        watches.begin(REQUEST, from)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (began, seen, ended) = (None, Vec::new(), None);
        let mut reader = Self { watches, runtime, began, seen, ended, denials: 0, asked: 0 };
        reader.fill();
        Ok(reader)
    }

    /// Takes the events that are there, and returns the number of changes.
    fn fill(&mut self) -> usize {
        let before = self.seen.len();
        let mut out = BytesMut::new();
        let Self { watches, denials, asked, .. } = self;
        let may_read = || {
            *asked += 1;
            *asked > *denials
        };
        watches.fill(&mut out, UNSENT_BYTES_MAX, may_read, || None);
        while let Some(payload) = frame::next(&mut out, REPLY_BYTES_MAX).unwrap() {
            let answer = decode_reply(&payload, |_| Some(Kind::Watch)).unwrap();
            assert_eq!(answer.id, REQUEST);
            assert_eq!(self.ended, None, "an error is the last thing told");
            match answer.outcome {
                Ok(Reply::Watch(event)) => self.take(event),
                Ok(other) => panic!("{other:?}"),
                Err(error) => self.ended = Some(error),
            }
        }
        self.seen.len() - before
    }

    fn take(&mut self, event: WatchEvent) {
        if self.began.is_none() {
            self.began = Some(event.offset.clone());
        }
        self.seen.extend(event.last_sequence.map(Sequence::get));
    }

    /// Waits for news, and takes it.
    fn wait(&mut self) {
        let changed = async { tokio::time::timeout(PATIENCE, self.watches.changed()).await };
        self.runtime.block_on(changed).expect("there is no news");
        self.fill();
    }

    /// Takes everything up to this change, or to the end of the watch.
    fn until(&mut self, number: u64) {
        while self.ended.is_none() && self.seen.last().is_none_or(|last| *last < number) {
            self.wait();
        }
    }

    /// Waits for the end of the watch, and returns its error.
    fn end(&mut self) -> Error {
        while self.ended.is_none() {
            self.wait();
        }
        self.ended.clone().unwrap()
    }
}

fn range(from: u64, to: u64) -> Vec<u64> {
    (from..=to).collect()
}

/// A watcher looks at the stream whenever its connection has a turn. That may be after a record
/// became durable and its writer got the reply, and before the record is in the ring.
#[test]
fn a_change_on_its_way_is_no_gap() {
    let mut node = Node::start(LogMode::Always, WatchBounds::default());
    let mut reader = node.reader(None);
    assert_eq!(reader.began, Some(node.offset(0)));
    node.push(1);
    node.until_reached(1);
    assert_eq!((reader.fill(), &reader.ended), (0, &None));
    node.tell();
    reader.until(1);
    node.push(2);
    reader.until(2);
    assert_eq!((reader.seen, reader.ended), (range(1, 2), None));
}

/// A watcher that had all events and falls out of the ring is cut off with an offset. Behind that
/// offset, and behind any other, the files have the rest.
#[test]
fn who_falls_out_of_the_ring_goes_on_in_the_files() {
    let node = Node::small(LogMode::Always);
    let (mut slow, mut quick) = (node.reader(None), node.reader(None));
    node.push(1);
    slow.until(1);
    for number in 2..=100 {
        node.push(number);
        quick.until(number);
    }
    let error = slow.end();
    assert_eq!((error.code, slow.seen.as_slice()), (ErrorCode::Busy, &[1][..]));
    assert_eq!(offset_in(&error.message), node.offset(1));
    for from in [1, 2, 50, 99] {
        let mut resumed = node.reader(Some(&node.offset(from)));
        resumed.until(100);
        assert_eq!((resumed.seen, resumed.ended), (range(from + 1, 100), None));
    }
    assert_eq!(quick.seen, range(1, 100));
}

/// The last watcher that leaves empties the ring. A watcher that comes at that moment must lose no
/// event.
#[test]
fn watchers_that_come_and_go_do_not_disturb_each_other() {
    let mut node = Node::start(LogMode::Never, WatchBounds::default());
    node.tell();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in (1..).take_while(|_| !done.load(Ordering::Relaxed)) {
                push(&node.log, number);
                while node.log.reached() < Lsn(number) {
                    std::thread::yield_now();
                }
            }
        });
        let comers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..20000 {
                        let (_watcher, state) = node.watch.begin(None).unwrap();
                        let began = state.position();
                        loop {
                            match node.watch.next(began, true) {
                                Next::Page(page) => {
                                    assert_eq!(
                                        page.events
                                            .iter()
                                            .map(|(lsn, _)| *lsn)
                                            .find(|lsn| *lsn > began),
                                        Some(began.next())
                                    );
                                    break;
                                }
                                Next::Nothing => std::thread::yield_now(),
                                Next::InFiles(until) => {
                                    panic!("behind {began}: up to {until} it is gone")
                                }
                            }
                        }
                    }
                })
            })
            .collect();
        let failed = comers.into_iter().filter_map(|comer| comer.join().err()).count();
        done.store(true, Ordering::Relaxed);
        assert_eq!(failed, 0);
    });
}

#[test]
fn only_what_is_durable_is_told() {
    let node = Node::small(LogMode::Always);
    let mut live = node.reader(None);
    node.push(1);
    live.until(1);

    // The disk is full: the record is not written and not reported. Then there is room, and it is
    // reported once.
    node.disk.full_after(0);
    node.push(2);
    until("the stall", || node.log.state() == LogState::Stalled);
    let mut resumed = node.reader(Some(&node.offset(0)));
    resumed.until(1);
    assert_eq!((live.fill(), resumed.fill()), (0, 0));
    node.disk.free();
    live.until(2);
    resumed.until(2);

    // Written and not synced: the record is in the file, and may be gone after a crash.
    node.disk.fail_sync(1);
    node.push(3);
    until("the poison", || node.log.state() == LogState::Poisoned);
    node.push(4);
    let mut late = node.reader(Some(&node.offset(1)));
    late.until(2);
    for reader in [&mut live, &mut resumed, &mut late] {
        assert_eq!((reader.fill(), &reader.ended), (0, &None));
    }
    assert_eq!((live.seen, resumed.seen, late.seen), (range(1, 2), range(1, 2), vec![2]));
    let beyond = Reader::open(&node.watch, Some(&node.offset(3))).unwrap().end();
    assert_eq!((beyond.code, offset_in(&beyond.message)), (ErrorCode::Conflict, node.offset(0)));
}

/// A watch tries again by itself, and loses nothing meanwhile.
#[test]
fn while_the_node_has_no_room_for_a_page_no_file_is_read() {
    let node = Node::small(LogMode::Always);
    (1..=50).for_each(|number| node.push(number));
    node.until_reached(50);
    let mut reader = node.reader(None);
    reader.watches.cancel(REQUEST);
    reader.watches.begin(REQUEST, Some(&node.offset(0))).unwrap();
    reader.denials = 3;
    for asked in 1..=3 {
        assert_eq!((reader.fill(), reader.asked), (0, asked));
        let changed = async { tokio::time::timeout(PATIENCE, reader.watches.changed()).await };
        reader.runtime.block_on(changed).expect("it asks again");
    }
    reader.fill();
    reader.until(50);
    assert_eq!((reader.seen, reader.ended), (range(1, 50), None));
}

#[test]
fn without_sync_what_is_written_is_told() {
    for mode in [LogMode::EverySec, LogMode::Never] {
        let node = Node::small(mode);
        let mut reader = node.reader(None);
        (1..=50).for_each(|number| {
            node.push(number);
            reader.until(number);
        });
        assert_eq!((reader.seen, reader.ended), (range(1, 50), None));
    }
}

/// If the stream's thread does not keep up, batches are dropped. That is a gap for watchers that
/// are up to date, and none for those that read the files.
#[test]
fn batches_dropped_on_their_way_are_a_gap() {
    let mut node = Node::start(LogMode::Never, WatchBounds { ring_bytes: 400, page_bytes: 150 });
    let mut live = node.reader(None);
    for number in 1..=200 {
        // Each message is a batch of its own.
        node.push(number);
        node.until_reached(number);
    }
    let mut resumed = node.reader(Some(&node.offset(0)));
    node.tell();
    let error = live.end();
    assert_eq!((error.code, offset_in(&error.message)), (ErrorCode::Busy, node.offset(0)));
    resumed.until(200);
    assert_eq!((resumed.seen, resumed.ended), (range(1, 200), None));
}

/// Many watchers fall behind again and again, and resume from the offset in the error.
#[test]
fn however_often_it_is_cut_off_nothing_is_lost_or_repeated() {
    const COUNT: u64 = 3000;
    let node = Node::small(LogMode::Never);
    std::thread::scope(|scope| {
        scope.spawn(|| (1..=COUNT).for_each(|number| node.push(number)));
        for seed in 0..4 {
            let node = &node;
            scope.spawn(move || {
                let mut random = Random(seed);
                let mut seen = Vec::new();
                let mut from = node.offset(0);
                while seen.len() as u64 != COUNT {
                    let mut reader = node.reader(Some(&from));
                    while reader.ended.is_none() && reader.seen.last() != Some(&COUNT) {
                        if random.below(20) == 0 {
                            // The watcher pauses for as long as some messages take.
                            let until = node.log.reached().0 + random.below(50);
                            while node.log.reached().0 < until.min(COUNT) {
                                std::thread::yield_now();
                            }
                        }
                        reader.wait();
                    }
                    seen.append(&mut reader.seen);
                    if let Some(error) = reader.ended {
                        assert_eq!(error.code, ErrorCode::Busy, "{error}");
                        from = offset_in(&error.message);
                    }
                }
                assert!(seen.iter().copied().eq(1..=COUNT), "{seen:?}");
            });
        }
    });
}

/// A socket that takes all bytes at once gives no sign of room later. The rest is reported all the
/// same.
#[test]
fn what_there_was_no_room_for_follows_without_news() {
    let mut node = Node::start(LogMode::Never, WatchBounds::default());
    node.tell();
    let count = 40_000;
    (1..=count).for_each(|number| node.push(number));
    node.until_reached(count);
    let begin = node.offset(0);
    // First from the files, then from the ring: the second reader comes while the first one holds
    // the ring.
    let mut from_files = node.reader(Some(&begin));
    from_files.until(count);
    assert!(from_files.seen == range(1, count) && from_files.ended.is_none());
    (count + 1..=2 * count).for_each(|number| node.push(number));
    node.until_reached(2 * count);
    let mut from_ring = node.reader(Some(&node.offset(count)));
    from_ring.until(2 * count);
    assert!(from_ring.seen == range(count + 1, 2 * count) && from_ring.ended.is_none());
    from_files.until(2 * count);
    assert!(from_files.seen == range(1, 2 * count) && from_files.ended.is_none());
}
