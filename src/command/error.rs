//! The one error type of every command, with its status codes.

use std::borrow::Cow;

use crate::types::Invalid;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident $status:literal $name:literal;)+) => {
        /// What kind of error it is; the table of `protocol.md`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $($(#[$doc])* $variant),+
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The status number, the same as HTTP's.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status),+ }
            }

            /// The name that stands in an error's body.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The code with this status number.
            pub const fn from_status(status: u16) -> Option<Self> {
                match status { $($status => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

error_codes! {
    /// Wrong type, id, range, or an unknown command.
    InvalidArgument 400 "invalid_argument";
    /// No or bad credentials.
    Unauthenticated 401 "unauthenticated";
    /// Not the caller's.
    PermissionDenied 403 "permission_denied";
    /// The chat or membership that the command needs is not there.
    NotFound 404 "not_found";
    /// Same id, other content.
    Conflict 409 "conflict";
    /// The chat was dissolved.
    Gone 410 "gone";
    /// A frame, list or reply is over its limit.
    TooLarge 413 "too_large";
    /// Advance on a disabled chat.
    Disabled 423 "disabled";
    /// A queue is full; nothing was applied; try again later.
    Busy 429 "busy";
    /// Starting, stopping, disk full or log poisoned; the message says whether it was applied.
    Unavailable 503 "unavailable";
}

/// What the message of a 503 begins with, where it is known that nothing was done.
const NOT_APPLIED: &str = "not applied: ";
/// And where it is not known.
const OUTCOME_UNKNOWN: &str = "outcome unknown: ";

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", code.name())]
pub struct Error {
    /// The kind of error.
    pub code: ErrorCode,
    /// What exactly is wrong, for the caller.
    pub message: Cow<'static, str>,
}

impl Error {
    /// An error of any code.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    /// 400.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }

    /// 413.
    pub fn too_large(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::TooLarge, message)
    }

    /// 404 for a chat.
    pub fn no_chat() -> Self {
        Self::new(ErrorCode::NotFound, "there is no such chat")
    }

    /// 404 for a membership.
    pub fn no_membership() -> Self {
        Self::new(ErrorCode::NotFound, "the user is no member of this chat")
    }

    /// 410.
    pub fn gone() -> Self {
        Self::new(ErrorCode::Gone, "the chat was dissolved")
    }

    /// 429 for a connection that finds no room.
    pub fn no_room() -> Self {
        Self::new(ErrorCode::Busy, "too many connections; try again later")
    }

    /// 503 for a write that was refused before anything was done.
    pub fn not_applied(why: &str) -> Self {
        Self::new(ErrorCode::Unavailable, format!("{NOT_APPLIED}{why}"))
    }

    /// 503 for a write whose record may or may not have reached the disk.
    pub fn outcome_unknown(why: &str) -> Self {
        Self::new(ErrorCode::Unavailable, format!("{OUTCOME_UNKNOWN}{why}"))
    }

    /// Whether what was asked may have been done all the same.
    pub fn is_outcome_unknown(&self) -> bool {
        self.code == ErrorCode::Unavailable && self.message.starts_with(OUTCOME_UNKNOWN)
    }

    /// The same for a command of which other parts were, or may have been, applied: of such a one nobody may
    /// say that it was not.
    #[must_use]
    pub fn of_a_part(self) -> Self {
        match self.code {
            ErrorCode::Busy | ErrorCode::Unavailable if !self.is_outcome_unknown() => {
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
