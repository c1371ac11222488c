//! `call COMMAND JSON`: sends any command to a server, for scripts.

use std::io::{self, IsTerminal, Read};

use clap::Args;

use super::failure::tell;
use super::manual;
use super::result_file::{print, print_json, print_json_line};
use super::{ConnectArgs, Failure};
use crate::command::watch::Watch;
use crate::command::{Command, Kind};
use crate::config::choices::did_you_mean;
use crate::limits::REPLY_BYTES_MAX;

/// Arguments of `call`: a command by its name, and its arguments as JSON.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct CallArgs {
    /// Name of the command, like `advance`
    #[arg(required_unless_present = "help")]
    pub command: Option<String>,
    /// Arguments of the command as a JSON object; `-` reads them from stdin
    #[arg(default_value = "{}")]
    pub json: String,
    /// Print help; after a command, print its arguments and an example
    #[arg(short, long)]
    pub help: bool,
    /// The server to send the command to.
    #[command(flatten)]
    pub connection: ConnectArgs,
}

/// Sends the command and prints its reply. For `watch`, prints changes until the server ends the
/// stream or nobody reads the output.
pub async fn run(args: CallArgs) -> Result<(), Failure> {
    let name = args.command.unwrap_or_default();
    if args.help {
        return print(&help(&name)?);
    }
    let json = if args.json == "-" { from_stdin()? } else { args.json };
    let command = parse(&name, &json)?;
    if let Command::Watch(watch) = command {
        return follow(&args.connection, watch).await;
    }
    let client = args.connection.open().await?;
    print_json(&args.connection.ask(&client, command).await?)
}

/// Prints one change per line, until the server ends the watch or nobody reads the lines any more.
async fn follow(connection: &ConnectArgs, watch: Watch) -> Result<(), Failure> {
    let mut changes = connection.changes(watch.from).await?;
    let is_terminal = io::stdout().is_terminal();
    if is_terminal {
        tell(format_args!("waiting for changes; Ctrl-C ends it"));
    }
    loop {
        let change = changes.next().await.map_err(|error| Failure::new(error.to_string()))?;
        let change = serde_json::to_value(&change);
        let mut change = change.map_err(|error| Failure::new(error.to_string()))?;
        // A program gets every field. A person sees only those that have a value.
        if is_terminal && let Some(fields) = change.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        print_json_line(&change)?;
    }
}

/// The help of one command, or of all if `name` is empty.
fn help(name: &str) -> Result<String, Failure> {
    if !name.is_empty() {
        return kind_of(name).map(manual::command);
    }
    let mut definition = super::definition();
    let call = definition
        .find_subcommand_mut("call")
        .map(|call| call.clone().bin_name("chatshard call").render_long_help().to_string());
    Ok(format!("{}\n{}", call.unwrap_or_default(), manual::commands()))
}

/// Makes a command from its name and its arguments, a JSON object.
pub fn parse(name: &str, json: &str) -> Result<Command, Failure> {
    let kind = kind_of(name)?;
    let arguments: serde_json::Value = serde_json::from_str(json)
        .map_err(|error| Failure::usage(format!("the arguments are no JSON: {error}")))?;
    if !arguments.is_object() {
        return Err(Failure::usage(
            "the arguments must be a JSON object, like {\"user_id\": \"u1\"}",
        ));
    }
    Command::from_json_text(kind, json).map_err(Failure::usage)
}

fn kind_of(name: &str) -> Result<Kind, Failure> {
    Kind::from_name(name).ok_or_else(|| {
        let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        let meant = did_you_mean(name, names.iter().copied());
        let all = names.join(", ");
        Failure::usage(format!("no command `{name}`; there are: {all}{meant}"))
    })
}

fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    // No frame can hold more than this, so no more is read.
    let limit = u64::try_from(REPLY_BYTES_MAX).unwrap_or(u64::MAX);
    io::stdin()
        .take(limit)
        .read_to_string(&mut text)
        .map_err(|error| Failure::new(format!("stdin: {error}")))?;
    Ok(text)
}
