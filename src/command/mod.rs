//! The commands of the store and their replies, independent of any encoding or transport.
//!
//! One table below has a row for each command, with all that other layers must know of it. Both
//! doors, the client, `chatshard call` and the tests are made from it.
//!
//! Arguments and replies are plain serde structs. In JSON they are objects, and in MessagePack
//! arrays in field order. So a new field must be the last of its struct.
//!
//! # Layout
//! - the table below: a row for each command. `columns` has its columns as types, and `macros` what
//!   is made of the rows
//! - a file for each command, which has its name: arguments with their check and keys, and reply
//!   - a connection and the node: [`hello`], [`ping`], [`stats`], [`snapshot`], [`verify`],
//!     [`export`], [`import`]
//!   - the members of a journal: [`cluster`], [`handover`], [`raise_format`],
//!     [`report`]
//!   - a user's rows: [`list`], [`detail`], [`delete`], [`set_flags`], [`touch`], [`clear`],
//!     [`mark_read`], [`mark_read_many`], [`erase_user`]
//!   - rows with their chats: [`conversations`], [`unread`], [`explain`]
//!   - changes: [`sync`], [`watch`], [`cancel`]
//!   - chats: [`create`], [`add_members`], [`remove_members`], [`members`], [`set_status`],
//!     [`dissolve`], [`advance`]
//! - what several commands share: `check`, `items`, [`error`], [`floors`] (the one formula of what
//!   is unread), [`lines`] (of `export` and `import`), [`list_writer`] (the reply to `list`)
//! - [`schema`]: all of this as data, from which clients in other languages are generated
//! - [`readiness`]: what a node must be ready for, as `/readyz` is asked

#[macro_use]
mod macros;
#[cfg(test)]
#[macro_use]
pub(crate) mod test_values;

pub mod add_members;
pub mod advance;
pub mod cancel;
mod check;
pub mod clear;
pub mod cluster;
mod columns;
pub mod conversations;
pub mod create;
pub mod delete;
pub mod detail;
pub mod dissolve;
pub mod erase_user;
pub mod error;
pub mod explain;
pub mod export;
pub mod floors;
pub mod handover;
pub mod hello;
pub mod import;
mod items;
pub mod lines;
pub mod list;
pub mod list_writer;
pub mod mark_read;
pub mod mark_read_many;
pub mod members;
pub mod ping;
pub mod raise_format;
pub mod readiness;
pub mod remove_members;
pub mod report;
pub mod schema;
pub mod set_flags;
pub mod set_status;
pub mod snapshot;
pub mod stats;
pub mod sync;
pub mod touch;
pub mod unread;
pub mod verify;
pub mod watch;

pub use columns::{By, Class, Home, KeyOwner, NamedKeys, OnStandby, Owner, ReplySize, RunsAt, Use};
pub use error::{Error, ErrorCode};
pub use items::Items;

use serde::de::Deserializer;
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use crate::types::IdempotencyKey;
use list::ListRowRef;
use schema::Bound;

/// How a command ended: with its reply, or with an error.
pub type Outcome = Result<Reply, Error>;

/// Something that runs commands: the node itself, or a client that is connected to one.
pub trait Call: Clone + Send + Sync + 'static {
    /// Runs one command, and returns its outcome.
    fn call(&self, command: Command) -> impl Future<Output = Outcome> + Send;

    /// Runs `work` on the offload thread, so that the caller's worker keeps serving other
    /// connections. Returns `None` if `work` panics. The default runs it on the caller's thread,
    /// for a caller that may block.
    fn offload<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Option<T>> + Send {
        async { Some(work()) }
    }

    /// Gives `read` the rows of a user's `list` in list order, without copying them. Returns `None`
    /// if the rows are on another core or are too many; the caller then sends `list` instead.
    fn read_list<R>(&self, _user_id: &str, _read: impl FnOnce(BorrowedRows<'_>) -> R) -> Option<R> {
        None
    }
}

/// The rows of one list, borrowed from the shard that keeps them.
pub type BorrowedRows<'a> = &'a mut dyn ExactSizeIterator<Item = ListRowRef<'a>>;

