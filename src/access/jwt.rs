//! The keys that users' JWTs are signed with, and the claims that a token must have.
//!
//! Invariants:
//! - The key decides the algorithm. Each key has exactly one, and the token's own `alg` can only
//!   make the token fail. So no public key is ever used as a secret, and `none` is never accepted.
//! - A key set with one weak or damaged key is rejected as a whole (see `strength`).
//! - A key is found by its `kid`. Keys, or addresses of keys, inside a token are ignored.
//! - A token is valid only if it has `sub` and `exp`, and is in force now. If an audience or an
//!   issuer is configured, the token must name it.
//! - No message and no `Debug` output contains a key or a token.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde::Deserialize;
use serde_json::Value;

use super::{Live, strength};
use crate::files;
use crate::types::UserId;

/// Shortest secret for HS256, in bytes: the length of the signature (RFC 7518, 3.2).
pub const SECRET_BYTES_MIN: usize = 32;
/// How far the issuer's clock may differ from ours when `exp` and `nbf` are checked, in seconds.
const CLOCK_SKEW_S: u64 = 5;

/// The file with the keys that verify JWTs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwtFile {
    /// One secret for HS256, as raw bytes. A newline at the end is not part of it.
    Secret(PathBuf),
    /// A JWK set (RFC 7517) of public keys or of secrets.
    Jwks(PathBuf),
}

impl JwtFile {
    fn path(&self) -> &Path {
        match self {
            Self::Secret(path) | Self::Jwks(path) => path,
        }
    }
}

/// What tokens must claim besides `sub` and `exp`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JwtRules {
    /// The claim `aud` must contain one of these values. If the list is empty, `aud` is not
    /// checked.
    pub audience: Vec<String>,
    /// The claim `iss` must be one of these values. If the list is empty, `iss` is not checked.
    pub issuer: Vec<String>,
}

/// Verifies JWTs with the keys of a file, which can be read again.
pub struct JwtVerifier {
    file: JwtFile,
    rules: JwtRules,
    keys: Live<Keys>,
}

impl fmt::Debug for JwtVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtVerifier")
            .field("file", &self.file)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

impl JwtVerifier {
    /// Loads the keys that verify JWTs.
    ///
    /// # Errors
    /// A text that names the file and says what is wrong with it, without showing a key.
    pub fn load(file: JwtFile, rules: JwtRules) -> Result<Arc<Self>, String> {
        let keys = Live::new(Keys::read(&file, &rules)?);
        Ok(Arc::new(Self { file, rules, keys }))
    }

    /// The path of the file with the keys.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Reads the file of keys again and returns the number of keys.
    ///
    /// # Errors
    /// Those of [`Self::load`]; then the previous keys stay in use.
    pub fn reload(&self) -> Result<usize, String> {
        let keys = Keys::read(&self.file, &self.rules)?;
        let count = keys.0.len();
        self.keys.set(keys);
        Ok(count)
    }

    /// Verifies a token and returns the user that its claim `sub` names.
    ///
    /// # Errors
    /// Why the token is not valid. The text is our own, because the library's may quote the token.
    pub fn user(&self, token: &str) -> Result<UserId, JwtRefusal> {
        let malformed = |why: &str| JwtRefusal::new(JwtFault::Malformed, why);
        // An unknown `alg`, `none` too, is an error here: the library cannot parse such a header.
        let header = jsonwebtoken::decode_header(token).map_err(|_| malformed(MALFORMED))?;
        // RFC 7515, 4.1.11: a token with a critical extension that the verifier does not know must
        // be rejected. We know none.
        if header.crit.is_some() {
            return Err(malformed("the token has critical extensions"));
        }
        let keys = self.keys.get();
        let key = keys.of(&header)?;
        let decoded = jsonwebtoken::decode::<Claims>(token, &key.key, &key.validation);
        let decoded = decoded.map_err(|error| key.why_refused(error.kind()))?;
        let sub = decoded.claims.sub.unwrap_or_default();
        UserId::new(&sub).map_err(|why| malformed(&format!("the claim sub: {why}")))
    }
}

/// The kind of fault in a token, as the metrics count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JwtFault {
    /// The token cannot be parsed, or a required claim is missing or malformed.
    Malformed,
    /// The token has no `kid` where one is needed, or an unknown one.
    UnknownKey,
    /// The signature is wrong, or is of another algorithm than the key's.
    Signature,
    /// The token has expired (`exp`), or is not valid yet (`nbf`).
    Time,
    /// The token is for another audience, or of another issuer.
    Audience,
}

/// Why a token is not valid. It contains nothing of the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtRefusal {
    /// The kind of fault, for the metrics.
    pub fault: JwtFault,
    /// What is wrong with the token, in words for the caller.
    pub message: String,
}

impl JwtRefusal {
    fn new(fault: JwtFault, message: impl Into<String>) -> Self {
        Self { fault, message: message.into() }
    }
}

const MALFORMED: &str = "the token is malformed, or signed in a way that is not known here";

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    sub: Option<String>,
}

struct Key {
    /// The `kid`. `None` only if the file has one key without it, which then verifies every token.
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
    validation: Validation,
}

struct Keys(Vec<Key>);

impl Keys {
    fn read(file: &JwtFile, rules: &JwtRules) -> Result<Self, String> {
        let place = file.path().display();
        let bytes = files::read(file.path()).map_err(|error| format!("{place}: {error}"))?;
        let keys = match file {
            JwtFile::Secret(_) => Self::of_secret(&bytes, rules),
            JwtFile::Jwks(_) => Self::of_set(&bytes, rules),
        };
        keys.map_err(|why| format!("{place}: {why}"))
    }

