//! The tokens that are valid now, and whether the token of an open connection still is.
//!
//! Invariants:
//! - A connection shows its token once and keeps a [`Session`]. After the tokens are replaced, each
//!   session is checked again: its token may be gone, or may have another role.
//! - While nothing is replaced, that check costs one load of an atomic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::token::{Mark, mark};
use super::{Live, Role, Tokens};

/// The current tokens. The TCP door and the admin listener share one authenticator.
pub struct Authenticator {
    tokens: Live<Tokens>,
    /// The number of replacements so far.
    replaced: AtomicU64,
}

/// What a connection may do, and a hash of its token to check that again.
#[derive(Clone)]
pub struct Session {
    role: Role,
    /// `None` if no token was required.
    mark: Option<Mark>,
    seen: u64,
}

impl Session {
    /// The role of the token, as of the last [`Authenticator::holds`].
    pub const fn role(&self) -> Role {
        self.role
    }
}

impl Authenticator {
    /// Starts with these tokens. Without any token, every caller gets the full role.
    pub fn new(tokens: Tokens) -> Arc<Self> {
        Arc::new(Self { tokens: Live::new(tokens), replaced: AtomicU64::new(0) })
    }

    /// Whether there are no tokens, so that callers need none.
    pub fn is_open(&self) -> bool {
        !self.tokens.get().required()
    }

    /// Returns a session if `token` is valid, or if no token is required.
    pub fn enter(&self, token: Option<&str>) -> Option<Session> {
        // Read before the tokens: if these are replaced in between, the session is checked once too
        // often.
        let seen = self.replaced.load(Ordering::Acquire);
        let tokens = self.tokens.get();
        let role = tokens.accept(token)?;
        let mark = token.filter(|_| tokens.required()).map(|token| mark(token.as_bytes()));
        Some(Session { role, mark, seen })
    }

    /// Whether a session is still valid. Updates its role if its token has another one now.
    pub fn holds(&self, pass: &mut Session) -> bool {
        let replaced = self.replaced.load(Ordering::Acquire);
        pass.seen == replaced || self.look_again(pass, replaced)
    }

    #[cold]
    fn look_again(&self, pass: &mut Session, replaced: u64) -> bool {
        let tokens = self.tokens.get();
        let role = match &pass.mark {
            Some(mark) => tokens.role_of(mark),
            None => (!tokens.required()).then_some(Role::Full),
        };
        pass.seen = replaced;
        role.is_some_and(|role| {
            pass.role = role;
            true
        })
    }

    /// Replaces all tokens. Open sessions follow at their next [`Self::holds`].
    pub fn replace(&self, tokens: Tokens) {
        self.tokens.set(tokens);
        self.replaced.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_follow_the_tokens() {
        let gate = Authenticator::new(Tokens::parse("one\ntwo\nthree").unwrap());
        assert!(
            !gate.is_open() && gate.enter(None).is_none() && gate.enter(Some("four")).is_none()
        );
        let [mut one, mut two, mut three] =
            ["one", "two", "three"].map(|token| gate.enter(Some(token)).unwrap());
        assert!(gate.holds(&mut one) && one.role() == Role::Full);

        gate.replace(Tokens::parse("one\nread two\nfour").unwrap());
        assert!(gate.holds(&mut one) && one.role() == Role::Full);
        assert!(gate.holds(&mut two) && two.role() == Role::Read);
        assert!(!gate.holds(&mut three));
        assert!(gate.enter(Some("three")).is_none() && gate.enter(Some("four")).is_some());
    }

    #[test]
    fn without_tokens_everybody_may_do_everything() {
        let gate = Authenticator::new(Tokens::default());
        let mut pass = gate.enter(Some("whatever")).unwrap();
        assert!(gate.is_open() && gate.holds(&mut pass) && pass.role() == Role::Full);
    }
}
