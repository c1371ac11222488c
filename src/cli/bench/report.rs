//! The results of `bench run`: one JSON object, or a table for people.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::{Table, presets};
use hdrhistogram::Histogram;
use serde::Serialize;

use super::load::Measured;

/// The figures of one run. The name of each time has its unit.
#[derive(Debug, Serialize)]
pub struct RunReport {
    /// The load that the run had to put on the system.
    #[serde(flatten)]
    pub asked: LoadShape,
    /// How long the run measured.
    pub seconds: f64,
    /// Requests that succeeded.
    pub requests: u64,
    /// Replies that report an error, and do not count as requests that succeeded.
    pub errors: u64,
    /// The first few different faults, and how often each occurred.
    pub faults: BTreeMap<String, u64>,
    /// In the open loop, requests that were due but could not be sent.
    pub not_sent: u64,
    /// Requests per second that succeeded.
    pub requests_per_s: f64,
    /// Average size of a reply, in bytes.
    pub reply_bytes: f64,
    /// Latencies of all requests that succeeded.
    #[serde(flatten)]
    pub latencies: Latencies,
    /// Latencies of the reads, if the run had reads and writes.
    pub reads: Option<Latencies>,
    /// Latencies of the writes, if the run had reads and writes.
    pub writes: Option<Latencies>,
    /// User and system time of the server's process; `None` if the run was not given its id.
    pub server_cpu_us: Option<u64>,
    /// `server_cpu_us` divided by the number of replies.
    pub server_cpu_us_per_request: Option<f64>,
}

/// Quantiles of the latencies, in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Latencies {
    /// Half of the replies took at most this long.
    pub p50_us: f64,
    /// 90 % of the replies took at most this long.
    pub p90_us: f64,
    /// 99 % of the replies took at most this long.
    pub p99_us: f64,
    /// 99.9 % of the replies took at most this long.
    pub p999_us: f64,
    /// 99.99 % of the replies took at most this long.
    pub p9999_us: f64,
    /// The longest latency.
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

/// The load of a run, by the names that the command line gives it.
#[derive(Debug, Serialize)]
pub struct LoadShape {
    /// The system that was measured.
    pub target: &'static str,
    /// The work of the run.
    pub work: &'static str,
    /// How keys were chosen: `uniform` or `zipf`.
    pub keys: &'static str,
    /// Connections of all threads.
    pub connections: usize,
    /// Most requests in flight on each connection.
    pub depth: u16,
    /// Threads of the load side.
    pub threads: usize,
    /// In the open loop, requests per second that were due; `None` in the closed loop.
    pub rate: Option<f64>,
}

impl RunReport {
    /// Computes the figures from what all threads measured in the time `span`.
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
        // Fails only if the histograms have different bounds, and these have the same.
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

    /// The report as a table for people.
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
