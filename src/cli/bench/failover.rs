//! `bench failover`: writes to the members of a journal, whichever is the active, and shows how the
//! writes go on when it ends.
//!
//! Each writer has a chat of its own and takes one sequence of it after the other, each with an
//! idempotency key. It repeats a write until it knows the outcome, so each write must bring the very
//! next sequence: a lost or doubled write shows at once.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use serde::Serialize;
use tokio::task::{JoinSet, LocalSet};

use crate::cli::result_file::{print, print_json_line};
use crate::cli::{ConnectArgs, Failure};
use crate::client::ClusterClient;
use crate::command::advance::Advance;
use crate::command::create::Create;
use crate::command::dissolve::Dissolve;
use crate::command::{Call, Error, Reply};
use crate::types::{ChatId, ChatType, IdempotencyKey, Invalid, UserId};

/// The series counts the writes of so long.
const PIECE: Duration = Duration::from_millis(100);
const PIECES_A_SECOND: usize = 10;
/// A time without an acknowledged write is listed from this length on.
const GAP_MIN: Duration = Duration::from_millis(500);
/// How long writers go on, behind the end, with a write whose outcome is not known.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause before a write is sent again.
const PAUSE: Duration = Duration::from_millis(50);

/// Arguments of `bench failover`.
#[derive(Debug, Clone, Args)]
pub struct FailoverArgs {
    /// The members, and how to connect to them.
    #[command(flatten)]
    pub connect: ConnectArgs,
    /// Writers, each with a connection and one write in flight
    #[arg(long, value_name = "N", default_value = "50")]
    pub writers: NonZeroUsize,
    /// Seconds to write
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Print one JSON object at the end, instead of a line each second
    #[arg(long)]
    pub json: bool,
}

/// A time without an acknowledged write.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Gap {
    /// When it began, in seconds after the first write.
    pub at_s: f64,
    /// How long it was, in seconds.
    pub seconds: f64,
}

/// What a run has found.
#[derive(Debug, Serialize)]
pub struct FailoverReport {
    /// Writers of the run.
    pub writers: usize,
    /// Writes that were acknowledged, each with the right sequence.
    pub acknowledged: u64,
    /// Acknowledged writes with a sequence that is not the next one.
    pub wrong: u64,
    /// Writes whose outcome was still not known at the end.
    pub unknown: u64,
    /// Replies with an error, by the error. Each was followed by another attempt.
    pub errors: BTreeMap<String, u64>,
    /// The longest time without an acknowledged write, in seconds.
    pub longest_gap_s: f64,
    /// All such times of half a second and more.
    pub gaps: Vec<Gap>,
    /// Acknowledged writes in each 100 ms.
    pub each_100_ms: Vec<u64>,
}

/// What all writers count together.
struct Count {
    began: Instant,
    ends: Instant,
    acknowledged: Cell<u64>,
    wrong: Cell<u64>,
    unknown: Cell<u64>,
    errors: RefCell<BTreeMap<String, u64>>,
    newest: Cell<Instant>,
    gaps: RefCell<Vec<Gap>>,
    longest: Cell<Duration>,
    pieces: RefCell<Vec<u64>>,
}

/// Writes for a while, and prints what became of it.
pub async fn run(args: FailoverArgs) -> Result<(), Failure> {
    let count = LocalSet::new().run_until(write(&args)).await?;
    let report = count.report(args.writers.get());
    match args.json {
        true => print_json_line(&report)?,
        false => print(&report.lines())?,
    }
    match (report.wrong, report.unknown) {
        (0, 0) => Ok(()),
        (0, unknown) => Err(Failure::new(format!("{unknown} writes have no known outcome"))),
        (wrong, _) => Err(Failure::new(format!("{wrong} writes brought a wrong sequence"))),
    }
}

async fn write(args: &FailoverArgs) -> Result<Rc<Count>, Failure> {
    let run = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let mut writers = Vec::new();
    for number in 0..args.writers.get() {
        let client = args.connect.open().await?;
        let writer = Writer::create(client, format!("failover-{run}-{number}")).await;
        writers.push(writer.map_err(|error| Failure::new(error.to_string()))?);
    }
    let count = Rc::new(Count::new(Duration::from_secs(args.seconds)));
    let mut tasks = JoinSet::new();
    for writer in writers {
        tasks.spawn_local(writer.write(Rc::clone(&count)));
    }
    for second in 1..=args.seconds {
        tokio::time::sleep_until((count.began + Duration::from_secs(second)).into()).await;
        if !args.json {
            print(&format!("{second:4} s  {:7} writes", count.of_second(second)))?;
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| Failure::new(error.to_string()))?;
    }
    count.end(Instant::now());
    Ok(count)
}

/// One writer with its chat.
struct Writer {
    client: ClusterClient,
    chat_id: ChatId,
    written: u64,
}

impl Writer {
    async fn create(client: ClusterClient, name: String) -> Result<Self, Error> {
        let wrong = |invalid: Invalid| Error::invalid(invalid.to_string());
        let (chat_id, user) =
            (ChatId::new(&name).map_err(wrong)?, UserId::new(&name).map_err(wrong)?);
        let create = Create {
            id: Some(chat_id.clone()),
            chat_type: ChatType::Group,
            creator_id: user.clone(),
            is_enc: None,
            created_at: None,
            user_ids: vec![user],
            idempotency_key: Some(IdempotencyKey::new(&name).map_err(wrong)?),
        };
        client.call(create.into()).await?;
        Ok(Self { client, chat_id, written: 0 })
    }

