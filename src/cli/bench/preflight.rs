//! A look before the load: whether the server has the data of the run.
//!
//! Without it a run on an empty server would report how fast nothing is found.

use super::data::{Data, chat_id};
use crate::cli::{ConnectArgs, Failure};
use crate::command::detail::Detail;
use crate::command::{Call, Reply};
use crate::types::ChatId;

/// Fails if the server lacks the first or the last chat.
pub async fn look(connection: &ConnectArgs, data: &Data) -> Result<(), Failure> {
    let id = |number| ChatId::new(&String::from_utf8_lossy(&chat_id(number)));
    let ids = [0, data.chats() - 1].map(id).into_iter().collect::<Result<Vec<_>, _>>();
    let ids = ids.map_err(|invalid| Failure::new(invalid.0))?;
    let wanted = ids.len();
    let client = connection.open().await?;
    match client.call(Detail { ids, user_id: None }.into()).await? {
        Reply::Detail(found) if found.items.len() == wanted => Ok(()),
        _ => Err(Failure::new(format!(
            "{} lacks the data: first `chatshard bench fill --chats {} --users {}` on an empty \
             server, then `bench run` with the same numbers",
            connection.addr,
            data.chats(),
            data.users()
        ))),
    }
}
