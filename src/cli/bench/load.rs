//! The load side: connections that keep requests in flight, and the latencies of their replies.
//!
//! A thread drives its part of the connections in rounds. A round fills the output of each
//! connection with requests, up to the depth, and writes it. It waits until a connection has
//! something to read, and takes the replies. So every connection has one turn per round. (With one
//! task per connection, the scheduler served some twenty times as often as others.)
//!
//! - **Closed loop**: a request follows a reply. Its latency counts from the moment at which it is
//!   encoded.
//! - **Open loop** (`--rate`): requests are due at fixed times, and their latency counts from then.
//!   So a server that stops for a while pays for every request that was due meanwhile. That
//!   includes requests that could not be sent because the depth was reached.
//!
//! With `--seconds`, the replies between the end of the warm-up and the end count. With
//! `--requests`, exactly this many requests after the warm-up count, with all their replies.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use hdrhistogram::Histogram;
use tokio::task::{unconstrained, yield_now};
use tokio::time::{sleep, timeout};

use super::socket::Socket;
use super::wire::{Cut, GREETING, RequestSlot, Wire};
use super::work::LoadRequests;
use crate::cli::Failure;
use crate::client::ClientTls;

/// Free space reserved before each read, in bytes.
const READ_BYTES: usize = 64 << 10;
/// Longest wait for a connection and the reply to its greeting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for the replies that are left at the end of a run.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);
/// How late a timer may fire. The last part of a wait has this length, and uses no timer.
const TIMER_SLACK: Duration = Duration::from_millis(2);
/// Longest latency that the histogram can hold: ten minutes. Longer ones count as this.
const LATENCY_NS_MAX: u64 = 600_000_000_000;
/// Most different faults that a report keeps.
const FAULTS_MAX: usize = 8;

/// The part of a run that one thread does.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    /// The address of the server.
    pub addr: String,
    /// The certificates to trust for TLS; `None` for plain connections.
    pub tls: Option<ClientTls>,
    /// How many connections this thread has.
    pub connections: usize,
    /// Most requests in flight on each connection.
    pub depth: u16,
    /// How long the load runs before replies count.
    pub warmup: Duration,
    /// How long the run measures, unless `requests` is set.
    pub span: Duration,
    /// How many requests to measure. `None` if the run measures for a time.
    pub requests: Option<u64>,
    /// In the open loop, the time between two requests of one connection; `None` in the closed
    /// loop.
    pub interval: Option<Duration>,
    /// In the open loop, how much later each connection sends its first request than the one
    /// before.
    pub stagger: Duration,
}

/// The results of one thread, or of several together.
pub struct Measured {
    /// Latencies of the reads that succeeded, in ns.
    pub reads: Histogram<u64>,
    /// Latencies of the writes that succeeded, in ns.
    pub writes: Histogram<u64>,
    /// Replies that report an error.
    pub errors: u64,
    /// The first few different faults, and how often each occurred.
    pub faults: BTreeMap<String, u64>,
    /// Bytes of the replies that count in the results.
    pub reply_bytes: u64,
    /// In the open loop, requests that were due but found no free slot until the end.
    pub not_sent: u64,
    /// When the last reply came that counts.
    pub last: Option<Instant>,
}

impl Measured {
    /// Results of a thread that has measured nothing yet.
    pub fn new() -> Result<Self, Failure> {
        let latency = Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3);
        let reads = latency.map_err(|error| Failure::new(error.to_string()))?;
        let (writes, faults) = (reads.clone(), BTreeMap::new());
        Ok(Self { reads, writes, errors: 0, faults, reply_bytes: 0, not_sent: 0, last: None })
    }

    /// Adds what another thread measured.
    pub fn add(&mut self, other: &Self) -> Result<(), Failure> {
        for (mine, theirs) in [(&mut self.reads, &other.reads), (&mut self.writes, &other.writes)] {
            mine.add(theirs).map_err(|error| Failure::new(error.to_string()))?;
        }
        self.errors += other.errors;
        for (fault, count) in &other.faults {
            self.note(fault, *count);
        }
        self.reply_bytes += other.reply_bytes;
        self.not_sent += other.not_sent;
        self.last = self.last.max(other.last);
        Ok(())
    }

    fn note(&mut self, fault: &str, count: u64) {
        if let Some(known) = self.faults.get_mut(fault) {
            *known += count;
        } else if self.faults.len() < FAULTS_MAX {
            self.faults.insert(fault.to_owned(), count);
        }
    }
}