/// Reads null as the default of the type. The nil slice of a Go program becomes null in JSON, and
/// means an empty list.
///
/// In MessagePack, nil means that an argument is absent (see `protocol.md`), so a required list
/// must be there.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The rules of a command's arguments that their types cannot express.
pub trait Check {
    /// Rejects arguments that break a rule, such as too many ids or options that contradict each
    /// other.
    fn check(&self) -> Result<(), Error>;
}

/// What the file of a command says about it, in addition to its row in the table.
pub trait Arguments: Check + ToSchema {
    /// What the command replies with if it succeeds.
    type Reply: ToSchema;

    /// Arguments as JSON for `serve --demo`, where `USER` and `GROUP` stand for ids of the example
    /// data. `None` if a single call cannot show the command.
    const EXAMPLE: Option<&'static str>;

    /// Bounds that the types of the arguments cannot express, as [`Check`] checks them. Every other
    /// integer, list and text has the bounds of its type.
    const BOUNDS: &'static [Bound] = &[];

    /// Names every key at which the order of two requests could make a difference. A connection
    /// keeps two requests in order if they have a key in common, and may swap all others.
    fn touch(&self, keys: &mut impl NamedKeys);
}

/// A command, sorted by the part of the node that runs it.
#[derive(Debug, Clone, PartialEq)]
pub enum Sorted {
    /// A command that one shard runs.
    Shard(ShardCommand),
    /// A command that the router leads over several shards or steps.
    Router(RouterCommand),
    /// The worker or the connection runs it, so no shard and no router gets it.
    Neither(Kind),
}

commands! {
    // code, name, arguments                            class   runs at         standby key        reply
    /// Introduces a connection; the reply describes the node.
    1 "hello" hello::Hello                              Read    Worker          Always  NoKey      Small;
    /// Does nothing; its reply shows that the node works.
    2 "ping" ping::Ping                                 Read    Worker          Always  NoKey      Small;
    /// Counts and sizes of the node.
    3 "stats" stats::Stats                              Read    Steps           Always  NoKey      Small;
    /// Writes a snapshot now, and replies when its file is published.
    4 "snapshot" snapshot::Snapshot                     Operate Worker          OfFiles NoKey      Small;
    /// A page of all chats and members, in the form that `import` takes.
    5 "export" export::Export                           Read    Steps           Unasked NoKey      Limit;
    /// Stores chats and members as they come from an export.
    6 "import" import::Import                           Write   Steps           Never   EachChat   Small;
    /// Recounts all figures that are kept incrementally, and names each difference.
    7 "verify" verify::Verify                           Read    Steps           Never   NoKey      Large;
    /// Streams all changes of the node, as the log reaches them.
    8 "watch" watch::Watch                              Read    Connection      Unasked NoKey      Small;
    /// Ends a watch of the same connection.
    9 "cancel" cancel::Cancel                           Read    Connection      Always  NoKey      Small;
    /// The members of the journal, as far as this node knows them.
    10 "cluster" cluster::Cluster                       Read    Worker          Always  NoKey      Small;
    /// The active releases the journal, and a standby takes over.
    11 "handover" handover::Handover                    Operate Worker          Never   NoKey      Small;
    /// A standby's word to the active, once a second.
    12 "report" report::Report                          Operate Worker          Never   NoKey      Small;
    /// Raises the journal's format without members that are gone.
    13 "raise_format" raise_format::RaiseFormat         Operate Worker          Never   NoKey      Small;
    /// A user's rows, pinned first, then newest-joined first.
    16 "list" list::List                                Read    User            IfAsked NoKey      Limit;
    /// Details of chats, by id.
    17 "detail" detail::Detail                          Read    Steps           IfAsked NoKey      Items(ids);
    /// Removes chats from a user's list until their next message.
    18 "delete" delete::Delete                          Write   Steps           Never   User       Small;
    /// Sets a row's flags.
    19 "set_flags" set_flags::SetFlags                  Write   Steps           Never   User       Small;
    /// Sets `last_online_time`.
    20 "touch" touch::Touch                             Write   User            Never   User       Small;
    /// Hides a chat's history from a user; the row stays.
    21 "clear" clear::Clear                             Write   ChatThenRow     Never   User       Small;
    /// Raises a read position.
    22 "mark_read" mark_read::MarkRead                  Write   ChatThenRow     Never   User       Small;
    /// Raises read positions of several chats.
    23 "mark_read_many" mark_read_many::MarkReadMany    Write   Steps           Never   User       Items(items);
    /// A page of a user's conversations: rows with their chats and unread counts.
    24 "conversations" conversations::Conversations     Read    Steps           IfAsked NoKey      Medium;
    /// Unread totals of many users.
    25 "unread" unread::Unread                          Read    Steps           IfAsked NoKey      Items(user_ids);
    /// A user's changes since a version.
    26 "sync" sync::Sync                                Read    User            IfAsked NoKey      Limit;
    /// Explains why a chat is listed and unread as it is.
    27 "explain" explain::Explain                       Read    Steps           IfAsked NoKey      Small;
    /// Removes every trace of a user.
    28 "erase_user" erase_user::EraseUser               Write   Steps           Never   User       Small;
    /// Raises a chat's sequence, or hands out the next ones.
    32 "advance" advance::Advance                       Write   Chat            Never   Chat       Small;
    /// Creates a chat and its members.
    33 "create" create::Create                          Write   Steps           Never   ChatOrNode Small;
    /// Adds members to a chat.
    34 "add_members" add_members::AddMembers            Write   ChatThenMembers Never   Chat       Small;
    /// Removes members from a chat.
    35 "remove_members" remove_members::RemoveMembers   Write   ChatThenMembers Never   Chat       Small;
    /// A chat's members.
    36 "members" members::Members                       Read    Chat            IfAsked NoKey      Limit;
    /// Enables or disables a chat.
    37 "set_status" set_status::SetStatus               Write   Chat            Never   Chat       Small;
    /// Ends a chat for good; its id is never used again.
    38 "dissolve" dissolve::Dissolve                    Write   ChatThenMembers Never   Chat       Small;
}

