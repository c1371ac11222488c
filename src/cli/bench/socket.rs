//! Sockets of the load side: TCP, unix sockets, or TLS over TCP.
//!
//! A round of [`load`](super::load) never waits inside a read or a write. So this module drives the
//! TLS session itself, and sends its encrypted bytes as the socket takes them.

use std::io::{self, Read, Write};
use std::task::{Context, Poll};

use bytes::{BufMut, BytesMut};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::rustls::ClientConnection;
use tokio_util::either::Either;

use crate::cli::Failure;
use crate::client::{Address, ClientError, ClientTls, connect};

/// Decrypted bytes after which a read returns, so that other connections have their turn.
const READ_BYTES_MAX: usize = 64 << 10;
/// Decrypted bytes that are taken from a session in one step.
const CHUNK_BYTES: usize = 16 << 10;

/// A connected socket whose reads and writes never wait.
pub enum Socket {
    /// A plain connection to `HOST:PORT`.
    Tcp(TcpStream),
    /// A plain connection to `unix:PATH`.
    Unix(UnixStream),
    /// A connection to `HOST:PORT` with its TLS session.
    Tls(TcpStream, Box<ClientConnection>),
}

impl Socket {
    /// Connects to `HOST:PORT` or `unix:PATH`, and does the handshake if `tls` is set.
    ///
    /// # Errors
    /// If the connection or its handshake fails. The message has the address.
    pub async fn connect(addr: &str, tls: Option<&ClientTls>) -> Result<Self, Failure> {
        let stream = connect(&Address::from(addr), tls).await.map_err(|error| match error {
            // The message of this error names the address.
            ClientError::Connect { .. } => Failure::new(error.to_string()),
            _ => Failure::new(format!("{addr}: {error}")),
        })?;
        Ok(match stream {
            Either::Left(stream) => Self::Tcp(stream),
            Either::Right(Either::Left(stream)) => Self::Unix(stream),
            Either::Right(Either::Right(stream)) => {
                let (stream, session) = stream.into_inner();
                Self::Tls(stream, Box::new(session))
            }
        })
    }

    /// Takes some of `bytes`, and returns how many.
    ///
    /// # Errors
    /// The kind is `WouldBlock` while the socket takes none.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
            Self::Tls(stream, session) => {
                let taken = session.writer().write(bytes)?;
                send(stream, session)?;
                if taken == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken) }
            }
        }
    }

    /// Sends the session's encrypted bytes, as far as the system takes them. Without TLS there are
    /// none.
    ///
    /// # Errors
    /// If the connection broke.
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tls(stream, session) => send(stream, session),
            Self::Tcp(_) | Self::Unix(_) => Ok(()),
        }
    }

    /// Whether the TLS session holds encrypted bytes that were not sent yet.
    pub fn holds_bytes(&self) -> bool {
        matches!(self, Self::Tls(_, session) if session.wants_write())
    }

    /// Appends the bytes that have come, and returns how many; 0 at the end of the stream.
    ///
    /// # Errors
    /// The kind is `WouldBlock` while no byte is there.
    pub fn try_read_buf(&mut self, into: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read_buf(into),
            Self::Unix(stream) => stream.try_read_buf(into),
            Self::Tls(stream, session) => receive(stream, session, into),
        }
    }

    /// Ready when a read may return bytes or an error.
    pub fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) | Self::Tls(stream, _) => stream.poll_read_ready(context),
            Self::Unix(stream) => stream.poll_read_ready(context),
        }
    }

    /// Ready when a write may take bytes or return an error.
    pub fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) | Self::Tls(stream, _) => stream.poll_write_ready(context),
            Self::Unix(stream) => stream.poll_write_ready(context),
        }
    }
}

/// A socket as rustls expects it: reads and writes return `WouldBlock` instead of waiting.
struct Raw<'a>(&'a TcpStream);

impl Read for Raw<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn send(stream: &TcpStream, session: &mut ClientConnection) -> io::Result<()> {
    while session.wants_write() {
        match session.write_tls(&mut Raw(stream)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            sent => _ = sent?,
        }
    }
    Ok(())
}

fn receive(
    stream: &TcpStream,
    session: &mut ClientConnection,
    into: &mut BytesMut,
) -> io::Result<usize> {
    let before = into.len();
    let mut chunk = [0; CHUNK_BYTES];
    loop {
        match session.reader().read(&mut chunk) {
            Ok(0) => return Ok(into.len() - before),
            Ok(bytes) => into.put_slice(chunk.get(..bytes).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // The session holds no more decrypted bytes, so the next ones must come from the
                // socket.
                if into.len() - before >= READ_BYTES_MAX {
                    return Ok(into.len() - before);
                }
                match session.read_tls(&mut Raw(stream)) {
                    Err(error)
                        if error.kind() == io::ErrorKind::WouldBlock && into.len() > before =>
                    {
                        return Ok(into.len() - before);
                    }
                    read => _ = read?,
                }
                let session = session.process_new_packets();
                session.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            }
            Err(error) => return Err(error),
        }
    }
}
