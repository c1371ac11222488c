//! Who calls the app's routes.
//!
//! Invariants:
//! - Exactly one user is named, by exactly one credential; in doubt nobody is.
//! - With JWTs, a header that names a user is not looked at.
//! - A token counts only if it is signed with HS256 by our secret, has `sub` and `exp`, and is of
//!   now. The algorithm is fixed here; the token's own word on it can only make it fail.
//! - Neither the secret nor a token is ever in a message or in `Debug` output.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderName};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

use super::envelope::{Failure, MoreThanOne, single};
use crate::command::Error;
use crate::types::UserId;

/// The header in which a trusted gateway names the user.
const USER_HEADER: HeaderName = HeaderName::from_static("x-user-id");
/// Shortest secret: HS256's own strength (RFC 7518, 3.2).
const SECRET_BYTES_MIN: usize = 32;
/// How far the issuer's clock may be off, in seconds, for `exp` and `nbf`.
const CLOCK_SKEW_S: u64 = 5;

/// How the app's routes learn who calls.
#[derive(Debug, Clone)]
pub enum UserAuth {
    /// A gateway in front has checked the user and names them in `X-User-Id`. Whoever can reach
    /// the listener can be anyone.
    Header,
    /// `Authorization: Bearer <JWT>`, whose claim `sub` is the user.
    Jwt(Arc<JwtVerifier>),
}

impl UserAuth {
    /// The user that a request is from.
    pub(super) fn user(&self, headers: &HeaderMap) -> Result<UserId, Failure> {
        match self {
            Self::Header => user_of_gateway(headers),
            Self::Jwt(verifier) => verifier.user(bearer(headers)?),
        }
    }
}

fn user_of_gateway(headers: &HeaderMap) -> Result<UserId, Failure> {
    let value = single(headers, &USER_HEADER)
        .map_err(|MoreThanOne| Failure::unauthenticated("X-User-Id is there more than once"))?
        .filter(|value| !value.is_empty())
        .ok_or_else(|| Failure::unauthenticated("the header X-User-Id is missing"))?;
    // As bytes: ids may be any UTF-8, and `to_str` would take ASCII alone.
    let text = std::str::from_utf8(value.as_bytes())
        .map_err(|_| Error::invalid("X-User-Id: an id must be UTF-8"))?;
    UserId::new(text).map_err(|why| Error::invalid(format!("X-User-Id: {why}")).into())
}

/// The token of `Authorization: Bearer <token>`.
pub(super) fn bearer(headers: &HeaderMap) -> Result<&str, Failure> {
    let value = single(headers, &AUTHORIZATION)
        .map_err(|MoreThanOne| Failure::unauthenticated("Authorization is there more than once"))?
        .ok_or_else(|| Failure::unauthenticated("Authorization: Bearer <token> is missing"))?;
    value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .filter(|token| !token.is_empty())
        .ok_or_else(|| Failure::unauthenticated("Authorization must be: Bearer <token>"))
}

/// Checks HS256 tokens. The audience and the issuer are not checked: the secret is this store's
/// own, and whoever holds it may name any user.
pub struct JwtVerifier {
    key: DecodingKey,
    validation: Validation,
}

impl fmt::Debug for JwtVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtVerifier").finish_non_exhaustive()
    }
}

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("the JWT secret file {path} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The secret is too easy to guess.
    #[error("the JWT secret must be at least {SECRET_BYTES_MIN} bytes, this one has {bytes}")]
    TooShort {
        /// Its length without the trailing newline.
        bytes: usize,
    },
}

impl JwtVerifier {
    /// With the secret in `path`: the file's bytes without one trailing newline. Blocks: for start.
    pub fn from_file(path: &Path) -> Result<Self, SecretError> {
        let content = std::fs::read(path)
            .map_err(|source| SecretError::Unreadable { path: path.to_owned(), source })?;
        let content = content.strip_suffix(b"\n").unwrap_or(&content);
        Self::from_secret(content.strip_suffix(b"\r").unwrap_or(content))
    }

    /// With this secret, taken as it is.
    pub fn from_secret(secret: &[u8]) -> Result<Self, SecretError> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(SecretError::TooShort { bytes: secret.len() });
        }
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["exp", "sub"]);
        validation.validate_nbf = true;
        validation.validate_aud = false;
        validation.leeway = CLOCK_SKEW_S;
        Ok(Self { key: DecodingKey::from_secret(secret), validation })
    }

    /// The user that a good token names.
    fn user(&self, token: &str) -> Result<UserId, Failure> {
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation)
            .map_err(|error| Failure::unauthenticated(why_refused(error.kind())))?;
        // RFC 7515, 4.1.11: who does not know a critical extension must refuse; we know none.
        if decoded.header.crit.is_some() {
            return Err(Failure::unauthenticated("the token has critical extensions"));
        }
        let sub = decoded.claims.sub.unwrap_or_default();
        UserId::new(&sub).map_err(|why| Failure::unauthenticated(format!("the claim sub: {why}")))
    }
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    sub: Option<String>,
}

/// Our own words for a refusal: the library's may quote the token.
fn why_refused(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::ExpiredSignature => "the token has expired (exp)".into(),
        ErrorKind::ImmatureSignature => "the token is not valid yet (nbf)".into(),
        ErrorKind::InvalidSignature => "the token's signature is wrong".into(),
        ErrorKind::InvalidAlgorithm => "the token must be signed with HS256".into(),
        ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => {
            format!("the claim {claim} is missing or malformed")
        }
        // An unknown `alg` (`none` among them) already fails as the header is decoded.
        _ => "the token is malformed, or not signed with HS256".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_secret_is_long_enough_and_never_shown() {
        let secret = "0123456789abcdef0123456789abcdef";
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "{secret}\r\n").unwrap();
        let auth = UserAuth::Jwt(Arc::new(JwtVerifier::from_file(file.path()).unwrap()));
        assert!(!format!("{auth:?}").contains("0123"));

        // 31 bytes and a newline are not 32 bytes.
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "{}", &secret[1..]).unwrap();
        let error = JwtVerifier::from_file(file.path()).unwrap_err();
        assert!(matches!(error, SecretError::TooShort { bytes: 31 }), "{error}");
        assert!(JwtVerifier::from_file(Path::new("/nonexistent/secret")).is_err());
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
