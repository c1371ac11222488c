//! The stream of changes: sends the changes in the log to any number of watchers.
//!
//! While somebody watches, the log's thread passes on each batch as soon as replies may rely on it.
//! It gives the batch away instead of dropping it, and does nothing else. The watch thread decodes
//! the records into pages, once for all watchers. A ring holds the newest pages. A watcher that
//! resumes from further back gets pages read from the log's files, until the ring has what comes
//! next.
//!
//! Invariants:
//! - A watcher gets every change after its offset once, in the order of the log. If it cannot, it
//!   gets an error with the reason.
//! - Only changes that replies may rely on are sent ([`Log::reached`]).
//! - Memory is bounded by [`WatchBounds`]: by the ring, by as many bytes again of batches on their
//!   way into it, and by one page for each watcher that resumes. A watcher that falls out of the
//!   ring is cut off; writers never wait for one.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

pub use snapshot::Lsn;
use snapshot::{Batch, Disk, FollowError, LogFollower};
use tokio::sync::{oneshot, watch};

use super::log::{Log, LogMode};
use crate::command::watch::{WatchEvent, WatchOp};
use crate::command::{Error, ErrorCode};
use crate::limits::{WATCH_PAGE_BYTES, WATCH_RING_BYTES};
use crate::shard::events::{self, blank};
use crate::throttle::throttled;

/// Changes of consecutive records of the log.
pub struct Page {
    /// LSN of the first record that it covers.
    pub first: Lsn,
    /// LSN of the last record that it covers. It may be a record without a change.
    pub last: Lsn,
    /// The changes, each with the LSN of its record.
    pub events: Vec<(Lsn, WatchEvent)>,
    /// Bytes of the records.
    bytes: usize,
    /// The changes as a door sends them, encoded by the first connection that needs them.
    encoded: OnceLock<Vec<Vec<u8>>>,
}

impl Page {
    /// The changes after `position`, encoded. `encode` runs once for each change of the page,
    /// however many watchers need it.
    pub fn encoded_after(
        &self,
        position: Lsn,
        encode: impl Fn(&WatchEvent) -> Vec<u8>,
    ) -> impl Iterator<Item = (Lsn, &[u8])> {
        let encoded = self
            .encoded
            .get_or_init(|| self.events.iter().map(|(_, event)| encode(event)).collect());
        let told = self.events.partition_point(|(lsn, _)| *lsn <= position);
        let events = self.events.iter().map(|(lsn, _)| *lsn).zip(encoded.iter().map(Vec::as_slice));
        events.skip(told)
    }
}

/// Bounds on the memory that the stream uses.
#[derive(Debug, Clone, Copy)]
pub struct WatchBounds {
    /// Bytes of the records in the ring. Batches on their way to it may use as many again.
    pub ring_bytes: usize,
    /// Bytes of the records in a page from the log's files.
    pub page_bytes: usize,
}

impl Default for WatchBounds {
    fn default() -> Self {
        Self { ring_bytes: WATCH_RING_BYTES, page_bytes: WATCH_PAGE_BYTES }
    }
}

/// The newest pages, without a gap between them.
#[derive(Default)]
struct Ring {
    pages: VecDeque<Arc<Page>>,
    bytes: usize,
}

impl Ring {
    fn push(&mut self, page: Arc<Page>, bytes_max: usize) {
        if self.pages.back().is_some_and(|last| last.last.next() != page.first) {
            // Batches were dropped on their way here.
            self.clear();
        }
        self.bytes += page.bytes;
        self.pages.push_back(page);
        while self.bytes > bytes_max
            && self.pages.len() > 1
            && let Some(oldest) = self.pages.pop_front()
        {
            self.bytes -= oldest.bytes;
        }
    }

    fn clear(&mut self) {
        self.pages.clear();
        self.bytes = 0;
    }
}

/// Work that waits for the watch thread.
#[derive(Default)]
struct Inbox {
    /// Each with the LSN of its first record, and the era that it was kept for.
    batches: VecDeque<(Lsn, u64, Batch)>,
    bytes: usize,
    resumes: VecDeque<Resume>,
    stop: bool,
}

/// A watcher that wants a page from the log's files.
struct Resume {
    state: ResumeState,
    until: Lsn,
    reply: oneshot::Sender<Result<(Arc<Page>, ResumeState), Error>>,
}

