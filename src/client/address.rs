//! The addresses of a TCP door, as a client names them.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// The prefix of the address of a unix socket.
const UNIX: &str = "unix:";

/// The address of a TCP door, as `HOST:PORT` or `unix:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `HOST:PORT`, where the host may be a name or an IP address.
    Tcp(String),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl Address {
    /// The host of `HOST:PORT`, without the brackets of an IPv6 address.
    pub(super) fn host(&self) -> &str {
        match self {
            Self::Tcp(text) => {
                let host = text.rsplit_once(':').map_or(text.as_str(), |(host, _)| host);
                host.trim_start_matches('[').trim_end_matches(']')
            }
            Self::Unix(_) => "",
        }
    }
}

impl Address {
    /// What the user may do about an error of connecting, to be appended to its message.
    pub(super) fn advice(&self, error: io::ErrorKind) -> &'static str {
        match (self, error) {
            (_, io::ErrorKind::ConnectionRefused) => {
                "; no server listens there: start it with `chatshard serve`, or name its address"
            }
            (Self::Unix(_), io::ErrorKind::NotFound) => {
                "; there is no such socket: start the server, or name its address"
            }
            (Self::Unix(_), io::ErrorKind::PermissionDenied) => {
                "; this user may not open the socket: see --socket-mode of the server"
            }
            (Self::Tcp(_), io::ErrorKind::InvalidInput) => "; write HOST:PORT or unix:PATH",
            _ => "",
        }
    }
}

impl From<&str> for Address {
    fn from(text: &str) -> Self {
        match text.strip_prefix(UNIX) {
            Some(path) => Self::Unix(PathBuf::from(path)),
            None => Self::Tcp(text.to_owned()),
        }
    }
}

impl From<String> for Address {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&String> for Address {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address.to_string())
    }
}

impl From<(IpAddr, u16)> for Address {
    fn from(address: (IpAddr, u16)) -> Self {
        SocketAddr::from(address).into()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(text) => f.write_str(text),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}