    fn of_secret(bytes: &[u8], rules: &JwtRules) -> Result<Self, String> {
        // An editor ends a file with a newline, which is not meant as a part of the secret.
        let secret = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
        let key = DecodingKey::from_secret(secret);
        strength::check(&key)?;
        Ok(Self(vec![Key::new(None, Algorithm::HS256, key, rules)]))
    }

    /// Reads a JWK set. As RFC 7517, 5 says, keys of another type, algorithm or use are ignored.
    fn of_set(bytes: &[u8], rules: &JwtRules) -> Result<Self, String> {
        let set: Value = serde_json::from_slice(bytes)
            .map_err(|error| format!("line {}: is no JSON", error.line()))?;
        let entries = set.get("keys").and_then(Value::as_array);
        let entries = entries.ok_or("is no JWK set: it has no array `keys`")?;
        let mut keys: Vec<Key> = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let wrong = |why: &str| format!("keys[{index}]: {why}");
            let Some(found) = of_entry(entry).map_err(|why| wrong(&why))? else { continue };
            let (id, algorithm, key) = found;
            strength::check(&key).map_err(|why| wrong(&why))?;
            if keys.iter().any(|other| other.id == id) {
                return Err(wrong("the kid of another key, or none like another"));
            }
            keys.push(Key::new(id, algorithm, key, rules));
        }
        match keys.as_slice() {
            [] => Err("holds no key for RS256, ES256, EdDSA or HS256".to_owned()),
            [_] => Ok(Self(keys)),
            several if several.iter().all(|key| key.id.is_some()) => Ok(Self(keys)),
            _ => Err("several keys, and one without a kid: it could not be chosen".to_owned()),
        }
    }

    /// Finds the key that a token's header names.
    fn of(&self, header: &Header) -> Result<&Key, JwtRefusal> {
        let unknown = |why: &str| JwtRefusal::new(JwtFault::UnknownKey, why);
        match self.0.as_slice() {
            [only] if only.id.is_none() || header.kid.is_none() => Ok(only),
            several => {
                let kid = header.kid.as_deref();
                let kid = kid.ok_or_else(|| unknown("the token names no key (kid)"))?;
                let found = several.iter().find(|key| key.id.as_deref() == Some(kid));
                found.ok_or_else(|| unknown("the token's key (kid) is not known here"))
            }
        }
    }
}

type NamedKey = (Option<String>, Algorithm, DecodingKey);

/// Makes a key from one entry of a JWK set; `None` if the entry is for another purpose than to
/// verify JWTs.
fn of_entry(entry: &Value) -> Result<Option<NamedKey>, String> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    if text("kty") != Some("oct") && entry.get("d").is_some() {
        return Err("is a private key; who only verifies must not have it".to_owned());
    }
    // An entry whose `alg`, `use` or `key_ops` is unknown is for another purpose.
    let Ok(jwk) = serde_json::from_value::<Jwk>(entry.clone()) else { return Ok(None) };
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDSA
        }
        AlgorithmParameters::OctetKey(_) => Algorithm::HS256,
        AlgorithmParameters::Other(_)
            if matches!(text("kty"), Some("RSA" | "EC" | "OKP" | "oct")) =>
        {
            return Err("lacks a part of its key".to_owned());
        }
        _ => return Ok(None),
    };
    let common = jwk.common;
    let of_another = common.key_algorithm.is_some_and(|other| other != algorithm.into());
    let is_to_sign = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
    let may_verify =
        common.key_operations.is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    if of_another || !is_to_sign || !may_verify {
        return Ok(None);
    }
    let key = DecodingKey::from_jwk(&Jwk { common: Default::default(), algorithm: jwk.algorithm });
    let key = key.map_err(|_| "a part of it is no base64url".to_owned())?;
    Ok(Some((common.key_id, algorithm, key)))
}

impl Key {
    fn new(id: Option<String>, algorithm: Algorithm, key: DecodingKey, rules: &JwtRules) -> Self {
        let mut validation = Validation::new(algorithm);
        let mut required = vec!["exp", "sub"];
        validation.validate_nbf = true;
        validation.leeway = CLOCK_SKEW_S;
        validation.validate_aud = !rules.audience.is_empty();
        if validation.validate_aud {
            validation.set_audience(&rules.audience);
            required.push("aud");
        }
        if !rules.issuer.is_empty() {
            validation.set_issuer(&rules.issuer);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        Self { id, algorithm, key, validation }
    }

    fn why_refused(&self, kind: &ErrorKind) -> JwtRefusal {
        let (fault, message) = match kind {
            ErrorKind::ExpiredSignature => (JwtFault::Time, "the token has expired (exp)"),
            ErrorKind::ImmatureSignature => (JwtFault::Time, "the token is not valid yet (nbf)"),
            ErrorKind::InvalidSignature => (JwtFault::Signature, "the token's signature is wrong"),
            ErrorKind::InvalidAudience => {
                (JwtFault::Audience, "the token is for another audience (aud)")
            }
            ErrorKind::InvalidIssuer => {
                (JwtFault::Audience, "the token is of another issuer (iss)")
            }
            ErrorKind::InvalidAlgorithm => {
                let algorithm = self.algorithm;
                let message =
                    format!("the token must be signed with {algorithm:?}, as its key is for");
                return JwtRefusal::new(JwtFault::Signature, message);
            }
            ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => {
                let message = format!("the claim {claim} is missing or malformed");
                return JwtRefusal::new(JwtFault::Malformed, message);
            }
            _ => (JwtFault::Malformed, MALFORMED),
        };
        JwtRefusal::new(fault, message)
    }
}
