//! The one error type of all commands, with its status codes.

use std::borrow::Cow;

use crate::types::Invalid;

macro_rules! error_codes {
    ($($(#[doc = $about:literal])+ $variant:ident $status:literal $name:literal;)+) => {
        /// The kind of an error; `protocol.md` has the same table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $($(#[doc = $about])+ $variant),+
        }

        impl ErrorCode {
            /// Every code, in the order of the status numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The status number, which equals that of HTTP.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status),+ }
            }

            /// The name of the code in the body of an error.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// When the code comes, in words.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => concat!($($about),+)),+ }
            }

            /// Finds a code by its status number.
            pub const fn from_status(status: u16) -> Option<Self> {
                match status { $($status => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

error_codes! {
    /// An argument has a wrong type, id or range, or the command is unknown.
    InvalidArgument 400 "invalid_argument";
    /// Credentials are missing, wrong or no longer good, or the first frame is not `hello`.
    Unauthenticated 401 "unauthenticated";
    /// The credentials of the caller do not allow the command.
    PermissionDenied 403 "permission_denied";
    /// The chat, membership or watch that the command needs does not exist.
    NotFound 404 "not_found";
    /// An id or an idempotency key came before with other content, a version differs, or an offset
    /// is not kept.
    Conflict 409 "conflict";
    /// The chat was dissolved.
    Gone 410 "gone";
    /// A frame, a list or a reply exceeds its limit.
    TooLarge 413 "too_large";
    /// This node is not the active of its journal, and applied nothing. The error names the active,
    /// if it is known.
    Moved 421 "moved";
    /// An `advance` reached a disabled chat.
    Disabled 423 "disabled";
    /// A queue or a budget is full. Nothing was applied; the client may retry later.
    Busy 429 "busy";
    /// The node starts or stops, its disk or memory is full, or its log is poisoned. The message
    /// says whether the command was applied, if the node knows.
    Unavailable 503 "unavailable";
}

/// How the message of a 503 begins if the node knows that it applied nothing.
pub(super) const NOT_APPLIED: &str = "not applied: ";
/// How the message of a 503 begins if the node cannot know whether it applied the command.
pub(super) const OUTCOME_UNKNOWN: &str = "outcome unknown: ";

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", code.name())]
pub struct Error {
    /// The code that the client gets as the status of the reply.
    pub code: ErrorCode,
    /// The exact reason, in words for the caller.
    pub message: Cow<'static, str>,
    /// Where the active is, if this node is not: a part of 421.
    pub moved: Option<Box<Moved>>,
}

/// Where clients find the active of a journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved {
    /// The address of its TCP door; empty if it is not known.
    pub address: String,
    /// The number of its claim; 0 before the first one.
    pub epoch: u64,
}

impl Error {
    /// An error with any code. The constructors below cover most cases.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), moved: None }
    }

    /// Error 400, with the wrong argument named in `message`.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }

    /// Error 413, with the limit named in `message`.
    pub fn too_large(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::TooLarge, message)
    }

    /// Error 404 for a chat that does not exist.
    pub fn no_chat() -> Self {
        Self::new(ErrorCode::NotFound, "there is no such chat")
    }

    /// Error 404 for a user who is not a member of the chat.
    pub fn no_membership() -> Self {
        Self::new(ErrorCode::NotFound, "the user is no member of this chat")
    }

    /// Error 410 for a dissolved chat.
    pub fn gone() -> Self {
        Self::new(ErrorCode::Gone, "the chat was dissolved")
    }

    /// Error 421 for a request to a node that is not the active.
    #[cold]
    pub fn moved(moved: Moved) -> Self {
        let message = match moved.address.as_str() {
            "" => "this node is not the active, and knows of none".to_owned(),
            address => format!("this node is not the active; that is {address}"),
        };
        Self { moved: Some(Box::new(moved)), ..Self::new(ErrorCode::Moved, message) }
    }

    /// Error 429 for a connection that finds all places of its door taken.
    pub fn no_room() -> Self {
        Self::new(ErrorCode::Busy, "too many connections; try again later")
    }

    /// Error 503 for a write that the node refused before it applied anything.
    pub fn not_applied(why: &str) -> Self {
        Self::new(ErrorCode::Unavailable, format!("{NOT_APPLIED}{why}"))
    }

    /// Error 503 for a write whose record may or may not have reached the disk.
    pub fn outcome_unknown(why: &str) -> Self {
        Self::new(ErrorCode::Unavailable, format!("{OUTCOME_UNKNOWN}{why}"))
    }

    /// Whether the state of the store decided the error. The others say that nobody asked it.
    pub fn is_of_state(&self) -> bool {
        !matches!(self.code, ErrorCode::Busy | ErrorCode::Moved | ErrorCode::Unavailable)
    }

    /// Whether the command may have been applied although it failed.
    pub fn is_outcome_unknown(&self) -> bool {
        self.code == ErrorCode::Unavailable && self.message.starts_with(OUTCOME_UNKNOWN)
    }

    /// The error of a command, if one part failed with `self`, while other parts were or may have
    /// been applied. A 429 or 503 becomes "outcome unknown", because "not applied" would be false.
    #[must_use]
    pub fn of_a_part(self) -> Self {
        match self.code {
            ErrorCode::Busy | ErrorCode::Moved | ErrorCode::Unavailable
                if !self.is_outcome_unknown() =>
            {
                let why = self.message.strip_prefix(NOT_APPLIED).unwrap_or(&self.message);
                Self::outcome_unknown(&format!("a part was applied, another was not: {why}"))
            }
            _ => self,
        }
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::invalid(invalid.0)
    }
}
