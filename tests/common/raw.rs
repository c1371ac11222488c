//! One blocking TCP connection that writes and reads frames, and may misbehave.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::BytesMut;
use chatshard::command::{Command, ErrorCode, Kind, Outcome};
use chatshard::protocol::{self, frame};
use serde_json::json;

/// No read waits this long unless the server is stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// A blocking connection that writes and reads frames.
pub struct Raw {
    /// The socket.
    pub stream: TcpStream,
    input: BytesMut,
    /// The command of each request id.
    pub kinds: HashMap<u64, Kind>,
}

impl Raw {
    /// Connects without a `hello`.
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, input: BytesMut::new(), kinds: HashMap::new() }
    }

    /// Connects and completes a `hello`.
    pub fn greeted(address: SocketAddr) -> Self {
        let mut raw = Self::open(address);
        assert!(raw.call(1, Kind::Hello, json!({})).is_ok());
        raw
    }

    /// Sends requests in one write.
    pub fn send(&mut self, requests: &[(u64, Kind, serde_json::Value)]) {
        self.try_send(requests).unwrap();
    }

    /// Like [`Self::send`], with an error if the server has closed the connection.
    pub fn try_send(&mut self, requests: &[(u64, Kind, serde_json::Value)]) -> std::io::Result<()> {
        let mut out = BytesMut::new();
        for (id, kind, arguments) in requests {
            let command = Command::from_json(*kind, arguments.clone()).unwrap();
            protocol::encode_request(*id, &command, &mut out).unwrap();
            self.kinds.insert(*id, *kind);
        }
        self.stream.write_all(&out)
    }

    /// The next reply; `None` if the server has closed the connection.
    pub fn receive(&mut self) -> Option<(u64, Outcome)> {
        loop {
            if let Some(payload) = frame::next(&mut self.input, 16 << 20).unwrap() {
                let kinds = &self.kinds;
                let answer =
                    protocol::decode_reply(&payload, |id| kinds.get(&id).copied()).unwrap();
                return Some((answer.id, answer.outcome));
            }
            let mut bytes = [0; 64 << 10];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(count) => self.input.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Sends a request and waits for its reply, which must be the next one.
    pub fn call(&mut self, id: u64, kind: Kind, arguments: serde_json::Value) -> Outcome {
        self.send(&[(id, kind, arguments)]);
        let (answered, outcome) = self.receive().expect("the server closed");
        assert_eq!(answered, id);
        outcome
    }

    /// The next `count` replies by their ids, in any order.
    pub fn receive_all(&mut self, count: usize) -> HashMap<u64, Outcome> {
        (0..count).map(|_| self.receive().expect("the server closed")).collect()
    }

    /// Expects an error, and then the end of the connection.
    pub fn assert_refused(&mut self, id: u64, code: ErrorCode) {
        let (answered, outcome) = self.receive().expect("an error before the end");
        assert_eq!((answered, outcome.unwrap_err().code), (id, code));
        assert!(self.receive().is_none(), "the server closes after it");
    }
}
