//! The bytes of a connection: plain TCP, TLS or a unix socket.
//!
//! A connection is accepted on one thread and served on others. [`Parked`] is its form in between.
//!
//! Invariants:
//! - An operation on a plain socket costs one `match` more than the socket's own.
//! - [`Stream::try_write`] accepts bytes only as fast as the socket does. At most two TLS records
//!   of accepted bytes wait inside the session.

use std::io::{self, BufRead, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::rustls::ServerConnection;
use tokio_rustls::server::TlsStream;
use tokio_util::io::poll_read_buf;

use crate::admission::Peer;

/// Bytes of plain text that are given to TLS in one step: about one TLS record.
const RECORD_BYTES: usize = 16 << 10;
/// Bytes that a connection may decipher in one read, before other connections get their turn.
const READ_BYTES: usize = 64 << 10;
/// Bytes of a client that one read discards.
const DISCARD_BYTES: usize = 4 << 10;

/// A TCP socket that can leave the async runtime of one thread and join that of another.
pub struct Movable(SocketState);

enum SocketState {
    /// With the async runtime of this thread.
    Registered(TcpStream),
    /// On its way between two threads.
    Detached(std::net::TcpStream),
    /// After a system call failed.
    Gone,
}

impl Movable {
    /// Wraps a socket that is registered with the async runtime of this thread.
    pub fn new(stream: TcpStream) -> Self {
        Self(SocketState::Registered(stream))
    }

    fn leave(&mut self) -> io::Result<()> {
        self.0 = match std::mem::replace(&mut self.0, SocketState::Gone) {
            SocketState::Registered(stream) => SocketState::Detached(stream.into_std()?),
            other => other,
        };
        Ok(())
    }

    fn join(&mut self) -> io::Result<()> {
        self.0 = match std::mem::replace(&mut self.0, SocketState::Gone) {
            SocketState::Detached(stream) => SocketState::Registered(TcpStream::from_std(stream)?),
            other => other,
        };
        Ok(())
    }

    fn socket(&self) -> io::Result<&TcpStream> {
        match &self.0 {
            SocketState::Registered(stream) => Ok(stream),
            SocketState::Detached(_) | SocketState::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn socket_mut(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        match &mut self.0 {
            SocketState::Registered(stream) => Ok(Pin::new(stream)),
            SocketState::Detached(_) | SocketState::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl AsyncRead for Movable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.socket_mut()?.poll_read(context, into)
    }
}

impl AsyncWrite for Movable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.socket_mut()?.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket_mut()?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket_mut()?.poll_shutdown(context)
    }
}

/// A connection that is registered with the async runtime of the thread that serves it.
pub enum Stream {
    /// A plain TCP connection.
    Tcp(TcpStream),
    /// A connection from this machine through a unix socket, never in TLS.
    Unix(UnixStream),
    /// A TLS connection after its handshake.
    Tls(Box<TlsStream<Movable>>),
}

/// A connection between two threads, registered with the runtime of neither.
pub enum Parked {
    /// A plain TCP connection; see [`Stream::Tcp`].
    Tcp(std::net::TcpStream),
    /// A connection through a unix socket; see [`Stream::Unix`].
    Unix(std::os::unix::net::UnixStream),
    /// A TLS connection with its session; see [`Stream::Tls`].
    Tls(Box<TlsStream<Movable>>),
}

impl Parked {
    /// Writes as many of `bytes` as the socket accepts without waiting, and closes it. A TLS
    /// connection is closed without them.
    pub fn say_last(self, bytes: &[u8]) {
        // Errors are ignored: if the client is gone, nobody can read the bytes.
        _ = match self {
            Self::Tcp(mut stream) => stream.write(bytes),
            Self::Unix(mut stream) => stream.write(bytes),
            Self::Tls(_) => Ok(0),
        };
    }

    /// Registers the connection with the async runtime of this thread.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn arrive(self) -> io::Result<Stream> {
        Ok(match self {
            Self::Tcp(stream) => Stream::Tcp(TcpStream::from_std(stream)?),
            Self::Unix(stream) => Stream::Unix(UnixStream::from_std(stream)?),
            Self::Tls(mut stream) => {
                stream.get_mut().0.join()?;
                Stream::Tls(stream)
            }
        })
    }
}

impl Stream {
    /// Removes the connection from the async runtime of this thread, so that another worker can
    /// serve it.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn park(self) -> io::Result<Parked> {
        Ok(match self {
            Self::Tcp(stream) => Parked::Tcp(stream.into_std()?),
            Self::Unix(stream) => Parked::Unix(stream.into_std()?),
            Self::Tls(mut stream) => {
                stream.get_mut().0.leave()?;
                Parked::Tls(stream)
            }
        })
    }

    /// Sets `TCP_NODELAY`, so that small writes leave at once.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nodelay(true),
            Self::Unix(_) => Ok(()),
            Self::Tls(stream) => stream.get_ref().0.socket()?.set_nodelay(true),
        }
    }

    /// The client at the other end; [`Peer::Gone`] if the socket no longer knows it.
    pub fn peer(&self) -> Peer {
        let address = match self {
            Self::Tcp(stream) => stream.peer_addr(),
            Self::Unix(stream) => {
                return stream.peer_cred().map_or(Peer::Gone, |peer| Peer::User(peer.uid()));
            }
            Self::Tls(stream) => stream.get_ref().0.socket().and_then(TcpStream::peer_addr),
        };
        address.map_or(Peer::Gone, Peer::Network)
    }

    /// Completes when the socket may have bytes to read. For TLS see [`Self::try_read_buf`], which
    /// may have some already.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            Self::Unix(stream) => stream.readable().await,
            Self::Tls(stream) => stream.get_ref().0.socket()?.readable().await,
        }
    }

    /// Completes when the socket may have room to write.
    pub async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.writable().await,
            Self::Unix(stream) => stream.writable().await,
            Self::Tls(stream) => stream.get_ref().0.socket()?.writable().await,
        }
    }

    /// Whether the TLS session still holds bytes that [`Self::try_write`] accepted. A call of that
    /// with no bytes writes them.
    pub fn owes(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => false,
            Self::Tls(stream) => stream.get_ref().1.wants_write(),
        }
    }

    /// Writes some of `bytes` without waiting, and returns how many were accepted.
    ///
    /// # Errors
    /// `WouldBlock` if none can be accepted now, and those of the socket and of TLS.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
            Self::Tls(stream) => {
                let (socket, session) = stream.get_mut();
                let socket = socket.socket()?;
                write_out(session, socket)?;
                let (some, _) = bytes.split_at(bytes.len().min(RECORD_BYTES));
                let taken = session.writer().write(some)?;
                match write_out(session, socket) {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
                    _ => Ok(taken),
                }
            }
        }
    }

    /// Reads the bytes that are there and returns their number; 0 means the end.
    ///
    /// After a handshake there may be bytes although the socket is not readable: the first request
    /// may have come with the end of the handshake.
    ///
    /// # Errors
    /// `WouldBlock` if there are no bytes now, and those of the socket and of TLS.
    pub fn try_read_buf(&mut self, into: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => read_now(stream, into),
            Self::Unix(stream) => read_now(stream, into),
            Self::Tls(stream) => {
                let (socket, session) = stream.get_mut();
                let socket = socket.socket()?;
                let read = read_in(session, socket, into);
                if session.wants_write() {
                    // The session may have to reply with an alert or a new key. A failed write is
                    // ignored, as the next one tries again.
                    drop(write_out(session, socket));
                }
                read
            }
        }
    }

    /// Shuts down the sending half; the bytes that were written before still leave.
    ///
    /// # Errors
    /// Those of the operating system.
    pub async fn shut_down(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown().await,
            Self::Unix(stream) => stream.shutdown().await,
            Self::Tls(stream) => stream.get_mut().0.shutdown().await,
        }
    }

    /// Reads the client's bytes that are there, and discards them. Returns whether more may come.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn discard(&self) -> io::Result<bool> {
        let mut bytes = [0; DISCARD_BYTES];
        // Reading stops after a while, so that other connections of the worker get their turn.
        for _ in 0..READ_BYTES / DISCARD_BYTES {
            let read = match self {
                Self::Tcp(stream) => stream.try_read(&mut bytes),
                Self::Unix(stream) => stream.try_read(&mut bytes),
                Self::Tls(stream) => stream.get_ref().0.socket()?.try_read(&mut bytes),
            };
            match read {
                Ok(0) => return Ok(false),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Sends TLS's `close_notify`, so that the client knows that no bytes were cut off. Does
    /// nothing without TLS.
    pub fn say_goodbye(&mut self) {
        if let Self::Tls(stream) = self {
            let (socket, session) = stream.get_mut();
            session.send_close_notify();
            if let Ok(socket) = socket.socket() {
                // The connection ends now, so it does not matter whether the client gets this.
                drop(write_out(session, socket));
            }
        }
    }
}

/// Reads the bytes that are there.
///
/// Unlike a socket's own `try_read_buf` it notes an empty socket when a read fills less than the
/// room. So the next wait needs no extra read to find that out.
///
/// # Errors
/// `WouldBlock` if there are no bytes now, and those of the socket.
pub fn read_now(stream: &mut (impl AsyncRead + Unpin), into: &mut BytesMut) -> io::Result<usize> {
    // `readable` does the waiting, so this read needs no waker.
    let mut nobody = Context::from_waker(Waker::noop());
    match poll_read_buf(Pin::new(stream), &mut nobody, into) {
        Poll::Ready(read) => read,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Writes the enciphered bytes of the session to the socket.
fn write_out(session: &mut ServerConnection, socket: &TcpStream) -> io::Result<()> {
    while session.wants_write() {
        if session.write_tls(&mut Trying(socket))? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

/// Reads from the socket, deciphers, and appends the plain text to `into`.
fn read_in(
    session: &mut ServerConnection,
    socket: &TcpStream,
    into: &mut BytesMut,
) -> io::Result<usize> {
    let before = into.len();
    let mut got = 0;
    loop {
        let state = session
            .process_new_packets()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        while into.len() - before < state.plaintext_bytes_to_read() + got {
            let mut reader = session.reader();
            let some = reader.fill_buf()?;
            let count = some.len();
            into.put_slice(some);
            reader.consume(count);
        }
        got = into.len() - before;
        if got >= READ_BYTES || (got > 0 && state.peer_has_closed()) {
            return Ok(got);
        }
        match session.read_tls(&mut Trying(socket)) {
            Ok(0) => return Ok(got),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && got > 0 => return Ok(got),
            Err(error) => return Err(error),
        }
    }
}

/// A socket as the blocking reader and writer that rustls expects; it fails with `WouldBlock` and
/// never waits.
struct Trying<'a>(&'a TcpStream);

impl Read for Trying<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(into)
    }
}

impl Write for Trying<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