/// Signals between a thread and the thread that started it.
pub struct Signals {
    /// Where the thread reports that all of its connections are open.
    pub ready: mpsc::Sender<()>,
    /// Brings the time at which all threads begin the load.
    pub begin: mpsc::Receiver<Instant>,
    /// How many replies of all threads count so far.
    pub progress: Arc<AtomicU64>,
}

/// Runs one thread's part of the load. `wire` makes the protocol state of each connection.
///
/// # Errors
/// If a connection breaks, or its bytes are not a reply. A request that the server rejects is only
/// counted.
pub fn drive<W: Wire>(
    plan: &LoadPlan,
    asks: LoadRequests,
    wire: impl Fn() -> W,
    signals: Signals,
) -> Result<Measured, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    // Each round polls all connections. The runtime would throttle a task that polls so much.
    runtime.block_on(unconstrained(async {
        let mut lines = Vec::new();
        for _ in 0..plan.connections {
            lines.push(Line::open(plan, wire()).await?);
        }
        // If another thread failed, the thread that started this one gives up, and sends no begin.
        let gone = || Failure::new("another thread failed");
        signals.ready.send(()).map_err(|_| gone())?;
        let began = signals.begin.recv().map_err(|_| gone())?;
        let from = began + plan.warmup;
        let mut due = began;
        for line in &mut lines {
            line.pace = plan.interval.map(|interval| Pace { due, interval });
            due += plan.stagger;
        }
        let mut shared = Shared {
            asks,
            measured: Measured::new()?,
            left: plan.requests.unwrap_or(u64::MAX),
            counts_requests: plan.requests.is_some(),
            from,
            until: plan.requests.is_none().then(|| from + plan.span),
            progress: signals.progress,
        };
        rounds(&mut lines, &mut shared).await?;
        shared.note_not_sent(&lines);
        Ok(shared.measured)
    }))
}

/// Runs rounds until every request was sent and has its reply.
async fn rounds<W: Wire>(lines: &mut [Line<W>], shared: &mut Shared) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::new(format!("a connection broke: {error}"));
    let mut drain_until = None;
    loop {
        let now = Instant::now();
        let mut wake: Option<Instant> = None;
        for line in lines.iter_mut() {
            line.fill(shared, now);
            line.write().map_err(failed)?;
            let due = line.pace.as_ref().map(|pace| pace.due).filter(|_| !line.free.is_empty());
            wake = wake.into_iter().chain(due).min();
        }
        if shared.is_over(now) {
            if lines.iter().all(Line::is_idle) {
                return Ok(());
            }
            let until = *drain_until.get_or_insert(now + DRAIN_TIMEOUT);
            if now >= until {
                return Err(Failure::new("requests were not answered"));
            }
            wake = Some(until);
        }
        // The wait ends at the end of the run, even if the server is silent.
        let wake = wake.or(shared.until);
        let ready = poll_fn(|context| any_ready(lines, context));
        match wake {
            None => ready.await,
            Some(wake) => tokio::select! {
                () = ready => {}
                () = until(wake) => {}
            },
        }
        for line in lines.iter_mut().filter(|line| line.is_ready) {
            line.read().map_err(failed)?;
            line.take_replies(shared)?;
        }
    }
}

/// Marks the connections that can be read or written now. Ready if there is one.
fn any_ready<W: Wire>(lines: &mut [Line<W>], context: &mut Context<'_>) -> Poll<()> {
    let mut any = false;
    for line in lines {
        line.is_ready = line.poll_ready(context);
        any |= line.is_ready;
    }
    if any { Poll::Ready(()) } else { Poll::Pending }
}

