//! The HTTP door for apps: pipelined requests of HTTP/1.1, with responses in order.
//!
//! The door has no route for `advance`, because messages belong to the backend. `bench run` rejects
//! work with it before it starts.

use std::collections::VecDeque;
use std::io::Write;

use bytes::{BufMut, BytesMut};

use super::{Cut, Look, RequestSlot, Wire};
use crate::cli::bench::data::{Data, chat_id, user_id};
use crate::cli::bench::work::LoadRequest;

/// Longest head of a response, in bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// HTTP on one connection.
pub struct Http {
    data: Data,
    look: Look,
    /// The requests without a response, in the order of sending.
    open: VecDeque<(RequestSlot, LoadRequest)>,
    body: Vec<u8>,
}

impl Http {
    /// Prepares a connection, which has no open requests yet.
    pub fn new(data: Data, look: Look) -> Self {
        Self { data, look, open: VecDeque::new(), body: Vec::new() }
    }

    fn ids(&mut self, user: u64, rows: impl Iterator<Item = u64>) {
        self.body.extend_from_slice(br#"{"ids":"#);
        for (place, row) in rows.enumerate() {
            self.body.extend_from_slice(if place == 0 { b"[\"" } else { b",\"" });
            self.body.extend_from_slice(&chat_id(self.data.chat_of(user, row)));
            self.body.push(b'"');
        }
        self.body.extend_from_slice(b"]}");
    }

    /// Decodes a body, and says what is wrong with its content; `None` if nothing is.
    fn fault_in(&self, body: &[u8], ask: LoadRequest) -> Option<String> {
        let parsed: serde_json::Value = match serde_json::from_slice(body) {
            Ok(parsed) => parsed,
            Err(error) => return Some(format!("the body is no JSON: {error}")),
        };
        if parsed.get("code").and_then(serde_json::Value::as_u64) != Some(200) {
            return Some(format!("the body says {parsed}"));
        }
        let items = parsed.pointer("/data/items").and_then(serde_json::Value::as_array);
        self.look.count(ask, items.map_or(0, Vec::len))
    }
}

impl Wire for Http {
    /// HTTP needs no greeting before the first request.
    fn greeting(&mut self, _: &mut BytesMut) {}

