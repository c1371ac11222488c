//! One recovery of a member of the simulated world, and what its parts do next.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chatshard::journal::client::EngineClient;
use chatshard::journal::kept::TrimLimits;
use chatshard::journal::names::MemberNames;
use chatshard::node::after_stint::AfterStint;
use chatshard::node::error::StoreError;
use chatshard::node::identity::AtRisk;
use chatshard::node::log::LogMode;
use chatshard::node::mailbox::Mailbox;
use chatshard::node::member_thread::{MemberParts, MemberThread};
use chatshard::node::membership::Membership;
use chatshard::node::store::{Store, StoreOptions};
use chatshard::node::watch::WatchThread;
use chatshard::node::worker::{LocalWorker, Worker};
use chatshard::types::ShardCount;
use snapshot::FaultyDisk;

use super::{CLOCKS, Life, SimMember, profile};
use crate::whole_node::{NodeParts, NodeSetup, SimCore};

impl Life {
    pub(super) fn start(
        at: usize,
        store: Store<FaultyDisk>,
        of: &SimMember,
        client: EngineClient,
        (seed, trim, confirms_reads): (u64, TrimLimits, bool),
    ) -> Result<Self, StoreError> {
        let shards = ShardCount::new(2).unwrap();
        let options = StoreOptions {
            allow_damage: false,
            log: true,
            at_risk: AtRisk::Nothing,
            segment_bytes_max: 500 + seed % 4000,
        };
        let recovered = store.recover(shards, options, 1 + seed % 1000)?;
        let mailboxes: Arc<[Mailbox]> = shards.all().map(|_| Mailbox::default()).collect();
        for mailbox in &*mailboxes {
            mailbox.applied.store(recovered.last.0, Ordering::Relaxed);
        }
        let names = MemberNames {
            member: format!("m{at}"),
            tcp: format!("m{at}:1"),
            ..MemberNames::default()
        };
        let member = Membership::new(store.identity.node_id, names);
        let member = member.reading(of.reads).with_claim(profile().times.claim);
        let member = member.confirming(confirms_reads);
        let member = Arc::new(member.with_figures(Arc::clone(&of.figures)));
        let setup = NodeSetup {
            shards,
            mailboxes,
            mode: LogMode::Journal,
            clocks: CLOCKS,
            figures: Arc::clone(&of.probes),
            member: Some(Arc::clone(&member)),
        };
        let NodeParts { info, prober, snapshotter } = NodeParts::of(&store, &recovered, setup);
        let (disk, dir) = (of.disk.clone(), store.dir.clone());
        let watch = WatchThread::new(Arc::clone(&info.watch), disk, dir, store.identity.node_id);
        let core =
            |shard| SimCore::new(LocalWorker::new(Worker::new(shard, Arc::clone(&info), seed)));
        let cores = recovered.shards.into_iter().map(core).collect();
        let thread = MemberThread::new(MemberParts {
            node: Arc::clone(&info),
            member: Arc::clone(&member),
            client,
            disk: recovered.writer.expect("a member has a log"),
            identity_file: recovered.identity_file,
            trim,
            handed_over: of.handed_over,
            disk_failed: of.disk_failed,
            seed,
            patience: Duration::ZERO,
        });
        Ok(Self {
            info,
            member,
            cores,
            thread,
            snapshotter,
            watch,
            prober,
            is_imaging: false,
            is_counted: false,
            asked: 0,
            _store: store,
        })
    }

    /// Whether no core has anything to do.
    pub fn is_idle(&self) -> bool {
        self.cores.iter().all(|core| !core.is_awake())
    }

    /// Lets the cores bring their last replies, as far as they need no other part.
    pub(super) fn settle(&mut self) {
        for _ in 0..100 {
            self.cores.iter_mut().filter(|core| core.is_awake()).for_each(SimCore::poll);
        }
    }

    /// One step of one part. Returns what comes next once this life is over.
    pub(super) fn step(&mut self, drawn: u64, now: Instant, is_probed: bool) -> Option<AfterStint> {
        match drawn % 8 {
            0..5 => {
                let awake = self.cores.iter_mut().filter(|core| core.is_awake());
                let mut awake: Vec<&mut SimCore> = awake.collect();
                if awake.is_empty() {
                    return self.thread.turn(now);
                }
                let at = usize::try_from(drawn >> 8).unwrap() % awake.len();
                awake[at].poll();
                None
            }
            6 if drawn >> 8 & 7 == 0 => {
                if !self.prober.hash_next() && is_probed && drawn >> 11 & 7 == 0 {
                    self.prober.begin(&self.info);
                }
                None
            }
            5 => {
                self.watch.turn();
                if self.is_imaging {
                    self.is_imaging = self.snapshotter.step(&self.info, Duration::ZERO).is_none();
                }
                None
            }
            _ => self.thread.turn(now),
        }
    }
}
