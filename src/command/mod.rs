//! What can be asked of the store and what it answers, independent of any encoding or transport.
//!
//! One table below names every command: its wire code, its name, whether it writes, its arguments
//! and its reply. Both doors, the client, `chatshard call` and the tests are made from it. The
//! arguments and replies are plain serde structs: as JSON they are objects, on the wire they are
//! arrays in field order (so fields are only ever added at the end).
//!
//! # Layout
//! - [`chat`]: create, members, status: what backends do to chats
//! - [`message`]: advance, mark_read, mark_read_many
//! - [`membership`]: list, detail, delete, flags: a user's own rows
//! - [`conversation`]: conversations, unread, explain: rows and chats together
//! - [`change`]: sync, watch, cancel: what changed
//! - [`node`]: hello, ping, stats, snapshot, verify
//! - [`transfer`]: export and import
//! - [`error`]: the one error type with its codes
//! - [`unread`]: the one formula of what is unread

pub mod change;
pub mod chat;
pub mod conversation;
pub mod error;
pub mod membership;
pub mod message;
pub mod node;
pub mod transfer;
pub mod unread;

pub use error::{Error, ErrorCode};

use serde::de::Deserializer;
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::limits::SMALL_REPLY_ITEMS;
use membership::ListRowRef;

/// What came of a command.
pub type Outcome = Result<Reply, Error>;

/// Whether a command may change anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Changes nothing, and goes on when the log is stuck.
    Read,
    /// Needs the log.
    Write,
    /// Changes no data, but has the node work on its files; goes on when the log is stuck.
    Operate,
}

/// Anything that answers commands: the node itself, or a client that is connected to one.
pub trait Call: Clone + Send + Sync + 'static {
    /// Runs one command.
    fn call(&self, command: Command) -> impl Future<Output = Outcome> + Send;

    /// Does work that would hold up others of whoever this is for, where it holds up none. None if it panicked.
    fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Option<T>> + Send {
        async { Some(work()) }
    }

    /// Reads the rows of a user's `list` where they stand, in its order. None if they are not here, or are
    /// many: then `list` tells them.
    fn list_here<R>(&self, _user_id: &str, _read: impl FnOnce(ListHere<'_>) -> R) -> Option<R> {
        None
    }
}

/// The rows of a list where they stand.
pub type ListHere<'a> = &'a mut dyn ExactSizeIterator<Item = ListRowRef<'a>>;

/// Reads null as the type's default. A nil list of Go is null in JSON and means an empty list.
///
/// In an array of arguments nil means "absent" (see `protocol.md`): there a required list stays required.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Arguments that must hold more than their types say.
pub(crate) trait Check {
    /// Refuses what no type can refuse: too many ids, contradicting options.
    fn check(&self) -> Result<(), Error>;
}

