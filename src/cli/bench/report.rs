//! What a run tells: one JSON object, or a table for people.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::{Table, presets};
use hdrhistogram::Histogram;
use serde::Serialize;

use super::load::Measured;

/// One run's figures. Times are in microseconds.
#[derive(Debug, Serialize)]
pub struct RunReport {
    /// What was asked for.
    #[serde(flatten)]
    pub asked: LoadShape,
    /// How long was measured.
    pub seconds: f64,
    /// Successes.
    pub requests: u64,
    /// Replies that are no success.
    pub errors: u64,
    /// The first few kinds of them.
    pub faults: BTreeMap<String, u64>,
    /// Requests that were due and could not be sent.
    pub not_sent: u64,
    /// Successes a second.
    pub requests_per_s: f64,
    /// Bytes of a reply, on average.
    pub reply_bytes: f64,
    /// How long all of them took.
    #[serde(flatten)]
    pub latencies: Latencies,
    /// The reads among them, where both kinds were asked for.
    pub reads: Option<Latencies>,
    /// And the writes.
    pub writes: Option<Latencies>,
    /// The server's user and system time, if its process is known.
    pub server_cpu_us: Option<u64>,
    /// The same for each reply.
    pub server_cpu_us_per_request: Option<f64>,
}

/// How long replies took, in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Latencies {
    /// Half of them at most this; and so on.
    pub p50_us: f64,
    /// 90 %.
    pub p90_us: f64,
    /// 99 %.
    pub p99_us: f64,
    /// 99.9 %.
    pub p999_us: f64,
    /// 99.99 %.
    pub p9999_us: f64,
    /// The longest.
    pub max_us: f64,
}

impl Latencies {
    fn of(latency: &Histogram<u64>) -> Self {
        let us = |quantile| microseconds(latency.value_at_quantile(quantile));
        Self {
            p50_us: us(0.5),
            p90_us: us(0.9),
            p99_us: us(0.99),
            p999_us: us(0.999),
            p9999_us: us(0.9999),
            max_us: microseconds(longest(latency)),
        }
    }
}

/// What was asked for, as the report names it.
#[derive(Debug, Serialize)]
pub struct LoadShape {
    /// What was measured.
    pub target: &'static str,
    /// What was asked.
    pub work: &'static str,
    /// How keys were chosen.
    pub keys: &'static str,
    /// Connections.
    pub connections: usize,
    /// Requests in flight on each.
    pub depth: u16,
    /// Threads of the load side.
    pub threads: usize,
    /// Requests a second that were due; none in the closed loop.
    pub rate: Option<f64>,
}

impl RunReport {
    /// Puts it together.
    pub fn new(
        asked: LoadShape,
        measured: &Measured,
        span: Duration,
        server_cpu_us: Option<u64>,
    ) -> Self {
        let seconds = span.as_secs_f64();
        let (reads, writes) = (&measured.reads, &measured.writes);
        let requests = reads.len() + writes.len();
        let answered = requests + measured.errors;
        let has_both = !reads.is_empty() && !writes.is_empty();
        let apart = |latency| has_both.then(|| Latencies::of(latency));
        let mut all = reads.clone();
        // Both have the same bounds.
        _ = all.add(writes);
        Self {
            asked,
            seconds,
            requests,
            errors: measured.errors,
            faults: measured.faults.clone(),
            not_sent: measured.not_sent,
            requests_per_s: ratio(float(requests), seconds),
            reply_bytes: ratio(float(measured.reply_bytes), float(answered)),
            latencies: Latencies::of(&all),
            reads: apart(reads),
            writes: apart(writes),
            server_cpu_us,
            server_cpu_us_per_request: server_cpu_us.map(|us| ratio(float(us), float(answered))),
        }
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header([format!("{} on {}", self.asked.work, self.asked.target), String::new()]);
        let load = match self.asked.rate {
            Some(rate) => format!("{rate} requests/s due"),
            None => "closed loop".to_owned(),
        };
        let connections =
            format!("{} x {} in flight, {load}", self.asked.connections, self.asked.depth);
        let mut row = |name: &str, value: String| {
            table.add_row([name.to_owned(), value]);
        };
        row("connections", connections);
        row("requests", format!("{} in {:.2} s", self.requests, self.seconds));
        row("requests/s", format!("{:.0}", self.requests_per_s));
        if self.errors > 0 {
            row("errors", self.errors.to_string());
        }
        for (fault, count) in &self.faults {
            row("", format!("{count} x {fault}"));
        }
        if self.not_sent > 0 {
            row("due and not sent", self.not_sent.to_string());
        }
        row("reply", format!("{:.0} bytes", self.reply_bytes));
        for (name, us) in [
            ("p50", self.latencies.p50_us),
            ("p90", self.latencies.p90_us),
            ("p99", self.latencies.p99_us),
            ("p99.9", self.latencies.p999_us),
            ("p99.99", self.latencies.p9999_us),
            ("max", self.latencies.max_us),
        ] {
            row(name, format!("{us:.1} µs"));
        }
        for (name, apart) in [("reads p99.9", self.reads), ("writes p99.9", self.writes)] {
            if let Some(Latencies { p999_us, .. }) = apart {
                row(name, format!("{p999_us:.1} µs"));
            }
        }
        if let Some(us) = self.server_cpu_us_per_request {
            row("server CPU", format!("{us:.2} µs a request"));
        }
        table.to_string()
    }
}

fn longest(latency: &Histogram<u64>) -> u64 {
    if latency.is_empty() { 0 } else { latency.max() }
}

fn microseconds(ns: u64) -> f64 {
    float(ns) / 1000.0
}

fn ratio(what: f64, of: f64) -> f64 {
    if of > 0.0 { what / of } else { 0.0 }
}

#[allow(clippy::cast_precision_loss, clippy::as_conversions)] // figures are rounded anyway
fn float(value: u64) -> f64 {
    value as f64
}
