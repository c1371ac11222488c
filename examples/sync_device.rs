//! A device keeps a copy of its user's list: `cargo run --example sync_device`.
//!
//! The device remembers `log` and `version` of the last reply, for example beside the copy in its
//! database. The next `sync` brings only what changed since then. Start a server first, such as
//! `cargo run --release -- serve --demo`. `CHATSHARD_ADDR` names its TCP door.
#![allow(clippy::print_stdout)] // it is a program

use std::collections::BTreeMap;
use std::error::Error;
use std::process;

use chatshard::client::{Client, ClientOptions};
use chatshard::command::sync::{Since, Sync, SyncItem, SyncOp};
use chatshard::command::{Call, Command, Kind, Reply};
use chatshard::types::UserId;
use serde_json::json;

/// The copy of one device.
#[derive(Default)]
struct Device {
    rows: BTreeMap<String, SyncItem>,
    since: Option<Since>,
}

impl Device {
    /// Brings the copy up to date. Returns the number of changes.
    async fn sync(&mut self, client: &Client, user_id: &UserId) -> Result<usize, Box<dyn Error>> {
        let mut changes = 0;
        loop {
            let sync = Sync { user_id: user_id.clone(), since: self.since.take(), limit: None };
            let Reply::Sync(reply) = client.call(Command::from(sync)).await? else {
                return Err("not a reply to sync".into());
            };
            // The server no longer knows what this device has missed.
            if reply.reset {
                self.rows.clear();
            }
            changes += reply.items.len();
            for item in reply.items {
                let id = item.chat_id.to_string();
                match item.op {
                    SyncOp::Upsert => drop(self.rows.insert(id, item)),
                    SyncOp::Remove => drop(self.rows.remove(&id)),
                }
            }
            self.since = Some(Since { log: reply.log, version: reply.version });
            if !reply.more {
                return Ok(changes);
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::var("CHATSHARD_ADDR").unwrap_or("127.0.0.1:7700".into());
    let client = Client::connect(address, ClientOptions::default()).await?;
    let user = format!("user_{}", process::id());
    let user_id = UserId::new(&user)?;
    let chats = [format!("g_a_{user}"), format!("g_b_{user}")];
    for chat in &chats {
        let create = json!({"id": chat, "type": 2, "creator_id": user, "user_ids": [user]});
        client.call(Command::from_json(Kind::Create, create)?).await?;
    }

    let mut device = Device::default();
    let changes = device.sync(&client, &user_id).await?;
    println!("first sync: {changes} changes, {} chats", device.rows.len());

    let pin = json!({"user_id": user, "chat_id": chats[0], "is_top": 1});
    client.call(Command::from_json(Kind::SetFlags, pin)?).await?;
    let delete = json!({"user_id": user, "ids": [chats[1]]});
    client.call(Command::from_json(Kind::Delete, delete)?).await?;
    let changes = device.sync(&client, &user_id).await?;
    let pinned = device.rows.values().filter(|row| row.is_top.0).count();
    println!(
        "after a pin and a delete: {changes} changes, {} chat, {pinned} pinned",
        device.rows.len()
    );

    println!("nothing new: {} changes", device.sync(&client, &user_id).await?);
    Ok(())
}
