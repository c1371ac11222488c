//! `serve`: loads the configuration, sets up the log lines of the process, and runs the server.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use super::failure::steers_terminal;
use super::log_lines::LogLines;
use super::{Failure, demo, ephemeral};
use crate::config::{Config, LogFormat, ServeArgs, settings};
use crate::server;

/// Runs the server until a signal stops the process.
pub fn run(args: &ServeArgs) -> Result<ExitCode, Failure> {
    let config = Config::load(args).map_err(Failure::usage)?;
    let lines = LogLines::start();
    let lines = lines.map_err(|error| Failure::new(format!("stderr: {error}")))?;
    write_messages(&config, &lines);
    write_lines_before_a_panic(lines.clone());
    let served = serve(config);
    // The last message too may find a reader that does not read.
    let code = served.map_or_else(
        |failure| {
            lines.push(failure.shown().as_bytes());
            failure.code()
        },
        |()| ExitCode::SUCCESS,
    );
    lines.finish();
    Ok(code)
}

/// Lets the lines that led to a panic reach stderr before its message, which ends the process.
fn write_lines_before_a_panic(lines: LogLines) {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        lines.finish();
        report(panic);
    }));
}

fn serve(config: Config) -> Result<(), Failure> {
    warn_of_unknown_variables()?;
    if config.demo {
        return demo::run(config);
    }
    if config.ephemeral {
        return ephemeral::run(config);
    }
    server::run(config).map_err(|error| Failure::new(error.to_string()))
}

/// Warns of environment variables that look like settings but are none. After a typo, the setting
/// would silently keep its default.
fn warn_of_unknown_variables() -> Result<(), Failure> {
    let environment = settings::process_environment();
    let environment = environment.map_err(Failure::usage)?;
    for unknown in settings::unknown_variables(&environment, &super::client_variables()) {
        tracing::warn!("{unknown}");
    }
    Ok(())
}

/// Sends the server's own messages, its log lines, to stderr.
fn write_messages(config: &Config, lines: &LogLines) {
    let is_json = config.log_format == LogFormat::Json;
    let lines = lines.clone();
    let messages = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&config.log_level))
        .with_writer(move || Escaped { is_json, lines: lines.clone() })
        .with_ansi(io::stderr().is_terminal());
    // Fails if a test installed a subscriber before, which is then used.
    let _ = match config.log_format {
        LogFormat::Text => messages.try_init(),
        LogFormat::Json => messages.json().try_init(),
    };
}

/// Hands log lines over, and escapes characters that change the direction of text. Other characters
/// that control a terminal were escaped before, except for the colors of the line.
struct Escaped {
    is_json: bool,
    lines: LogLines,
}

impl Write for Escaped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Each log line comes in one call, so no character is cut in two.
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        if !text.chars().any(|c| !c.is_ascii() && steers_terminal(c)) {
            self.lines.push(bytes);
            return Ok(bytes.len());
        }
        let mut shown = String::with_capacity(text.len() + 16);
        for c in text.chars() {
            match c {
                c if c.is_ascii() || !steers_terminal(c) => shown.push(c),
                c if self.is_json => shown.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => shown.extend(c.escape_unicode()),
            }
        }
        self.lines.push(shown.as_bytes());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
