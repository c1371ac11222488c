//! What callers must show, and how it is read again while the server works.
//!
//! SIGHUP has every file read again. Each counts by itself: one that is good takes effect at once,
//! one that is not leaves what was there before, and the log says why.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info};

use crate::access::{Gate, JwtVerifier, Tls};
use crate::config::{self, Config, HttpAuth};
use crate::http::UserAuth;

/// The credentials of now, and where they come from.
pub(super) struct Credentials {
    /// The tokens of the TCP door and the admin listener.
    pub(super) gate: Arc<Gate>,
    token_file: Option<PathBuf>,
    /// The keys of users' tokens, unless a gateway names the user.
    jwt: Option<Arc<JwtVerifier>>,
    /// The certificate of all doors, unless they are plain.
    pub(super) tls: Option<Arc<Tls>>,
}

impl Credentials {
    /// Those that the configuration holds.
    pub(super) fn new(config: &Config) -> Self {
        Self {
            gate: Gate::new(config.tokens.clone()),
            token_file: config.token_file.clone(),
            jwt: match &config.http_auth {
                HttpAuth::Header => None,
                HttpAuth::Jwt(verifier) => Some(Arc::clone(verifier)),
            },
            tls: config.tls.clone(),
        }
    }

    /// How the HTTP door knows its user.
    pub(super) fn user_auth(&self) -> UserAuth {
        self.jwt.clone().map_or(UserAuth::Header, UserAuth::Jwt)
    }

    fn reread(&self) {
        if let Some(path) = &self.token_file {
            match config::read_tokens(path) {
                Ok(tokens) => {
                    let count = tokens.count();
                    self.gate.replace(tokens);
                    info!(tokens = count, "the token file was read again");
                }
                Err(why) => error!(why, "the token file is not taken; the old tokens stay"),
            }
        }
        if let Some(jwt) = &self.jwt {
            match jwt.reload() {
                Ok(keys) => info!(keys, "the keys of JWTs were read again"),
                Err(why) => error!(why, "the keys of JWTs are not taken; the old ones stay"),
            }
        }
        if let Some(tls) = &self.tls {
            match tls.reload() {
                Ok(()) => info!("the certificate was read again"),
                Err(why) => error!(%why, "the certificate is not taken; the old one stays"),
            }
        }
    }
}

/// Reads everything again with each SIGHUP.
pub(super) async fn reread_at_hangup(credentials: Rc<Credentials>) {
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => {
            error!(%error, "SIGHUP cannot be caught; credentials change with a restart only");
            return;
        }
    };
    while hangup.recv().await.is_some() {
        info!("SIGHUP: reading credentials again");
        credentials.reread();
    }
}
