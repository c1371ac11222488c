//! Counts and durations of requests and turns, and their text for Prometheus.
//!
//! # Layout
//! - [`doors`]: the counters of a door
//! - [`journal`]: the figures of a member's journal
//! - [`exposition`]: the two forms of the text
//! - [`turns`]: how long tasks hold a core
//!
//! Invariants:
//! - [`Meter`] and [`Durations`] are plain data: to record is a few additions at fixed indexes,
//!   without allocation or atomics. Each core has its own, and they are merged when the metrics are
//!   read.
//! - Buckets are fixed: their upper bounds are 4 us times powers of two, up to 8.388608 s. One more
//!   bucket holds everything slower.
//! - Only commands that were seen are rendered, so the size of the text follows the use.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

pub mod doors;
pub mod exposition;
pub mod journal;
pub mod turns;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, EncodeMetric,
    MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::command::stats::{LogStats, ShardStats, SnapshotStats, StatsReply};
use crate::command::{ErrorCode, Kind};
use crate::types::ShardId;
use doors::DoorMeter;
pub use exposition::Form;
pub use journal::JournalMetrics;
pub use turns::Turns;

const KINDS: usize = Kind::ALL.len();
/// How many statuses are counted apart: 200, each error code, and all others together (405, 408,
/// 500).
const STATUSES: usize = ErrorCode::ALL.len() + 2;
const FIRST_BUCKET_NS: u64 = 4_000;
/// Buckets with an upper bound: 4 us, 8 us, ... 4 us * 2^21 = 8.388608 s.
const BOUNDED_BUCKETS: usize = 22;
const BUCKETS: usize = BOUNDED_BUCKETS + 1;

/// The requests of one door on one core: per command, how many had which status, and how long they
/// took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meter {
    kinds: [KindMeter; KINDS],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct KindMeter {
    statuses: [u64; STATUSES],
    durations: Durations,
}

/// A histogram of durations with fixed buckets, and the sum of all durations in ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Durations {
    buckets: [u64; BUCKETS],
    sum_ns: u64,
}

impl Default for Meter {
    fn default() -> Self {
        Self { kinds: [KindMeter::default(); KINDS] }
    }
}

impl Meter {
    /// Counts one request that got a reply with this status.
    pub fn record(&mut self, kind: Kind, status: u16, latency: Duration) {
        self.record_many(kind, status, latency, 1);
    }

    /// Counts `count` requests with this status. Each took `latency`.
    pub fn record_many(&mut self, kind: Kind, status: u16, latency: Duration, count: u64) {
        let Some(meter) = self.kinds.get_mut(kind.index()) else {
            return;
        };
        add(&mut meter.statuses, status_index(status), count);
        meter.durations.record_many(latency, count);
    }

    /// Adds the counts of another core.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.kinds.iter_mut().zip(&other.kinds) {
            add_all(&mut mine.statuses, &theirs.statuses);
            mine.durations.merge(&theirs.durations);
        }
    }

    /// How many requests were recorded, of all commands.
    #[cfg(test)]
    fn requests(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.durations.count()).sum()
    }

    /// How many recorded requests had another status than 200.
    #[cfg(test)]
    fn errors(&self) -> u64 {
        self.kinds.iter().flat_map(|kind| kind.statuses.iter().skip(1)).sum()
    }

    /// The commands that were requested at least once, with their counts.
    fn seen(&self) -> impl Iterator<Item = (&'static str, &KindMeter)> {
        let kinds = Kind::ALL.iter().map(|kind| kind.name()).zip(&self.kinds);
        kinds.filter(|(_, meter)| meter.durations.count() > 0)
    }
}

impl Durations {
    /// Counts one duration. If it is above the last bound, it goes to the bucket without a bound.
    pub fn record(&mut self, duration: Duration) {
        self.record_many(duration, 1);
    }

    fn record_many(&mut self, duration: Duration, count: u64) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns = self.sum_ns.saturating_add(ns.saturating_mul(count));
        add(&mut self.buckets, bucket_index(ns), count);
    }

    fn merge(&mut self, other: &Self) {
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        add_all(&mut self.buckets, &other.buckets);
    }

    fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        let mut encoder = encoder;
        let sum = Duration::from_nanos(self.sum_ns).as_secs_f64();
        let buckets: Vec<_> = bucket_bounds().zip(self.buckets).collect();
        encoder.encode_histogram::<NoLabelSet>(sum, self.count(), &buckets, None)
    }
}

