//! `import` and `export` of chats and members as JSON lines: `{"chat":{...}}` and
//! `{"member":{...}}`.
//!
//! # Layout
//! - [`mod@line`]: one line, and the reader that makes batches of them
//! - [`import`]: sends batches to the server, several in flight
//! - [`export`]: writes the pages of the server

pub mod export;
pub mod import;
pub mod line;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use super::ConnectArgs;
use super::progress::Progress;

/// Arguments of `import`: a file, and how to treat known chats.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// File of JSON lines, a chat's line before those of its members; `-` reads stdin
    pub file: PathBuf,
    /// Accept chats and members that exist already: the larger sequence of both stays
    #[arg(long)]
    pub merge: bool,
    /// The server to import into.
    #[command(flatten)]
    pub connection: ConnectArgs,
}

/// Arguments of `export`: the file to write.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// File to write, whole or not at all; `-` writes to stdout
    pub file: PathBuf,
    /// The server to export from.
    #[command(flatten)]
    pub connection: ConnectArgs,
}

/// How many lines of each kind were imported or exported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LineCounts {
    /// How many lines of chats there were.
    pub chats: u64,
    /// How many lines of members there were.
    pub members: u64,
}

impl LineCounts {
    fn lines(self) -> u64 {
        self.chats.saturating_add(self.members)
    }

    fn add(&mut self, other: Self) {
        self.chats = self.chats.saturating_add(other.chats);
        self.members = self.members.saturating_add(other.members);
    }

    /// The text of the last line on stderr: how many lines, and how fast.
    fn summary(self, verb: &str, started: Instant) -> String {
        let elapsed = started.elapsed().max(Duration::from_millis(1));
        let lines = self.lines();
        let rate = u128::from(lines).saturating_mul(1000) / elapsed.as_millis().max(1);
        format!(
            "{verb} {} chats and {} members ({lines} lines) in {:.1} s, {rate} lines/s",
            self.chats,
            self.members,
            elapsed.as_secs_f64(),
        )
    }
}

/// A progress bar on stderr, if that is a terminal. It counts bytes if `bytes` is true, else lines.
/// Without a length it only spins.
fn progress(length: Option<u64>, bytes: bool) -> Progress {
    let template = match (length, bytes) {
        (Some(_), true) => "{bar:32} {bytes}/{total_bytes} {bytes_per_sec} {msg} {eta}",
        (None, true) => "{spinner} {bytes} {bytes_per_sec} {msg}",
        (Some(_), false) => "{bar:32} {human_pos}/{human_len} lines {per_sec} {eta}",
        (None, false) => "{spinner} {human_pos} lines {per_sec}",
    };
    Progress::new(length, template)
}