/// Where a watcher is in the log's files; opaque to doors.
pub struct ResumeState {
    position: Lsn,
    /// Its offset is of another log, so it cannot continue.
    is_lost: bool,
    follower: Option<Box<dyn Follow>>,
}

/// A [`LogFollower`] of any disk.
trait Follow: Send {
    fn next(
        &mut self,
        until: Lsn,
        bytes_max: usize,
        on_record: &mut dyn FnMut(Lsn, &[u8]),
    ) -> Result<Lsn, FollowError>;
}

impl<D: Disk> Follow for LogFollower<D>
where
    LogFollower<D>: Send,
{
    fn next(
        &mut self,
        until: Lsn,
        bytes_max: usize,
        on_record: &mut dyn FnMut(Lsn, &[u8]),
    ) -> Result<Lsn, FollowError> {
        LogFollower::next(self, until, bytes_max, on_record)
    }
}

/// The next step of a watcher.
pub enum Next {
    /// Send this page, which is from the ring.
    Page(Arc<Page>),
    /// Wait: there is no newer change.
    Nothing,
    /// Read the log's files, up to this record; the ring continues after it.
    InFiles(Lsn),
}

/// The stream, shared by the log's thread, the watch thread and all connections.
pub struct WatchHub {
    log: Arc<Log>,
    incarnation: u64,
    bounds: WatchBounds,
    inbox: Mutex<Inbox>,
    wake: Condvar,
    ring: Mutex<Ring>,
    /// Changes only under the ring's lock. The last watcher empties the ring, and so does the first
    /// one; no other watcher may exist at that moment.
    watchers: AtomicUsize,
    /// Counts how often somebody began to watch when nobody did. Between two eras batches are not
    /// kept.
    era: AtomicU64,
    /// Changes with every page, so that connections call [`Self::next`] again.
    news: watch::Sender<u64>,
}

/// Registers a watcher; while one exists, the log's batches are kept.
pub struct Watcher(Arc<WatchHub>);

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut ring = self.0.ring();
        if self.0.watchers.fetch_sub(1, Ordering::SeqCst) == 1 {
            ring.clear();
        }
    }
}

impl WatchHub {
    /// The stream of `log`, with the default bounds; offsets name this incarnation.
    pub fn new(log: Arc<Log>, incarnation: u64) -> Self {
        Self::bounded(log, incarnation, WatchBounds::default())
    }

