//! The commands of the store and their replies, independent of any encoding or transport.
//!
//! One table below names every command: wire code, name, class, arguments and reply. Both doors,
//! the client, `chatshard call` and the tests are made from it. Arguments and replies are plain
//! serde structs. As JSON they are objects; on the wire they are arrays in field order. So a new
//! field goes to the end of its struct.
//!
//! # Layout
//! - the table below: a row for each command
//! - a file for each command, which has its name: arguments, reply, and their check
//!   - a connection and the node: [`hello`], [`ping`], [`stats`], [`snapshot`], [`verify`],
//!     [`export`], [`import`]
//!   - a user's rows: [`list`], [`detail`], [`delete`], [`set_flags`], [`touch`], [`clear`],
//!     [`mark_read`], [`mark_read_many`], [`erase_user`]
//!   - rows with their chats: [`conversations`], [`unread`], [`explain`]
//!   - changes: [`sync`], [`watch`], [`cancel`]
//!   - chats: [`create`], [`add_members`], [`remove_members`], [`members`], [`set_status`],
//!     [`dissolve`], [`advance`]
//! - what several commands share: `check`, [`error`], [`floors`] (the one formula of what is
//!   unread), [`lines`] (of `export` and `import`), [`list_writer`] (the reply to `list`)

pub mod add_members;
pub mod advance;
pub mod cancel;
mod check;
pub mod clear;
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
pub mod hello;
pub mod import;
pub mod lines;
pub mod list;
pub mod list_writer;
pub mod mark_read;
pub mod mark_read_many;
pub mod members;
pub mod ping;
pub mod remove_members;
pub mod set_flags;
pub mod set_status;
pub mod snapshot;
pub mod stats;
pub mod sync;
pub mod touch;
pub mod unread;
pub mod verify;
pub mod watch;

pub use error::{Error, ErrorCode};

use serde::de::Deserializer;
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::limits::SMALL_REPLY_ITEMS;
use list::ListRowRef;

/// The result of a command: its reply, or why it failed.
pub type Outcome = Result<Reply, Error>;

/// Whether a command may change anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Changes nothing, and works while the log is stalled or poisoned.
    Read,
    /// Changes data, and fails while the log takes no writes.
    Write,
    /// Changes no data, but makes the node work on its files; works while the log is stuck.
    Operate,
}

/// A service that runs commands: the node itself, or a client that is connected to one.
pub trait Call: Clone + Send + Sync + 'static {
    /// Runs one command to its reply.
    fn call(&self, command: Command) -> impl Future<Output = Outcome> + Send;

    /// Runs `work` on the offload thread, so that the caller's worker keeps serving others. Returns
    /// `None` if `work` panics. The default runs it right away, for callers that hold nobody up.
    fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Option<T>> + Send {
        async { Some(work()) }
    }

    /// Gives `read` the rows of a user's `list` in list order, without copying them. Returns `None`
    /// if the rows are on another core or are too many; the caller then sends `list` instead.
    fn list_here<R>(&self, _user_id: &str, _read: impl FnOnce(ListHere<'_>) -> R) -> Option<R> {
        None
    }
}

/// The rows of one list, borrowed from the shard that keeps them.
pub type ListHere<'a> = &'a mut dyn ExactSizeIterator<Item = ListRowRef<'a>>;

/// Reads null as the default of the type. A nil list of Go is null in JSON and means an empty list.
///
/// In an array of arguments nil means "absent" (see `protocol.md`), so a required list stays
/// required.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Arguments with rules that their types cannot express.
pub(crate) trait Check {
    /// Rejects arguments that break such a rule: too many ids, contradicting options.
    fn check(&self) -> Result<(), Error>;
}

