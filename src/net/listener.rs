//! The sockets that listen, on the network or in the file system.
//!
//! Invariants:
//! - The file of a unix socket has its mode before anybody can connect to it.
//! - A socket file that a dead process left behind is replaced. A file that a process listens on,
//!   or that is not a socket, stays as it is and binding fails.
//! - A dropped listener removes its own file, and never the file of another listener.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::stream::Stream;
use crate::access::Endpoint;

/// Most connections that the operating system queues before they are accepted.
const BACKLOG: i32 = 4096;

/// A socket that listens and is not registered with the runtime of any thread yet.
#[derive(Debug)]
pub struct Listener {
    socket: Listening,
    endpoint: Endpoint,
}

#[derive(Debug)]
enum Listening {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener, SocketFile),
}

/// Binds a listener. Port 0 selects any free port. `mode` is the mode of a unix socket's file.
///
/// # Errors
/// Those of the operating system, with the address and an advice.
pub fn bind(endpoint: &Endpoint, mode: u32) -> io::Result<Listener> {
    let bound = match endpoint {
        Endpoint::Tcp(address) => bind_tcp(*address),
        Endpoint::Unix(path) => bind_unix(path, mode),
    };
    bound.map_err(|error| {
        let advice = advice(endpoint, &error);
        io::Error::new(error.kind(), format!("cannot listen on {endpoint}: {error}{advice}"))
    })
}

/// The end of the message of a failed [`bind`]: what the operator may do about it.
fn advice(endpoint: &Endpoint, error: &io::Error) -> &'static str {
    match (endpoint, error.kind()) {
        (_, io::ErrorKind::AddrInUse) => {
            "; another process listens there: stop it, or choose another address"
        }
        (Endpoint::Tcp(address), io::ErrorKind::PermissionDenied) if address.port() < 1024 => {
            "; ports below 1024 need root or CAP_NET_BIND_SERVICE: choose one from 1024 on"
        }
        (Endpoint::Tcp(_), io::ErrorKind::AddrNotAvailable) => {
            "; this machine has no such address: choose one of its own"
        }
        (Endpoint::Unix(_), io::ErrorKind::NotFound) => "; make the directory of the socket first",
        (Endpoint::Unix(_), io::ErrorKind::PermissionDenied) => {
            "; this user may not write to the directory of the socket"
        }
        _ => "",
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = std::net::TcpListener::from(socket);
    let endpoint = listener.local_addr()?.into();
    Ok(Listener { socket: Listening::Tcp(listener), endpoint })
}

fn bind_unix(path: &Path, mode: u32) -> io::Result<Listener> {
    let address = SockAddr::unix(path)?;
    clear_away(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address)?;
    let file = SocketFile::of(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    // Until this call nobody can connect, so the file has its mode in time.
    socket.listen(BACKLOG)?;
    let endpoint = Endpoint::Unix(path.to_owned());
    Ok(Listener { socket: Listening::Unix(socket.into(), file), endpoint })
}

/// Removes the socket file of a process that no longer runs.
fn clear_away(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file is no socket"));
    }
    match StdUnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody listens there")),
    }
}

/// The file of a unix socket. Dropping this removes the file, unless another listener has replaced
/// it.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            // If this fails, the file stays, and the next process that binds removes it.
            drop(fs::remove_file(&self.path));
        }
    }
}

impl Listener {
    /// The address on which the listener listens. If it was bound to port 0, this has the actual
    /// port.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Registers the listener with the async runtime of this thread.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn arrive(self) -> io::Result<Accepting> {
        Ok(match self.socket {
            Listening::Tcp(listener) => {
                Accepting(Kind::Tcp(tokio::net::TcpListener::from_std(listener)?))
            }
            Listening::Unix(listener, file) => {
                let listener = tokio::net::UnixListener::from_std(listener)?;
                Accepting(Kind::Unix { listener, _file: file })
            }
        })
    }
}

/// A listener that is registered with the runtime of its thread.
pub struct Accepting(Kind);

enum Kind {
    Tcp(tokio::net::TcpListener),
    Unix { listener: tokio::net::UnixListener, _file: SocketFile },
}

impl Accepting {
    /// Waits for the next connection.
    ///
    /// # Errors
    /// Those of the operating system. Later calls may succeed.
    pub async fn accept(&self) -> io::Result<Stream> {
        Ok(match &self.0 {
            Kind::Tcp(listener) => Stream::Tcp(listener.accept().await?.0),
            Kind::Unix { listener, .. } => Stream::Unix(listener.accept().await?.0),
        })
    }
}
