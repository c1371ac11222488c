//! Who may come in, and what they may do then; the same for both doors.
//!
//! # Layout
//! - [`endpoint`]: where a door is
//! - [`secret`]: bytes that are never printed
//! - [`token`]: the tokens of backends and operators, each with its role
//! - [`authenticator`]: the tokens that are good now, which may change while connections are open
//! - [`jwt`]: the keys that users' tokens are signed with, and what such a token must say
//! - `strength`: which of these keys are whole and strong enough
//! - [`tls`]: the server's certificate and its key
//!
//! # Invariants
//! - Tokens are compared in a time that tells neither which one it was nor how much of it was right.
//! - No `Debug` form, message or error of this module holds a secret.
//! - What a role may do follows from the class of a command in the one table of commands, so that a
//!   new command cannot be forgotten.
#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::panic, clippy::unreachable)]

pub mod authenticator;
pub mod endpoint;
pub mod jwt;
pub mod secret;
mod strength;
pub mod tls;
pub mod token;

pub use authenticator::{Authenticator, Session};
pub use endpoint::Endpoint;
pub use jwt::{JwtFile, JwtRules, JwtVerifier};
pub use secret::Secret;
pub use tls::{Tls, TlsError, TlsFiles};
pub use token::{Role, TokenError, Tokens};

use std::sync::{Arc, PoisonError, RwLock};

/// A value that is replaced as a whole while it is in use. Whoever took it keeps what was taken.
pub struct Live<T>(RwLock<Arc<T>>);

impl<T> Live<T> {
    /// With a first value.
    pub fn new(value: T) -> Self {
        Self(RwLock::new(Arc::new(value)))
    }

    /// The value of now.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the place of the value for all who ask from now on.
    pub fn set(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}
