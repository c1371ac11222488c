//! The node's log on a disk that fails: the replies to writes, and the contents of the disk
//! afterwards.

mod slow;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chatshard::command::ErrorCode;
use chatshard::node::log::{Log, LogMode, LogState};
use chatshard::node::log_thread::LogThread;
use chatshard::node::mailbox::Mailbox;
use slow::SlowDisk;
use snapshot::{Batch, Disk, FaultyDisk, LogWriter, Lsn, OpenOptions};

/// No test waits this long unless something is stuck.
const PATIENCE: Duration = Duration::from_secs(60);
const NODE: u64 = 7;

fn start(disk: &FaultyDisk, mode: LogMode) -> (Arc<Log>, JoinHandle<bool>) {
    start_with(LogWriter::create(disk, dir(), NODE, Lsn(1)).unwrap(), mode)
}

fn start_with<D: Disk>(writer: LogWriter<D>, mode: LogMode) -> (Arc<Log>, JoinHandle<bool>) {
    let mailboxes: Arc<[Mailbox]> = std::iter::once(Mailbox::default()).collect();
    let log = Arc::new(Log::new(mode, Lsn(0), mailboxes));
    let thread = LogThread::new(Arc::clone(&log), writer);
    (log, std::thread::spawn(move || thread.run()))
}

fn dir() -> &'static Path {
    Path::new("/data")
}

fn disk() -> FaultyDisk {
    let disk = FaultyDisk::new(1);
    disk.create_dir(dir()).unwrap();
    disk
}

fn push(log: &Log, text: &str) {
    let mut batch = Batch::new();
    batch.push(text.as_bytes()).unwrap();
    if log.push(&mut batch) {
        log.rouse();
    }
    assert!(batch.is_empty());
}

#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} does not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn records_on(disk: &FaultyDisk) -> Vec<String> {
    let mut records = Vec::new();
    let on_record = |_, record: &[u8]| {
        records.push(String::from_utf8(record.to_vec()).unwrap());
        Ok(())
    };
    snapshot::open(disk, dir(), OpenOptions::new(NODE), |_| Ok(()), on_record).unwrap();
    records
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    let disk = disk();
    let (log, thread) = start(&disk, LogMode::Always);
    push(&log, "first");
    until("the first record", || log.reached() == Lsn(1));
    disk.full_after(0);
    push(&log, "second");
    until("the stall", || log.state() == LogState::Stalled);
    let refusal = log.refusal().unwrap();
    assert_eq!(refusal.code, ErrorCode::Unavailable);
    assert!(refusal.message.starts_with("not applied"), "{refusal}");
    // Records that other shards still bring keep their order.
    push(&log, "third");
    assert_eq!((log.reached(), log.tail()), (Lsn(1), Lsn(3)));
    disk.free();
    until("the rest", || log.reached() == Lsn(3));
    assert_eq!((log.state(), log.refusal()), (LogState::Ok, None));
    log.stop();
    assert!(thread.join().unwrap(), "it is closed with its end mark");
    disk.crash();
    assert_eq!(records_on(&disk), ["first", "second", "third"]);
}

#[test]
fn a_failed_sync_poisons_until_the_next_start() {
    let disk = disk();
    let (log, thread) = start(&disk, LogMode::Always);
    push(&log, "first");
    until("the first record", || log.reached() == Lsn(1));
    disk.fail_sync(1);
    push(&log, "second");
    until("the poison", || log.state() == LogState::Poisoned);
    assert!(log.refusal().unwrap().message.starts_with("not applied"));
    // Nothing is written any more, and records that were not synced never count as reached.
    push(&log, "third");
    assert_eq!(log.reached(), Lsn(1));
    log.stop();
    assert!(!thread.join().unwrap(), "a poisoned log is not closed");
    assert_eq!(log.reached(), Lsn(1));
    disk.crash();
    let records = records_on(&disk);
    assert!(records == ["first"] || records == ["first", "second"], "{records:?}");
}

#[test]
fn everysec_and_never_answer_when_written_and_sync_later() {
    for mode in [LogMode::EverySec, LogMode::Never] {
        let disk = disk();
        let (log, thread) = start(&disk, mode);
        push(&log, "first");
        until("the record", || log.reached() == Lsn(1));
        if mode == LogMode::EverySec {
            until("the sync", || log.durable() == Lsn(1));
        }
        push(&log, "second");
        log.sync_now();
        until("the sync that was asked for", || log.durable() == Lsn(2));
        disk.crash();
        log.stop();
        _ = thread.join().unwrap();
        assert_eq!(records_on(&disk), ["first", "second"]);
    }
}

/// Removing an old segment takes tens of milliseconds. The log's thread once did it, and all writes
/// waited.
#[test]
fn writes_do_not_wait_while_old_segments_are_removed() {
    let disk = SlowDisk::new(disk());
    let mut writer = LogWriter::create(&disk, dir(), NODE, Lsn(1)).unwrap();
    writer.set_segment_bytes_max(1);
    let trimmer = writer.trimmer();
    let (log, thread) = start_with(writer, LogMode::Always);
    push(&log, "first");
    until("the first record", || log.reached() == Lsn(1));
    push(&log, "second");
    until("the second segment", || log.reached() == Lsn(2));
    let removing = std::thread::spawn(move || trimmer.trim(Lsn(3)).unwrap());
    until("the removal", || disk.is_removing());
    push(&log, "third");
    until("the third segment", || log.reached() == Lsn(3));
    disk.let_go();
    assert!(removing.join().unwrap() >= 1);
    log.stop();
    assert!(thread.join().unwrap(), "it is closed with its end mark");
}

#[test]
fn without_a_log_everything_is_reached_at_once() {
    let mailboxes: Arc<[Mailbox]> = std::iter::once(Mailbox::default()).collect();
    let log = Log::new(LogMode::Off, Lsn(4), mailboxes);
    push(&log, "first");
    assert_eq!((log.tail(), log.reached(), log.durable()), (Lsn(5), Lsn(5), Lsn(5)));
    assert_eq!(log.stats().queued_bytes, 0);
}
