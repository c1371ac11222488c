//! The load side's sockets: of the network, of the file system, or with TLS.
//!
//! A round of [`load`](super::load) writes and reads without waiting, so TLS is driven here by hand:
//! what a session holds encrypted leaves as the socket takes it.

use std::io::{self, Read, Write};
use std::task::{Context, Poll};

use bytes::{BufMut, BytesMut};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::rustls::ClientConnection;
use tokio_util::either::Either;

use crate::cli::Failure;
use crate::client::{Address, ClientError, ClientTls, connect};

/// Plain bytes after which others have their turn.
const READ_BYTES_MAX: usize = 64 << 10;
/// Plain bytes that are read from a session at once.
const CHUNK_BYTES: usize = 16 << 10;

/// A connected socket.
pub enum Socket {
    /// `HOST:PORT`.
    Tcp(TcpStream),
    /// `unix:PATH`.
    Unix(UnixStream),
    /// `HOST:PORT` with TLS.
    Tls(TcpStream, Box<ClientConnection>),
}

impl Socket {
    /// Connects to `HOST:PORT` or `unix:PATH`.
    ///
    /// # Errors
    /// Why there is no connection, with the address.
    pub async fn connect(addr: &str, tls: Option<&ClientTls>) -> Result<Self, Failure> {
        let stream = connect(&Address::from(addr), tls).await.map_err(|error| match error {
            // Its message names the address.
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

    /// Takes some of the bytes.
    ///
    /// # Errors
    /// Kind `WouldBlock` while it takes none.
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

    /// Sends what it holds, as far as the system takes it.
    ///
    /// # Errors
    /// If the connection broke.
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tls(stream, session) => send(stream, session),
            Self::Tcp(_) | Self::Unix(_) => Ok(()),
        }
    }

    /// Whether bytes that it took wait to be sent.
    pub fn holds_bytes(&self) -> bool {
        matches!(self, Self::Tls(_, session) if session.wants_write())
    }

    /// Appends what is there; 0 at the end.
    ///
    /// # Errors
    /// Kind `WouldBlock` while nothing is there.
    pub fn try_read_buf(&mut self, into: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read_buf(into),
            Self::Unix(stream) => stream.try_read_buf(into),
            Self::Tls(stream, session) => receive(stream, session, into),
        }
    }

    /// Whether something may be there.
    pub fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) | Self::Tls(stream, _) => stream.poll_read_ready(context),
            Self::Unix(stream) => stream.poll_read_ready(context),
        }
    }

    /// Whether bytes may be taken.
    pub fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) | Self::Tls(stream, _) => stream.poll_write_ready(context),
            Self::Unix(stream) => stream.poll_write_ready(context),
        }
    }
}

/// The socket for a session, which waits for nothing.
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
                // All that was decrypted is taken; the next records come from the socket.
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
