//! `serve`: the configuration, the messages, and then the server.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use super::{Failure, demo};
use crate::config::{Config, LogFormat, ServeArgs};
use crate::server;

/// Serves until a signal stops it.
pub fn run(args: &ServeArgs) -> Result<ExitCode, Failure> {
    let config = Config::load(args).map_err(|error| Failure::new(error.to_string()))?;
    write_messages(&config);
    if config.demo {
        demo::run(config)?;
    } else {
        server::run(config).map_err(|error| Failure::new(error.to_string()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Sends what the server tells about itself to stderr.
fn write_messages(config: &Config) {
    let messages = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&config.log_level))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    // There is a subscriber already where a test installed one.
    let _ = match config.log_format {
        LogFormat::Text => messages.try_init(),
        LogFormat::Json => messages.json().try_init(),
    };
}
