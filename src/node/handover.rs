//! A handover: the active drains its cores, and releases the journal on purpose.
//!
//! ```text
//!   asked ---> first round ---> second round ---> drained: the release is sent ---> over
//!                  |                  |
//!                  +------------------+--> too long: the node goes on as the active
//! ```
//! Doors let nothing in from the moment at which it is asked for. A round asks every core to finish
//! what it has under way. What a core has sent to another one on the fast path is under way on that
//! one only, so a second round follows.
//!
//! # Invariants
//! - Every request that was let in has its reply before the release is sent, so none is left with an
//!   unknown outcome. Deliveries may be left; the next active continues them.
//! - Until the release is handed over, nothing has changed but the doors.

use std::time::Duration;

use snapshot::{Planted, is_planted};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::info::NodeInfo;
use super::journal_figures::HandoverWhy;
use super::mailbox::Control;
use super::membership::{HandoverRequest, Membership};
use super::worker::on_core;
use crate::command::Outcome;

/// Longest time until all cores have finished.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// Time that deliveries get after that, so that few records are dropped.
const SETTLE_MAX: Duration = Duration::from_millis(100);
/// Rounds over all cores.
const ROUNDS: u8 = 2;

/// What the sink does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HandoverStep {
    /// Some core has work under way.
    Wait,
    /// The cores did not finish in time.
    GiveUp,
    /// Everything is done: the release may be sent.
    Release,
}

/// A handover under way.
pub(super) struct Handover {
    request: HandoverRequest,
    began: Duration,
    rounds_left: u8,
    /// The cores that have not finished the present round.
    unfinished: Vec<oneshot::Receiver<()>>,
    drained: Option<Duration>,
    is_sent: bool,
}

impl Handover {
    /// Begins the handover that was asked for, if there is one.
    pub(super) fn begin(now: Duration, node: &NodeInfo, member: &Membership) -> Option<Self> {
        let request = member.take_handover()?;
        info!(to = request.to, "this node hands over");
        Some(Self {
            request,
            began: now,
            rounds_left: ROUNDS - 1,
            unfinished: drain_all(node),
            drained: None,
            is_sent: false,
        })
    }

    /// The member that is to follow.
    pub(super) fn to(&self) -> Option<String> {
        self.request.to.clone()
    }

    /// Why it began.
    pub(super) fn why(&self) -> HandoverWhy {
        self.request.why
    }

    /// Looks how far the cores have come.
    pub(super) fn step(&mut self, now: Duration, node: &NodeInfo) -> HandoverStep {
        if self.is_sent {
            return HandoverStep::Wait;
        }
        if is_planted(Planted::ReleaseUndrained) {
            return HandoverStep::Release;
        }
        self.unfinished.retain_mut(|core| core.try_recv().is_err());
        if !self.unfinished.is_empty() {
            let is_late = now.saturating_sub(self.began) >= DRAIN_MAX;
            return if is_late { HandoverStep::GiveUp } else { HandoverStep::Wait };
        }
        if self.rounds_left > 0 {
            self.rounds_left -= 1;
            self.unfinished = drain_all(node);
            return HandoverStep::Wait;
        }
        let drained = *self.drained.get_or_insert(now);
        let is_settled = node.log.applied_by_all() == node.log.tail();
        match is_settled || now.saturating_sub(drained) >= SETTLE_MAX {
            true => HandoverStep::Release,
            false => HandoverStep::Wait,
        }
    }

    /// Notes that the writer has the release.
    pub(super) fn sent(&mut self) {
        self.is_sent = true;
    }

    /// Whether the writer has the release.
    pub(super) fn is_sent(&self) -> bool {
        self.is_sent
    }

    /// Replies to the request, if somebody waits for that.
    pub(super) fn reply(self, node: &NodeInfo, outcome: Outcome) {
        if let Err(error) = &outcome {
            warn!(%error, "the handover failed");
        }
        let Some(caller) = self.request.caller else { return };
        let reply = on_core(move |local| local.handed_over(outcome));
        node.control(caller, reply);
    }
}

fn drain_all(node: &NodeInfo) -> Vec<oneshot::Receiver<()>> {
    let drain = |shard| {
        let (sender, receiver) = oneshot::channel();
        node.control(shard, Control::Drain(sender));
        receiver
    };
    node.shards.all().map(drain).collect()
}
