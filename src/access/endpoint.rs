//! The address of a door: an IP address with a port, or a socket in the file system.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// The prefix that marks the path of a unix socket in a setting.
const UNIX: &str = "unix:";

/// The address on which a door listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// An IP address and a port, written `IP:PORT`.
    Tcp(SocketAddr),
    /// A unix socket, written `unix:PATH`. Each process that may open the file may connect.
    Unix(PathBuf),
}

impl Endpoint {
    /// Whether other machines can reach the address: true for all IP addresses except loopback.
    pub fn is_open(&self) -> bool {
        match self {
            Self::Tcp(address) => !address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => false,
        }
    }

    /// Whether two doors cannot both listen on their addresses, because these are equal.
    pub fn collides(&self, other: &Self) -> bool {
        // Port 0 stands for any free port, so two of them never collide.
        self == other && !matches!(self, Self::Tcp(address) if address.port() == 0)
    }

    /// The IP address and the port of the endpoint; `None` for a unix socket.
    pub fn network(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix(UNIX) {
            Some("") => Err(format!("`{text}` names no file: write unix:/run/chatshard/tcp.sock")),
            Some(path) => Ok(Self::Unix(PathBuf::from(path))),
            None => text.parse().map(Self::Tcp).map_err(|_| {
                format!(
                    "`{text}` is no address: write IP:PORT, like 127.0.0.1:7700 or [::1]:7700, or \
                     unix:PATH"
                )
            }),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_and_shown() {
        for (text, is_open) in [
            ("127.0.0.1:7700", false),
            ("[::1]:0", false),
            ("0.0.0.0:7700", true),
            ("[::ffff:10.0.0.1]:1", true),
            ("unix:/run/chatshard/tcp.sock", false),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!((endpoint.to_string().as_str(), endpoint.is_open()), (text, is_open));
            assert_eq!(endpoint.collides(&endpoint.clone()), text != "[::1]:0");
        }
        for wrong in ["unix:", "localhost:1", "/run/chatshard.sock", ""] {
            assert!(wrong.parse::<Endpoint>().is_err(), "{wrong}");
        }
    }
}
