//! `list`, `detail`, `delete`, `stats`: commands whose results are a table on a terminal, and JSON
//! otherwise.

use std::io::{self, IsTerminal};

use clap::Args;
use comfy_table::{Table, presets};

use super::result_file::{print, print_json};
use super::{ConnectArgs, Failure};
use crate::client::ClusterClient;
use crate::command::delete::Delete;
use crate::command::detail::{ChatItem, Detail, DetailReply};
use crate::command::list::{List, ListReply, ListRow};
use crate::command::stats::{Stats, StatsReply};
use crate::command::{Command, Reply};
use crate::limits::IDS_MAX;
use crate::types::{ChatId, ChatStatus, ChatType, Flag, Sequence, TimeMs, UserId};

/// Whether a command prints a table or JSON.
#[derive(Debug, Args)]
pub struct Format {
    /// Print JSON on a terminal too
    #[arg(long)]
    pub json: bool,
}

impl Format {
    /// Whether the output is JSON: asked for, or not for a terminal.
    pub(super) fn is_json(&self) -> bool {
        self.json || !io::stdout().is_terminal()
    }
}

/// Arguments of `list`: a user.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Id of the user
    pub user: UserId,
    /// The format of the output.
    #[command(flatten)]
    pub format: Format,
    /// The server to ask.
    #[command(flatten)]
    pub connection: ConnectArgs,
}

/// Arguments of `detail`: chats, and optionally the user who looks at them.
#[derive(Debug, Args)]
pub struct DetailArgs {
    /// Ids of the chats
    #[arg(required = true)]
    pub ids: Vec<ChatId>,
    /// Id of the user who looks: fills last_read_sequence, and leaves out chats of others
    #[arg(long, value_name = "USER")]
    pub user: Option<UserId>,
    /// The format of the output.
    #[command(flatten)]
    pub format: Format,
    /// The server to ask.
    #[command(flatten)]
    pub connection: ConnectArgs,
}

/// Arguments of `delete`: a user, and chats of the user's list.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Id of the user
    pub user: UserId,
    /// Ids of the chats; those that the user does not have are ignored
    #[arg(required = true)]
    pub ids: Vec<ChatId>,
    /// The format of the output.
    #[command(flatten)]
    pub format: Format,
    /// The server to ask.
    #[command(flatten)]
    pub connection: ConnectArgs,
}

/// Arguments of `stats`: only the format and the server.
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// The format of the output.
    #[command(flatten)]
    pub format: Format,
    /// The server to ask.
    #[command(flatten)]
    pub connection: ConnectArgs,
}

/// Prints the rows of a user's list, in list order.
pub async fn list(args: ListArgs) -> Result<(), Failure> {
    let client = args.connection.open().await?;
    let mut all = ListReply { items: Vec::new(), next_cursor: None };
    loop {
        let cursor = all.next_cursor.take();
        let page = List { user_id: args.user.clone(), limit: None, cursor };
        let Reply::List(page) = ask(&args.connection, &client, page).await? else {
            return Err(unexpected());
        };
        all.items.extend(page.items);
        all.next_cursor = page.next_cursor;
        if all.next_cursor.is_none() {
            break;
        }
    }
    if args.format.is_json() { print_json(&all) } else { print(&list_table(&all.items)) }
}

/// Prints those of the chats that exist, in the order of the arguments.
pub async fn detail(args: DetailArgs) -> Result<(), Failure> {
    let client = args.connection.open().await?;
    let mut all = DetailReply { items: Vec::new() };
    for ids in args.ids.chunks(IDS_MAX) {
        let command = Detail { ids: ids.to_vec(), user_id: args.user.clone() };
        let Reply::Detail(reply) = ask(&args.connection, &client, command).await? else {
            return Err(unexpected());
        };
        all.items.extend(reply.items);
    }
    if args.format.is_json() { print_json(&all) } else { print(&detail_table(&all.items)) }
}

/// Removes the chats from the user's list.
pub async fn delete(args: DeleteArgs) -> Result<(), Failure> {
    let client = args.connection.open().await?;
    for ids in args.ids.chunks(IDS_MAX) {
        let command = Delete {
            user_id: args.user.clone(),
            ids: ids.to_vec(),
            up_to: None,
            idempotency_key: None,
        };
        ask(&args.connection, &client, command).await?;
    }
    if args.format.is_json() { print_json(&()) } else { print("done") }
}

/// Prints the server's figures, and those of each shard.
pub async fn stats(args: StatsArgs) -> Result<(), Failure> {
    let client = args.connection.open().await?;
    let Reply::Stats(stats) = ask(&args.connection, &client, Stats {}).await? else {
        return Err(unexpected());
    };
    if args.format.is_json() { print_json(&stats) } else { print(&stats_tables(&stats)) }
}