fn add(counts: &mut [u64], index: usize, by: u64) {
    if let Some(count) = counts.get_mut(index) {
        *count = count.saturating_add(by);
    }
}

fn add_all(mine: &mut [u64], theirs: &[u64]) {
    for (mine, theirs) in mine.iter_mut().zip(theirs) {
        *mine = mine.saturating_add(*theirs);
    }
}

/// The index of a status in the counters: 0 for success, then each error code, then all others.
fn status_index(status: u16) -> usize {
    if status == 200 {
        return 0;
    }
    let known = ErrorCode::ALL.iter().position(|code| code.status() == status);
    known.map_or(STATUSES - 1, |position| position + 1)
}

/// The labels of the statuses, in the order of [`status_index`].
fn status_labels() -> impl Iterator<Item = String> {
    let codes = ErrorCode::ALL.iter().map(|code| code.status().to_string());
    std::iter::once("200".to_owned()).chain(codes).chain(std::iter::once("other".to_owned()))
}

/// The bucket for a duration: the first one whose upper bound is at least `ns`.
fn bucket_index(ns: u64) -> usize {
    let units = ns.div_ceil(FIRST_BUCKET_NS);
    // Each power of two has one bucket, so this finds the next one at or above `units`.
    let power = u64::BITS - units.saturating_sub(1).leading_zeros();
    usize::try_from(power).unwrap_or(BOUNDED_BUCKETS).min(BOUNDED_BUCKETS)
}

/// The upper bounds of the buckets in seconds. The last bound is infinite.
fn bucket_bounds() -> impl Iterator<Item = f64> {
    let bounds = (0..BOUNDED_BUCKETS)
        .map(|power| Duration::from_nanos(FIRST_BUCKET_NS << power).as_secs_f64());
    bounds.chain(std::iter::once(f64::INFINITY))
}

/// A [`Meter`] that a router can hold, which must be `Send`. Each core has its own, so its lock is
/// only waited for while the metrics are read.
#[derive(Debug, Clone, Default)]
pub struct SharedMeter(Arc<Mutex<Meter>>);

impl SharedMeter {
    /// Counts one request that got a reply with this status.
    pub fn record(&self, kind: Kind, status: u16, latency: Duration) {
        self.lock().record(kind, status, latency);
    }

