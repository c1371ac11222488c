//! The examples of `protocol.md`, read from its code fences.
// Each test crate uses its own part of this.
#![allow(dead_code)]

use bytes::BytesMut;
use chatshard::command::Kind;
use chatshard::protocol::frame;
use serde_json::Value;

/// The text of `protocol.md`.
pub const PAGE: &str = include_str!("../../protocol.md");

/// How exactly a server's reply must equal an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Byte for byte.
    Exact,
    /// The text of an error message may differ.
    Message,
    /// The texts in [`VARYING_TEXTS`] may differ.
    Texts,
    /// Figures and texts may differ.
    Illustrative,
}

/// Fields of replies whose texts differ between servers.
pub const VARYING_TEXTS: &[&str] = &["log", "offset", "reason", "reasons"];

/// A fence that begins with "```hex request NAME" or "```hex reply NAME MARK".
#[derive(Debug)]
pub struct Example {
    /// Line of the fence in the page, for error messages.
    pub line: usize,
    /// False for a reply.
    pub is_request: bool,
    /// Name of the command, or `connection`.
    pub name: String,
    /// How exactly a reply must equal the example.
    pub mark: Mark,
    /// The JSON form of the bytes, from a comment in the fence.
    pub json: Value,
    /// The whole frame.
    pub bytes: Vec<u8>,
}

/// All examples of the page, in order.
pub fn examples() -> Vec<Example> {
    let mut examples = Vec::new();
    let mut lines = PAGE.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let Some(fence) = line.strip_prefix("```hex ") else { continue };
        let words: Vec<&str> = fence.split(' ').collect();
        let known = ["request", "reply"].contains(&words[0]);
        assert!(known && words.len() <= 3, "line {}: fence {fence:?}", index + 1);
        let mark = match words.get(2) {
            None => Mark::Exact,
            Some(&"message-illustrative") => Mark::Message,
            Some(&"text-illustrative") => Mark::Texts,
            Some(&"illustrative") => Mark::Illustrative,
            Some(other) => panic!("line {}: mark {other:?}", index + 1),
        };
        let mut example = Example {
            line: index + 1,
            is_request: words[0] == "request",
            name: words[1].to_owned(),
            mark,
            json: Value::Null,
            bytes: Vec::new(),
        };
        for (_, line) in lines.by_ref().take_while(|(_, line)| *line != "```") {
            if let Some(json) = line.strip_prefix("# json: ") {
                example.json = serde_json::from_str(json).unwrap();
            }
            let hex = line.split('#').next().unwrap_or_default();
            example
                .bytes
                .extend(hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()));
        }
        examples.push(example);
    }
    assert!(!examples.is_empty());
    examples
}

/// Bytes in the form that the page uses.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

impl Example {
    /// The command of the example.
    pub fn kind(&self) -> Kind {
        Kind::from_name(&self.name).unwrap_or_else(|| panic!("line {}: no such command", self.line))
    }

    /// Payload of the frame. Nothing may follow the frame.
    pub fn payload(&self, bytes_max: usize) -> Vec<u8> {
        let mut buffer = BytesMut::from(&self.bytes[..]);
        let payload = frame::next(&mut buffer, bytes_max).unwrap();
        let payload = payload.unwrap_or_else(|| panic!("line {}: frame too short", self.line));
        assert!(buffer.is_empty(), "line {}: bytes behind the frame", self.line);
        payload.to_vec()
    }
}