macro_rules! commands {
    ($($(#[$doc:meta])* $code:literal $variant:ident $name:literal $class:ident $arguments:ty => $reply:ty;)+) => {
        /// A command with its decoded arguments; [`Self::check`] tests their limits.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Command {
            $($(#[$doc])* $variant($arguments)),+
        }

        /// The reply of a command that succeeded.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Reply {
            $(
                #[doc = concat!("Answer of `", $name, "`.")]
                $variant($reply)
            ),+
        }

        /// The identity of a command without its arguments.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Kind {
            $($(#[$doc])* $variant),+
        }

        impl Kind {
            /// Every command, in the order of the codes.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The number that names the command on the wire.
            pub const fn code(self) -> u8 {
                match self { $(Self::$variant => $code),+ }
            }

            /// The name of the command in JSON, metrics and log lines.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// Whether the command may change data.
            pub const fn class(self) -> Class {
                match self { $(Self::$variant => Class::$class),+ }
            }

            /// Finds a command by its wire code.
            pub const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)+ _ => None }
            }

            /// Finds a command by its name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }

            /// The position in [`Self::ALL`], for tables with one entry per command.
            pub const fn index(self) -> usize {
                self as usize
            }
        }

        impl Command {
            /// The command's identity, for tables and messages.
            pub const fn kind(&self) -> Kind {
                match self { $(Self::$variant(_) => Kind::$variant),+ }
            }

            /// Decodes the arguments of `kind`, without the checks of [`Self::check`].
            pub fn deserialize_arguments<'de, D: Deserializer<'de>>(
                kind: Kind,
                deserializer: D,
            ) -> Result<Self, D::Error> {
                match kind {
                    $(Kind::$variant => <$arguments>::deserialize(deserializer).map(Self::$variant)),+
                }
            }

            /// Encodes the arguments alone, without code or name of the command.
            pub fn serialize_arguments<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self { $(Self::$variant(arguments) => arguments.serialize(serializer)),+ }
            }

            /// Rejects arguments that are over a limit or contradict each other.
            pub fn check(&self) -> Result<(), Error> {
                match self { $(Self::$variant(arguments) => arguments.check()),+ }
            }
        }

        impl Reply {
            /// Decodes the body of a reply to `kind`.
            pub fn deserialize_body<'de, D: Deserializer<'de>>(
                kind: Kind,
                deserializer: D,
            ) -> Result<Self, D::Error> {
                match kind {
                    $(Kind::$variant => <$reply>::deserialize(deserializer).map(Self::$variant)),+
                }
            }

            /// The command that this replies to.
            pub const fn kind(&self) -> Kind {
                match self { $(Self::$variant(_) => Kind::$variant),+ }
            }
        }

        impl Serialize for Reply {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self { $(Self::$variant(body) => body.serialize(serializer)),+ }
            }
        }

        $(impl From<$arguments> for Command {
            fn from(arguments: $arguments) -> Self {
                Self::$variant(arguments)
            }
        })+
    };
}

