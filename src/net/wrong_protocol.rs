//! Recognizes clients that speak another protocol than the door expects, by their first bytes.
//!
//! Invariants:
//! - A client gets its answer in its own protocol: HTTP 400, a TLS alert, or an error in a frame.
//! - Only the first bytes of a connection are examined.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::command::Error;
use crate::protocol::{self, CONNECTION_ID};

/// The protocol that a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    /// The client speaks HTTP/1 or HTTP/2 in clear text.
    Http,
    /// The client speaks TLS: it began with the record of a ClientHello.
    Tls,
    /// The client speaks the TCP door's protocol in clear text: frames of MessagePack.
    Frames,
}

/// How a request of HTTP/1 begins (its method), and one of HTTP/2 (the preface).
const METHODS: [&[u8]; 10] = [
    b"GET ",
    b"POST ",
    b"HEAD ",
    b"PUT ",
    b"DELETE ",
    b"OPTIONS ",
    b"PATCH ",
    b"TRACE ",
    b"CONNECT ",
    b"PRI * HTTP/2",
];
/// A fatal alert of TLS 1.2, which TLS 1.3 reads too: handshake_failure.
const ALERT: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 40];

impl Spoken {
    /// The protocol whose connections begin with the bytes `first`; `None` if they are too few or
    /// fit no protocol.
    pub fn of(first: &[u8]) -> Option<Self> {
        match first {
            [0x16, 3, ..] => Some(Self::Tls),
            // A frame begins with its length in four bytes. The first of them is 0, as no frame has
            // 16 MiB.
            [0, _, _, _, ..] => Some(Self::Frames),
            [b'A'..=b'Z', ..] => {
                let is_method = |method: &&[u8]| {
                    // Only a part of the method may have come. Four letters of it are enough.
                    let common = method.len().min(first.len());
                    common >= 4 && method.get(..common) == first.get(..common)
                };
                METHODS.iter().any(is_method).then_some(Self::Http)
            }
            _ => None,
        }
    }

    /// The name of the client's protocol, for messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Tls => "TLS",
            Self::Frames => "MessagePack frames",
        }
    }

    /// An answer in the client's own protocol. Its text is `sign`; a TLS alert has no text.
    pub fn answer(self, sign: &str) -> Vec<u8> {
        match self {
            Self::Http => format!(
                "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
                 cache-control: no-store\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{sign}\n",
                sign.len() + 1
            )
            .into_bytes(),
            Self::Tls => ALERT.to_vec(),
            Self::Frames => {
                let mut told = BytesMut::new();
                let error = Error::invalid(sign.to_owned());
                protocol::encode_reply(CONNECTION_ID, &Err(error), &mut told);
                told.to_vec()
            }
        }
    }
}

/// The socket of an HTTP connection. A client that speaks another protocol gets an answer in that,
/// and the reader gets an error.
pub struct HttpOnly<S> {
    stream: S,
    /// The text for a client of another protocol; `None` once the first bytes were examined.
    sign: Option<String>,
    answer: Vec<u8>,
}

impl<S> HttpOnly<S> {
    /// Wraps a socket before anything was read from it. `sign` is the text for a client of another
    /// protocol.
    pub fn new(stream: S, sign: String) -> Self {
        Self { stream, sign: Some(sign), answer: Vec::new() }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> HttpOnly<S> {
    /// Sends the answer to a client of another protocol as far as the socket accepts it. Then it
    /// returns the error that ends the connection.
    fn poll_tell(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.answer.is_empty() {
            match Pin::new(&mut self.stream).poll_write(context, &self.answer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(written)) if written > 0 => drop(self.answer.drain(..written)),
                Poll::Ready(_) => break,
            }
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the client speaks no HTTP")))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for HttpOnly<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.answer.is_empty() {
            return self.poll_tell(context);
        }
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        if self.sign.is_none() || !matches!(read, Poll::Ready(Ok(()))) {
            return read;
        }
        let first = into.filled().get(before..).unwrap_or_default();
        match (Spoken::of(first), self.sign.take()) {
            (Some(spoken @ (Spoken::Tls | Spoken::Frames)), Some(sign)) => {
                into.set_filled(before);
                self.answer = spoken.answer(&sign);
                self.poll_tell(context)
            }
            _ => read,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for HttpOnly<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_say_what_is_spoken() {
        for (first, spoken) in [
            (&b"GET / HTTP/1.1"[..], Some(Spoken::Http)),
            (b"POST", Some(Spoken::Http)),
            (b"PRI * HTTP/2.0", Some(Spoken::Http)),
            (b"\x16\x03\x01\x02", Some(Spoken::Tls)),
            (b"\0\0\0\x04\x93", Some(Spoken::Frames)),
            (b"\0\x10\0\0", Some(Spoken::Frames)),
            (b"", None),
            (b"\0", None),
            (b"G", None),
            (b"SSH-2.0-", None),
            (b"GETTER", None),
            (b"\x16\x05", None),
        ] {
            assert_eq!(Spoken::of(first), spoken, "{first:?}");
        }
    }
}
