//! The load side: connections that keep requests in flight, and the latencies of their replies.
//!
//! A thread drives its share of the connections in rounds: fill each output with as many requests as
//! the depth allows, write, wait until one of them has something, cut what came, and begin again.
//! In a round every connection has its turn once. (A task for each was tried: the scheduler served
//! some twenty times as often as others.)
//!
//! - **Closed loop**: a request follows a reply. The latency counts from when it was encoded.
//! - **Open loop** (`--rate`): requests are due at fixed times, whatever the server does, and the
//!   latency counts from then. A server that stops for a while is charged for all that was due
//!   meanwhile, also for what could not be sent because the depth was reached.
//!
//! What counts: with `--seconds` the replies that come between the end of the warm-up and the end;
//! with `--requests` exactly so many requests behind the warm-up, and all their replies.

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

/// Free space asked for before a read.
const READ_BYTES: usize = 64 << 10;
/// How long connecting and greeting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the last replies may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);
/// A timer is this imprecise; what is nearer is waited for without one.
const TIMER_SLACK: Duration = Duration::from_millis(2);
/// Longest latency that is told apart.
const LATENCY_NS_MAX: u64 = 600_000_000_000;
/// Different faults that are kept.
const FAULTS_MAX: usize = 8;

/// What every thread does.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    /// Where the server is.
    pub addr: String,
    /// TLS, if it is spoken.
    pub tls: Option<ClientTls>,
    /// Connections of this thread.
    pub connections: usize,
    /// Requests in flight on each.
    pub depth: u16,
    /// Seconds that do not count.
    pub warmup: Duration,
    /// How long to measure, unless requests are counted.
    pub span: Duration,
    /// How many requests, instead.
    pub requests: Option<u64>,
    /// Time between two requests of a connection, in the open loop.
    pub interval: Option<Duration>,
    /// Between the first requests of two connections, in the open loop.
    pub stagger: Duration,
}

/// What came of it.
pub struct Measured {
    /// Latencies of the reads that succeeded, in ns.
    pub reads: Histogram<u64>,
    /// The same of the writes.
    pub writes: Histogram<u64>,
    /// Replies that are no success.
    pub errors: u64,
    /// The first few kinds of them, and how often each came.
    pub faults: BTreeMap<String, u64>,
    /// Bytes of the replies.
    pub reply_bytes: u64,
    /// Requests that were due in the open loop and could not be sent.
    pub not_sent: u64,
    /// When the last reply that counts came.
    pub last: Option<Instant>,
}

impl Measured {
    /// Nothing yet.
    pub fn new() -> Result<Self, Failure> {
        let latency = Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3);
        let reads = latency.map_err(|error| Failure::new(error.to_string()))?;
        let (writes, faults) = (reads.clone(), BTreeMap::new());
        Ok(Self { reads, writes, errors: 0, faults, reply_bytes: 0, not_sent: 0, last: None })
    }

    /// Adds another thread's.
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

/// How threads and whoever started them talk.
pub struct Signals {
    /// Told when the connections are there.
    pub ready: mpsc::Sender<()>,
    /// Tells when to begin.
    pub begin: mpsc::Receiver<Instant>,
    /// Replies that count so far, of all threads.
    pub progress: Arc<AtomicU64>,
}

