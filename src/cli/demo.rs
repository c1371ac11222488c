//! `serve --demo`: runs a server with a few example chats, in a directory that is removed at the
//! end (see [`super::ephemeral`]).

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use super::ephemeral::reachable;
use super::failure::tell;
use super::result_file::print;
use super::{ConnectArgs, Failure, ephemeral};
use crate::access::{Endpoint, Role};
use crate::command::Call;
use crate::command::import::Import;
use crate::command::lines::{ChatLine, MemberLine};
use crate::config::{Config, HttpAuth};
use crate::net::listener::bind;
use crate::server::Addresses;
use crate::types::{ChatId, ChatType, Flag, Invalid, Sequence, TimeMs, UserId};

/// The chat that the examples of the API show.
pub const EXAMPLE_CHAT: &str = "s_a7be32fecc0b2015";
/// The creator of that chat, whose list the examples show.
pub const EXAMPLE_USER: &str = "0x4c3f6cb0cd7df2977ea98e006b61bb899637d1ca";
const SECOND_USER: &str = "0x8ba1f109551bd432803012645ac136ddd64dba72";
const THIRD_USER: &str = "0x2b5ad5c4795c026514f8317c7a215e218dccd6cf";

/// Runs the demo until a signal stops the process, and then removes its directory.
pub fn run(mut config: Config) -> Result<(), Failure> {
    let taken = move_away(&mut config);
    let token = config.tokens.first(Role::Full);
    let token = token.map(|token| String::from_utf8_lossy(token.expose()).into_owned());
    let by_header = matches!(config.http_auth, HttpAuth::Header);
    ephemeral::serve(config, move |addresses| {
        if let Err(failure) = welcome(addresses, token, by_header, &taken) {
            tell(format_args!("error: demo: {failure}"));
        }
    })
}

/// Gives a door a free port if another process uses its default port. So a newcomer can try the
/// demo next to a running server. Returns the addresses that were in use.
fn move_away(config: &mut Config) -> Vec<Endpoint> {
    let mut taken = Vec::new();
    let doors = [
        ("listen", Some(&mut config.listen)),
        ("http", config.http.as_mut()),
        ("admin", config.admin.as_mut()),
    ];
    for (name, door) in doors {
        let Some(door) = door.filter(|_| config.default_doors.contains(&name)) else { continue };
        let bound = bind(door, config.socket_mode);
        if bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
            && let Endpoint::Tcp(address) = door
        {
            let free = SocketAddr::new(address.ip(), 0);
            taken.push(std::mem::replace(door, free.into()));
        }
    }
    taken
}

/// Loads the example chats, and prints commands that the reader can try.
fn welcome(
    addresses: &Addresses,
    token: Option<String>,
    by_header: bool,
    taken: &[Endpoint],
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(error.to_string()))?;
    runtime.block_on(load(&addresses.tcp, token))?;
    print(&hints(addresses, by_header, taken))
}

async fn load(tcp: &Endpoint, token: Option<String>) -> Result<(), Failure> {
    let client = ConnectArgs::plain(reachable(tcp).to_string(), token).open().await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_millis()).unwrap_or(0);
    let data = data(now).map_err(|invalid| Failure::new(invalid.0))?;
    client.call(data.into()).await?;
    Ok(())
}

/// The address as curl takes it, in the options or the URL.
fn curled(endpoint: &Endpoint) -> String {
    match reachable(endpoint) {
        Endpoint::Tcp(address) => format!("http://{address}"),
        Endpoint::Unix(path) => format!("--unix-socket '{}' http://localhost", path.display()),
    }
}

/// The example chats: the chat of the API's examples exactly as they show it, and four others.
pub fn data(now_ms: u64) -> Result<Import, Invalid> {
    let ago = |minutes: u64| TimeMs::new(now_ms.saturating_sub(minutes * 60_000));
    let mut import =
        Import { chats: Vec::new(), members: Vec::new(), merge: None, idempotency_key: None };
    let mut chat = |chat: ChatLine, members: Vec<MemberLine>| {
        import.chats.push(chat);
        import.members.extend(members);
    };

    // A pinned group with three unread messages.
    let id = "g_5f2d9c1e7ab34608";
    let group = talk(new_chat(id, ChatType::Group, SECOND_USER)?, 120, ago(5)?)?;
    let pinned = MemberLine { is_top: Flag::YES, ..member(EXAMPLE_USER, id, 117, 1)? };
    chat(group, vec![pinned, member(SECOND_USER, id, 120, 1)?, member(THIRD_USER, id, 90, 1)?]);

    // A muted chat in which nothing is read.
    let id = "o_0c4e8b7d21f96a35";
    let official = talk(new_chat(id, ChatType::Official, THIRD_USER)?, 42, ago(60)?)?;
    let muted = MemberLine { is_mute: Flag::YES, ..member(EXAMPLE_USER, id, 0, 2)? };
    chat(official, vec![muted, member(SECOND_USER, id, 42, 2)?]);

    // A group in which everything is read, and the user sent the last message.
    let id = "g_e81b60a94d7c2f53";
    let group = talk(new_chat(id, ChatType::Group, EXAMPLE_USER)?, 2048, ago(24 * 60)?)?;
    let writer =
        MemberLine { sent_seq: Sequence::new(2048)?, ..member(EXAMPLE_USER, id, 2048, 3)? };
    chat(group, vec![writer, member(THIRD_USER, id, 1500, 2)?]);

    // A single chat with seven unread messages.
    let id = "s_93f1c2707be5d84a";
    let single = talk(new_chat(id, ChatType::Single, THIRD_USER)?, 19, ago(2)?)?;
    chat(single, vec![member(EXAMPLE_USER, id, 12, 4)?, member(THIRD_USER, id, 19, 3)?]);

    let id = EXAMPLE_CHAT;
    let example = new_chat(id, ChatType::Single, EXAMPLE_USER)?;
    chat(example, vec![member(EXAMPLE_USER, id, 0, 5)?, member(SECOND_USER, id, 0, 3)?]);
    Ok(import)
}

