//! The stream of changes: sends the changes that the log has to any number of watchers.
//!
//! While somebody watches, the log thread passes each batch on as soon as replies may rely on it.
//! For that it only gives the batch away. The watch thread decodes the records into pages, once for
//! all watchers. A ring holds the newest pages. A watcher that continues from further back gets
//! pages from the log's files, until it reaches the pages of the ring.
//!
//! Invariants:
//! - A watcher gets every change after its offset once, in the order of the log. If it cannot, it
//!   gets an error with the reason.
//! - Only changes that replies may rely on are sent ([`Log::reached`]). On a standby that is what
//!   all cores have applied, so no event precedes its change there.
//! - Members of a journal have the same offsets. A watcher that comes from another member may be
//!   ahead of this one; it is not lost.
//! - [`WatchBounds`] bounds the memory: the ring, as many bytes again for batches on their way into
//!   it, and one page for each watcher that reads files.
//! - Writers never wait for a watcher. A watcher that needs pages which the ring has dropped is cut
//!   off.

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

/// The changes of some consecutive records of the log.
pub struct Page {
    /// LSN of the first record of the page.
    pub first: Lsn,
    /// LSN of the last record of the page, even if that record has no change.
    pub last: Lsn,
    /// The changes, each with the LSN of its record.
    pub events: Vec<(Lsn, WatchEvent)>,
    /// How many bytes the records have.
    bytes: usize,
    /// The changes as a door sends them. The first connection that needs them encodes them for all.
    encoded: OnceLock<Vec<Vec<u8>>>,
}