    /// Adds the counts so far to `total`, for all cores together.
    pub fn merge_into(&self, total: &mut Meter) {
        total.merge(&self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Meter> {
        // A panic cannot leave plain counters half changed, so a poisoned lock is usable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All figures that [`render`] shows.
#[derive(Debug, Clone, Default)]
pub struct MetricsInput {
    /// The node's reply to `stats`; `None` while it starts.
    pub stats: Option<StatsReply>,
    /// Requests of the TCP door on all cores.
    pub tcp: Meter,
    /// Requests of the HTTP door on all cores.
    pub http: Meter,
    /// Requests to `/call` of the admin listener.
    pub call: Meter,
    /// For each shard the turns of its worker, and the longest of the last one to two minutes.
    pub turns: Vec<(ShardId, Durations, Duration)>,
    /// Counters of each door, including doors that are off.
    pub doors: Vec<Arc<DoorMeter>>,
    /// When the server's certificate expires, in seconds since the Unix epoch; `None` without one.
    pub certificate_end: Option<u64>,
    /// How far the wall clock is ahead of the time that commands use, in ms.
    pub wall_clock_ahead_ms: u64,
    /// Digests of the log that were compared, and those of them that differed.
    pub probes: (u64, u64),
    /// Figures of the journal; `None` without one.
    pub journal: Option<JournalMetrics>,
}

/// The metrics as text in the given form; figures that are not known are left out.
pub fn render(input: &MetricsInput, form: Form) -> String {
    let mut registry = Registry::with_prefix("chatshard");
    // The registry only accepts a collector without borrows. To copy some kilobytes every few
    // seconds is cheap.
    registry.register_collector(Box::new(Node(input.clone())));
    let mut text = String::with_capacity(32 << 10);
    match prometheus_client::encoding::text::encode(&mut text, &registry) {
        Ok(()) => form.write(text),
        // Writing to a string cannot fail. If it did, an empty page must still have its end.
        Err(fmt::Error) => form.write("# EOF\n".to_owned()),
    }
}

#[derive(Debug)]
struct Node(MetricsInput);

impl Collector for Node {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Self(MetricsInput {
            stats,
            tcp,
            http,
            call,
            turns,
            doors: door_meters,
            certificate_end,
            wall_clock_ahead_ms,
            probes: (compared, differences),
            journal,
        }) = self;
        let mut page = Page(encoder);
        let doors = [("tcp", tcp), ("http", http), ("call", call)];
        page.requests(&doors)?;
        page.durations(&doors)?;
        page.doors(door_meters)?;
        if let Some(end) = *certificate_end {
            let help = "When the certificate, or one between it and a root, ends";
            page.gauge("tls_certificate_end_timestamp_seconds", help, end)?;
        }
        page.info("build", "The running program", [("version", env!("CARGO_PKG_VERSION"))])?;
        // Unknown figures are left out: a 0 would look like a figure.
        let Some(stats) = stats else { return Ok(()) };
        let help = "How far the wall clock is ahead of the time that commands go by";
        page.gauge("wall_clock_ahead_seconds", help, seconds(*wall_clock_ahead_ms))?;
        page.node(stats)?;
        page.log(&stats.log)?;
        page.snapshot(&stats.snapshot)?;
        page.shards(&stats.shards)?;
        page.counter("probes", "Digests of the log that were compared", *compared)?;
        let help = "Digests of the log that are not those of the replayed state";
        page.counter("probe_differences", help, *differences)?;
        if let Some(journal) = journal {
            page.journal(journal)?;
        }
        page.turns(turns)
    }
}

/// Writes families of metrics, with one function for each shape.
struct Page<'a>(DescriptorEncoder<'a>);

type Doors<'a> = [(&'static str, &'a Meter)];

impl Page<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        let encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(encoder)
    }

    fn counter(&mut self, name: &str, help: &str, value: impl EncodeCounterValue) -> fmt::Result {
        let encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(encoder)
    }

