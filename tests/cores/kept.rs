//! Memory that stays for dissolved chats, removals and users without rows: at most as many bytes as
//! PERFORMANCE.md says.

use allocation_counter::measure;
use chatshard::command::{Command, Kind};
use chatshard::shard::op::Output;
use serde_json::{Value, json};

use crate::lone_shard::LoneShard;

impl LoneShard {
    /// Creates chats and dissolves them.
    fn come_and_go(&mut self, prefix: &str, chats: usize, users: &[String]) {
        for chat in 0..chats {
            let id = format!("{prefix}-{chat:020}");
            let create = json!({"id": id, "type": 2, "creator_id": "m", "user_ids": users});
            run(self, Kind::Create, create);
            run(self, Kind::Dissolve, json!({"chat_id": id}));
        }
        while self.shard.sweep_some() {}
        self.out = Output::default();
    }
}

fn run(alone: &mut LoneShard, kind: Kind, arguments: Value) {
    alone.call(Command::from_json(kind, arguments).unwrap()).unwrap();
}

/// Bytes that stay of these chats, on a node that had some before.
fn kept(chats: usize, users: &[String]) -> i64 {
    let mut alone = LoneShard::new(1_800_000_000_000);
    alone.come_and_go("before", 1, &[]);
    measure(|| alone.come_and_go("after", chats, users)).bytes_current
}

#[test]
fn what_is_kept_of_what_is_gone_is_little() {
    let dissolved = kept(20_000, &[]) / 20_000;
    let readers: Vec<String> = (0..20).map(|n| format!("reader-{n}")).collect();
    let removed = (kept(1000, &readers) - kept(1000, &[])) / 20_000;
    let users: Vec<String> = (0..10_000).map(|n| format!("user-{n:037}")).collect();
    let idle = kept(1, &users) / 10_000;
    println!("a dissolved chat {dissolved}, a removal {removed}, a user without rows {idle} bytes");
    // Ids of 26 bytes, and the room that tables keep.
    assert!((26..=26 + 25).contains(&dissolved), "{dissolved} bytes for a dissolved chat");
    assert!((24..=66).contains(&removed), "{removed} bytes for a removal");
    assert!((128..=380).contains(&idle), "{idle} bytes for a user without rows");
}
