//! Which threads of a measurement run first, where the load and what is measured share a machine.
//!
//! Both take `chrt`, and the first the right to use it; without them all threads are as any other.

use std::process::{Command, Stdio};

/// Lets this thread run before all others, as on a machine of its own: what it waits for then is the
/// server, not its turn on a core that they share. Whether it may.
pub fn come_first() -> bool {
    schedule("--fifo", "1")
}

/// Lets this thread, and those that it starts from now on, have what time of the machine others leave.
/// Whether it may.
pub fn stay_behind() -> bool {
    schedule("--idle", "0")
}

/// Takes [`stay_behind`] back.
pub fn be_as_others() -> bool {
    schedule("--other", "0")
}

fn schedule(policy: &str, priority: &str) -> bool {
    let thread = std::fs::read_link("/proc/thread-self").unwrap_or_default();
    let id = thread.file_name().unwrap_or_default();
    let mut chrt = Command::new("chrt");
    chrt.args([policy, "--pid", priority]).arg(id).stderr(Stdio::null());
    chrt.status().is_ok_and(|status| status.success())
}
