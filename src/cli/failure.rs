//! What ends a command before it is done.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::command;

/// Why a command ended.
#[derive(Debug)]
pub enum Failure {
    /// Something to tell: exit code 1.
    Message(String),
    /// Whoever read the output has gone: nothing to tell, exit code 0.
    ClosedPipe,
}

impl Failure {
    /// A failure with a message for the caller's eyes.
    pub fn new(message: impl Into<String>) -> Self {
        Self::Message(message.into())
    }

    /// A failure to write results to `name`.
    pub fn output(name: impl fmt::Display) -> impl FnOnce(io::Error) -> Self {
        move |error| match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ClosedPipe,
            _ => Self::Message(format!("{name}: {error}")),
        }
    }

    /// Tells it on stderr.
    pub fn report(&self) -> ExitCode {
        match self {
            Self::Message(message) => {
                tell(format_args!("error: {}", printable(message)));
                ExitCode::FAILURE
            }
            Self::ClosedPipe => ExitCode::SUCCESS,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(message) => f.write_str(message),
            Self::ClosedPipe => f.write_str("closed pipe"),
        }
    }
}

impl From<command::Error> for Failure {
    fn from(error: command::Error) -> Self {
        Self::Message(error.to_string())
    }
}

/// Writes one line to stderr. Where stderr is closed there is nobody to tell.
pub fn tell(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// A message may quote what a server or a file holds, which must not steer a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}
