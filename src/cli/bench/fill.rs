//! `bench fill`: loads the data of [`super::data`] into a system, before it is measured.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use clap::Args;
use tokio::task::JoinHandle;

use super::data::{
    CHATS_A_USER, Data, DataArgs, LAST_SEQUENCE, READ_SEQUENCE, TIME_MS, chat_id, user_id,
};
use super::run::Target;
use super::wire::valkey::Valkey;
use super::wire::{Look, resp};
use crate::cli::failure::tell;
use crate::cli::progress::Progress;
use crate::cli::{ConnectArgs, Failure, TlsArgs};
use crate::client::ClusterClient;
use crate::command::import::Import;
use crate::command::lines::{ChatLine, MemberLine};
use crate::command::{Call, ErrorCode, Outcome};
use crate::types::{ChatId, ChatType, Flag, Invalid, Sequence, TimeMs, UserId};

/// Most lines of one import. So many always fit into a request.
const LINES_MAX: u64 = 5000;
/// Pause before a request is sent again that a busy server refused.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a server may be busy or silent for one request, before the fill fails.
const PATIENCE: Duration = Duration::from_secs(60);
/// Commands that are sent to Valkey before their replies are read. So many replies fit into the
/// buffers of the sockets.
const COMMANDS: u64 = 500;

/// Arguments of `bench fill`: the system to fill, and the size of the data.
#[derive(Debug, Clone, Args)]
pub struct FillArgs {
    /// System to fill: chatshard or valkey
    #[arg(long, value_enum, default_value = "chatshard")]
    pub target: Target,
    /// Address of the system: HOST:PORT, or unix:PATH [default: its usual address on loopback]
    #[arg(long)]
    pub addr: Option<String>,
    /// Secret for chatshard, if it requires one
    #[arg(long, value_name = "TOKEN", env = "CHATSHARD_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// The settings of TLS; only chatshard uses it.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Lines of one import into chatshard, which holds a core while it runs
    #[arg(long, value_name = "N", default_value_t = 2000,
        value_parser = clap::value_parser!(u64).range(CHATS_A_USER..=LINES_MAX))]
    pub lines: u64,
    /// Imports in flight; with 1, a core runs one import in each turn
    #[arg(long, value_name = "N", default_value = "8")]
    pub in_flight: NonZeroUsize,
    /// The size of the data.
    #[command(flatten)]
    pub data: DataArgs,
}

/// Fills one system, which must be empty.
pub async fn run(args: FillArgs) -> Result<(), Failure> {
    let data = Data::new(args.data)?;
    let addr = args.addr.unwrap_or_else(|| args.target.default_addr().to_owned());
    let started = Instant::now();
    let template = "{bar:32} {human_pos}/{human_len} {per_sec} {eta}";
    let bar = Progress::new(Some(data.chats() + data.users()), template);
    let done = match args.target {
        Target::Chatshard => {
            let connection = ConnectArgs { addr, token: args.token, stale_ms: None, tls: args.tls };
            let client = connection.open().await?;
            let filler = Filler { client, in_flight: VecDeque::new(), most: args.in_flight.get() };
            fill_chatshard(filler, &data, args.lines, &bar).await
        }
        Target::Valkey => {
            fill_valkey(&addr, data, &bar).map_err(|why| Failure::new(format!("{addr}: {why}")))
        }
        Target::Http | Target::Canned => {
            Err(Failure::usage("--target: only chatshard and valkey can be filled"))
        }
    };
    bar.clear();
    done?;
    tell(format_args!(
        "filled with {} chats and {} members in {:.1} s",
        data.chats(),
        data.memberships(),
        started.elapsed().as_secs_f64()
    ));
    Ok(())
}

async fn fill_chatshard(
    mut filler: Filler,
    data: &Data,
    lines: u64,
    bar: &Progress,
) -> Result<(), Failure> {
    let wrong = |invalid: Invalid| Failure::new(invalid.0);
    for first in (0..data.chats()).step_by(usize::try_from(lines).unwrap_or(1)) {
        let numbers = first..data.chats().min(first + lines);
        bar.add(numbers.end - numbers.start);
        let chats = numbers.map(|number| chat(data, number)).collect::<Result<_, _>>();
        filler.send(chats.map_err(wrong)?, Vec::new()).await?;
    }
    // An import of members needs their chats on the server. So all chats must be confirmed first.
    filler.settle(0).await?;
    let users = lines / CHATS_A_USER;
    for first in (0..data.users()).step_by(usize::try_from(users).unwrap_or(1)) {
        let numbers = first..data.users().min(first + users);
        bar.add(numbers.end - numbers.start);
        let rows = numbers.flat_map(|user| (0..CHATS_A_USER).map(move |row| (user, row)));
        let members = rows.map(|(user, row)| member(data, user, row)).collect::<Result<_, _>>();
        filler.send(Vec::new(), members.map_err(wrong)?).await?;
    }
    filler.settle(0).await
}

