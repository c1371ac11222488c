//! The certificates that a client trusts, and the name that it expects of a server.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::files;

/// The certificates to trust, and the name that the server's certificate must have.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ClientTls {
    /// Trusts the certificates of a PEM file: those of a private root, of the server itself, or of
    /// the system's roots.
    ///
    /// # Errors
    /// If the file cannot be read, is not PEM, or holds no certificate that can be a root.
    pub fn trusting(path: &Path) -> Result<Self, String> {
        let wrong = |why: String| format!("{}: {why}", path.display());
        let mut roots = RootCertStore::empty();
        let bytes = files::read(path).map_err(|error| wrong(error.to_string()))?;
        for certificate in CertificateDer::pem_slice_iter(&bytes) {
            let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(wrong("holds no certificate in PEM".to_owned()));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { config: Arc::new(config), name: None })
    }

    /// Expects `name`, a host name or IP address, in the server's certificate, instead of the host
    /// of the address.
    ///
    /// # Errors
    /// If `name` is neither a host name nor an IP address.
    pub fn named(mut self, name: &str) -> Result<Self, String> {
        self.name = Some(server_name(name)?);
        Ok(self)
    }

    pub(super) fn connector(&self) -> TlsConnector {
        TlsConnector::from(Arc::clone(&self.config))
    }

    /// The name that the server's certificate must have: the one set by [`Self::named`], else
    /// `host`.
    pub(super) fn name_of(&self, host: &str) -> Result<ServerName<'static>, String> {
        self.name.clone().map_or_else(|| server_name(host), Ok)
    }
}

fn server_name(text: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(text.to_owned()).map_err(|_| format!("`{text}` is no server's name"))
}