commands! {
    /// Introduces a connection; the reply describes the node.
    1 Hello "hello" Read hello::Hello => Box<hello::HelloReply>;
    /// Does nothing; its reply shows that the node works.
    2 Ping "ping" Read ping::Ping => ping::PingReply;
    /// Counts and sizes of the node.
    3 Stats "stats" Read stats::Stats => Box<stats::StatsReply>;
    /// Writes a snapshot now, and replies when its file is published.
    4 Snapshot "snapshot" Operate snapshot::Snapshot => snapshot::SnapshotReply;
    /// A page of all chats and members, in the form that `import` takes.
    5 Export "export" Read export::Export => export::ExportReply;
    /// Stores chats and members as they come from an export.
    6 Import "import" Write import::Import => import::ImportReply;
    /// Recounts all figures that are kept incrementally, and names each difference.
    7 Verify "verify" Read verify::Verify => verify::VerifyReply;
    /// Streams all changes of the node, as the log reaches them.
    8 Watch "watch" Read watch::Watch => watch::WatchEvent;
    /// Ends a watch of the same connection.
    9 Cancel "cancel" Read cancel::Cancel => ();
    /// A user's rows, pinned first, then newest-joined first.
    16 List "list" Read list::List => list::ListReply;
    /// Details of chats, by id.
    17 Detail "detail" Read detail::Detail => detail::DetailReply;
    /// Removes chats from a user's list until their next message.
    18 Delete "delete" Write delete::Delete => ();
    /// Sets a row's flags.
    19 SetFlags "set_flags" Write set_flags::SetFlags => set_flags::SetFlagsReply;
    /// Sets `last_online_time`.
    20 Touch "touch" Write touch::Touch => touch::TouchReply;
    /// Hides a chat's history from a user; the row stays.
    21 Clear "clear" Write clear::Clear => clear::ClearReply;
    /// Raises a read position.
    22 MarkRead "mark_read" Write mark_read::MarkRead => mark_read::MarkReadReply;
    /// Raises read positions of several chats.
    23 MarkReadMany "mark_read_many" Write mark_read_many::MarkReadMany => mark_read_many::MarkReadManyReply;
    /// A page of a user's conversations: rows with their chats and unread counts.
    24 Conversations "conversations" Read conversations::Conversations => conversations::ConversationsReply;
    /// Unread totals of many users.
    25 Unread "unread" Read unread::Unread => unread::UnreadReply;
    /// A user's changes since a version.
    26 Sync "sync" Read sync::Sync => sync::SyncReply;
    /// Explains why a chat is listed and unread as it is.
    27 Explain "explain" Read explain::Explain => explain::ExplainReply;
    /// Removes every trace of a user.
    28 EraseUser "erase_user" Write erase_user::EraseUser => erase_user::EraseUserReply;
    /// Raises a chat's sequence, or hands out the next ones.
    32 Advance "advance" Write advance::Advance => advance::AdvanceReply;
    /// Creates a chat and its members.
    33 Create "create" Write create::Create => create::CreateReply;
    /// Adds members to a chat.
    34 AddMembers "add_members" Write add_members::AddMembers => add_members::AddMembersReply;
    /// Removes members from a chat.
    35 RemoveMembers "remove_members" Write remove_members::RemoveMembers => remove_members::RemoveMembersReply;
    /// A chat's members.
    36 Members "members" Read members::Members => members::MembersReply;
    /// Enables or disables a chat.
    37 SetStatus "set_status" Write set_status::SetStatus => set_status::SetStatusReply;
    /// Ends a chat for good; its id is never used again.
    38 Dissolve "dissolve" Write dissolve::Dissolve => ();
}

impl Command {
    /// Whether the command may change data.
    pub const fn class(&self) -> Class {
        self.kind().class()
    }

    /// Whether the reply may hold more items than `SMALL_REPLY_ITEMS`.
    pub fn may_answer_much(&self) -> bool {
        let is_much = |items: usize| items > SMALL_REPLY_ITEMS;
        let is_long = |limit: Option<u32>| {
            limit.and_then(|limit| usize::try_from(limit).ok()).is_none_or(is_much)
        };
        match self {
            Self::List(list) => is_long(list.limit),
            Self::Members(members) => is_long(members.limit),
            Self::Export(export) => is_long(export.limit),
            Self::Sync(sync) => is_long(sync.limit),
            Self::Detail(detail) => is_much(detail.ids.len()),
            Self::Unread(unread) => is_much(unread.user_ids.len()),
            Self::MarkReadMany(many) => is_much(many.items.len()),
            Self::Verify(_) => true,
            Self::Hello(_)
            | Self::Ping(_)
            | Self::Stats(_)
            | Self::Snapshot(_)
            | Self::Import(_)
            | Self::Watch(_)
            | Self::Cancel(_)
            | Self::Delete(_)
            | Self::SetFlags(_)
            | Self::Touch(_)
            | Self::Clear(_)
            | Self::MarkRead(_)
            | Self::Conversations(_)
            | Self::Explain(_)
            | Self::EraseUser(_)
            | Self::Advance(_)
            | Self::Create(_)
            | Self::AddMembers(_)
            | Self::RemoveMembers(_)
            | Self::SetStatus(_)
            | Self::Dissolve(_) => false,
        }
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
            // An error of the whole object has an empty path.
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
