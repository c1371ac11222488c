//! The tokens that the TCP door and the admin listener accept, and the role of each.
//!
//! A token file has one token per line. The name of its role may stand before it; without one, the
//! token has the full role:
//!
//! ```text
//! # blank lines, and lines that begin with #, are ignored
//! 9b1f0a7c55d04be0a6a1c1f4c09f5f37
//! full 41d7be0c8b0f4f0b8f4ce8a3b7f0d2aa
//! read 5a0be64d7e3c4b9f9d55b1d4e6a0c7f8
//! ```

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use super::Secret;
use crate::command::{Class, Error, ErrorCode, Kind};
use crate::limits::TEXT_BYTES_MAX;

/// Which commands a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// All commands, including those that change data or operate the node.
    Full,
    /// Only commands of the class [`Class::Read`], which change nothing.
    Read,
}

impl Role {
    const ALL: [Self; 2] = [Self::Full, Self::Read];

    /// The name of the role in a token file, a log line or a message.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Read => "read",
        }
    }

    /// Whether the role allows commands of this class.
    pub const fn may(self, class: Class) -> bool {
        match (self, class) {
            (Self::Full, _) | (Self::Read, Class::Read) => true,
            (Self::Read, Class::Write | Class::Operate) => false,
        }
    }

    /// Returns an error unless the role allows this command.
    ///
    /// # Errors
    /// 403 (`PermissionDenied`) if the command changes something and the role is [`Role::Read`].
    pub fn check(self, kind: Kind) -> Result<(), Error> {
        if self.may(kind.class()) { Ok(()) } else { Err(refused(kind)) }
    }
}

#[cold]
fn refused(kind: Kind) -> Error {
    let message = format!("{}: the token may only read", kind.name());
    Error::new(ErrorCode::PermissionDenied, message)
}

/// The SHA-256 hash of a token. It recognizes the token, and nobody can get the token from it.
pub(super) type Mark = [u8; 32];

#[derive(Clone)]
struct Token {
    secret: Secret,
    mark: Mark,
    role: Role,
}

/// All valid tokens. If there are none, every caller may connect and run every command.
#[derive(Clone, Default)]
pub struct Tokens(Vec<Token>);

impl fmt::Debug for Tokens {
    /// Shows only the roles of the tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|token| token.role)).finish()
    }
}

/// The first mistake in a token file. It contains nothing of the line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct TokenError {
    /// The number of the wrong line, counted from 1.
    pub line: usize,
    /// A text that says what is wrong with the line.
    pub why: String,
}

impl Tokens {
    /// Parses the text of a token file.
    ///
    /// # Errors
    /// If a line has a form that the module does not describe, or if a token occurs twice.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let mut found: Vec<(usize, Token)> = Vec::new();
        for (index, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |why: String| TokenError { line: index + 1, why };
            let token = Token::parse(line).map_err(|why| wrong(why.to_owned()))?;
            if let Some((other, _)) = found.iter().find(|(_, other)| other.mark == token.mark) {
                return Err(wrong(format!("the token of line {other} again")));
            }
            found.push((index + 1, token));
        }
        Ok(Self(found.into_iter().map(|(_, token)| token).collect()))
    }

    /// Whether a caller needs a token: there is at least one.
    pub fn required(&self) -> bool {
        !self.0.is_empty()
    }

    /// The number of tokens.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The first token with this role, which a part of this process uses as a client. `None` if no
    /// token has the role.
    pub fn first(&self, role: Role) -> Option<&Secret> {
        self.0.iter().find(|token| token.role == role).map(|token| &token.secret)
    }

    /// The role of a caller who shows this token. `None` if the token is unknown, or is missing
    /// although one is required.
    pub fn accept(&self, token: Option<&str>) -> Option<Role> {
        match token {
            _ if !self.required() => Some(Role::Full),
            Some(token) => self.role_of(&mark(token.as_bytes())),
            None => None,
        }
    }

    /// The role of the token with the hash `wanted`.
    ///
    /// All hashes are compared, so that the time does not show which one matched. Hashes are
    /// compared in place of tokens, so that the time does not show a token's length.
    pub(super) fn role_of(&self, wanted: &Mark) -> Option<Role> {
        let mut found = 0_u8;
        for token in &self.0 {
            // 0 stands for no match.
            let role = match token.role {
                Role::Full => 1,
                Role::Read => 2,
            };
            found = u8::conditional_select(&found, &role, token.mark.ct_eq(wanted));
        }
        match found {
            1 => Some(Role::Full),
            2 => Some(Role::Read),
            _ => None,
        }
    }
}

impl Token {
    fn parse(line: &str) -> Result<Self, &'static str> {
        let role = |word: &str| Role::ALL.into_iter().find(|role| role.name() == word);
        let mut words = line.split_whitespace();
        let (role, token) = match (words.next(), words.next(), words.next()) {
            (Some(word), None, None) if role(word).is_some() => {
                return Err("a role and no token: write `full TOKEN` or `read TOKEN`");
            }
            (Some(token), None, None) => (Role::Full, token),
            (Some(word), Some(token), None) => {
                let role = role(word).ok_or("before a token stands its role, `full` or `read`")?;
                (role, token)
            }
            _ => {
                return Err("a line is TOKEN, `full TOKEN` or `read TOKEN`; a token has no blanks");
            }
        };
        if token.len() > TEXT_BYTES_MAX {
            return Err("the token is longer than a request may hold");
        }
        // The admin listener gets the token in an HTTP header, so it must fit into one.
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a token is of visible ASCII characters");
        }
        Ok(Self { secret: Secret::new(token), mark: mark(token.as_bytes()), role })
    }
}

pub(super) fn mark(token: &[u8]) -> Mark {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_token_of_the_file_opens_with_its_role() {
        let text = "# rotated monthly\nfirst\n\n  read  second \r\nfull third\n";
        let tokens = Tokens::parse(text).unwrap();
        assert_eq!(tokens.accept(Some("first")), Some(Role::Full));
        assert_eq!(tokens.accept(Some("second")), Some(Role::Read));
        assert_eq!(tokens.accept(Some("third")), Some(Role::Full));
        for wrong in [None, Some(""), Some("fourth"), Some("read second"), Some("secon")] {
            assert_eq!(tokens.accept(wrong), None, "{wrong:?}");
        }
        assert_eq!(tokens.first(Role::Read).unwrap().expose(), b"second");
        assert_eq!(format!("{tokens:?}"), "[Full, Read, Full]");
        assert_eq!(Tokens::default().accept(None), Some(Role::Full));
    }

    #[test]
    fn a_wrong_line_is_named_and_not_shown() {
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        for line in ["sesame", "read", "full", "write sesame2", "read sesame2 x", "sésame", &long]
        {
            let error = Tokens::parse(&format!("# one\nsesame\n{line}\n")).unwrap_err();
            assert_eq!(error.line, 3, "{line}");
            let told = format!("{error} {error:?}");
            assert!(!told.contains("sesame") && !told.contains("xxx"), "{told}");
        }
        assert!(Tokens::parse("sesame\nread sesame").unwrap_err().why.contains("line 1"));
    }

    #[test]
    fn who_may_only_read_may_change_nothing() {
        for &kind in Kind::ALL {
            assert!(Role::Full.check(kind).is_ok());
            let may = Role::Read.check(kind);
            assert_eq!(may.is_ok(), kind.class() == Class::Read, "{}", kind.name());
            if let Err(error) = may {
                assert_eq!(error.code, ErrorCode::PermissionDenied);
            }
        }
        assert!(Role::Read.check(Kind::Snapshot).is_err(), "it writes files");
    }
}