    fn info(&mut self, name: &str, help: &str, labels: impl EncodeLabelSet) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(&labels)
    }

    fn requests(&mut self, doors: &Doors<'_>) -> fmt::Result {
        let help = "Requests answered, by door, command and status";
        let mut family = self.0.encode_descriptor("requests", help, None, MetricType::Counter)?;
        for &(door, meter) in doors {
            for (command, kind) in meter.seen() {
                for (status, &count) in status_labels().zip(&kind.statuses) {
                    if count > 0 {
                        let labels =
                            [("door", door), ("command", command), ("status", status.as_str())];
                        ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn durations(&mut self, doors: &Doors<'_>) -> fmt::Result {
        let name = "request_duration_seconds";
        let help = "Time from a request to its answer, in the server";
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for &(door, meter) in doors {
            for (command, kind) in meter.seen() {
                let labels = [("door", door), ("command", command)];
                kind.durations.encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn doors(&mut self, meters: &[Arc<DoorMeter>]) -> fmt::Result {
        let (name, help) = ("connections", "Open connections, by door");
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for meter in meters {
            let labels = [("door", meter.name())];
            ConstGauge::new(meter.open()).encode(family.encode_family(&labels)?)?;
        }
        let (name, help) = ("connections_dropped", "Connections closed by the door, by reason");
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for meter in meters {
            for (reason, count) in meter.dropped() {
                let labels = [("door", meter.name()), ("reason", reason)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "Long answers not given because too many others are unread";
        let mut family =
            self.0.encode_descriptor("answers_withheld", help, None, MetricType::Counter)?;
        for meter in meters {
            let labels = [("door", meter.name())];
            ConstCounter::new(meter.withheld()).encode(family.encode_family(&labels)?)?;
        }
        let (name, help) = ("credentials_refused", "Credentials refused by the door, by reason");
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for meter in meters {
            for (reason, count) in meter.refused() {
                let labels = [("door", meter.name()), ("reason", reason)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn node(&mut self, stats: &StatsReply) -> fmt::Result {
        self.gauge("uptime_seconds", "Time since the start", seconds(stats.uptime_ms))?;
        self.gauge("chats", "Chats, dissolved ones not counted", stats.chats)?;
        self.gauge("dissolved_chats", "Dissolved chats, whose ids are kept", stats.dissolved)?;
        self.gauge("users", "Users with at least one row", stats.users)?;
        self.gauge("memberships", "Memberships, deleted ones counted", stats.memberships)?;
        self.gauge("outbox", "Chat events still to be delivered", stats.outbox)?;
        // An unknown figure is left out: a 0 would look like a figure.
        if stats.memory_bytes > 0 {
            self.gauge("memory_bytes", "Resident memory of the process", stats.memory_bytes)?;
        }
        if stats.memory_live_bytes > 0 {
            let help = "Bytes that the program has allocated and not freed";
            self.gauge("memory_live_bytes", help, stats.memory_live_bytes)?;
        }
        let help = "1 while the system does not tell memory_bytes, which is the last known figure";
        self.gauge("memory_stale", help, stats.memory_stale)?;
        if stats.memory_max_bytes > 0 {
            let help = "Where new chats and members are refused";
            self.gauge("memory_max_bytes", help, stats.memory_max_bytes)?;
        }
        self.gauge("memory_full", "1 while new chats and members are refused", stats.memory_full)
    }

    fn log(&mut self, log: &LogStats) -> fmt::Result {
        self.info("log", "How the log is synced", [("mode", log.mode.as_str())])?;
        let help = "1 for the state that the log is in";
        let mut family = self.0.encode_descriptor("log_state", help, None, MetricType::Gauge)?;
        for state in ["ok", "stalled", "poisoned", "fenced"] {
            let value = u64::from(log.state == state);
            let labels = [("state", state)];
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        self.gauge("log_last_lsn", "Number of the newest record", log.last_lsn)?;
        self.gauge("log_durable_lsn", "Newest record that is synced", log.durable_lsn)?;
        self.gauge("log_queued_bytes", "Bytes that wait to be written", log.queued_bytes)?;
        self.counter("log_written_bytes", "Bytes written since the start", log.written_bytes)?;
        self.counter("log_syncs", "Syncs since the start", log.syncs)
    }

    fn snapshot(&mut self, snapshot: &SnapshotStats) -> fmt::Result {
        if snapshot.last_time > 0 {
            let (name, help) = ("snapshot_last_timestamp_seconds", "When it was published");
            self.gauge(name, help, seconds(snapshot.last_time))?;
        }
        // The duration of a snapshot is unknown if an earlier run took it.
        if snapshot.taken > 0 {
            let (name, help) = ("snapshot_last_duration_seconds", "How long it took");
            self.gauge(name, help, seconds(snapshot.last_duration_ms))?;
        }
        if snapshot.last_bytes > 0 {
            self.gauge("snapshot_last_bytes", "Size of the newest one", snapshot.last_bytes)?;
        }
        self.gauge("snapshot_running", "1 while one is written", snapshot.running)?;
        self.counter("snapshot_taken", "Snapshots since the start", snapshot.taken)?;
        self.counter("snapshot_failed", "Those that failed", snapshot.failed)
    }

    fn shards(&mut self, shards: &[ShardStats]) -> fmt::Result {
        type Field = fn(&ShardStats) -> u64;
        let gauges: [(&str, &str, Field); 6] = [
            ("shard_chats", "Chats on the shard", |shard| shard.chats),
            ("shard_dissolved_chats", "Dissolved chats on it", |shard| shard.dissolved),
            ("shard_users", "Users on it", |shard| shard.users),
            ("shard_memberships", "Rows on it", |shard| shard.memberships),
            ("shard_connections", "Connections on its core", |shard| shard.connections),
            ("shard_outbox", "Chat events still to be delivered", |shard| shard.outbox),
        ];
        for (name, help, field) in gauges {
            let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for shard in shards {
                let labels = [("shard", shard.shard)];
                ConstGauge::new(field(shard)).encode(family.encode_family(&labels)?)?;
            }
        }
        let (name, help) = ("shard_commands", "Commands that the shard ran");
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for shard in shards {
            let labels = [("shard", shard.shard)];
            ConstCounter::new(shard.commands).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn turns(&mut self, turns: &[(ShardId, Durations, Duration)]) -> fmt::Result {
        let help = "How long one piece of work held the shard's core while all others waited";
        let name = "turn_duration_seconds";
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (shard, durations, _) in turns {
            durations.encode(family.encode_family(&[("shard", shard.0)])?)?;
        }
        let (name, help) =
            ("turn_longest_seconds", "The longest of them in the last one to two minutes");
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (shard, _, longest) in turns {
            ConstGauge::new(longest.as_secs_f64())
                .encode(family.encode_family(&[("shard", shard.0)])?)?;
        }
        Ok(())
    }
}

fn seconds(milliseconds: u64) -> f64 {
    Duration::from_millis(milliseconds).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_is_at_or_below_its_bound() {
        let bounds: Vec<_> = bucket_bounds().collect();
        assert_eq!(bounds.len(), BUCKETS);
        assert_eq!(bounds[BOUNDED_BUCKETS - 1], 8.388_608);
        for ns in [0, 1, 4_000, 4_001, 8_000, 8_001, 1_000_000, 8_388_608_000, 8_388_608_001] {
            let index = bucket_index(ns);
            let seconds = Duration::from_nanos(ns).as_secs_f64();
            assert!(seconds <= bounds[index], "{ns}");
            assert!(index == 0 || seconds > bounds[index - 1], "{ns}");
        }
        assert_eq!(bucket_index(u64::MAX), BOUNDED_BUCKETS);
    }

    #[test]
    fn every_status_has_its_label() {
        let labels: Vec<_> = status_labels().collect();
        assert_eq!(labels.len(), STATUSES);
        for status in [200, 400, 429, 503] {
            assert_eq!(labels[status_index(status)], status.to_string());
        }
        assert_eq!(labels[status_index(405)], "other");
    }

    #[test]
    fn merging_adds_up() {
        let mut one = Meter::default();
        one.record(Kind::List, 200, Duration::from_micros(3));
        let mut other = one.clone();
        other.record(Kind::Import, 503, Duration::MAX);
        one.merge(&other);
        assert_eq!((one.requests(), one.errors()), (3, 1));

        let shared = SharedMeter::default();
        shared.record(Kind::List, 200, Duration::ZERO);
        shared.merge_into(&mut one);
        assert_eq!(one.requests(), 4);
    }

    #[test]
    fn only_commands_that_were_seen_are_rendered() {
        let mut input = MetricsInput::default();
        input.tcp.record(Kind::List, 200, Duration::from_micros(5));
        let mut stats = StatsReply::default();
        stats.log.state = "stalled".into();
        input.stats = Some(stats);
        let text = render(&input, Form::OpenMetrics);
        let seen = "chatshard_requests_total{door=\"tcp\",command=\"list\",status=\"200\"} 1\n";
        assert!(text.contains(seen), "{text}");
        assert!(text.contains("chatshard_log_state{state=\"stalled\"} 1\n"), "{text}");
        assert!(!text.contains("\"http\"") && !text.contains("\"detail\""), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn what_is_not_known_has_no_sample() {
        let text = render(&MetricsInput::default(), Form::Text);
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(
            matches!(samples[..], [build] if build.starts_with("chatshard_build_info{")),
            "{text}"
        );
        let stats = Some(StatsReply::default());
        let text = render(&MetricsInput { stats, ..Default::default() }, Form::Text);
        for unknown in ["snapshot_last", "memory_bytes", "memory_live", "memory_max"] {
            // The name may occur in the help of another family, so the line's beginning is
            // compared.
            let sample = format!("\nchatshard_{unknown}");
            assert!(!text.contains(&sample), "{unknown} is in {text}");
        }
    }

    #[test]
    fn the_longest_turn_is_told_beside_all_of_them() {
        let mut turns = Durations::default();
        [5, 3000, 70].into_iter().map(Duration::from_micros).for_each(|turn| turns.record(turn));
        let turns = vec![(ShardId(1), turns, Duration::from_millis(3))];
        let stats = Some(StatsReply::default());
        let input = MetricsInput { turns, stats, ..Default::default() };
        let text = render(&input, Form::OpenMetrics);
        for line in [
            "chatshard_turn_longest_seconds{shard=\"1\"} 0.003\n",
            "chatshard_turn_duration_seconds_count{shard=\"1\"} 3\n",
            "chatshard_turn_duration_seconds_bucket{le=\"0.002048\",shard=\"1\"} 2\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }
}
