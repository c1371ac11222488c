//! Why a command ends early, and how text is printed that could control a terminal.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::command;

/// The exit code of wrong usage, as clap has it too.
const WRONG_USAGE: u8 = 2;

/// Why a command ended early.
#[derive(Debug)]
pub enum Failure {
    /// The command failed. The message goes to stderr, and the exit code is 1.
    Message(String),
    /// A flag, an argument, an environment variable or the settings file is wrong, and nothing was
    /// begun. The message goes to stderr, and the exit code is 2.
    Usage(String),
    /// Nobody reads the output any more. So there is no message, and the exit code is 0.
    ClosedPipe,
}

impl Failure {
    /// A failure with a message for the caller.
    pub fn new(message: impl Into<String>) -> Self {
        Self::Message(message.into())
    }

    /// A failure of wrong usage, with a message for the caller.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::Usage(message.to_string())
    }

    /// Turns an error of writing results to `name` into a failure. A closed pipe becomes one
    /// without a message.
    pub fn output(name: impl fmt::Display) -> impl FnOnce(io::Error) -> Self {
        move |error| match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ClosedPipe,
            _ => Self::Message(format!("{name}: {error}")),
        }
    }

    /// Prints the message to stderr, and returns the exit code.
    pub fn report(&self) -> ExitCode {
        // If stderr is closed, nothing happens.
        let _ = io::stderr().lock().write_all(self.shown().as_bytes());
        self.code()
    }

    /// The message as lines for stderr, safe for a terminal. Empty if there is none.
    pub fn shown(&self) -> String {
        match self {
            Self::Message(message) | Self::Usage(message) => {
                printable(&format!("error: {message}\n"))
            }
            Self::ClosedPipe => String::new(),
        }
    }

    /// The exit code.
    pub fn code(&self) -> ExitCode {
        match self {
            Self::Message(_) => ExitCode::FAILURE,
            Self::Usage(_) => ExitCode::from(WRONG_USAGE),
            Self::ClosedPipe => ExitCode::SUCCESS,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(message) | Self::Usage(message) => f.write_str(message),
            Self::ClosedPipe => f.write_str("closed pipe"),
        }
    }
}

impl From<command::Error> for Failure {
    fn from(error: command::Error) -> Self {
        Self::Message(error.to_string())
    }
}

/// Writes one line to stderr, and escapes characters that would control a terminal. If stderr is
/// closed, nothing happens.
pub fn tell(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{}", printable(&line.to_string()));
}

/// Whether a terminal acts on the character: it is a control character, or it changes the direction
/// of the text around it.
pub fn steers_terminal(c: char) -> bool {
    let turns = matches!(c,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns
}

/// Escapes characters that would control a terminal. Messages and tables quote text of a server or
/// a file, which may contain them.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push('\n'),
            c if steers_terminal(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

/// Like [`printable`], for JSON. The escaped characters occur only in strings of JSON, where an
/// escape means the same.
pub fn printable_json(json: String) -> String {
    if !json.chars().any(|c| steers_terminal(c) && c != '\n') {
        return json;
    }
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\n' => shown.push('\n'),
            c if steers_terminal(c) => shown.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_a_terminal_and_json_means_the_same() {
        let id = "a\u{202e}b\u{2066}\u{200f}\u{1b}[31m\u{9b}c\u{4f1a}";
        let shown = printable(id);
        assert!(!shown.chars().any(steers_terminal) && shown.contains("\\u{202e}"), "{shown}");
        let json = printable_json(serde_json::to_string(id).unwrap());
        assert!(!json.chars().any(steers_terminal), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), id);
    }
}
