//! The bytes of a connection, whatever they travel in.

use std::io;

use tokio::io::{ReadHalf, WriteHalf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::unix::{OwnedReadHalf as UnixReader, OwnedWriteHalf as UnixWriter};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::{Address, ClientError, ClientTls};

/// Bytes as they are, or in TLS.
pub type ClientStream = Either<TcpStream, Either<UnixStream, Box<TlsStream<TcpStream>>>>;
/// What reads.
pub(super) type StreamReader =
    Either<OwnedReadHalf, Either<UnixReader, ReadHalf<Box<TlsStream<TcpStream>>>>>;
/// What writes.
pub(super) type StreamWriter =
    Either<OwnedWriteHalf, Either<UnixWriter, WriteHalf<Box<TlsStream<TcpStream>>>>>;

/// Connects, and shakes hands where TLS is wanted. A unix socket has none.
///
/// # Errors
/// If nobody listens, or is not who was meant.
pub async fn connect(
    address: &Address,
    tls: Option<&ClientTls>,
) -> Result<ClientStream, ClientError> {
    let unreachable = |error| ClientError::Connect { address: address.clone(), error };
    let text = match address {
        Address::Tcp(text) => text,
        // It does not leave this machine, and its file says who is at the other end.
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(unreachable)?;
            return Ok(Either::Right(Either::Left(stream)));
        }
    };
    let stream = TcpStream::connect(text).await.map_err(unreachable)?;
    // Batches are flushed whole; holding their ends back would only add latency.
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(Either::Left(stream)) };
    let name = tls.name_of(address.host()).map_err(ClientError::Tls)?;
    let shaken = tls.connector().connect(name, stream).await;
    let shaken = shaken.map_err(|error| ClientError::Tls(tls_error(&error)))?;
    Ok(Either::Right(Either::Right(Box::new(shaken))))
}

/// A server without TLS answers with an alert, or with bytes that are no TLS.
fn tls_error(error: &io::Error) -> String {
    use tokio_rustls::rustls::{AlertDescription, Error};

    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
    let is_plain = matches!(
        cause,
        Some(Error::InvalidMessage(_) | Error::AlertReceived(AlertDescription::HandshakeFailure))
    );
    let advice =
        if is_plain { "; this door speaks no TLS, it seems: leave --tls-ca out" } else { "" };
    format!("{error}{advice}")
}

/// The two directions, for two tasks. A plain socket's need no lock between them.
pub(super) fn split(stream: ClientStream) -> (StreamReader, StreamWriter) {
    match stream {
        Either::Left(stream) => {
            let (reader, writer) = stream.into_split();
            (Either::Left(reader), Either::Left(writer))
        }
        Either::Right(Either::Left(stream)) => {
            let (reader, writer) = stream.into_split();
            (Either::Right(Either::Left(reader)), Either::Right(Either::Left(writer)))
        }
        Either::Right(Either::Right(stream)) => {
            let (reader, writer) = tokio::io::split(stream);
            (Either::Right(Either::Right(reader)), Either::Right(Either::Right(writer)))
        }
    }
}
