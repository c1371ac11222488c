//! `journal raise-format`: gives the journal a newer format without members that are gone.

use std::time::{Duration, Instant};

use clap::Args;
use tokio::time::sleep;

use super::query::{Format, ask, unexpected};
use super::result_file::{print, print_json};
use super::{ConnectArgs, Failure};
use crate::command::Reply;
use crate::command::raise_format::{RaiseFormat, RaiseFormatReply};

/// Which members are gone.
#[derive(Debug, Args)]
pub struct RaiseFormatArgs {
    /// Name of a member that is gone and may not read the newer format; may be repeated
    #[arg(long, value_name = "NAME")]
    pub without: Vec<String>,
    /// The format of the output.
    #[command(flatten)]
    pub output: Format,
    /// The members to ask.
    #[command(flatten)]
    pub connection: ConnectArgs,
}

/// How long the entry may take, and how often the command looks for it.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);

/// Asks the active for it, and waits until the journal has the format.
pub(super) async fn run(args: &RaiseFormatArgs) -> Result<(), Failure> {
    let client = args.connection.open().await?;
    let asked = || RaiseFormat { without: args.without.clone() };
    let raise = async || match ask(&args.connection, &client, asked()).await? {
        Reply::RaiseFormat(reply) => Ok(reply),
        _ => Err(unexpected()),
    };
    let reply: RaiseFormatReply = raise().await?;
    let deadline = Instant::now() + PATIENCE;
    while reply.before < reply.format && raise().await?.before < reply.format {
        if Instant::now() >= deadline {
            let RaiseFormatReply { format, before, .. } = reply;
            return Err(Failure::new(format!(
                "the journal still has format {before}, and not {format}; `journal status` shows it"
            )));
        }
        sleep(LOOK).await;
    }
    if args.output.is_json() { print_json(&reply) } else { print(&as_text(&reply)) }
}

fn as_text(RaiseFormatReply { format, before, without }: &RaiseFormatReply) -> String {
    if before == format {
        return format!(
            "the journal has format {format} already, the newest that its active reads"
        );
    }
    let left_out = match without.is_empty() {
        true => String::new(),
        false => format!("; {} must get the new program before a start", without.join(", ")),
    };
    format!("the journal is raised from format {before} to {format}{left_out}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_left_out_is_named() {
        let reply = RaiseFormatReply { format: 3, before: 2, without: vec!["m3".into()] };
        let text = as_text(&reply);
        assert!(text.contains("from format 2 to 3") && text.contains("m3 must"), "{text}");
        let text = as_text(&RaiseFormatReply { before: 3, without: Vec::new(), ..reply });
        assert!(text.contains("has format 3 already"), "{text}");
    }
}