/// One thread's whole run. `wire` makes each connection's side of the protocol.
///
/// # Errors
/// If a connection breaks or what comes is no reply. Faults of single requests are counted.
pub fn drive<W: Wire>(
    plan: &LoadPlan,
    asks: LoadRequests,
    wire: impl Fn() -> W,
    signals: Signals,
) -> Result<Measured, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    // All connections are polled in each round, which the runtime would take for a task that hogs it.
    runtime.block_on(unconstrained(async {
        let mut lines = Vec::new();
        for _ in 0..plan.connections {
            lines.push(Line::open(plan, wire()).await?);
        }
        // Nobody listens or says when to begin where another thread has failed.
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

/// Goes round until all is sent and answered.
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
        // A silent server must not keep the end from being seen.
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

/// Notes which connections may have something.
fn any_ready<W: Wire>(lines: &mut [Line<W>], context: &mut Context<'_>) -> Poll<()> {
    let mut any = false;
    for line in lines {
        line.is_ready = line.poll_ready(context);
        any |= line.is_ready;
    }
    if any { Poll::Ready(()) } else { Poll::Pending }
}

/// What the connections of a thread share.
struct Shared {
    asks: LoadRequests,
    measured: Measured,
    /// Requests behind the warm-up that may still be sent.
    left: u64,
    counts_requests: bool,
    /// The end of the warm-up.
    from: Instant,
    until: Option<Instant>,
    progress: Arc<AtomicU64>,
}

impl Shared {
    /// Whether nothing more is to be sent.
    fn is_over(&self, now: Instant) -> bool {
        self.left == 0 || self.until.is_some_and(|until| now >= until)
    }

    /// Whether one more request may be sent, which is then counted.
    fn may_send(&mut self, now: Instant) -> bool {
        if self.is_over(now) {
            return false;
        }
        if self.counts_requests && now >= self.from {
            self.left -= 1;
        }
        true
    }

    /// Whether a reply that comes now to a request sent then counts.
    fn counts(&self, sent: Sent, now: Instant) -> bool {
        if self.counts_requests {
            sent.at >= self.from
        } else {
            now >= self.from && self.until.is_none_or(|until| now < until)
        }
    }

    /// Counts what was due before the end and did not find its connection free.
    fn note_not_sent<W>(&mut self, lines: &[Line<W>]) {
        let Some(until) = self.until else { return };
        for pace in lines.iter().filter_map(|line| line.pace.as_ref()) {
            let late = until.saturating_duration_since(pace.due).as_nanos();
            let not_sent = late.checked_div(pace.interval.as_nanos()).unwrap_or(0);
            self.measured.not_sent += u64::try_from(not_sent).unwrap_or(u64::MAX);
        }
    }
}

/// The open loop of one connection.
struct Pace {
    /// When the next request is due.
    due: Instant,
    interval: Duration,
}

/// Of one open request.
#[derive(Clone, Copy)]
struct Sent {
    /// When it was sent.
    at: Instant,
    /// When it should have been.
    due: Instant,
    is_write: bool,
}

/// One connection.
struct Line<W> {
    stream: Socket,
    wire: W,
    input: BytesMut,
    output: BytesMut,
    /// By slot; slot 0 is none.
    sent: Vec<Sent>,
    free: Vec<RequestSlot>,
    depth: usize,
    pace: Option<Pace>,
    /// It may have something to read, or room for what is to be written.
    is_ready: bool,
}

impl<W: Wire> Line<W> {
    /// Connects and greets.
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

    /// Whether nothing is open.
    fn is_idle(&self) -> bool {
        self.free.len() == self.depth
    }

    /// Appends as many requests as may be in flight, or as are due.
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

    /// Takes all whole replies.
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

    /// Takes the first reply, if it is whole.
    fn cut(&mut self) -> Result<Option<Cut>, Failure> {
        let cut = self.wire.cut(&self.input).map_err(Failure::new)?;
        if let Some(cut) = &cut {
            self.input.advance(cut.bytes);
        }
        Ok(cut)
    }

    /// Writes what the socket takes.
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

    /// Waits for bytes, and for room where some are to be written.
    async fn wait(&self) {
        poll_fn(|context| if self.poll_ready(context) { Poll::Ready(()) } else { Poll::Pending })
            .await;
    }

    /// An error counts as ready: the next read or write tells it.
    fn poll_ready(&self, context: &mut Context<'_>) -> bool {
        let readable = self.stream.poll_read_ready(context).is_ready();
        let waits_to_write = !self.output.is_empty() || self.stream.holds_bytes();
        readable || (waits_to_write && self.stream.poll_write_ready(context).is_ready())
    }
}

/// Waits for a time, more exactly than a timer does.
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