/// Sends a command that passes its check.
pub(super) async fn ask(
    connection: &ConnectArgs,
    client: &ClusterClient,
    command: impl Into<Command>,
) -> Result<Reply, Failure> {
    let command = command.into();
    command.check().map_err(Failure::usage)?;
    Ok(connection.ask(client, command).await?)
}

pub(super) fn unexpected() -> Failure {
    Failure::new("the server answered another command")
}

pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header.iter().copied());
    table
}

fn list_table(rows: &[ListRow]) -> String {
    let mut table =
        table(&["chat", "pinned", "muted", "shown", "hidden", "read to", "last online"]);
    for row in rows {
        table.add_row([
            row.chat_id.to_string(),
            tick(row.is_top),
            tick(row.is_mute),
            tick(row.is_show),
            tick(row.is_hide),
            row.max_read_seq.to_string(),
            date(row.last_online_time),
        ]);
    }
    format!("{table}\n{} chats", rows.len())
}

fn detail_table(chats: &[ChatItem]) -> String {
    let header = [
        "chat",
        "creator",
        "type",
        "status",
        "encrypted",
        "read to",
        "last",
        "last time",
        "created",
    ];
    let mut table = table(&header);
    for chat in chats {
        table.add_row([
            chat.id.to_string(),
            chat.creator_id.to_string(),
            type_name(chat.chat_type).to_owned(),
            status_name(chat.status).to_owned(),
            tick(chat.is_enc),
            read_to(chat.last_read_sequence),
            chat.last_sequence.to_string(),
            date(chat.last_time),
            date(chat.created_at),
        ]);
    }
    format!("{table}\n{} chats", chats.len())
}

/// Tables of all figures in the reply, by their names there, with one table of the shards.
fn stats_tables(stats: &StatsReply) -> String {
    let mut figures = table(&["figure", "value"]);
    if let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(stats) {
        for (name, value) in fields {
            match value {
                serde_json::Value::Array(_) => {}
                serde_json::Value::Object(inner) => {
                    for (inner_name, value) in inner {
                        figures.add_row([format!("{name}.{inner_name}"), plain(&value)]);
                    }
                }
                value => {
                    figures.add_row([name, plain(&value)]);
                }
            }
        }
    }
    let mut shards =
        table(&["shard", "chats", "users", "memberships", "outbox", "commands", "connections"]);
    for shard in &stats.shards {
        shards.add_row([
            shard.shard.to_string(),
            shard.chats.to_string(),
            shard.users.to_string(),
            shard.memberships.to_string(),
            shard.outbox.to_string(),
            shard.commands.to_string(),
            shard.connections.to_string(),
        ]);
    }
    format!("{figures}\n{shards}")
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn tick(flag: Flag) -> String {
    if flag.0 { "yes" } else { "" }.to_owned()
}

fn read_to(sequence: Sequence) -> String {
    if sequence == Sequence::ZERO { String::new() } else { sequence.to_string() }
}

fn type_name(chat_type: ChatType) -> &'static str {
    match chat_type {
        ChatType::Single => "single",
        ChatType::Group => "group",
        ChatType::Official => "official",
    }
}

fn status_name(status: ChatStatus) -> &'static str {
    match status {
        ChatStatus::Normal => "normal",
        ChatStatus::Disabled => "disabled",
    }
}

/// A time as date and time of day in UTC. Empty for 0, which stands for no time.
fn date(time: TimeMs) -> String {
    if time == TimeMs::ZERO {
        return String::new();
    }
    let seconds = time.get() / 1000;
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

/// Turns days since 1970 into year, month and day. It counts cycles of 400 years, and years that
/// begin in March, so that a leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let from_march_of_year_0 = days + 719_468;
    let (cycle, day) = (from_march_of_year_0 / 146_097, from_march_of_year_0 % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let january = u64::from(month >= 10);
    (cycle * 400 + year + january, month + 3 - 12 * january, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let date = |ms| date(TimeMs::new(ms).unwrap());
        assert_eq!(date(0), "");
        assert_eq!(date(1), "1970-01-01 00:00:00Z");
        assert_eq!(date(951_782_400_000), "2000-02-29 00:00:00Z");
        assert_eq!(date(1_767_225_599_999), "2025-12-31 23:59:59Z");
        assert_eq!(date(4_107_542_400_000), "2100-03-01 00:00:00Z");
    }

    #[test]
    fn tables_hold_every_row() {
        let row = ListRow {
            chat_id: ChatId::new("s_1").unwrap(),
            is_top: Flag::YES,
            is_mute: Flag::NO,
            is_show: Flag::YES,
            is_hide: Flag::NO,
            max_read_seq: Sequence::new(7).unwrap(),
            last_online_time: TimeMs::ZERO,
        };
        let text = list_table(&[row]);
        assert!(text.contains("s_1") && text.contains("yes") && text.ends_with("1 chats"));
        assert!(stats_tables(&StatsReply::default()).contains("log.durable_lsn"));
    }
}
