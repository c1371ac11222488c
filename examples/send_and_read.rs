//! A message is sent and read: `cargo run --example send_and_read`.
//!
//! Start a server first, such as `cargo run --release -- serve --demo`. `CHATSHARD_ADDR` names its
//! TCP door; without it this is 127.0.0.1:7700.
#![allow(clippy::print_stdout)] // it is a program

use std::error::Error;
use std::process;

use chatshard::client::{Client, ClientOptions};
use chatshard::command::{Call, Command, Kind};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::var("CHATSHARD_ADDR").unwrap_or("127.0.0.1:7700".into());
    let chatshard = Client::connect(address, ClientOptions::default()).await?;
    let call = async |kind, arguments| -> Result<Value, Box<dyn Error>> {
        let reply = chatshard.call(Command::from_json(kind, arguments)?).await?;
        Ok(serde_json::to_value(reply)?)
    };

    // A chat of its own for each run, so that the example can run again.
    let chat = format!("g_example_{}", process::id());
    let founded = json!({
        "id": chat, "type": 2, "creator_id": "alice", "user_ids": ["alice", "bob"],
    });
    call(Kind::Create, founded).await?;

    // The backend stores the message, and asks for its sequence. After a time-out it sends the
    // same request again: the key makes that safe.
    for attempt in ["the first", "a second"] {
        let message = json!({
            "chat_id": chat, "allocate": 1, "sender_id": "alice",
            "idempotency_key": format!("{chat}-message-1"),
        });
        let advanced = call(Kind::Advance, message).await?;
        println!("{attempt} attempt: the message has sequence {}", advanced["first_sequence"]);
    }

    let page = call(Kind::Conversations, json!({"user_id": "bob", "limit": 1})).await?;
    println!("bob's newest chat has {} unread message", page["items"][0]["unread"]);

    let position = json!({"user_id": "bob", "chat_id": chat, "seq": 1});
    let read = call(Kind::MarkRead, position).await?;
    println!("bob has read up to {}: {} unread", read["max_read_seq"], read["unread"]);

    call(Kind::Dissolve, json!({"chat_id": chat})).await?;
    println!("the chat is dissolved");
    Ok(())
}
