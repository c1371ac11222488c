//! Counts of what happened in the seeds, which show that each kind of fault did happen.

use std::fmt;
use std::ops::AddAssign;

use chatshard::node::log::LogState;

macro_rules! tally {
    ($($(#[$doc:meta])* $name:ident: $told:literal,)+) => {
        /// Counts of events in one or more seeds.
        #[derive(Debug, Clone, Default)]
        pub struct Tally {
            $($(#[$doc])* pub $name: u64,)+
            state: Option<LogState>,
        }

        impl Tally {
            /// The name and the value of each count.
            pub fn counts(&self) -> Vec<(&'static str, u64)> {
                vec![$(($told, self.$name)),+]
            }
        }

        impl AddAssign for Tally {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)+
            }
        }
    };
}

tally! {
    seeds: "seeds",
    steps: "steps",
    commands: "commands",
    fast: "requests answered on the fast path",
    passed_on: "plain requests passed on to another core",
    held: "requests held behind others of their connection",
    brought: "batches brought from core to core",
    checked: "replies held against the model",
    views: "questions after a start or at rest",
    unknown: "outcomes unknown",
    refused: "refusals (not applied)",
    retried: "requests sent again",
    starts: "starts",
    crashes: "crashes of the machine",
    kills: "kills of the process",
    clean_stops: "clean stops",
    start_crashes: "crashes during a start",
    start_faults: "starts that the disk refused",
    lossy: "crashes that may lose a suffix (everysec, never)",
    snapshots_only: "starts from snapshots alone",
    compared: "digests compared at a start",
    snapshots: "snapshots",
    snapshots_failed: "snapshots that failed",
    failed_writes: "failed writes",
    full: "full disks",
    failed_syncs: "failed syncs",
    refused_calls: "calls refused for want of a descriptor, a right, room for a name",
    displaced: "directories whose path led elsewhere for a time",
    frozen: "machines that stopped at a sync",
    clock_set: "steps and drifts of the wall clock",
    times: "times of the server's held against what elapsed",
    too_late: "times too far ahead, refused",
    orders: "orders of conversations",
    stalled: "logs that could not be written for a time",
    poisoned: "logs that were poisoned",
    flips_refused: "bit flips refused with the file",
    flips_harmless: "bit flips that cost nothing",
    slow: "rounds on a slow disk",
    exports: "states compared whole, before and after a restart",
    sequences: "sequences handed out",
}

impl Tally {
    /// Notes the state of the log. Returns whether it has just changed to that state.
    pub fn note_state(&mut self, state: LogState) -> bool {
        let is_new = self.state.replace(state) != Some(state);
        self.stalled += u64::from(is_new && state == LogState::Stalled);
        self.poisoned += u64::from(is_new && state == LogState::Poisoned);
        is_new
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.counts().into_iter().try_for_each(|(what, count)| writeln!(f, "{count:>12} {what}"))
    }
}