    fn encode(&mut self, ask: LoadRequest, slot: RequestSlot, out: &mut BytesMut) {
        self.open.push_back((slot, ask));
        self.body.clear();
        let (route, user) = match ask {
            LoadRequest::List { user } => ("mine-list", user),
            LoadRequest::Detail { user, row, count } => {
                self.ids(user, row..row.saturating_add(count));
                ("detail", user)
            }
            LoadRequest::Delete { user, row } => {
                self.ids(user, std::iter::once(row));
                ("delete", user)
            }
            LoadRequest::MarkRead { user, row, seq } => {
                self.body.extend_from_slice(br#"{"chat_id":""#);
                self.body.extend_from_slice(&chat_id(self.data.chat_of(user, row)));
                // Memory takes every write, so this result and the one below are ignored.
                let _ = write!(self.body, "\",\"seq\":{seq}}}");
                ("read", user)
            }
            // `bench run` rejects work with `advance` before it starts. Otherwise the door would
            // reply 404.
            LoadRequest::Advance { .. } => ("advance", 0),
        };
        out.extend_from_slice(b"POST /chat/");
        out.extend_from_slice(route.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\nhost: localhost\r\nx-user-id: ");
        out.extend_from_slice(&user_id(user));
        if !self.body.is_empty() {
            out.extend_from_slice(b"\r\ncontent-type: application/json");
        }
        let _ = write!(out.writer(), "\r\ncontent-length: {}\r\n\r\n", self.body.len());
        out.extend_from_slice(&self.body);
    }

    fn cut(&mut self, input: &[u8]) -> Result<Option<Cut>, String> {
        let Some(HttpReply { status, head, body }) = answer(input)? else { return Ok(None) };
        let Some((slot, ask)) = self.open.pop_front() else {
            return Err("an answer that nobody waits for".to_owned());
        };
        let fault = match (status, self.look) {
            (200, Look::Status) => None,
            (200, Look::Check { .. }) => self.fault_in(body, ask),
            _ => Some(format!("status {status}: {}", String::from_utf8_lossy(body))),
        };
        Ok(Some(Cut { bytes: head + body.len(), slot, fault }))
    }
}

struct HttpReply<'a> {
    status: u16,
    /// Length of the response's head, in bytes.
    head: usize,
    body: &'a [u8],
}

/// The body of the response at the beginning of `input`.
///
/// # Errors
/// If `input` does not begin with a complete response.
pub fn body(input: &[u8]) -> Result<&[u8], String> {
    answer(input)?.map(|answer| answer.body).ok_or_else(|| "an answer without its end".to_owned())
}

/// Finds the response at the beginning of `input`; `None` while it is incomplete.
fn answer(input: &[u8]) -> Result<Option<HttpReply<'_>>, String> {
    let end = input.windows(4).take(HEAD_BYTES_MAX).position(|four| four == b"\r\n\r\n");
    let Some((head, behind)) = end.and_then(|end| input.split_at_checked(end + 4)) else {
        return if input.len() < HEAD_BYTES_MAX {
            Ok(None)
        } else {
            Err("a head without end".to_owned())
        };
    };
    let status = head.strip_prefix(b"HTTP/1.1 ").and_then(|rest| number(rest.get(..3)?));
    let mut lines = head.split(|byte| *byte == b'\n').skip(1);
    let length = lines.find_map(|line| {
        let (name, value) = line.split_at_checked(line.iter().position(|byte| *byte == b':')?)?;
        name.eq_ignore_ascii_case(b"content-length")
            .then(|| number(value.get(1..)?.trim_ascii()))?
    });
    let (Some(status), Some(length)) = (status, length) else {
        return Err(format!("what came is no answer: {}", String::from_utf8_lossy(head)));
    };
    let status = u16::try_from(status).map_err(|error| error.to_string())?;
    Ok(behind.get(..length).map(|body| HttpReply { status, head: head.len(), body }))
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::data::DataArgs;

    fn wire() -> Http {
        let data = Data::new(DataArgs { chats: 1000, users: 20 }).unwrap();
        Http::new(data, Look::Check { with_deletes: true })
    }

    #[test]
    fn answers_are_cut_in_their_order() {
        let mut wire = wire();
        let mut out = BytesMut::new();
        wire.encode(LoadRequest::List { user: 1 }, 4, &mut out);
        wire.encode(LoadRequest::Delete { user: 1, row: 2 }, 3, &mut out);
        let first = b"HTTP/1.1 200 OK\r\ncontent-type: x\r\nContent-Length: 35\r\n\r\n{\"code\":200,\"data\":{\"items\":[]   }}";
        for bytes in 0..first.len() {
            assert_eq!(wire.cut(&first[..bytes]), Ok(None));
        }
        let cut = wire.cut(&[&first[..], b"HTTP"].concat()).unwrap().unwrap();
        assert_eq!(cut, Cut { bytes: first.len(), slot: 4, fault: None });
        let second = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 2\r\n\r\n{}";
        let cut = wire.cut(second).unwrap().unwrap();
        assert_eq!((cut.slot, cut.fault.as_deref()), (3, Some("status 429: {}")));
        assert!(wire.cut(second).is_err(), "nobody waits for it");
        assert!(wire.cut(b"SSH-2.0\r\n\r\n").is_err());
        assert!(wire.cut(b"HTTP/1.1 200 OK\r\n\r\n").is_err(), "no length");
    }

    #[test]
    fn bodies_are_json() {
        let mut wire = wire();
        for (ask, keys) in [
            (LoadRequest::Detail { user: 1, row: 45, count: 20 }, &["ids"][..]),
            (LoadRequest::MarkRead { user: 1, row: 4, seq: 9 }, &["chat_id", "seq"]),
            (LoadRequest::Delete { user: 1, row: 4 }, &["ids"]),
        ] {
            let mut out = BytesMut::new();
            wire.encode(ask, 1, &mut out);
            let text = String::from_utf8(out.to_vec()).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert!(keys.iter().all(|key| body.get(key).is_some()), "{body}");
        }
    }
}