/// State that the connections of a thread share.
struct Shared {
    asks: LoadRequests,
    measured: Measured,
    /// With `--requests`, how many requests that count may still be sent.
    left: u64,
    counts_requests: bool,
    /// When the warm-up ends: only later requests or replies count.
    from: Instant,
    until: Option<Instant>,
    progress: Arc<AtomicU64>,
}

impl Shared {
    /// Whether the run sends no further request.
    fn is_over(&self, now: Instant) -> bool {
        self.left == 0 || self.until.is_some_and(|until| now >= until)
    }

    /// Whether one more request may be sent. If so, counts it as sent.
    fn may_send(&mut self, now: Instant) -> bool {
        if self.is_over(now) {
            return false;
        }
        if self.counts_requests && now >= self.from {
            self.left -= 1;
        }
        true
    }

    /// Whether the reply to the request `sent`, which comes at `now`, counts in the results.
    fn counts(&self, sent: Sent, now: Instant) -> bool {
        if self.counts_requests {
            sent.at >= self.from
        } else {
            now >= self.from && self.until.is_none_or(|until| now < until)
        }
    }

    /// Counts requests of the open loop that were due before the end, but found no free slot.
    fn note_not_sent<W>(&mut self, lines: &[Line<W>]) {
        let Some(until) = self.until else { return };
        for pace in lines.iter().filter_map(|line| line.pace.as_ref()) {
            let late = until.saturating_duration_since(pace.due).as_nanos();
            let not_sent = late.checked_div(pace.interval.as_nanos()).unwrap_or(0);
            self.measured.not_sent += u64::try_from(not_sent).unwrap_or(u64::MAX);
        }
    }
}

/// When one connection sends, in the open loop.
struct Pace {
    /// When the next request is due.
    due: Instant,
    interval: Duration,
}

/// The times of one request that has no reply yet.
#[derive(Clone, Copy)]
struct Sent {
    /// When the request was sent.
    at: Instant,
    /// When the request was due; its latency counts from here.
    due: Instant,
    is_write: bool,
}

/// One connection with its protocol and its open requests.
struct Line<W> {
    stream: Socket,
    wire: W,
    input: BytesMut,
    output: BytesMut,
    /// The open requests by slot; slot 0 is never used.
    sent: Vec<Sent>,
    free: Vec<RequestSlot>,
    depth: usize,
    pace: Option<Pace>,
    /// Whether the connection can be read, or written while bytes wait for it. [`any_ready`] sets
    /// it.
    is_ready: bool,
}

impl<W: Wire> Line<W> {
    /// Connects, sends the greeting if the protocol has one, and waits for its reply.
    async fn open(plan: &LoadPlan, wire: W) -> Result<Self, Failure> {
        let (addr, depth) = (&plan.addr, plan.depth);
        let failed = |error: io::Error| Failure::new(format!("{addr}: {error}"));
        let opening = async {
            let stream = Socket::connect(addr, plan.tls.as_ref()).await?;
            let now = Instant::now();
            let mut line = Self {
                stream,
                wire,
                input: BytesMut::new(),
                output: BytesMut::new(),
                sent: vec![Sent { at: now, due: now, is_write: false }; usize::from(depth) + 1],
                free: (1..=depth).rev().collect(),
                depth: depth.into(),
                pace: None,
                is_ready: false,
            };
            line.wire.greeting(&mut line.output);
            let mut waits = !line.output.is_empty();
            while waits {
                line.write().map_err(failed)?;
                line.wait().await;
                line.read().map_err(failed)?;
                if let Some(cut) = line.cut()? {
                    if let Some(fault) = cut.fault.filter(|_| cut.slot == GREETING) {
                        return Err(Failure::new(format!("{addr}: {fault}")));
                    }
                    waits = false;
                }
            }
            Ok(line)
        };
        timeout(CONNECT_TIMEOUT, opening)
            .await
            .unwrap_or_else(|_| Err(Failure::new(format!("{addr}: no connection in time"))))
    }