    /// Like [`Self::new`], with other bounds; tests use small ones.
    pub fn bounded(log: Arc<Log>, incarnation: u64, bounds: WatchBounds) -> Self {
        Self {
            log,
            incarnation,
            bounds,
            inbox: Mutex::default(),
            wake: Condvar::new(),
            ring: Mutex::default(),
            watchers: AtomicUsize::new(0),
            era: AtomicU64::new(0),
            news: watch::Sender::new(0),
        }
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        // No code that can panic runs under this lock, nor under the next one.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody watches. If it is read after [`Log::reached`] moved, it counts every
    /// watcher that began without seeing that move.
    pub fn is_watched(&self) -> bool {
        self.watchers.load(Ordering::SeqCst) > 0
    }

    /// Accepts a batch that replies may rely on, whose first record is `first`. Only the log's
    /// thread calls this, in the order of the log.
    pub fn offer(&self, first: Lsn, batch: Batch) {
        let mut inbox = self.inbox();
        let bytes = batch.len_bytes();
        if inbox.bytes + bytes > self.bounds.ring_bytes && !inbox.batches.is_empty() {
            // The watch thread is too slow. It continues after the gap, and live watchers that
            // miss changes in the gap are cut off.
            inbox.batches.clear();
            inbox.bytes = 0;
        }
        inbox.bytes += bytes;
        inbox.batches.push_back((first, self.era.load(Ordering::Acquire), batch));
        drop(inbox);
        self.wake.notify_one();
    }

    /// Begins to watch after the offset `from`, or after all that the log has reached now.
    ///
    /// # Errors
    /// 503 if there is no log, 400 if `from` is not an offset. If the log no longer holds the
    /// offset, [`Self::read_files`] returns that error.
    pub fn begin(self: &Arc<Self>, from: Option<&str>) -> Result<(Watcher, ResumeState), Error> {
        if self.log.mode() == LogMode::Off {
            return Err(Error::not_applied("watch: the server keeps no log (--log off)"));
        }
        let mut ring = self.ring();
        if !self.is_watched() {
            self.era.fetch_add(1, Ordering::AcqRel);
            ring.clear();
        }
        // From here on batches are kept. So what the log has reached by now was offered before, or
        // is kept.
        self.watchers.fetch_add(1, Ordering::SeqCst);
        drop(ring);
        let watcher = Watcher(Arc::clone(self));
        let reached = self.log.reached();
        let state = match from {
            None => ResumeState::at(reached),
            Some(from) => self.parse_offset(from, reached)?,
        };
        Ok((watcher, state))
    }

    fn parse_offset(&self, text: &str, reached: Lsn) -> Result<ResumeState, Error> {
        let bad = || Error::invalid("from: not an offset of `watch`");
        let (incarnation, lsn) = text.split_once('.').ok_or_else(bad)?;
        let incarnation = u64::from_str_radix(incarnation, 16).map_err(|_| bad())?;
        let lsn = Lsn(lsn.parse().map_err(|_| bad())?);
        let is_lost = incarnation != self.incarnation || lsn > reached;
        Ok(ResumeState { is_lost, ..ResumeState::at(lsn) })
    }

    /// The offset after a record, as clients send it in `from`.
    pub fn offset(&self, lsn: Lsn) -> String {
        format!("{:016x}.{lsn}", self.incarnation)
    }

    /// A heartbeat: no change happened up to this record.
    pub fn heartbeat(&self, lsn: Lsn) -> WatchEvent {
        WatchEvent { offset: self.offset(lsn), ..blank(WatchOp::Heartbeat) }
    }

    /// The error for a watcher that was cut off, with the offset from which it can continue.
    pub fn too_slow(&self, position: Lsn) -> Error {
        Error::new(
            ErrorCode::Busy,
            format!(
                "the watcher is too slow and was cut off; watch again from {}",
                self.offset(position)
            ),
        )
    }

    /// The next step of a watcher at `position`. `is_live` says that the watcher has once had all
    /// changes, so that all later ones come through the ring.
    pub fn next(&self, position: Lsn, is_live: bool) -> Next {
        let ring = self.ring();
        match ring.pages.front() {
            Some(oldest) if oldest.first <= position.next() => {
                let at = ring.pages.partition_point(|page| page.last <= position);
                ring.pages.get(at).map_or(Next::Nothing, |page| Next::Page(Arc::clone(page)))
            }
            Some(oldest) => Next::InFiles(oldest.first.previous()),
            // Changes up to the reached LSN are on their way into the ring: not lost, and not to be
            // read twice.
            None if is_live => Next::Nothing,
            None => {
                drop(ring);
                let reached = self.log.reached();
                if position < reached { Next::InFiles(reached) } else { Next::Nothing }
            }
        }
    }

    /// Changes its value when there is something new; then a waiting watcher calls [`Self::next`].
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Requests a page from the log's files: changes after the position of `state`, up to `until`.
    ///
    /// # Errors
    /// 409 with the oldest offset that is kept, if the log no longer holds the changes. 503 if the
    /// files cannot be read.
    pub fn read_files(
        &self,
        state: ResumeState,
        until: Lsn,
    ) -> oneshot::Receiver<Result<(Arc<Page>, ResumeState), Error>> {
        let (reply, answer) = oneshot::channel();
        self.inbox().resumes.push_back(Resume { state, until, reply });
        self.wake.notify_one();
        answer
    }

    /// Ends the watch thread.
    pub fn stop(&self) {
        self.inbox().stop = true;
        self.wake.notify_one();
    }
}

impl ResumeState {
    /// A watcher that has all changes up to `position`.
    pub fn at(position: Lsn) -> Self {
        Self { position, is_lost: false, follower: None }
    }

    /// The watcher has all changes up to this record.
    pub fn position(&self) -> Lsn {
        self.position
    }

    /// Whether its offset is of another log; reading from the files returns the error.
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }
}

/// The watch thread: fills the ring, and reads the log's files for watchers that resume.
pub struct WatchThread<D: Disk> {
    watch: Arc<WatchHub>,
    disk: D,
    dir: PathBuf,
    node_id: u64,
}

