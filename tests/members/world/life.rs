//! One recovery of a member of the simulated world, and what its parts do next.

use super::*;

impl Life {
    pub(super) fn start(
        at: usize,
        store: Store<FaultyDisk>,
        of: &SimMember,
        client: chatshard::journal::client::EngineClient,
        (seed, trim): (u64, TrimLimits),
    ) -> Result<Self, chatshard::node::error::StoreError> {
        let shards = ShardCount::new(2).unwrap();
        let options = StoreOptions {
            allow_damage: false,
            log: true,
            at_risk: AtRisk::Nothing,
            segment_bytes_max: 500 + seed % 4000,
        };
        let recovered = store.recover(shards, options, 1 + seed % 1000)?;
        of.probes.replayed(&recovered.digests);
        let (probes, captures) = Probes::new(Arc::clone(&of.probes));
        let mailboxes: Arc<[Mailbox]> = shards.all().map(|_| Mailbox::default()).collect();
        for mailbox in &*mailboxes {
            mailbox.applied.store(recovered.last.0, Ordering::Relaxed);
        }
        let log = Arc::new(Log::new(LogMode::Journal, recovered.last, Arc::clone(&mailboxes)));
        let names = MemberNames {
            member: format!("m{at}"),
            tcp: format!("m{at}:1"),
            ..MemberNames::default()
        };
        let member = Membership::new(store.identity.node_id, names);
        let member = member.reading(of.reads).with_claim(profile().times.claim);
        let member = Arc::new(member.with_figures(Arc::clone(&of.figures)));
        let (snapshots, requests) = crossbeam::channel::unbounded();
        let info = Arc::new(NodeInfo {
            shards,
            hasher: KeyHasher::new(store.identity.hash_seed),
            mailboxes,
            watch: Arc::new(WatchHub::new(Arc::clone(&log), recovered.incarnation)),
            log,
            memory: Arc::new(Memory::new(None)),
            snapshots,
            offload: Offload::new().0,
            probes,
            snapshot_status: Arc::default(),
            data_dir: store.dir.clone(),
            clock: SharedClock::new(CLOCKS, recovered.newest_key),
            started: Instant::now(),
            stopping: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            member: Some(Arc::clone(&member)),
        });
        let prober = Prober::new(&info, captures);
        let policy = SnapshotPolicy { interval: None, log_bytes: u64::MAX };
        let covered = Covered::by(recovered.snapshot.as_ref(), recovered.replayed_bytes);
        let trimmer = recovered.writer.as_ref().map(LogWriter::trimmer);
        let node_id = store.identity.node_id;
        let snapshotter =
            Snapshotter::new(of.disk.clone(), node_id, &info, requests, policy, &covered, trimmer)
                .slices_of(2)
                .raising(recovered.identity_file.clone());
        let watch =
            WatchThread::new(Arc::clone(&info.watch), of.disk.clone(), store.dir.clone(), node_id);
        let cores = recovered.shards.into_iter().map(|shard| {
            let local = LocalWorker::new(Worker::new(shard, Arc::clone(&info), seed));
            let serving = Box::pin(local.serve());
            SimCore { serving, wake: Arc::new(Flag(AtomicBool::new(true))) }
        });
        let cores = cores.collect();
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

impl SimCore {
    pub(super) fn is_awake(&self) -> bool {
        self.wake.0.load(Ordering::Relaxed)
    }

    pub(super) fn poll(&mut self) {
        self.wake.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&self.wake));
        let ended = self.serving.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        assert!(!ended, "a core serves for as long as it lives");
    }
}
