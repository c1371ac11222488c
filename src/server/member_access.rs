//! How a member shows itself to other members, and whom it trusts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::access::{Authenticator, Role};
use crate::client::{ClientOptions, ClientTls};
use crate::config::Config;

/// Where systems keep the certificates that they trust.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// How this member speaks to others.
#[derive(Clone)]
pub(super) struct MemberAccess {
    authenticator: Arc<Authenticator>,
    /// Whether the members' doors speak TLS, as this one's do.
    has_tls: bool,
    /// The certificates to trust; `None` if the system has none in a known place.
    roots: Option<PathBuf>,
}

impl MemberAccess {
    pub(super) fn new(config: &Config, authenticator: &Arc<Authenticator>) -> Self {
        let named = config.journal.as_ref().and_then(|journal| journal.member_tls_ca.clone());
        let of_system = || SYSTEM_ROOTS.iter().map(Path::new).find(|path| path.exists());
        Self {
            authenticator: Arc::clone(authenticator),
            has_tls: config.tls.is_some(),
            roots: named.or_else(|| of_system().map(Path::to_owned)),
        }
    }

    /// How this member connects to another one, with at most `patience` for each step.
    pub(super) fn client_options(&self, patience: Duration) -> Result<ClientOptions, String> {
        let (token, tls) = self.credentials()?;
        Ok(ClientOptions {
            token,
            name: Some(concat!("chatshard-member/", env!("CARGO_PKG_VERSION")).to_owned()),
            tls,
            connect_timeout: patience,
            call_timeout: patience,
            ..ClientOptions::default()
        })
    }

    /// The token that this member shows to others, and the certificates that it trusts.
    pub(super) fn credentials(&self) -> Result<(Option<String>, Option<ClientTls>), String> {
        let token = self.authenticator.own_token(Role::Full);
        if token.is_none() && !self.authenticator.is_open() {
            return Err("the token file of this member has no full token".to_owned());
        }
        let token = token.map(|token| String::from_utf8_lossy(token.expose()).into_owned());
        let tls = match &self.roots {
            _ if !self.has_tls => None,
            Some(roots) => {
                let trusted = ClientTls::trusting(roots);
                Some(trusted.map_err(|why| format!("--member-tls-ca: {why}"))?)
            }
            None => return Err("no certificates are trusted: set --member-tls-ca".to_owned()),
        };
        Ok((token, tls))
    }
}