impl<D: Disk + Clone + Send + 'static> WatchThread<D>
where
    LogFollower<D>: Send,
{
    /// The thread of a stream whose log is in `dir`.
    pub fn new(watch: Arc<WatchHub>, disk: D, dir: PathBuf, node_id: u64) -> Self {
        Self { watch, disk, dir, node_id }
    }

    /// Runs until [`WatchHub::stop`].
    pub fn run(self) {
        loop {
            let (batches, resume) = {
                let mut inbox = self.watch.inbox();
                while inbox.batches.is_empty() && inbox.resumes.is_empty() && !inbox.stop {
                    inbox = self.watch.wake.wait(inbox).unwrap_or_else(PoisonError::into_inner);
                }
                if inbox.stop {
                    return;
                }
                inbox.bytes = 0;
                (std::mem::take(&mut inbox.batches), inbox.resumes.pop_front())
            };
            if !batches.is_empty() {
                for (first, era, batch) in batches {
                    self.take(first, era, &batch);
                }
                self.watch.news.send_modify(|turn| *turn = turn.wrapping_add(1));
            }
            if let Some(Resume { state, until, reply }) = resume {
                // A watcher that went away needs no page.
                drop(reply.send(self.read(state, until)));
            }
        }
    }

    /// Decodes a batch into a page, and adds the page to the ring.
    fn take(&self, first: Lsn, era: u64, batch: &Batch) {
        let mut page = Draft::new(first);
        for payload in batch.payloads() {
            page.add(&self.watch, page.last.next(), payload);
        }
        let mut ring = self.watch.ring();
        if self.watch.is_watched() && self.watch.era.load(Ordering::Acquire) == era {
            ring.push(Arc::new(page.finish()), self.watch.bounds.ring_bytes);
        }
    }

    fn read(&self, mut state: ResumeState, until: Lsn) -> Result<(Arc<Page>, ResumeState), Error> {
        if state.is_lost {
            let oldest = LogFollower::oldest(&self.disk, &self.dir, self.node_id);
            let oldest = oldest.map_err(|error| not_read(&error))?;
            let oldest = oldest.unwrap_or_else(|| self.watch.log.reached().next());
            let why = "an offset of another log, whose changes may have been lost";
            return Err(self.not_kept(why, oldest));
        }
        let from = state.position.next();
        let mut page = Draft::new(from);
        let mut read = |state: &mut ResumeState| {
            let follower = match &mut state.follower {
                Some(follower) => follower,
                none => none.insert(Box::new(LogFollower::open(
                    &self.disk,
                    &self.dir,
                    self.node_id,
                    from,
                )?)),
            };
            follower.next(until, self.watch.bounds.page_bytes, &mut |lsn, payload| {
                page.add(&self.watch, lsn, payload);
            })
        };
        match read(&mut state) {
            Ok(last) => {
                page.last = last;
                state.position = last;
                Ok((Arc::new(page.finish()), state))
            }
            Err(FollowError::Gone { oldest }) => {
                Err(self.not_kept("the log does not hold this offset any more", oldest))
            }
            Err(error) => Err(not_read(&error)),
        }
    }
}

impl<D: Disk> WatchThread<D> {
    /// 409, with the offset before the oldest record that is kept.
    fn not_kept(&self, why: &str, oldest: Lsn) -> Error {
        let oldest = self.watch.offset(oldest.previous());
        Error::new(ErrorCode::Conflict, format!("from: {why}; the oldest kept is {oldest}"))
    }
}

/// 503: the log cannot be read now; a retry may succeed.
fn not_read(error: &dyn std::error::Error) -> Error {
    throttled!(warn, error = %error, "the log could not be read for a watcher");
    Error::not_applied("watch: the log could not be read")
}

/// A page that is being made.
struct Draft {
    first: Lsn,
    last: Lsn,
    events: Vec<(Lsn, WatchEvent)>,
    bytes: usize,
}

impl Draft {
    fn new(first: Lsn) -> Self {
        Self { first, last: first.previous(), events: Vec::new(), bytes: 0 }
    }

    fn add(&mut self, watch: &WatchHub, lsn: Lsn, payload: &[u8]) {
        self.last = lsn;
        self.bytes += payload.len();
        match events::decode(payload) {
            Ok((_, _, event)) => {
                if let Some(change) = event.watched() {
                    self.events.push((lsn, WatchEvent { offset: watch.offset(lsn), ..change }));
                }
            }
            // This program wrote the record itself.
            Err(error) => {
                throttled!(error, %lsn, %error, "a record of the log cannot be told");
            }
        }
    }

    fn finish(self) -> Page {
        let Self { first, last, events, bytes } = self;
        Page { first, last, events, bytes, encoded: OnceLock::new() }
    }
}
