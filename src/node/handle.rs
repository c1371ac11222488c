//! Runs commands for callers that are not connections of the TCP door.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::oneshot;

use super::info::NodeInfo;
use super::log::LogState;
use super::mailbox::{Control, WorkerReport};
use super::membership::MemberRole;
use super::standby_reads::LetsIn;
use super::worker::{LocalWorker, Taken};
use crate::command::readiness::ReadyFor;
use crate::command::stats::StatsReply;
use crate::command::{BorrowedRows, Call, Command, Error, Outcome};
use crate::limits::SCAN_ROWS;
use crate::metrics::MetricsInput;
use crate::types::ShardId;

/// A way to run commands on the node, from any thread.
#[derive(Clone)]
pub struct Handle {
    node: Arc<NodeInfo>,
    /// The core that runs the calls. With `None` the cores take turns.
    shard: Option<ShardId>,
    next: Arc<AtomicUsize>,
}

impl Handle {
    /// A handle whose calls go to the cores in turn.
    pub fn new(node: Arc<NodeInfo>) -> Self {
        Self { node, shard: None, next: Arc::default() }
    }

    /// A handle whose calls all go to one core, for callers that run on that core.
    pub fn on_core(node: Arc<NodeInfo>, shard: ShardId) -> Self {
        Self { shard: Some(shard), ..Self::new(node) }
    }

    /// The node itself.
    pub fn node(&self) -> &NodeInfo {
        &self.node
    }

    /// Whether the node is ready for this now, for `/readyz`: the word for it. A standby accepts no
    /// writes, but it is well.
    ///
    /// # Errors
    /// Why not: the node is stopping, the log refuses writes, or its role or its state does not fit.
    pub fn readiness(&self, wanted: ReadyFor) -> Result<&'static str, String> {
        if self.node.stopping.load(Ordering::Acquire) {
            return Err("the server is stopping".into());
        }
        if let Some(member) = &self.node.member {
            if let Some(why) = member.failure() {
                return Err(why);
            }
            let now = self.node.clock.boot();
            match wanted {
                ReadyFor::Everything => member.readiness(now)?,
                ReadyFor::AnyRole => {}
                // Reads need neither a claim nor the disk.
                ReadyFor::StaleReads(stale) => return member.readiness_of_reads(now, stale),
            }
            if let Some(lost) = member.claim_check.forbidding() {
                return Err(format!("this member {lost}"));
            }
            if let Some(why) = member.disk_trouble() {
                return Err(format!("{}: {why}", member.role().name()));
            }
        }
        match self.node.log.state() {
            LogState::Ok => {
                Ok(self.node.member.as_ref().map_or("ready", |member| match member.role() {
                    MemberRole::Active => "ready",
                    // A restart would not help it.
                    MemberRole::Standby if member.is_cut_off(self.node.clock.boot()) => {
                        "ready: standby, and the engine gives no word"
                    }
                    MemberRole::Standby => "ready: standby",
                    MemberRole::Claiming => "ready: claiming",
                    MemberRole::Demoted => "ready: demoted",
                }))
            }
            state => Err(state.why().into()),
        }
    }

    /// The figures of all cores. The HTTP doors add their own figures.
    pub async fn metrics(&self) -> MetricsInput {
        let (mut input, mut stats) = (MetricsInput::default(), StatsReply::default());
        for report in self.reports().await {
            let (shard, longest) = (report.shard.shard, report.turns.longest(Instant::now()));
            input.turns.push((ShardId(shard), report.turns.all(), longest));
            input.tcp.merge(&report.tcp);
            stats.add_shard(report.shard);
        }
        self.node.complete_stats(&mut stats);
        input.wall_clock_ahead_ms = self.node.clock.behind_wall();
        let figures = self.node.probes.figures();
        input.probes = (figures.compared(), figures.differences());
        let journal = self.node.journal_metrics();
        MetricsInput { stats: Some(stats), journal, ..input }
    }

    async fn reports(&self) -> Vec<WorkerReport> {
        let mut reports = Vec::with_capacity(self.node.mailboxes.len());
        for shard in self.node.shards.all() {
            let (sender, receiver) = oneshot::channel();
            self.node.control(shard, Control::WorkerReport(sender));
            reports.extend(receiver.await);
        }
        reports
    }
}

impl Call for Handle {
    async fn call(&self, command: Command) -> Outcome {
        if let Some(error) = self.node.turned_away(command.kind(), None) {
            return Err(error);
        }
        let shard = self.shard.unwrap_or_else(|| {
            let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.node.mailboxes.len().max(1);
            ShardId(u16::try_from(turn).unwrap_or(0))
        });
        let (sender, receiver) = oneshot::channel();
        match LocalWorker::current(&self.node, shard) {
            Some(local) => local.call(command, sender),
            None => self.node.control(shard, Control::Call(command, sender)),
        }
        receiver.await.unwrap_or_else(|_| Err(Error::outcome_unknown("the server stopped")))
    }

    async fn offload<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        self.node.offload.begin(work).await.ok()
    }

    fn read_list<R>(&self, user_id: &str, read: impl FnOnce(BorrowedRows<'_>) -> R) -> Option<R> {
        let shard = self.shard?;
        let local = LocalWorker::current(&self.node, shard)?;
        if self.node.lets_in(None) != LetsIn::Everything {
            return None;
        }
        let user_id = self.node.hasher.hashed(user_id);
        let result = local.read(|shard| Some(read(&mut shard.read_list(user_id, SCAN_ROWS)?)));
        let Taken::Now(result) = result else { return None };
        self.node.mailboxes.get(shard.index())?.count(false);
        Some(result)
    }
}
