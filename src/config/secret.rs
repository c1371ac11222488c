//! Secrets: read at start, never printed, compared in constant time.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// Bytes that must not be printed. `Debug` shows that there is one and nothing more.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Keeps these bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes themselves, for a key that signs or verifies.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether `candidate` is this secret, in a time that tells neither content nor length.
    pub fn matches(&self, candidate: &[u8]) -> bool {
        self.compare(candidate).into()
    }

    /// Digests are compared, not the bytes: a comparison of slices would tell the length.
    fn compare(&self, candidate: &[u8]) -> Choice {
        Sha256::digest(&self.0).as_slice().ct_eq(Sha256::digest(candidate).as_slice())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The tokens that open the TCP door and the admin listener; with none, both are open.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Vec<Secret>);

impl Tokens {
    /// One token a line; blank lines and lines that begin with `#` are passed over.
    pub fn from_lines(text: &str) -> Self {
        let lines = text.lines().map(str::trim);
        let tokens = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(tokens.map(Secret::new).collect())
    }

    /// Whether a caller needs one.
    pub fn required(&self) -> bool {
        !self.0.is_empty()
    }

    /// Each token, in the file's order.
    pub fn iter(&self) -> impl Iterator<Item = &Secret> {
        self.0.iter()
    }

    /// Whether a caller with this token may enter: always, if none is required.
    pub fn accept(&self, token: Option<&str>) -> bool {
        if !self.required() {
            return true;
        }
        let candidate = token.unwrap_or_default().as_bytes();
        // All are compared, so that the time does not tell which one it was.
        let found =
            self.0.iter().fold(Choice::from(0), |found, secret| found | secret.compare(candidate));
        token.is_some() && bool::from(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_compared_and_never_shown() {
        let secret = Secret::new("open sesame");
        assert!(secret.matches(b"open sesame"));
        assert!(!secret.matches(b"open sesam"));
        assert!(!secret.matches(b""));
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }

    #[test]
    fn any_token_of_the_file_opens() {
        let tokens = Tokens::from_lines("# rotated monthly\nfirst\n\n  second \n");
        assert!(tokens.accept(Some("first")) && tokens.accept(Some("second")));
        assert!(!tokens.accept(Some("third")) && !tokens.accept(Some("")));
        assert!(!tokens.accept(None));
        assert!(!format!("{tokens:?}").contains("first"));
        assert!(Tokens::default().accept(None));
    }
}
