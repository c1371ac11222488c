//! The bytes of a connection, whatever they travel in.

use std::io;

use tokio::io::{ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::{Address, ClientError, ClientTls};

/// Bytes as they are, or in TLS.
pub(super) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;
/// What reads.
pub(super) type Reader = Either<OwnedReadHalf, ReadHalf<Box<TlsStream<TcpStream>>>>;
/// What writes.
pub(super) type Writer = Either<OwnedWriteHalf, WriteHalf<Box<TlsStream<TcpStream>>>>;

/// Connects, and shakes hands where TLS is wanted.
pub(super) async fn connect(
    address: &Address,
    tls: Option<&ClientTls>,
) -> Result<Stream, ClientError> {
    let Address::Tcp(text) = address;
    let stream = TcpStream::connect(text).await?;
    // Batches are flushed whole; holding their ends back would only add latency.
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(Either::Left(stream)) };
    let name = tls.name_of(address.host()).map_err(ClientError::Tls)?;
    let shaken = tls.connector().connect(name, stream).await;
    Ok(Either::Right(Box::new(
        shaken.map_err(|error: io::Error| ClientError::Tls(error.to_string()))?,
    )))
}

/// The two directions, for two tasks. A plain socket's need no lock between them.
pub(super) fn split(stream: Stream) -> (Reader, Writer) {
    match stream {
        Either::Left(stream) => {
            let (reader, writer) = stream.into_split();
            (Either::Left(reader), Either::Left(writer))
        }
        Either::Right(stream) => {
            let (reader, writer) = tokio::io::split(stream);
            (Either::Right(reader), Either::Right(writer))
        }
    }
}
