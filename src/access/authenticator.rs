//! The tokens that are good now, and whether an open connection's own still is.
//!
//! A connection shows its token once and keeps a [`Session`]. When the tokens are replaced, every pass
//! is looked at again: its token may be gone, or have another role. While nothing is replaced that
//! costs one load of an atomic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::token::{Mark, mark};
use super::{Live, Role, Tokens};

/// The tokens, shared by all doors.
pub struct Authenticator {
    tokens: Live<Tokens>,
    /// How often they were replaced.
    replaced: AtomicU64,
}

/// What a connection keeps of its token.
#[derive(Clone)]
pub struct Session {
    role: Role,
    /// None where no token was asked for.
    mark: Option<Mark>,
    seen: u64,
}

impl Session {
    /// What its bearer may do.
    pub const fn role(&self) -> Role {
        self.role
    }
}

impl Authenticator {
    /// With these tokens; without any, it is open.
    pub fn new(tokens: Tokens) -> Arc<Self> {
        Arc::new(Self { tokens: Live::new(tokens), replaced: AtomicU64::new(0) })
    }

    /// Whether nobody is asked for a token.
    pub fn is_open(&self) -> bool {
        !self.tokens.get().required()
    }

    /// Lets a caller in, if the token is good.
    pub fn enter(&self, token: Option<&str>) -> Option<Session> {
        // Before the tokens: if they are replaced in between, the pass is looked at once too often.
        let seen = self.replaced.load(Ordering::Acquire);
        let tokens = self.tokens.get();
        let role = tokens.accept(token)?;
        let mark = token.filter(|_| tokens.required()).map(|token| mark(token.as_bytes()));
        Some(Session { role, mark, seen })
    }

    /// Whether a pass is still good; takes on its token's role of now.
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

    /// Replaces all tokens.
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
