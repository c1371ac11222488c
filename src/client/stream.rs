//! The bytes of a connection over TCP, a unix socket, or TLS.

use std::io;

use tokio::io::{ReadHalf, WriteHalf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::unix::{OwnedReadHalf as UnixReader, OwnedWriteHalf as UnixWriter};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::{Address, ClientError, ClientTls};

/// The socket of a client, which carries bytes plain or in TLS.
pub type ClientStream = Either<TcpStream, Either<UnixStream, Box<TlsStream<TcpStream>>>>;
/// The half of a client's socket that is read.
pub(super) type StreamReader =
    Either<OwnedReadHalf, Either<UnixReader, ReadHalf<Box<TlsStream<TcpStream>>>>>;
/// The half of a client's socket that is written.
pub(super) type StreamWriter =
    Either<OwnedWriteHalf, Either<UnixWriter, WriteHalf<Box<TlsStream<TcpStream>>>>>;

/// Connects, and does the TLS handshake if `tls` is set. A unix socket never uses TLS.
///
/// # Errors
/// If no server listens at the address, or the handshake does not accept its certificate.
pub async fn connect(
    address: &Address,
    tls: Option<&ClientTls>,
) -> Result<ClientStream, ClientError> {
    let unreachable = |error| ClientError::Connect { address: address.clone(), error };
    let text = match address {
        Address::Tcp(text) => text,
        // A unix socket does not leave this machine, and the owner of its file identifies the
        // server.
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(unreachable)?;
            return Ok(Either::Right(Either::Left(stream)));
        }
    };
    let stream = TcpStream::connect(text).await.map_err(unreachable)?;
    // Requests are flushed in batches. To delay the last segment of one would only add latency.
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(Either::Left(stream)) };
    let name = tls.name_of(address.host()).map_err(ClientError::Tls)?;
    let shaken = tls.connector().connect(name, stream).await;
    let shaken = shaken.map_err(|error| ClientError::Tls(tls_error(&error)))?;
    Ok(Either::Right(Either::Right(Box::new(shaken))))
}

/// The message for a failed handshake. A server without TLS replies with an alert, or with bytes
/// that are not TLS.
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

/// Splits a stream into reader and writer, so that two futures can use them. A plain socket needs
/// no lock for that.
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
