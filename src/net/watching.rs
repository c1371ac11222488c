//! The watches of one connection: changes from the node's stream, encoded while there is room.
//!
//! Invariants:
//! - Events are encoded only while at most [`UNSENT_BYTES_MAX`](crate::limits::UNSENT_BYTES_MAX)
//!   bytes of the connection wait to be sent.
//! - A client that does not read falls behind. Its watch is ended when the stream no longer holds
//!   the watch's next change.
//! - Only one watch of a connection at a time reads the log's files, and only while there is room
//!   to send. So a connection holds at most one page of them. Watches that resume take turns.
//! - The node's budget must have room for that page. If it has none, the watch tries again a little
//!   later.
//! - A watch whose offset another member of the journal gave gets nothing until this node has
//!   reached that offset. It waits for [`LAG_WAIT_MS`](crate::limits::LAG_WAIT_MS) at most.
//! - The last frame of a watch that fails has its error. A cancelled watch sends nothing more.

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::sync::{oneshot, watch};

use crate::command::watch::WatchEvent;
use crate::command::{Error, ErrorCode, Reply};
use crate::limits::{
    HEARTBEAT_MS, LAG_WAIT_MS, WATCH_PAGE_HELD_BYTES, WATCH_RETRY_MS, WATCHES_MAX,
};
use crate::node::watch::{Lsn, Next, Page, ResumeState, WatchHub, Watcher};
use crate::protocol;

const HEARTBEAT: Duration = Duration::from_millis(HEARTBEAT_MS);

/// The result of reading a page of the log's files, with the state to continue from.
type FromFiles = Result<(Arc<Page>, ResumeState), Error>;

struct Watching {
    request_id: u64,
    /// Keeps the node's stream active while this watch is open.
    _watcher: Watcher,
    /// The client was sent all changes up to this record.
    position: Lsn,
    /// Until when the watch waits for this node to reach its offset. `None` once it has.
    waits_until: Option<Instant>,
    /// The watch has caught up with the stream once. If the stream later drops its next change, the
    /// client is too slow.
    is_live: bool,
    files: Files,
    told: Instant,
    greeted: bool,
}

/// What one watch does with the log's files.
enum Files {
    /// No page is being read. The next one begins at this state.
    At(ResumeState),
    /// The watch thread is reading a page, and sends it here.
    Reading(oneshot::Receiver<FromFiles>),
    /// The page that was read, or the error that ends the watch.
    Read(FromFiles),
}

/// All watches of one connection.
pub struct Watches {
    stream: Arc<WatchHub>,
    open: Vec<Watching>,
    news: Option<watch::Receiver<u64>>,
    /// The last [`Self::fill`] left changes out for lack of room. So the next one does not wait for
    /// new changes.
    more: bool,
    /// The node had no room for a page of the log's files, so the watch tries again later.
    is_denied: bool,
}

impl Watches {
    /// Creates the watches of a connection, none at first. `stream` has the changes of the whole
    /// node.
    pub fn new(stream: Arc<WatchHub>) -> Self {
        Self { stream, open: Vec::new(), news: None, more: false, is_denied: false }
    }

    /// Whether the connection has no watch.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Opens a watch whose events carry `request_id`. It begins behind the offset `from`, or now.
    ///
    /// # Errors
    /// 429 if the connection has too many watches, 400 if another watch has this request id, and
    /// those of [`WatchHub::begin`].
    pub fn begin(&mut self, request_id: u64, from: Option<&str>) -> Result<(), Error> {
        if self.open.len() >= WATCHES_MAX {
            return Err(Error::new(
                ErrorCode::Busy,
                format!("watch: at most {WATCHES_MAX} on one connection"),
            ));
        }
        if self.open.iter().any(|watching| watching.request_id == request_id) {
            return Err(Error::invalid("request_id: a watch of this connection has it"));
        }
        let (watcher, state) = self.stream.begin(from)?;
        let (position, is_lost) = (state.position(), state.is_lost());
        let files = match is_lost {
            true => Files::Reading(self.stream.read_files(state, position)),
            false => Files::At(state),
        };
        self.news.get_or_insert_with(|| self.stream.news());
        let is_behind = !is_lost && self.stream.is_behind(position);
        let waits_until = is_behind.then(|| Instant::now() + Duration::from_millis(LAG_WAIT_MS));
        self.open.push(Watching {
            request_id,
            _watcher: watcher,
            position,
            waits_until,
            is_live: false,
            files,
            told: Instant::now(),
            greeted: is_lost,
        });
        Ok(())
    }