    /// Whether every request of the connection has its reply.
    fn is_idle(&self) -> bool {
        self.free.len() == self.depth
    }

    /// Appends requests to the output: up to the depth, and in the open loop only those that are
    /// due.
    fn fill(&mut self, shared: &mut Shared, now: Instant) {
        while !self.free.is_empty() {
            let due = match &self.pace {
                None => now,
                Some(pace) if pace.due <= now => pace.due,
                Some(_) => break,
            };
            if !shared.may_send(now) {
                break;
            }
            if let Some(pace) = &mut self.pace {
                pace.due += pace.interval;
            }
            let Some(slot) = self.free.pop() else { break };
            let ask = shared.asks.draw();
            if let Some(place) = self.sent.get_mut(usize::from(slot)) {
                *place = Sent { at: now, due, is_write: ask.is_write() };
            }
            self.wire.encode(ask, slot, &mut self.output);
        }
    }

    /// Takes all complete replies in the input, and records those that count.
    fn take_replies(&mut self, shared: &mut Shared) -> Result<(), Failure> {
        let now = Instant::now();
        let mut counted = 0;
        while let Some(Cut { bytes, slot, fault }) = self.cut()? {
            let Some(sent) = self.sent.get(usize::from(slot)).copied().filter(|_| slot > 0) else {
                return Err(Failure::new(format!("a reply to request {slot}, which is not open")));
            };
            self.free.push(slot);
            if self.free.len() > self.depth {
                return Err(Failure::new(format!("two replies to request {slot}")));
            }
            if !shared.counts(sent, now) {
                continue;
            }
            counted += 1;
            let measured = &mut shared.measured;
            measured.reply_bytes += u64::try_from(bytes).unwrap_or(0);
            measured.last = Some(now);
            match fault {
                None => {
                    let latency = now.saturating_duration_since(sent.due).as_nanos();
                    let alike =
                        if sent.is_write { &mut measured.writes } else { &mut measured.reads };
                    alike.saturating_record(u64::try_from(latency).unwrap_or(u64::MAX));
                }
                Some(fault) => {
                    measured.errors += 1;
                    measured.note(&fault, 1);
                }
            }
        }
        if counted > 0 {
            shared.progress.fetch_add(counted, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Takes the first reply from the input; `None` while it is incomplete.
    fn cut(&mut self) -> Result<Option<Cut>, Failure> {
        let cut = self.wire.cut(&self.input).map_err(Failure::new)?;
        if let Some(cut) = &cut {
            self.input.advance(cut.bytes);
        }
        Ok(cut)
    }

    /// Writes as many bytes of the output as the socket takes.
    fn write(&mut self) -> io::Result<()> {
        self.stream.flush()?;
        while !self.output.is_empty() {
            match self.stream.try_write(&self.output) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => self.output.advance(bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read(&mut self) -> io::Result<()> {
        self.input.reserve(READ_BYTES);
        match self.stream.try_read_buf(&mut self.input) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Waits until the connection can be read, or written while bytes wait for it.
    async fn wait(&self) {
        poll_fn(|context| if self.poll_ready(context) { Poll::Ready(()) } else { Poll::Pending })
            .await;
    }

    /// Whether a read or a write can do something now. An error counts, because the next read or
    /// write returns it.
    fn poll_ready(&self, context: &mut Context<'_>) -> bool {
        let readable = self.stream.poll_read_ready(context).is_ready();
        let waits_to_write = !self.output.is_empty() || self.stream.holds_bytes();
        readable || (waits_to_write && self.stream.poll_write_ready(context).is_ready())
    }
}

/// Sleeps until `time`. For the last milliseconds it waits without a timer, which could be late.
async fn until(time: Instant) {
    loop {
        let left = time.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        if left > TIMER_SLACK {
            sleep(left - TIMER_SLACK).await;
        } else {
            yield_now().await;
        }
    }
}