fn new_chat(id: &str, chat_type: ChatType, creator: &str) -> Result<ChatLine, Invalid> {
    Ok(ChatLine {
        id: ChatId::new(id)?,
        creator_id: UserId::new(creator)?,
        chat_type,
        status: None,
        is_enc: Flag::NO,
        last_sequence: Sequence::ZERO,
        last_time: TimeMs::ZERO,
        created_at: TimeMs::ZERO,
        version: None,
        dissolved: Flag::NO,
        request_digest: None,
    })
}

/// Sets the newest message of a chat: its sequence and its time.
fn talk(chat: ChatLine, last_sequence: u64, last_time: TimeMs) -> Result<ChatLine, Invalid> {
    const WEEK_MS: u64 = 7 * 24 * 60 * 60 * 1000;
    let created_at = TimeMs::new(last_time.get().saturating_sub(WEEK_MS))?;
    Ok(ChatLine { last_sequence: Sequence::new(last_sequence)?, last_time, created_at, ..chat })
}

fn member(user: &str, chat: &str, read: u64, join_order: u64) -> Result<MemberLine, Invalid> {
    Ok(MemberLine {
        user_id: UserId::new(user)?,
        chat_id: ChatId::new(chat)?,
        id: None,
        is_top: Flag::NO,
        is_mute: Flag::NO,
        is_show: Some(Flag::YES),
        is_hide: Flag::NO,
        max_read_seq: Sequence::new(read)?,
        last_online_time: TimeMs::ZERO,
        join_seq: None,
        deleted_to_seq: None,
        sent_seq: Sequence::ZERO,
        marked_unread: Flag::NO,
        join_order: Some(join_order),
        version: None,
        removed: Flag::NO,
    })
}

/// Commands to paste into another terminal. `taken` are the default addresses that other processes
/// use.
pub fn hints(addresses: &Addresses, by_header: bool, taken: &[Endpoint]) -> String {
    let tcp = reachable(&addresses.tcp);
    let mut text = "A demo with throw-away data is ready. Try in another terminal:\n".to_owned();
    // Writing to a string cannot fail.
    if !taken.is_empty() {
        let taken: Vec<String> = taken.iter().map(Endpoint::to_string).collect();
        let _ = write!(
            text,
            "\nAnother process listens on {}, so the demo has ports of its own.\n\
             Run this first: every `chatshard` command of that terminal then asks the demo.\n\
             \n  export CHATSHARD_ADDR={tcp}\n",
            taken.join(" and ")
        );
    }
    if let Some(http) = addresses.http.as_ref().map(curled) {
        let user = match by_header {
            true => format!("X-User-Id: {EXAMPLE_USER}"),
            false => format!("Authorization: Bearer JWT_WITH_sub_{EXAMPLE_USER}"),
        };
        let ids = format!(r#"{{"ids":["{EXAMPLE_CHAT}"]}}"#);
        for (route, body) in
            [("mine-list", "{}"), ("detail", ids.as_str()), ("delete", ids.as_str())]
        {
            let _ = writeln!(
                text,
                "\n  curl -s -X POST {http}/chat/{route} -H '{user}' \
                 -H 'Content-Type: application/json' -d '{body}'"
            );
        }
    }
    let program = std::env::current_exe().unwrap_or_else(|_| "chatshard".into());
    let _ = writeln!(text, "\n  {} list {EXAMPLE_USER} --addr {tcp}", program.display());
    if let Some(Endpoint::Tcp(admin)) = addresses.admin.as_ref().map(reachable) {
        let _ = writeln!(text, "\nThe admin page: http://{admin}/");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;

    #[test]
    fn the_data_holds_the_api_s_example_as_it_is() {
        let data = data(1_800_000_000_000).unwrap();
        Command::from(data.clone()).check().unwrap();
        let chat = data.chats.iter().find(|chat| chat.id.as_str() == EXAMPLE_CHAT).unwrap();
        assert_eq!(chat.creator_id.as_str(), EXAMPLE_USER);
        assert_eq!((chat.chat_type, chat.is_enc), (ChatType::Single, Flag::NO));
        assert_eq!((chat.last_sequence, chat.last_time.get()), (Sequence::ZERO, 0));
        assert_eq!(chat.created_at, TimeMs::ZERO);
        let row = data
            .members
            .iter()
            .find(|row| row.chat_id == chat.id && row.user_id == chat.creator_id)
            .unwrap();
        assert_eq!((row.is_top, row.is_mute, row.is_hide), (Flag::NO, Flag::NO, Flag::NO));
        assert_eq!((row.is_show, row.max_read_seq), (Some(Flag::YES), Sequence::ZERO));
    }

    #[test]
    fn hints_name_the_three_routes() {
        let any = Endpoint::from(SocketAddr::from(([0, 0, 0, 0], 7780)));
        let addresses = Addresses { tcp: any.clone(), http: Some(any), admin: None };
        let text = hints(&addresses, true, &[]);
        for route in ["mine-list", "detail", "delete"] {
            assert!(text.contains(&format!("http://127.0.0.1:7780/chat/{route}")), "{text}");
        }
        assert!(text.contains("-H 'X-User-Id: 0x4c3f") && !text.contains("export"));
        let text = hints(&addresses, true, std::slice::from_ref(&addresses.tcp));
        assert!(text.contains("export CHATSHARD_ADDR=127.0.0.1:7780\n"), "{text}");
    }
}