    /// Ends a watch without a last frame. Returns false if there is none with this request id.
    pub fn cancel(&mut self, request_id: u64) -> bool {
        let before = self.open.len();
        self.open.retain(|watching| watching.request_id != request_id);
        self.open.len() < before
    }

    /// Ends all watches. Each gets a last frame with the error `why`.
    pub fn end(&mut self, why: &Error, out: &mut BytesMut) {
        for watching in self.open.drain(..) {
            protocol::encode_error(watching.request_id, why, out);
        }
    }

    /// Ends all watches without a last frame.
    pub fn clear(&mut self) {
        self.open.clear();
    }

    /// About how many bytes a page of the log's files occupies, from the start of its reading until
    /// it is sent; 0 if there is none.
    pub fn held_bytes(&self) -> usize {
        match self.open.is_empty() || Turn::of(&self.open).is_free {
            true => 0,
            false => WATCH_PAGE_HELD_BYTES,
        }
    }

    /// Appends events to `out` until it holds `room` bytes. `may_read` says whether the node has
    /// room for a page of the log's files, and `moved` has the error for a watch that knows more
    /// than this node, if another node may have it.
    pub fn fill(
        &mut self,
        out: &mut BytesMut,
        room: usize,
        may_read: impl FnMut() -> bool,
        moved: impl Fn() -> Option<Error>,
    ) {
        if let Some(news) = &mut self.news {
            // Marked as seen before the stream is read, so that later changes wake the connection.
            news.borrow_and_update();
        }
        let Self { stream, open, more, is_denied, .. } = self;
        (*more, *is_denied) = (false, false);
        let mut turn = Turn::of(open);
        let mut round = Round { stream, room, may_read, moved };
        open.retain_mut(|watching| match watching.fill(&mut round, &mut turn, out) {
            Ok(has_more) => {
                *more |= has_more;
                true
            }
            Err(error) => {
                protocol::encode_error(watching.request_id, &error, out);
                false
            }
        });
        // The watch that had its page goes to the end, so that the others get theirs.
        if let Some(at) = open.iter().position(|watching| Some(watching.request_id) == turn.had) {
            open[at..].rotate_left(1);
        }
        *is_denied = turn.is_denied;
        *more |= turn.is_wanted && !turn.is_denied && Turn::of(open).is_free;
    }

    /// When the next heartbeat is due, or a wait is over; `None` without watches.
    pub fn next_heartbeat(&self) -> Option<Instant> {
        let due = |watching: &Watching| watching.waits_until.unwrap_or(watching.told + HEARTBEAT);
        self.open.iter().map(due).min()
    }

    /// Waits until there may be events to send. The caller polls it only while there is room for
    /// them.
    pub async fn changed(&mut self) {
        let Self { open, news, more, is_denied, .. } = self;
        if *more {
            // Other connections of this worker run before the next [`Watches::fill`].
            return tokio::task::yield_now().await;
        }
        let news = async {
            let looks = match news {
                Some(news) => news.changed().await.is_ok(),
                None => false,
            };
            if !looks {
                // The stream ends only with the server, and the connection learns of that from
                // `stop`.
                pending::<()>().await;
            }
        };
        let read = poll_fn(|context| {
            for watching in open.iter_mut() {
                if let Files::Reading(answer) = &mut watching.files
                    && let Poll::Ready(read) = Pin::new(answer).poll(context)
                {
                    let ended = || Err(Error::not_applied("watch: the server is stopping"));
                    watching.files = Files::Read(read.unwrap_or_else(|_| ended()));
                    return Poll::Ready(());
                }
            }
            Poll::Pending
        });
        let retry = is_denied.then(|| Instant::now() + Duration::from_millis(WATCH_RETRY_MS));
        tokio::select! {
            () = news => {}
            () = read => {}
            () = until(retry) => {}
        }
    }
}

