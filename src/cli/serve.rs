//! `serve`: the configuration, the messages, and then the server.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use super::{Failure, demo};
use crate::config::{Config, LogFormat, ServeArgs, settings};
use crate::server;

/// Serves until a signal stops it.
pub fn run(args: &ServeArgs) -> Result<ExitCode, Failure> {
    let config = Config::load(args).map_err(|error| Failure::new(error.to_string()))?;
    write_messages(&config);
    warn_of_unknown_variables()?;
    if config.demo {
        demo::run(config)?;
    } else {
        server::run(config).map_err(|error| Failure::new(error.to_string()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A slip in the name of a variable leaves its setting at the default.
fn warn_of_unknown_variables() -> Result<(), Failure> {
    let environment = settings::process_environment();
    let environment = environment.map_err(|error| Failure::new(error.to_string()))?;
    for unknown in settings::unknown_variables(&environment, &super::client_variables()) {
        tracing::warn!("{unknown}");
    }
    Ok(())
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
