//! A push worker follows every change: `cargo run --example watch [-- COUNT [OFFSET]]`.
//!
//! It prints the changes, and ends after COUNT of them; without COUNT it goes on. A worker stores
//! the offset of each change that it has handled, and continues behind it after a restart. Start a
//! server first, such as `cargo run --release -- serve --demo`, then run `send_and_read` in another
//! terminal. `CHATSHARD_ADDR` names the server's TCP door.
#![allow(clippy::print_stdout, clippy::print_stderr)] // it is a program

use std::error::Error;
use std::time::Duration;

use chatshard::client::{Changes, ClientError, ClientOptions};
use chatshard::command::watch::WatchOp;
use chatshard::types::{ChatId, UserId};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let count = arguments.next().map(|count| count.parse::<usize>()).transpose()?;
    let mut offset = arguments.next();
    let address = std::env::var("CHATSHARD_ADDR").unwrap_or("127.0.0.1:7700".into());
    let options = ClientOptions::default();

    let mut handled = 0;
    'connect: loop {
        let mut changes = Changes::open(&address, &options, offset.clone()).await?;
        while count.is_none_or(|count| handled < count) {
            let change = match changes.next().await {
                Ok(change) => change,
                // The offset is no longer kept, or the server does not allow a watch.
                Err(ClientError::Refused(error)) => return Err(error.into()),
                Err(error) => {
                    eprintln!("{error}; trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue 'connect;
                }
            };
            // A stream begins with a heartbeat, and has one when nothing happens for a while.
            match change.op {
                WatchOp::Heartbeat => eprintln!("watching from offset {}", change.offset),
                op => {
                    let chat = change.chat_id.as_ref().map_or("", ChatId::as_str);
                    let user = change.user_id.as_ref().map_or("", UserId::as_str);
                    println!("{op:?} {chat} {user}");
                    handled += 1;
                }
            }
            offset = Some(change.offset);
        }
        return Ok(());
    }
}
