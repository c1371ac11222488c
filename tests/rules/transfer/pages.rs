//! Exports of a simulated node as the bytes of their pages, and imports of them.

use chatshard::command::export::{Export, ExportReply};
use chatshard::command::import::Import;
use chatshard::command::{Command, Reply};
use serde_json::Value;

use crate::common::SimNode;

/// The pages of an export, each as its JSON text without the cursor.
pub type Pages = Vec<String>;

/// The whole export of a node at rest, in pages of `limit` lines.
pub fn export(node: &mut SimNode, limit: u64) -> Pages {
    node.settle();
    export_beside(node, limit, |_| {})
}

/// The export of a node at work; `work` runs before each page.
pub fn export_beside(node: &mut SimNode, limit: u64, mut work: impl FnMut(&mut SimNode)) -> Pages {
    let (mut pages, mut cursor) = (Vec::new(), None);
    loop {
        work(node);
        let limit = Some(u32::try_from(limit).unwrap());
        let reply = node.run(Export { cursor, limit }.into()).unwrap();
        let Reply::Export(mut page) = reply else { panic!("no page: {reply:?}") };
        cursor = page.next_cursor.take();
        pages.push(serde_json::to_string(&page).unwrap());
        if cursor.is_none() {
            return pages;
        }
    }
}

/// Imports pages from their text, one request for each.
pub fn import(node: &mut SimNode, pages: &Pages, why: &str) {
    for page in pages {
        let ExportReply { chats, members, .. } = serde_json::from_str(page).unwrap();
        let import = Import { chats, members, merge: None, idempotency_key: None };
        let taken = node.run(Command::from(import));
        assert!(taken.is_ok(), "{why}: {taken:?} to {page}");
    }
    node.settle();
}

/// The lines of all pages, sorted.
pub fn sorted_lines(pages: &Pages) -> Vec<String> {
    let mut lines = Vec::new();
    for page in pages {
        let page: ExportReply = serde_json::from_str(page).unwrap();
        lines.extend(page.chats.iter().map(|line| serde_json::to_string(line).unwrap()));
        lines.extend(page.members.iter().map(|line| serde_json::to_string(line).unwrap()));
    }
    lines.sort_unstable();
    lines
}

/// The fields that are nil in some line, as `record.field`.
pub fn nil_fields(pages: &Pages) -> Vec<String> {
    let mut fields = Vec::new();
    for page in pages {
        let page: Value = serde_json::from_str(page).unwrap();
        for (lines, record) in [("chats", "chat_line"), ("members", "member_line")] {
            for line in page[lines].as_array().unwrap() {
                let nils = line.as_object().unwrap().iter().filter(|(_, value)| value.is_null());
                fields.extend(nils.map(|(name, _)| format!("{record}.{name}")));
            }
        }
    }
    fields
}