impl Page {
    /// The changes after `position`, encoded. `encode` runs only once for each change of the page,
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

/// Bounds on the memory of the stream.
#[derive(Debug, Clone, Copy)]
pub struct WatchBounds {
    /// How many bytes of records the ring holds. Batches on their way into it may take as many
    /// again.
    pub ring_bytes: usize,
    /// How many bytes of records a page from the log's files holds.
    pub page_bytes: usize,
}

impl Default for WatchBounds {
    fn default() -> Self {
        Self { ring_bytes: WATCH_RING_BYTES, page_bytes: WATCH_PAGE_BYTES }
    }
}

/// The newest pages. No record between them is missing.
#[derive(Default)]
struct Ring {
    pages: VecDeque<Arc<Page>>,
    bytes: usize,
}

impl Ring {
    fn push(&mut self, page: Arc<Page>, bytes_max: usize) {
        if self.pages.back().is_some_and(|last| last.last.next() != page.first) {
            // Batches between the two pages were dropped, and a ring has no gap.
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

/// Batches, each with the LSN of its first record and the era in which it was offered.
type Offered = VecDeque<(Lsn, u64, Arc<Batch>)>;
/// What the watch thread does in one turn.
type Work = (Offered, Option<Resume>);

/// What waits for the watch thread.
#[derive(Default)]
struct Inbox {
    batches: Offered,
    bytes: usize,
    resumes: VecDeque<Resume>,
    stop: bool,
}

impl Inbox {
    fn take(&mut self) -> Work {
        self.bytes = 0;
        (std::mem::take(&mut self.batches), self.resumes.pop_front())
    }
}

/// A watcher that waits for a page from the log's files.
struct Resume {
    state: ResumeState,
    until: Lsn,
    reply: oneshot::Sender<Result<(Arc<Page>, ResumeState), Error>>,
}

/// Where a watcher is in the log's files. Doors only pass it on.
pub struct ResumeState {
    position: Lsn,
    /// Whether the offset belongs to another log. Then the watcher cannot continue.
    is_lost: bool,
    follower: Option<Box<dyn Follow>>,
}

/// A [`LogFollower`], whatever its disk is.
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

/// What a watcher does next.
pub enum Next {
    /// Sends this page, which the ring has.
    Page(Arc<Page>),
    /// Waits: there is no newer change.
    Nothing,
    /// Reads the log's files up to this record. The ring continues behind it.
    InFiles(Lsn),
}

/// The stream. The log thread, the watch thread and all connections share it.
pub struct WatchHub {
    log: Arc<Log>,
    incarnation: u64,
    bounds: WatchBounds,
    inbox: Mutex<Inbox>,
    wake: Condvar,
    ring: Mutex<Ring>,
    /// Changes only under the lock of the ring. The ring is emptied when the first watcher comes
    /// and when the last one goes, so no watcher can need its pages then.
    watchers: AtomicUsize,
    /// How often watching has begun after a time without watchers. The log thread keeps no batches
    /// in such a time, so batches of an earlier era must not enter the ring.
    era: AtomicU64,
    /// Changes with every page, and when watches may not go on. Then connections that wait look
    /// again.
    news: watch::Sender<u64>,
}

/// One watcher. While any exists, the log thread keeps batches for the stream.
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
    /// The stream of `log`, with the usual bounds. Its offsets name `incarnation`.
    pub fn new(log: Arc<Log>, incarnation: u64) -> Self {
        Self::bounded(log, incarnation, WatchBounds::default())
    }

    /// Like [`Self::new`], with other bounds: tests use small ones.
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
        // No code that can panic runs under the two locks, so a poisoned lock is not possible.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody watches. The log thread asks after it has moved [`Log::reached`]. So a
    /// watcher that it misses has seen the move, and reads these records from the files.
    pub fn is_watched(&self) -> bool {
        self.watchers.load(Ordering::SeqCst) > 0
    }

    /// Takes a batch that replies may rely on. `first` is the LSN of its first record. Only the log
    /// thread, or that of a member, calls this, in the order of the log.
    pub fn offer(&self, first: Lsn, batch: impl Into<Arc<Batch>>) {
        let batch = batch.into();
        let mut inbox = self.inbox();
        let bytes = batch.len_bytes();
        if inbox.bytes + bytes > self.bounds.ring_bytes && !inbox.batches.is_empty() {
            // The watch thread is too slow, so these batches are dropped. The ring begins anew
            // behind the gap, and a live watcher that misses changes is cut off.
            inbox.batches.clear();
            inbox.bytes = 0;
        }
        inbox.bytes += bytes;
        inbox.batches.push_back((first, self.era.load(Ordering::Acquire), batch));
        drop(inbox);
        self.wake.notify_one();
    }

    /// Begins to watch behind the offset `from`. Without one, begins behind all that the log has
    /// reached.
    ///
    /// # Errors
    /// 503 without a log, 400 if `from` is not an offset. If the log has dropped the offset, only
    /// [`Self::read_files`] returns an error.
    pub fn begin(self: &Arc<Self>, from: Option<&str>) -> Result<(Watcher, ResumeState), Error> {
        if self.log.mode() == LogMode::Off {
            return Err(Error::not_applied("watch: the server keeps no log (--log off)"));
        }
        let mut ring = self.ring();
        if !self.is_watched() {
            self.era.fetch_add(1, Ordering::AcqRel);
            ring.clear();
        }
        // From here on the log thread keeps batches. So records up to the present `reached` are in
        // the files, and later ones come through the ring.
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
        let may_lag = self.log.mode() == LogMode::Journal;
        let is_lost = incarnation != self.incarnation || lsn > reached && !may_lag;
        Ok(ResumeState { is_lost, ..ResumeState::at(lsn) })
    }

    /// Whether the log has not reached this record yet. Another member of the journal has.
    pub fn is_behind(&self, position: Lsn) -> bool {
        position > self.log.reached()
    }

    /// The offset behind a record, as clients send it in `from`.
    pub fn offset(&self, lsn: Lsn) -> String {
        format!("{:016x}.{lsn}", self.incarnation)
    }

    /// A heartbeat: says that there is no change up to this record.
    pub fn heartbeat(&self, lsn: Lsn) -> WatchEvent {
        WatchEvent { offset: self.offset(lsn), ..blank(WatchOp::Heartbeat) }
    }

    /// The error for a watcher that is cut off. It has the offset from which the watcher can begin
    /// again.
    pub fn too_slow(&self, position: Lsn) -> Error {
        Error::new(
            ErrorCode::Busy,
            format!(
                "the watcher is too slow and was cut off; watch again from {}",
                self.offset(position)
            ),
        )
    }

    /// What a watcher at `position` does next. `is_live` says that the watcher once had all
    /// changes, so that all later changes come through the ring.
    pub fn next(&self, position: Lsn, is_live: bool) -> Next {
        let ring = self.ring();
        match ring.pages.front() {
            Some(oldest) if oldest.first <= position.next() => {
                let at = ring.pages.partition_point(|page| page.last <= position);
                ring.pages.get(at).map_or(Next::Nothing, |page| Next::Page(Arc::clone(page)))
            }
            Some(oldest) => Next::InFiles(oldest.first.previous()),
            // Newer changes are on their way into the ring. Reading them from the files too would
            // send them twice.
            None if is_live => Next::Nothing,
            None => {
                drop(ring);
                let reached = self.log.reached();
                if position < reached { Next::InFiles(reached) } else { Next::Nothing }
            }
        }
    }

    /// A value that changes with every new page, and when watchers must look at their watches. A
    /// watcher that waits then calls [`Self::next`].
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Lets each watcher's connection look whether its watches may go on.
    pub fn wake_watchers(&self) {
        self.news.send_modify(|turn| *turn = turn.wrapping_add(1));
    }

    /// Asks for a page from the log's files: the changes behind the position of `state`, up to
    /// `until`.
    ///
    /// # Errors
    /// 409 with the oldest offset that the log has, if it no longer has the changes. 503 if the
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

    /// Tells the watch thread to end.
    pub fn stop(&self) {
        self.inbox().stop = true;
        self.wake.notify_one();
    }
}

impl ResumeState {
    /// The state of a watcher that has all changes up to `position`.
    pub fn at(position: Lsn) -> Self {
        Self { position, is_lost: false, follower: None }
    }

    /// The state of a watcher whose offset no log has.
    pub fn lost(position: Lsn) -> Self {
        Self { is_lost: true, ..Self::at(position) }
    }

    /// The watcher has all changes up to this record.
    pub fn position(&self) -> Lsn {
        self.position
    }

    /// Whether the offset belongs to another log. Reading the files then returns the error.
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }
}

/// The watch thread: fills the ring, and reads the log's files for watchers that are behind it.
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
    /// The watch thread of a stream, for the log in `dir`.
    pub fn new(watch: Arc<WatchHub>, disk: D, dir: PathBuf, node_id: u64) -> Self {
        Self { watch, disk, dir, node_id }
    }

