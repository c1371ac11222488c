//! The figures of a member's journal.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::EncodeMetric;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::{Durations, Page};

/// What a member knows of its journal. A figure that only an active has is `None` on a standby.
#[derive(Debug, Clone, Default)]
pub struct JournalMetrics {
    /// What the member does now, like `active`: one of `roles`.
    pub role: &'static str,
    /// The names of all roles.
    pub roles: Vec<&'static str>,
    /// Number of the newest claim; 0 before the first one.
    pub epoch: u64,
    /// LSN of the newest record that is committed and applied.
    pub committed_lsn: u64,
    /// Time for which this node may reply.
    pub lease_left: Option<Duration>,
    /// Bytes that the engine keeps of the journal, about.
    pub retained_bytes: Option<u64>,
    /// Bytes that the engine has in use.
    pub engine_used_bytes: Option<u64>,
    /// Members that have on their disks whatever is trimmed.
    pub copies: Option<u64>,
    /// Committed records that the last standby had not applied, and the time since it had all.
    pub lag: Option<(u64, Duration)>,
    /// How old the state of this standby can be.
    pub state_age: Option<Duration>,
    /// Trims since the start.
    pub trims: u64,
    /// How often this process copied the data of another member.
    pub joins: u64,
    /// How often this process became the active, by reason.
    pub takeovers: Vec<(&'static str, u64)>,
    /// Time that the newest takeover took; `None` before the first one.
    pub newest_takeover: Option<Duration>,
    /// Time that each batch of this process took to get into the journal.
    pub appends: Durations,
    /// The journal's format.
    pub format: u32,
    /// How often this process handed over, by reason.
    pub handovers: Vec<(&'static str, u64)>,
    /// What the member says of its journal, like `ok`: one of `states`. `None` while it reads none.
    pub state: Option<&'static str>,
    /// The names of all states.
    pub states: Vec<&'static str>,
    /// Void entries of the journal, as far as this member has read.
    pub voids: Option<u64>,
    /// Entries whose bytes were changed, by where the whole ones came from.
    pub damage: Vec<(&'static str, u64)>,
    /// Entries that were missing, by where they came from.
    pub gaps: Vec<(&'static str, u64)>,
}

impl Page<'_> {
    pub(super) fn journal(&mut self, journal: &JournalMetrics) -> fmt::Result {
        self.one_of("role", "1 for what this member is", "role", &journal.roles, journal.role)?;
        if let Some(state) = journal.state {
            let help = "1 for what this member says of its journal";
            self.one_of("journal_state", help, "state", &journal.states, state)?;
        }
        self.gauge("journal_epoch", "Number of the newest claim", journal.epoch)?;
        let help = "Newest record that is committed and applied";
        self.gauge("journal_committed_lsn", help, journal.committed_lsn)?;
        self.gauge("journal_format", "Format of the journal", u64::from(journal.format))?;
        // Unknown figures are left out: a 0 would look like a figure.
        if let Some(left) = journal.lease_left {
            let help = "How long this node may reply without a further append";
            self.gauge("lease_left_seconds", help, left.as_secs_f64())?;
        }
        if let Some(bytes) = journal.retained_bytes {
            let help = "What the engine keeps of the journal, about";
            self.gauge("journal_retained_bytes", help, bytes)?;
        }
        if let Some(bytes) = journal.engine_used_bytes {
            self.gauge("journal_engine_used_bytes", "What the engine has in use", bytes)?;
        }
        if let Some(copies) = journal.copies {
            let help = "Members that have on their disks what the engine has forgotten";
            self.gauge("copies", help, copies)?;
        }
        if let Some((records, time)) = journal.lag {
            let help = "Records that the last standby had not applied";
            self.gauge("standby_lag_records", help, records)?;
            let help = "Time since the last standby had applied all";
            self.gauge("standby_lag_seconds", help, time.as_secs_f64())?;
        }
        if let Some(age) = journal.state_age {
            let help = "How old the state of this standby can be";
            self.gauge("standby_age_seconds", help, age.as_secs_f64())?;
        }
        if let Some(voids) = journal.voids {
            let help = "Entries of the journal that count for nobody";
            self.counter("journal_void", help, voids)?;
        }
        let help = "Entries whose bytes the engine had changed, by where the whole ones came from";
        self.counts_by("journal_damage", help, "from", &journal.damage)?;
        let help = "Entries that the engine had lost, by where they came from";
        self.counts_by("journal_gap", help, "from", &journal.gaps)?;
        self.counter("journal_trims", "Trims of the journal", journal.trims)?;
        let help = "How often this process copied the data of another member";
        self.counter("joins", help, journal.joins)?;
        let help = "How often this process became the active";
        self.counts_by("takeovers", help, "why", &journal.takeovers)?;
        let help = "How often this process handed over";
        self.counts_by("handovers", help, "why", &journal.handovers)?;
        if let Some(took) = journal.newest_takeover {
            let help = "Time from the last sign of the active before until this node replied";
            self.gauge("takeover_seconds", help, took.as_secs_f64())?;
        }
        let (name, help) = ("journal_append_seconds", "Time of a batch into the journal");
        let family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        journal.appends.encode(family)
    }

    fn one_of(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        all: &[&'static str],
        now: &str,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for one in all {
            let value = u64::from(*one == now);
            ConstGauge::new(value).encode(family.encode_family(&[(label, *one)])?)?;
        }
        Ok(())
    }

    fn counts_by(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        counts: &[(&'static str, u64)],
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (of, count) in counts {
            ConstCounter::new(*count).encode(family.encode_family(&[(label, *of)])?)?;
        }
        Ok(())
    }
}