macro_rules! commands {
    ($($(#[$doc:meta])* $code:literal $variant:ident $name:literal $class:ident $arguments:ty => $reply:ty;)+) => {
        /// A command with its arguments, checked.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Command {
            $($(#[$doc])* $variant($arguments)),+
        }

        /// What a successful command answers.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Reply {
            $(
                #[doc = concat!("Answer of `", $name, "`.")]
                $variant($reply)
            ),+
        }

        /// A command's identity without its arguments.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Kind {
            $($(#[$doc])* $variant),+
        }

        impl Kind {
            /// Every command, by code.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The number that names the command on the wire.
            pub const fn code(self) -> u8 {
                match self { $(Self::$variant => $code),+ }
            }

            /// The command's name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// What it may change.
            pub const fn class(self) -> Class {
                match self { $(Self::$variant => Class::$class),+ }
            }

            /// The command with this code.
            pub const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)+ _ => None }
            }

            /// The command with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }

            /// Position in [`Self::ALL`], for per-command tables.
            pub const fn index(self) -> usize {
                self as usize
            }
        }

        impl Command {
            /// Which command it is.
            pub const fn kind(&self) -> Kind {
                match self { $(Self::$variant(_) => Kind::$variant),+ }
            }

            /// Decodes the arguments of `kind` (not yet [`Self::check`]ed).
            pub fn deserialize_arguments<'de, D: Deserializer<'de>>(
                kind: Kind,
                deserializer: D,
            ) -> Result<Self, D::Error> {
                match kind {
                    $(Kind::$variant => <$arguments>::deserialize(deserializer).map(Self::$variant)),+
                }
            }

            /// Encodes the arguments.
            pub fn serialize_arguments<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self { $(Self::$variant(arguments) => arguments.serialize(serializer)),+ }
            }

            /// Refuses arguments that are over a limit or contradict each other.
            pub fn check(&self) -> Result<(), Error> {
                match self { $(Self::$variant(arguments) => arguments.check()),+ }
            }
        }

        impl Reply {
            /// Decodes the reply body of `kind`.
            pub fn deserialize_body<'de, D: Deserializer<'de>>(
                kind: Kind,
                deserializer: D,
            ) -> Result<Self, D::Error> {
                match kind {
                    $(Kind::$variant => <$reply>::deserialize(deserializer).map(Self::$variant)),+
                }
            }

            /// Which command's reply it is.
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
    /// Introduces a connection and tells what the node is.
    1 Hello "hello" Read node::Hello => Box<node::HelloReply>;
    /// Does nothing, successfully.
    2 Ping "ping" Read node::Ping => node::PingReply;
    /// Counts and sizes of the node.
    3 Stats "stats" Read node::Stats => Box<node::StatsReply>;
    /// Writes an image now; answers when it is published.
    4 Snapshot "snapshot" Operate node::Snapshot => node::SnapshotReply;
    /// A page of everything, as import takes it.
    5 Export "export" Read transfer::Export => transfer::ExportReply;
    /// Takes chats and members as they are.
    6 Import "import" Write transfer::Import => transfer::ImportReply;
    /// Recounts everything that is kept incrementally and names each difference.
    7 Verify "verify" Read node::Verify => node::VerifyReply;
    /// A stream of all changes of the node, as they become durable.
    8 Watch "watch" Read change::Watch => change::WatchEvent;
    /// Ends a watch of the same connection.
    9 Cancel "cancel" Read change::Cancel => ();
    /// A user's rows, pinned first, then newest-joined first.
    16 List "list" Read membership::List => membership::ListReply;
    /// Chats by id.
    17 Detail "detail" Read membership::Detail => membership::DetailReply;
    /// Takes chats off a user's list until their next message.
    18 Delete "delete" Write membership::Delete => ();
    /// Sets a row's flags.
    19 SetFlags "set_flags" Write membership::SetFlags => membership::SetFlagsReply;
    /// Sets last_online_time.
    20 Touch "touch" Write membership::Touch => membership::TouchReply;
    /// Hides a chat's history from a user; the row stays.
    21 Clear "clear" Write membership::Clear => membership::ClearReply;
    /// Raises a read position.
    22 MarkRead "mark_read" Write message::MarkRead => message::MarkReadReply;
    /// Raises read positions of several chats.
    23 MarkReadMany "mark_read_many" Write message::MarkReadMany => message::MarkReadManyReply;
    /// A page of a user's conversations: rows with their chats and unread counts.
    24 Conversations "conversations" Read conversation::Conversations => conversation::ConversationsReply;
    /// Unread totals of many users.
    25 Unread "unread" Read conversation::Unread => conversation::UnreadReply;
    /// A user's changes since a version.
    26 Sync "sync" Read change::Sync => change::SyncReply;
    /// Why a chat is listed and unread as it is.
    27 Explain "explain" Read conversation::Explain => conversation::ExplainReply;
    /// Removes every trace of a user.
    28 EraseUser "erase_user" Write membership::EraseUser => membership::EraseUserReply;
    /// Raises or hands out a chat's sequence.
    32 Advance "advance" Write message::Advance => message::AdvanceReply;
    /// Makes a chat and its members.
    33 Create "create" Write chat::Create => chat::CreateReply;
    /// Adds members to a chat.
    34 AddMembers "add_members" Write chat::AddMembers => chat::AddMembersReply;
    /// Removes members from a chat.
    35 RemoveMembers "remove_members" Write chat::RemoveMembers => chat::RemoveMembersReply;
    /// A chat's members.
    36 Members "members" Read chat::Members => chat::MembersReply;
    /// Enables or disables a chat.
    37 SetStatus "set_status" Write chat::SetStatus => chat::SetStatusReply;
    /// Ends a chat for good.
    38 Dissolve "dissolve" Write chat::Dissolve => ();
}

impl Command {
    /// What it may change.
    pub const fn class(&self) -> Class {
        self.kind().class()
    }

    /// Whether its reply may hold more than [`SMALL_REPLY_ITEMS`].
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

    /// Decodes and checks arguments given as a JSON object.
    pub fn from_json(kind: Kind, arguments: serde_json::Value) -> Result<Self, Error> {
        Self::from_fields(kind, arguments)
    }

    /// Like [`from_json`](Self::from_json), from the object's text. A field that is there twice is refused: a
    /// `Value` has only one of the two.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json), and for text that is no JSON.
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
            // An error of the whole object has no path.
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