    /// Runs until [`WatchHub::stop`].
    pub fn run(self) {
        loop {
            let work = {
                let mut inbox = self.watch.inbox();
                while inbox.batches.is_empty() && inbox.resumes.is_empty() && !inbox.stop {
                    inbox = self.watch.wake.wait(inbox).unwrap_or_else(PoisonError::into_inner);
                }
                if inbox.stop {
                    return;
                }
                inbox.take()
            };
            self.serve(work);
        }
    }

    /// Does what waits, without waiting for more.
    #[cfg(feature = "internals")]
    pub fn turn(&self) {
        let work = self.watch.inbox().take();
        self.serve(work);
    }

    fn serve(&self, (batches, resume): Work) {
        if !batches.is_empty() {
            for (first, era, batch) in batches {
                self.take(first, era, &batch);
            }
            self.watch.wake_watchers();
        }
        if let Some(Resume { state, until, reply }) = resume {
            // Sending fails if the watcher has gone. Then nobody needs the page.
            drop(reply.send(self.read(state, until)));
        }
    }

    /// Decodes a batch into a page and adds the page to the ring.
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
    /// The error 409, with the offset in front of the oldest record that the log has.
    fn not_kept(&self, why: &str, oldest: Lsn) -> Error {
        let oldest = self.watch.offset(oldest.previous());
        Error::new(ErrorCode::Conflict, format!("from: {why}; the oldest kept is {oldest}"))
    }
}

/// The error 503: the log cannot be read at present, and a retry may succeed.
fn not_read(error: &dyn std::error::Error) -> Error {
    throttled!(warn, error = %error, "the log could not be read for a watcher");
    Error::not_applied("watch: the log could not be read")
}

/// A page to which records are still added.
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
            // This program wrote the record itself, so this is a fault of the program.
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
