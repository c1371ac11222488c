//! Who may connect, and what they may do then. Both doors and the admin listener use this module.
//!
//! # Layout
//! - [`endpoint`]: the address of a door
//! - [`secret`]: bytes that are never printed
//! - [`token`]: the tokens of backends and operators, each with its role
//! - [`authenticator`]: the tokens that are valid now; they may change while connections are open
//! - [`jwt`]: the keys that users' JWTs are signed with, and the claims that a JWT must have
//! - `strength`: rejects keys that are damaged or too weak
//! - [`tls`]: the server's certificate and its private key
//!
//! # Invariants
//! - How long a comparison of tokens takes depends neither on which token matched, nor on how much
//!   of a wrong one was right.
//! - No `Debug` form, message or error of this module contains a secret.
//! - The table of commands gives each command a class, and a role allows classes. So no new command
//!   is left without a rule.
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
pub use token::{Role, Tokens};

use std::sync::{Arc, PoisonError, RwLock};

/// A value that can be replaced while others use it. Each reader keeps the value that it got.
pub struct Live<T>(RwLock<Arc<T>>);

impl<T> Live<T> {
    /// Holds `value` until [`Self::set`] replaces it.
    pub fn new(value: T) -> Self {
        Self(RwLock::new(Arc::new(value)))
    }

    /// Returns the current value. The caller keeps it even if it is replaced afterwards.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the value. Later calls of [`Self::get`] return the new one.
    pub fn set(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}
