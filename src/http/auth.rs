//! Identifies the caller of the app's routes.
//!
//! Invariants:
//! - Exactly one credential names exactly one user. A request that could name two is rejected.
//! - Where JWTs are required, the header `X-User-Id` is ignored.
//! - [`crate::access::jwt`] decides which tokens are valid.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use std::sync::Arc;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderName};

use super::envelope::{Failure, MoreThanOne, single};
use crate::access::JwtVerifier;
use crate::access::jwt::JwtFault;
use crate::command::Error;
use crate::metrics::doors::Refused;
use crate::types::UserId;

/// The header in which a trusted gateway names the user.
const USER_HEADER: HeaderName = HeaderName::from_static("x-user-id");

/// How the app's routes identify the caller.
#[derive(Debug, Clone)]
pub enum UserAuth {
    /// A gateway has authenticated the user and names them in `X-User-Id`. A client that can reach
    /// the listener directly can claim to be any user.
    Header,
    /// The header `Authorization: Bearer <JWT>` names the user, in the claim `sub`.
    Jwt(Arc<JwtVerifier>),
}

impl UserAuth {
    /// The user who sent a request, by its headers.
    pub(super) fn user(&self, headers: &HeaderMap) -> Result<UserId, Failure> {
        match self {
            Self::Header => user_of_gateway(headers),
            Self::Jwt(verifier) => {
                let user = verifier.user(bearer(headers)?);
                user.map_err(|refusal| {
                    Failure::unauthenticated(reason(refusal.fault), refusal.message)
                })
            }
        }
    }
}

/// The reason under which the metrics count a rejected JWT.
fn reason(fault: JwtFault) -> Refused {
    match fault {
        JwtFault::Malformed => Refused::Malformed,
        JwtFault::UnknownKey => Refused::UnknownKey,
        JwtFault::Signature => Refused::Signature,
        JwtFault::Time => Refused::Time,
        JwtFault::Audience => Refused::Audience,
    }
}

fn user_of_gateway(headers: &HeaderMap) -> Result<UserId, Failure> {
    let value = single(headers, &USER_HEADER)
        .map_err(|MoreThanOne| malformed("X-User-Id is there more than once"))?
        .filter(|value| !value.is_empty())
        .ok_or_else(|| missing("the header X-User-Id is missing"))?;
    // Read as bytes: an id may be any UTF-8, but `to_str` accepts only ASCII.
    let text =
        std::str::from_utf8(value.as_bytes()).map_err(|_| invalid_user(&"an id must be UTF-8"))?;
    // An escaped text could be decoded to the id of another user, so it is rejected instead.
    if is_percent_encoded(text) {
        return Err(invalid_user(&"it is percent-encoded; send the id as it is, in UTF-8"));
    }
    UserId::new(text).map_err(|why| invalid_user(&why))
}

fn missing(message: &'static str) -> Failure {
    Failure::unauthenticated(Refused::Missing, message)
}

fn malformed(message: &'static str) -> Failure {
    Failure::unauthenticated(Refused::Malformed, message)
}

fn invalid_user(why: &dyn std::fmt::Display) -> Failure {
    Failure::from(Error::invalid(format!("X-User-Id: {why}"))).refused_as(Refused::Malformed)
}

/// Whether a text looks percent-encoded: it has a `%`, and two hex digits follow each.
fn is_percent_encoded(text: &str) -> bool {
    let is_escape = |after: &str| {
        let digits = after.as_bytes().first_chunk::<2>();
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let mut after_percents = text.split('%').skip(1).peekable();
    after_percents.peek().is_some() && after_percents.all(is_escape)
}

/// The token of the header `Authorization: Bearer <token>`.
pub(super) fn bearer(headers: &HeaderMap) -> Result<&str, Failure> {
    let value = single(headers, &AUTHORIZATION)
        .map_err(|MoreThanOne| malformed("Authorization is there more than once"))?
        .ok_or_else(|| missing("Authorization: Bearer <token> is missing"))?;
    value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .filter(|token| !token.is_empty())
        .ok_or_else(|| malformed("Authorization must be: Bearer <token>"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_is_known_by_its_escapes() {
        for encoded in ["%E7%94%A8", "a%20b", "%25", "100%25"] {
            assert!(is_percent_encoded(encoded), "{encoded}");
        }
        for plain in ["", "alice", "100%", "%", "%2", "50%off", "%20%zz", "用户%"] {
            assert!(!is_percent_encoded(plain), "{plain}");
        }
    }

    #[test]
    fn a_bearer_token_stands_alone() {
        let mut headers = HeaderMap::new();
        assert!(bearer(&headers).is_err());
        for wrong in ["Basic x", "Bearer", "Bearer ", "x"] {
            headers.insert(AUTHORIZATION, wrong.parse().unwrap());
            assert!(bearer(&headers).is_err(), "{wrong}");
        }
        headers.insert(AUTHORIZATION, "bearer  x".parse().unwrap());
        assert_eq!(bearer(&headers).unwrap(), "x");
        headers.append(AUTHORIZATION, "Bearer y".parse().unwrap());
        assert!(bearer(&headers).is_err());
    }
}