    async fn write(mut self, count: Rc<Count>) {
        let mut is_open = false;
        while Instant::now() < if is_open { count.ends + PATIENCE } else { count.ends } {
            let next = self.written + 1;
            let Ok(key) = IdempotencyKey::new(&format!("{}-{next}", self.chat_id)) else { return };
            let advance = Advance {
                chat_id: self.chat_id.clone(),
                to: None,
                allocate: Some(1),
                time: None,
                sender_id: None,
                force: None,
                idempotency_key: Some(key),
                if_version: None,
            };
            match self.client.call(advance.into()).await {
                Ok(reply) => {
                    (self.written, is_open) = (next, false);
                    let sequence = match reply {
                        Reply::Advance(advanced) => advanced.last_sequence.get(),
                        _ => 0,
                    };
                    count.acknowledge(Instant::now(), sequence == next);
                }
                Err(error) => {
                    is_open = true;
                    *count.errors.borrow_mut().entry(error.to_string()).or_default() += 1;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        if is_open {
            count.unknown.set(count.unknown.get() + 1);
        }
        let chat_id = self.chat_id;
        let dissolve = Dissolve { chat_id, idempotency_key: None, if_version: None };
        // If it fails, a chat is left that nobody else uses.
        drop(self.client.call(dissolve.into()).await);
    }
}

impl Count {
    fn new(span: Duration) -> Self {
        let began = Instant::now();
        Self {
            began,
            ends: began + span,
            acknowledged: Cell::default(),
            wrong: Cell::default(),
            unknown: Cell::default(),
            errors: RefCell::default(),
            newest: Cell::new(began),
            gaps: RefCell::default(),
            longest: Cell::default(),
            pieces: RefCell::default(),
        }
    }

    fn acknowledge(&self, now: Instant, is_next: bool) {
        let counted = if is_next { &self.acknowledged } else { &self.wrong };
        counted.set(counted.get() + 1);
        self.note_gap(now);
        let piece = now.saturating_duration_since(self.began).as_millis() / PIECE.as_millis();
        let piece = usize::try_from(piece).unwrap_or(usize::MAX);
        let mut pieces = self.pieces.borrow_mut();
        if pieces.len() <= piece {
            pieces.resize(piece.saturating_add(1), 0);
        }
        if let Some(count) = pieces.get_mut(piece) {
            *count += 1;
        }
    }

    /// Notes the time since the newest acknowledged write, which ends now.
    fn note_gap(&self, now: Instant) {
        let began = self.newest.replace(now);
        let gap = now.saturating_duration_since(began);
        self.longest.set(self.longest.get().max(gap));
        if gap >= GAP_MIN {
            let at_s = began.saturating_duration_since(self.began).as_secs_f64();
            self.gaps.borrow_mut().push(Gap { at_s, seconds: gap.as_secs_f64() });
        }
    }

    /// Notes the gap that lasts to the end of the run. Writers that still waited for an outcome have
    /// tried until `now`.
    fn end(&self, now: Instant) {
        if self.newest.get() < self.ends {
            self.note_gap(if self.unknown.get() > 0 { now } else { self.ends });
        }
    }

    /// Writes that were acknowledged in a second, counted from 1.
    fn of_second(&self, second: u64) -> u64 {
        let from = usize::try_from(second.saturating_sub(1)).unwrap_or(usize::MAX);
        let pieces = self.pieces.borrow();
        pieces.iter().skip(from.saturating_mul(PIECES_A_SECOND)).take(PIECES_A_SECOND).sum()
    }

    fn report(&self, writers: usize) -> FailoverReport {
        FailoverReport {
            writers,
            acknowledged: self.acknowledged.get(),
            wrong: self.wrong.get(),
            unknown: self.unknown.get(),
            errors: self.errors.borrow().clone(),
            longest_gap_s: self.longest.get().as_secs_f64(),
            gaps: self.gaps.borrow().clone(),
            each_100_ms: self.pieces.borrow().clone(),
        }
    }
}

impl FailoverReport {
    /// The report for people.
    fn lines(&self) -> String {
        let mut lines = vec![format!(
            "{} writes acknowledged, {} with a wrong sequence, {} without a known outcome",
            self.acknowledged, self.wrong, self.unknown
        )];
        lines.push(format!("longest time without one: {:.3} s", self.longest_gap_s));
        let gaps = self.gaps.iter();
        lines.extend(gaps.map(|gap| format!("  at {:.1} s: {:.3} s", gap.at_s, gap.seconds)));
        let errors = self.errors.iter();
        lines.extend(errors.map(|(error, count)| format!("  {count} x {error}")));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_counted_by_time_and_gaps_are_listed() {
        let count = Count::new(Duration::from_secs(10));
        let at = |ms: u64| count.began + Duration::from_millis(ms);
        for ms in [10, 20, 150, 1900, 1901] {
            count.acknowledge(at(ms), ms != 1901);
        }
        let report = count.report(1);
        assert_eq!((report.acknowledged, report.wrong), (4, 1));
        assert_eq!(report.each_100_ms[..3], [2, 1, 0]);
        assert_eq!((count.of_second(1), count.of_second(2), count.of_second(3)), (3, 2, 0));
        assert_eq!(report.gaps, [Gap { at_s: 0.15, seconds: 1.75 }]);
        assert!((report.longest_gap_s - 1.75).abs() < 1e-9);
        count.end(at(10_100));
        let last = count.report(1).gaps[1];
        assert!((last.seconds - 8.099).abs() < 1e-9, "to the end of the run: {last:?}");

        let count = Count::new(Duration::from_secs(10));
        count.unknown.set(1);
        count.end(count.began + Duration::from_secs(70));
        assert_eq!(count.report(1).gaps, [Gap { at_s: 0.0, seconds: 70.0 }]);
    }
}
