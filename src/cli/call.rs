//! `call COMMAND JSON`: any command of the table, for scripts.

use std::io::{self, IsTerminal, Read};

use clap::Args;

use super::failure::tell;
use super::output::{print_json, print_json_line};
use super::{Connection, Failure};
use crate::command::change::Watch;
use crate::command::{Call, Command, Kind};
use crate::config::choices::did_you_mean;
use crate::limits::REPLY_BYTES_MAX;

/// Arguments of `call`.
#[derive(Debug, Args)]
pub struct CallArgs {
    /// The command's name, like `advance`
    pub command: String,
    /// Its arguments as a JSON object; `-` reads them from stdin
    #[arg(default_value = "{}")]
    pub json: String,
    /// The server.
    #[command(flatten)]
    pub connection: Connection,
}

/// Sends the command and prints its reply.
pub async fn run(args: CallArgs) -> Result<(), Failure> {
    let json = if args.json == "-" { from_stdin()? } else { args.json };
    let command = parse(&args.command, &json)?;
    if let Command::Watch(watch) = command {
        return follow(&args.connection, watch).await;
    }
    let client = args.connection.open().await?;
    print_json(&client.call(command).await?)
}

/// Prints changes, one a line, until the server or the reader of the lines ends it.
async fn follow(connection: &Connection, watch: Watch) -> Result<(), Failure> {
    let mut changes = connection.changes(watch.from).await?;
    let is_terminal = io::stdout().is_terminal();
    if is_terminal {
        tell(format_args!("waiting for changes; Ctrl-C ends it"));
    }
    loop {
        let change = changes.next().await.map_err(|error| Failure::new(error.to_string()))?;
        let change = serde_json::to_value(&change);
        let mut change = change.map_err(|error| Failure::new(error.to_string()))?;
        // Programs get every field; people see those that say something.
        if is_terminal && let Some(fields) = change.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        print_json_line(&change)?;
    }
}

/// The command that a name and a JSON object stand for.
pub fn parse(name: &str, json: &str) -> Result<Command, Failure> {
    let Some(kind) = Kind::from_name(name) else {
        let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        let meant = did_you_mean(name, names.iter().copied());
        let all = names.join(", ");
        return Err(Failure::new(format!("no command `{name}`; there are: {all}{meant}")));
    };
    let arguments: serde_json::Value = serde_json::from_str(json)
        .map_err(|error| Failure::new(format!("the arguments are no JSON: {error}")))?;
    if !arguments.is_object() {
        return Err(Failure::new(
            "the arguments must be a JSON object, like {\"user_id\": \"u1\"}",
        ));
    }
    Ok(Command::from_json(kind, arguments)?)
}

fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    // More than the largest frame cannot be sent anyway.
    let limit = u64::try_from(REPLY_BYTES_MAX).unwrap_or(u64::MAX);
    io::stdin()
        .take(limit)
        .read_to_string(&mut text)
        .map_err(|error| Failure::new(format!("stdin: {error}")))?;
    Ok(text)
}
