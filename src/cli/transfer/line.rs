//! One line of a transfer file, and a reader that packs many lines into requests.
//!
//! Invariants of the batches:
//! - The lines keep the order of the file, and each batch knows the numbers of its lines.
//! - Each batch fits into a request: at most [`BATCH_LINES_MAX`] lines and [`BATCH_BYTES_MAX`]
//!   encoded bytes.

use std::io::{self, BufRead, Read};

use serde::{Deserialize, Serialize};

use crate::cli::Failure;
use crate::command::Check;
use crate::command::import::Import;
use crate::command::lines::{ChatLine, MemberLine};
use crate::limits::{IMPORT_LINES_MAX, REQUEST_BYTES_MAX};

/// Most lines in one request.
pub const BATCH_LINES_MAX: usize = 5000;
/// Most bytes of arguments in one request. The rest of the frame is left for its other fields.
pub const BATCH_BYTES_MAX: usize = 700 << 10;
/// Longest line of a file, in bytes. Lines that the server accepts are far shorter, even with
/// escapes.
pub const LINE_BYTES_MAX: usize = 64 << 10;

const _: () = assert!(BATCH_LINES_MAX <= IMPORT_LINES_MAX);
const _: () = assert!(BATCH_BYTES_MAX + LINE_BYTES_MAX < REQUEST_BYTES_MAX);

/// One parsed line of a transfer file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// `{"chat":{...}}`
    Chat(ChatLine),
    /// `{"member":{...}}`
    Member(MemberLine),
}

impl Line {
    /// Parses and checks a line. The error says what is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        if text.starts_with("\u{feff}".as_bytes()) {
            return Err("begins with a byte order mark (BOM); save the file without one".to_owned());
        }
        let line: Self = serde_json::from_slice(text).map_err(|error| wrong_field(text, &error))?;
        match &line {
            Self::Chat(chat) => chat.check(),
            Self::Member(member) => member.check(),
        }
        .map_err(|error| error.message.into_owned())?;
        Ok(line)
    }

    /// An upper bound on the bytes of this line as MessagePack; `json_bytes` is its length as JSON.
    ///
    /// JSON is never shorter, as it has field names and decimal digits. For most lines a sum over
    /// the fields is the better bound: their texts, and 9 bytes per integer.
    fn encoded_bytes(&self, json_bytes: usize) -> usize {
        const REST: usize = 3 * 3 + 14 * 9;
        let texts = match self {
            Self::Chat(chat) => {
                let digest = chat.request_digest.as_ref().map_or(0, String::len);
                chat.id.as_str().len() + chat.creator_id.as_str().len() + digest
            }
            Self::Member(member) => {
                let id = member.id.as_ref().map_or(0, |id| id.as_str().len());
                member.chat_id.as_str().len() + member.user_id.as_str().len() + id
            }
        };
        json_bytes.min(texts + REST)
    }
}

/// Names the wrong field of a line, and the reason. The line is parsed again to find it: to track
/// the field in every parse costs time, and nearly every line is right.
fn wrong_field(text: &[u8], error: &serde_json::Error) -> String {
    let mut again = serde_json::Deserializer::from_slice(text);
    match serde_path_to_error::deserialize::<_, Line>(&mut again) {
        Err(placed) if placed.path().iter().len() > 0 => {
            format!("{}: {}", placed.path(), placed.inner())
        }
        _ => error.to_string(),
    }
}

/// Lines that go to the server in one request.
#[derive(Debug, Clone, PartialEq)]
pub struct LineBatch {
    /// The number of the batch's first line in the file, from 1.
    pub first_line: u64,
    /// The number of the batch's last line in the file.
    pub last_line: u64,
    /// How many bytes of the file the batch's lines take.
    pub file_bytes: u64,
    /// The request with the lines of the batch.
    pub import: Import,
}

/// Reads a file of lines and packs them into requests.
pub struct LineBatches<R> {
    reader: R,
    name: String,
    merge: bool,
    line: u64,
    text: Vec<u8>,
    /// A line that was read already, but did not fit into the previous batch.
    held: Option<Held>,
    /// Why no further batch follows, returned after the lines before the bad one.
    failed: Option<Failure>,
}

struct Held {
    line: Line,
    number: u64,
    encoded_bytes: usize,
    file_bytes: u64,
}

impl<R: BufRead> LineBatches<R> {
    /// Prepares to read lines from `reader`. `name` is what messages call the file; `merge` goes
    /// into each request.
    pub fn new(reader: R, name: impl Into<String>, merge: bool) -> Self {
        let (text, name) = (Vec::with_capacity(4096), name.into());
        Self { reader, name, merge, line: 0, text, held: None, failed: None }
    }

    /// The next batch; `None` at the end of the file. If a line is bad, the lines before it are
    /// returned first.
    pub fn next_batch(&mut self) -> Result<Option<LineBatch>, Failure> {
        if let Some(failure) = self.failed.take() {
            return Err(failure);
        }
        let Some(first) = self.take()? else { return Ok(None) };
        let mut import = Import {
            chats: Vec::new(),
            members: Vec::new(),
            merge: self.merge.then_some(true),
            idempotency_key: None,
        };
        let mut batch = (first.number, first.number, 0_u64);
        let (mut lines, mut bytes) = (0, 0);
        let mut next = Some(first);
        while let Some(held) = next {
            bytes += held.encoded_bytes;
            if lines == BATCH_LINES_MAX || bytes > BATCH_BYTES_MAX {
                self.held = Some(held);
                break;
            }
            lines += 1;
            batch.1 = held.number;
            batch.2 += held.file_bytes;
            match held.line {
                Line::Chat(chat) => import.chats.push(chat),
                Line::Member(member) => import.members.push(member),
            }
            next = match self.take() {
                Ok(next) => next,
                Err(failure) => {
                    self.failed = Some(failure);
                    None
                }
            };
        }
        let (first_line, last_line, file_bytes) = batch;
        Ok(Some(LineBatch { first_line, last_line, file_bytes, import }))
    }

    fn take(&mut self) -> Result<Option<Held>, Failure> {
        if let Some(held) = self.held.take() {
            return Ok(Some(held));
        }
        let mut file_bytes = 0;
        loop {
            let read = self.read_line()?;
            if read == 0 {
                return Ok(None);
            }
            file_bytes += u64::try_from(read).unwrap_or(u64::MAX);
            if !self.text.trim_ascii().is_empty() {
                break;
            }
        }
        let line = Line::parse(self.text.trim_ascii()).map_err(|why| self.bad_line(&why))?;
        let encoded_bytes = line.encoded_bytes(self.text.len());
        Ok(Some(Held { line, number: self.line, encoded_bytes, file_bytes }))
    }

    /// Reads the next line with its newline into `text`. Returns how many bytes it has; 0 at the
    /// end of the file.
    fn read_line(&mut self) -> Result<usize, Failure> {
        self.text.clear();
        let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
        let read = (&mut self.reader).take(limit).read_until(b'\n', &mut self.text);
        let read = read.map_err(|error: io::Error| self.failure(&error.to_string()))?;
        self.line += u64::from(read > 0);
        if read == LINE_BYTES_MAX && !self.text.ends_with(b"\n") {
            return Err(self.bad_line(&format!("longer than {LINE_BYTES_MAX} bytes")));
        }
        Ok(read)
    }

    fn bad_line(&self, why: &str) -> Failure {
        Failure::new(format!("{}:{}: {why}", self.name, self.line))
    }

    fn failure(&self, why: &str) -> Failure {
        Failure::new(format!("{}: {why}", self.name))
    }
}
