//! The tokens that are valid now, and whether the token of an open connection still is.
//!
//! Invariants:
//! - A connection shows its token once and keeps a [`Session`]. After the tokens are replaced, each
//!   session is checked again: its token may be gone, or may have another role.
//! - While no token file is replaced, that check costs one load of an atomic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::token::{Mark, mark};
use super::{Live, Role, Secret, Tokens};

/// The tokens that are valid now. The TCP door and the admin listener share one authenticator.
pub struct Authenticator {
    tokens: Live<Tokens>,
    /// How often the tokens were replaced.
    replaced: AtomicU64,
}

/// What a connection may do after its token was accepted. Keeps a hash of the token, to check it
/// again.
#[derive(Clone)]
pub struct Session {
    role: Role,
    /// The hash of the token; `None` if no token was required.
    mark: Option<Mark>,
    seen: u64,
}

impl Session {
    /// The role of the session's token, as of the last [`Authenticator::holds`].
    pub const fn role(&self) -> Role {
        self.role
    }
}

impl Authenticator {
    /// Starts with the tokens of a file. If there are none, every caller gets the full role.
    pub fn new(tokens: Tokens) -> Arc<Self> {
        Arc::new(Self { tokens: Live::new(tokens), replaced: AtomicU64::new(0) })
    }

    /// Whether callers need no token, because there are no tokens.
    pub fn is_open(&self) -> bool {
        !self.tokens.get().required()
    }

    /// The first token of a role, with which this process connects to others that have the same
    /// tokens. `None` if the role has no token.
    pub fn own_token(&self, role: Role) -> Option<Secret> {
        self.tokens.get().first(role).cloned()
    }

    /// Returns a session if `token` is one of the valid tokens, or if no token is required.
    pub fn enter(&self, token: Option<&str>) -> Option<Session> {
        // Read before the tokens. If the tokens are replaced in between, the session is checked
        // once more than needed, and never once less.
        let seen = self.replaced.load(Ordering::Acquire);
        let tokens = self.tokens.get();
        let role = tokens.accept(token)?;
        let mark = token.filter(|_| tokens.required()).map(|token| mark(token.as_bytes()));
        Some(Session { role, mark, seen })
    }

    /// Whether the session's token is still valid. Sets the session's role to the one that the
    /// token has now.
    pub fn holds(&self, session: &mut Session) -> bool {
        let replaced = self.replaced.load(Ordering::Acquire);
        session.seen == replaced || self.look_again(session, replaced)
    }

    #[cold]
    fn look_again(&self, session: &mut Session, replaced: u64) -> bool {
        let tokens = self.tokens.get();
        let role = match &session.mark {
            Some(mark) => tokens.role_of(mark),
            None => (!tokens.required()).then_some(Role::Full),
        };
        session.seen = replaced;
        role.is_some_and(|role| {
            session.role = role;
            true
        })
    }

    /// Replaces all tokens. An open session is checked against the new ones at its next
    /// [`Self::holds`].
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
        let authenticator = Authenticator::new(Tokens::parse("one\ntwo\nthree").unwrap());
        assert!(
            !authenticator.is_open()
                && authenticator.enter(None).is_none()
                && authenticator.enter(Some("four")).is_none()
        );
        let [mut one, mut two, mut three] =
            ["one", "two", "three"].map(|token| authenticator.enter(Some(token)).unwrap());
        assert!(authenticator.holds(&mut one) && one.role() == Role::Full);

        authenticator.replace(Tokens::parse("one\nread two\nfour").unwrap());
        assert!(authenticator.holds(&mut one) && one.role() == Role::Full);
        assert!(authenticator.holds(&mut two) && two.role() == Role::Read);
        assert!(!authenticator.holds(&mut three));
        assert!(
            authenticator.enter(Some("three")).is_none()
                && authenticator.enter(Some("four")).is_some()
        );
    }

    #[test]
    fn without_tokens_everybody_may_do_everything() {
        let authenticator = Authenticator::new(Tokens::default());
        let mut session = authenticator.enter(Some("whatever")).unwrap();
        assert!(
            authenticator.is_open()
                && authenticator.holds(&mut session)
                && session.role() == Role::Full
        );
    }
}
