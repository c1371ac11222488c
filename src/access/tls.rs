//! The server's certificate and its private key, which can be replaced while connections are open.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::pem::{Error as PemError, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::{self, ServerConfig};
use x509_parser::parse_x509_certificate;

use super::Live;
use crate::files;

/// The only protocol that a client may choose by ALPN, if it offers any. A browser that is lured to
/// the TCP door by another protocol then fails in the handshake.
const PROTOCOL: &[u8] = b"http/1.1";

/// The paths of the certificate and the private key, both PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The file with the server's certificate, and with those that lead from it to a root.
    pub certificate: PathBuf,
    /// The file of the private key.
    pub key: PathBuf,
}

/// What is wrong with the certificate or the key, with the name of the file. It contains nothing of
/// the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// The certificate cannot be read or served.
    #[error("{0}")]
    Certificate(String),
    /// The key cannot be read, or does not belong to the certificate.
    #[error("{0}")]
    Key(String),
}

/// Accepts TLS connections with the certificate that is current.
pub struct Tls {
    files: TlsFiles,
    loaded: Live<Loaded>,
}

/// The content of the two files of [`TlsFiles`].
struct Loaded {
    config: Arc<ServerConfig>,
    end: Option<u64>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.files).finish()
    }
}

impl Tls {
    /// Loads a certificate and its private key.
    ///
    /// # Errors
    /// If a file cannot be read or is not PEM, or if the key belongs to another certificate.
    pub fn load(files: &TlsFiles) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self { files: files.clone(), loaded: Live::new(load(files)?) }))
    }

    /// Reads certificate and key again. Open connections keep their TLS session.
    ///
    /// # Errors
    /// Those of [`Self::load`]; then the previous certificate stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.loaded.set(load(&self.files)?);
        Ok(())
    }

    /// The paths of the certificate and the key.
    pub const fn files(&self) -> &TlsFiles {
        &self.files
    }

    /// When the first of the certificates expires, in seconds since the Unix epoch. `None` if a
    /// certificate's time cannot be read.
    pub fn end(&self) -> Option<u64> {
        self.loaded.get().end
    }

    /// Makes an acceptor for one TLS handshake, with the certificate that is current.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.loaded.get().config))
    }
}

fn load(files: &TlsFiles) -> Result<Loaded, TlsError> {
    let certificates = certificates(&files.certificate).map_err(TlsError::Certificate)?;
    let end = first_end(&certificates);
    Ok(Loaded { config: Arc::new(config(files, certificates)?), end })
}

/// When the first of these certificates expires, in seconds since the Unix epoch. `None` if a
/// certificate's time cannot be read.
fn first_end(certificates: &[CertificateDer<'_>]) -> Option<u64> {
    let end = |certificate: &CertificateDer<'_>| {
        let (_, parsed) = parse_x509_certificate(certificate).ok()?;
        // A time before the epoch counts as 0: the certificate has expired in either case.
        Some(u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0))
    };
    certificates.iter().map(end).min()?
}

fn config(
    files: &TlsFiles,
    certificates: Vec<CertificateDer<'static>>,
) -> Result<ServerConfig, TlsError> {
    let key = files::read(&files.key)
        .map_err(PemError::Io)
        .and_then(|bytes| PrivateKeyDer::from_pem_slice(&bytes))
        .map_err(|error| TlsError::Key(wrong(&files.key, &why(&error, "private key"))))?;
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_no_client_auth())
        .and_then(|builder| builder.with_single_cert(certificates, key));
    let mut config = config.map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            let why = format!("is not the key of {}", files.certificate.display());
            TlsError::Key(wrong(&files.key, &why))
        }
        error => TlsError::Certificate(wrong(&files.certificate, &error.to_string())),
    })?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(config)
}

/// Reads the certificates of a PEM file, at least one.
///
/// # Errors
/// A text that names the file and says what is wrong with it.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = files::read(path).map_err(PemError::Io);
    let read = bytes.and_then(|bytes| CertificateDer::pem_slice_iter(&bytes).collect());
    let found: Vec<_> = read.map_err(|error| wrong(path, &why(&error, "certificate")))?;
    if found.is_empty() {
        return Err(wrong(path, "holds no certificate in PEM"));
    }
    Ok(found)
}

fn wrong(path: &Path, why: &str) -> String {
    format!("{}: {why}", path.display())
}

/// Describes a fault of a PEM file. The text is our own, because the library's may quote a line,
/// even one of a key.
fn why(error: &PemError, what: &str) -> String {
    match error {
        PemError::Io(error) => error.to_string(),
        PemError::NoItemsFound => format!("holds no {what} in PEM"),
        _ => "is no PEM, or a damaged one".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a self-signed certificate and its key, in PEM.
    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn what_cannot_be_served_is_refused_with_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let ((certificate, key), (_, other)) = (pair(), pair());
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let files = |certificate: &str, key: &str| TlsFiles {
            certificate: file("certificate.pem", certificate),
            key: file("key.pem", key),
        };
        let tls = Tls::load(&files(&certificate, &key)).unwrap();
        tls.reload().unwrap();
        // One file may hold a chain and the key.
        Tls::load(&files(&format!("{certificate}{certificate}{key}"), &key)).unwrap();

        let broken = key.replace("END PRIVATE", "END PUBLIC");
        for (certificate, key, named, says) in [
            ("", key.as_str(), "certificate.pem", "no certificate"),
            (key.as_str(), &key, "certificate.pem", "no certificate"),
            (&certificate, "", "key.pem", "no private key"),
            (&certificate, &other, "key.pem", "is not the key of"),
            (&certificate, &broken, "key.pem", "PEM"),
        ] {
            let error = Tls::load(&files(certificate, key)).err().unwrap();
            assert_eq!(matches!(error, TlsError::Key(_)), named == "key.pem", "{error}");
            let error = error.to_string();
            assert!(error.contains(named) && error.contains(says), "{error}");
            assert!(key.lines().nth(1).is_none_or(|line| !error.contains(line)), "{error}");
        }
        assert!(tls.reload().is_err());
        let gone = TlsFiles { certificate: "/no/such".into(), key: "/no/such".into() };
        assert!(Tls::load(&gone).err().unwrap().to_string().starts_with("/no/such: No such file"));
    }
}