/// Sends imports to chatshard, several at a time.
struct Filler {
    client: ClusterClient,
    in_flight: VecDeque<JoinHandle<Outcome>>,
    /// Most imports that may be in flight.
    most: usize,
}

impl Filler {
    async fn send(
        &mut self,
        chats: Vec<ChatLine>,
        members: Vec<MemberLine>,
    ) -> Result<(), Failure> {
        self.settle(self.most - 1).await?;
        let import = Import { chats, members, merge: None, idempotency_key: None };
        self.in_flight.push_back(tokio::spawn(take(self.client.clone(), import)));
        Ok(())
    }

    /// Waits until at most `most` imports have no reply yet.
    async fn settle(&mut self, most: usize) -> Result<(), Failure> {
        while self.in_flight.len() > most {
            let Some(oldest) = self.in_flight.pop_front() else { break };
            oldest.await.map_err(|error| Failure::new(error.to_string()))??;
        }
        Ok(())
    }
}

/// Sends one import, again and again while the server is too busy.
async fn take(client: ClusterClient, import: Import) -> Outcome {
    let started = Instant::now();
    loop {
        match client.call(import.clone().into()).await {
            Err(error) if error.code == ErrorCode::Busy && started.elapsed() < PATIENCE => {
                tokio::time::sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

fn chat(data: &Data, number: u64) -> Result<ChatLine, Invalid> {
    let creator = data.members_of(number).next().unwrap_or(0);
    Ok(ChatLine {
        id: ChatId::new(&String::from_utf8_lossy(&chat_id(number)))?,
        creator_id: UserId::new(&String::from_utf8_lossy(&user_id(creator)))?,
        chat_type: ChatType::Group,
        status: None,
        is_enc: Flag::NO,
        last_sequence: Sequence::new(LAST_SEQUENCE)?,
        last_time: TimeMs::new(TIME_MS)?,
        created_at: TimeMs::new(TIME_MS)?,
        version: None,
        dissolved: Flag::NO,
        request_digest: None,
    })
}

fn member(data: &Data, user: u64, row: u64) -> Result<MemberLine, Invalid> {
    Ok(MemberLine {
        user_id: UserId::new(&String::from_utf8_lossy(&user_id(user)))?,
        chat_id: ChatId::new(&String::from_utf8_lossy(&chat_id(data.chat_of(user, row))))?,
        id: None,
        is_top: Flag::NO,
        is_mute: Flag::NO,
        is_show: Some(Flag::YES),
        is_hide: Flag::NO,
        max_read_seq: Sequence::new(READ_SEQUENCE)?,
        last_online_time: TimeMs::new(TIME_MS)?,
        join_seq: None,
        deleted_to_seq: None,
        sent_seq: Sequence::ZERO,
        marked_unread: Flag::NO,
        join_order: Some(row + 1),
        version: None,
        removed: Flag::NO,
    })
}

fn fill_valkey(addr: &str, data: Data, bar: &Progress) -> Result<(), String> {
    let mut stream = TcpStream::connect(addr).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
    let mut wire = Valkey::new(data, Look::Status);
    let (mut out, mut input) = (BytesMut::new(), BytesMut::new());
    let mut open = 0;
    for number in 0..data.chats() + data.users() {
        match number.checked_sub(data.chats()) {
            None => {
                wire.store_chat(number, &mut out);
                open += 2;
            }
            Some(user) => {
                wire.store_user(user, &mut out);
                open += 1;
            }
        }
        if open >= COMMANDS {
            exchange(&mut stream, &mut out, &mut input, &mut open)?;
            bar.set(number);
        }
    }
    exchange(&mut stream, &mut out, &mut input, &mut open)
}

/// Sends the gathered commands to Valkey and waits for their replies.
fn exchange(
    stream: &mut TcpStream,
    out: &mut BytesMut,
    input: &mut BytesMut,
    open: &mut u64,
) -> Result<(), String> {
    stream.write_all(out).map_err(|error| error.to_string())?;
    out.clear();
    let mut more = [0; 16 << 10];
    while *open > 0 {
        if let Some(found) = resp::first(input)? {
            if let Some(error) = found.error {
                return Err(String::from_utf8_lossy(error).into_owned());
            }
            let bytes = found.bytes;
            input.advance(bytes);
            *open -= 1;
            continue;
        }
        let bytes = stream.read(&mut more).map_err(|error| error.to_string())?;
        if bytes == 0 {
            return Err("the server closed the connection".to_owned());
        }
        input.extend_from_slice(more.get(..bytes).unwrap_or_default());
    }
    Ok(())
}
