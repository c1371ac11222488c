//! A file for `import` is refused with the number of a line, or cut into requests that fit. A node
//! exports the lines that it accepted; another node accepts these and exports the same.
//!
//! Input: whether to merge, then the file.

use bytes::BytesMut;
use chatshard::cli::transfer::line::{BATCH_LINES_MAX, Line, LineBatches};
use chatshard::command::export::Export;
use chatshard::command::import::Import;
use chatshard::command::lines::{ChatLine, MemberLine};
use chatshard::command::{Command, Reply};
use chatshard::protocol::encode_request;

use super::bytes::Bytes;
use crate::common::SimNode;

/// Imports the file, and compares the export with that of another node that imports it.
pub fn run(input: &[u8]) {
    let mut input = Bytes(input);
    let merge = input.byte() % 2 == 1;
    let lines = input.0.split(|byte| *byte == b'\n').count();
    let mut batches = LineBatches::new(input.0, "file", merge);
    let mut node = SimNode::new(1, 7);
    let mut last_line = 0;
    loop {
        let batch = match batches.next_batch() {
            Ok(Some(batch)) => batch,
            Ok(None) => break,
            Err(failure) => {
                let message = format!("{failure:?}");
                let named =
                    (last_line + 1..=lines).any(|line| message.contains(&format!("file:{line}: ")));
                assert!(named, "no line after {last_line} is named: {message}");
                return;
            }
        };
        let (first, last) = (batch.first_line, batch.last_line);
        let Import { chats, members, .. } = &batch.import;
        let count = chats.len() + members.len();
        assert!(usize::try_from(first).unwrap() > last_line && first <= last);
        last_line = usize::try_from(last).unwrap();
        assert!(last_line <= lines && (1..=BATCH_LINES_MAX).contains(&count));
        let command = Command::from(batch.import);
        command.check().unwrap();
        encode_request(1, &command, &mut BytesMut::new()).unwrap();
        if node.run(command).is_err() {
            return;
        }
    }
    let (chats, members) = exported(&mut node);
    let mut other = SimNode::new(3, 7);
    let import = Import { chats, members, merge: None, idempotency_key: None };
    let taken = other.run(import.clone().into());
    assert!(taken.is_ok(), "{taken:?}: {import:#?}");
    let again = exported(&mut other);
    assert_eq!(again, (import.chats, import.members));
}

/// The whole export, read back from the text of its lines and sorted.
fn exported(node: &mut SimNode) -> (Vec<ChatLine>, Vec<MemberLine>) {
    node.settle();
    let (mut chats, mut members, mut cursor) = (Vec::new(), Vec::new(), None);
    loop {
        let page = match node.run(Export { cursor, limit: Some(3) }.into()) {
            Ok(Reply::Export(page)) => page,
            other => panic!("{other:?}"),
        };
        let lines = page.chats.into_iter().map(Line::Chat);
        for line in lines.chain(page.members.into_iter().map(Line::Member)) {
            match from_text(line) {
                Line::Chat(chat) => chats.push(chat),
                Line::Member(member) => members.push(member),
            }
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    chats.sort_by(|a, b| a.id.cmp(&b.id));
    members.sort_by(|a, b| (&a.chat_id, &a.user_id).cmp(&(&b.chat_id, &b.user_id)));
    (chats, members)
}

fn from_text(line: Line) -> Line {
    let text = serde_json::to_vec(&line).unwrap();
    let read = Line::parse(&text).unwrap();
    assert_eq!(read, line);
    read
}