impl Command {
    /// Whether the command may change data.
    pub const fn class(&self) -> Class {
        self.kind().class()
    }

    /// Decodes and checks arguments that come as a JSON object.
    pub fn from_json(kind: Kind, arguments: serde_json::Value) -> Result<Self, Error> {
        Self::from_fields(kind, arguments)
    }

    /// Like [`from_json`](Self::from_json), from the object's text. It also rejects a field that
    /// occurs twice, which a `Value` cannot show.
    ///
    /// # Errors
    /// Like [`from_json`](Self::from_json), and if the text is not JSON.
    pub fn from_json_text(kind: Kind, text: &str) -> Result<Self, Error> {
        let mut json = serde_json::Deserializer::from_str(text);
        let command = Self::from_fields(kind, &mut json)?;
        let ended = json.end();
        ended.map_err(|error| Error::invalid(format!("{}: {error}", kind.name())))?;
        Ok(command)
    }

    fn from_fields<'de, D>(kind: Kind, arguments: D) -> Result<Self, Error>
    where
        D: Deserializer<'de>,
    {
        let mut track = serde_path_to_error::Track::new();
        let placed = serde_path_to_error::Deserializer::new(arguments, &mut track);
        let command = Self::deserialize_arguments(kind, placed).map_err(|error| {
            let path = track.path();
            // An error of the whole object has no path to name.
            let place = if path.iter().len() > 0 { format!("{path}: ") } else { String::new() };
            Error::invalid(format!("{}: {place}{error}", kind.name()))
        })?;
        command.check()?;
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_unique_and_found_again() {
        for (index, &kind) in Kind::ALL.iter().enumerate() {
            assert_eq!(Kind::from_code(kind.code()), Some(kind));
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
            assert_eq!(kind.index(), index);
        }
    }

    #[test]
    fn unknown_fields_are_refused_in_json() {
        let wrong = serde_json::json!({"user_id": "u", "limits": 3});
        let error = Command::from_json(Kind::List, wrong).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidArgument);
        assert!(error.message.contains("limits"), "{}", error.message);
    }
}