/// Which watch of a connection may read the log's files in this round of [`Watches::fill`].
struct Turn {
    is_free: bool,
    /// A watch would read, but another one has the turn.
    is_wanted: bool,
    /// A watch would read, but the node has no room for its page.
    is_denied: bool,
    /// The request id of the watch that sent its page in this round.
    had: Option<u64>,
}

impl Turn {
    fn of(open: &[Watching]) -> Self {
        let is_free = open.iter().all(|watching| matches!(watching.files, Files::At(_)));
        Self { is_free, is_wanted: false, is_denied: false, had: None }
    }
}

/// What all watches of a connection share in one round: the stream, and the room to write to.
struct Round<'a, F, M> {
    stream: &'a WatchHub,
    room: usize,
    may_read: F,
    moved: M,
}

impl Watching {
    /// Appends events of this watch while there is room. Returns whether more may be left.
    fn fill(
        &mut self,
        round: &mut Round<'_, impl FnMut() -> bool, impl Fn() -> Option<Error>>,
        turn: &mut Turn,
        out: &mut BytesMut,
    ) -> Result<bool, Error> {
        let stream = round.stream;
        if let Some(until) = self.waits_until {
            if stream.is_behind(self.position) {
                if Instant::now() < until {
                    return Ok(false);
                }
                if let Some(moved) = (round.moved)() {
                    return Err(moved);
                }
                // Nobody has more than the active: the offset is of no log.
                let lost = ResumeState::lost(self.position);
                self.files = Files::Reading(stream.read_files(lost, self.position));
                self.greeted = true;
            }
            self.waits_until = None;
        }
        if !self.greeted || self.told.elapsed() >= HEARTBEAT {
            self.greeted = true;
            self.told = Instant::now();
            protocol::encode_body(self.request_id, &body(&stream.heartbeat(self.position)), out);
        }
        while out.len() < round.room {
            match std::mem::replace(&mut self.files, Files::At(ResumeState::at(self.position))) {
                Files::Read(read) => {
                    let (page, state) = read?;
                    self.tell(&page, usize::MAX, out);
                    self.files = Files::At(state);
                    turn.had = Some(self.request_id);
                }
                reading @ Files::Reading(_) => {
                    self.files = reading;
                    return Ok(false);
                }
                Files::At(state) => match stream.next(self.position, self.is_live) {
                    Next::Page(page) => {
                        self.is_live = true;
                        self.tell(&page, round.room, out);
                    }
                    Next::Nothing => {
                        self.is_live = true;
                        self.files = Files::At(state);
                        return Ok(false);
                    }
                    Next::InFiles(_) if self.is_live => {
                        return Err(stream.too_slow(self.position));
                    }
                    Next::InFiles(_) if !turn.is_free || turn.had == Some(self.request_id) => {
                        turn.is_wanted = true;
                        // The watch that has the turn keeps its open file and its read-ahead.
                        if turn.had == Some(self.request_id) {
                            self.files = Files::At(state);
                        }
                        return Ok(false);
                    }
                    Next::InFiles(_) if turn.is_denied || !(round.may_read)() => {
                        turn.is_denied = true;
                        self.files = Files::At(state);
                        return Ok(false);
                    }
                    Next::InFiles(until) => {
                        turn.is_free = false;
                        self.files = Files::Reading(stream.read_files(state, until));
                    }
                },
            }
        }
        Ok(true)
    }

    /// Appends the changes of a page to `out` until it holds `bytes_max` bytes.
    fn tell(&mut self, page: &Page, bytes_max: usize, out: &mut BytesMut) {
        for (lsn, body) in page.encoded_after(self.position, body) {
            if out.len() >= bytes_max {
                return;
            }
            protocol::encode_body(self.request_id, body, out);
            self.position = lsn;
            self.told = Instant::now();
        }
        self.position = self.position.max(page.last);
    }
}

fn body(event: &WatchEvent) -> Vec<u8> {
    let body = protocol::body_of(&Reply::Watch(event.clone()));
    // Encoding to memory does not fail.
    debug_assert!(body.is_ok(), "{body:?}");
    body.unwrap_or_default()
}

/// Waits until `time`; never completes without one.
pub async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => pending().await,
    }
}
