//! Scheduling of threads, for measurements where the load and the measured server share a machine.
//!
//! It needs `chrt`, and the right to use it. Without them all threads have equal priority.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use rustix::process::Pid;

/// Lets this thread run before all others, as on a machine of its own. Then it waits for the server
/// and not for a core that both share. Returns whether the right was there.
pub fn come_first() -> bool {
    schedule(&["--fifo"], "3")
}

/// Lets this thread, and those that it starts from now on, run only when no other thread wants the
/// machine. Returns whether the right was there.
pub fn stay_behind() -> bool {
    schedule(&["--idle"], "0")
}

/// Undoes [`stay_behind`] and [`come_first`].
pub fn be_as_others() -> bool {
    schedule(&["--other"], "0")
}

/// Prefers threads of a process whose names begin with one of `ranks`. They run before all others
/// but those that [`come_first`], and the second rank before the first. Threads that they start
/// later are not preferred. Returns whether the right was there.
pub fn favour(process: Pid, ranks: [&str; 2]) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{}/task", process.as_raw_nonzero())).unwrap();
    let mut set = threads.map(|thread| {
        let thread = thread.unwrap().path();
        let name = std::fs::read_to_string(thread.join("comm")).unwrap_or_default();
        let Some(rank) = ranks.iter().rposition(|begin| name.starts_with(begin)) else {
            return true;
        };
        let policy = ["--reset-on-fork", "--rr"];
        change(&policy, &(1 + rank).to_string(), thread.file_name().unwrap_or_default())
    });
    set.all(|is_set| is_set)
}

fn schedule(policy: &[&str], priority: &str) -> bool {
    let thread = std::fs::read_link("/proc/thread-self").unwrap_or_default();
    change(policy, priority, thread.file_name().unwrap_or_default())
}

fn change(policy: &[&str], priority: &str, thread: &OsStr) -> bool {
    let mut chrt = Command::new("chrt");
    chrt.args(policy).args(["--pid", priority]).arg(thread).stderr(Stdio::null());
    chrt.status().is_ok_and(|status| status.success())
}
