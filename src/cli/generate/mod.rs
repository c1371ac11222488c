//! `bench generate`: a data set of realistic shape, as lines for `import`.
//!
//! Every value follows from the seed and the number of its chat or user. So the same arguments give
//! the same bytes on every machine.
//!
//! Memory grows only with the number of groups. The number of memberships is exact. A chat's line
//! comes before the lines of its members. A field with its default value is left out.

pub(in crate::cli) mod random;
mod shape;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;

use super::Failure;
use super::failure::tell;
use super::result_file::ResultFile;
use random::{Random, derive, mix};
use shape::{ChatShape, Shape, chat};

/// The time that counts as now: the beginning of 2026. It must not depend on the day of making.
const NOW_MS: u64 = 1_767_225_600_000;
/// Age of the oldest chats: three years.
const AGE_MS_MAX: u64 = 3 * 365 * 24 * 60 * 60 * 1000;
/// There is one official chat for this many groups.
const GROUPS_PER_OFFICIAL: u64 = 50;

const CHAT_IDS: u64 = 16;
const USER_IDS: u64 = 17;
const CHATS: u64 = 18;

/// Arguments of `bench generate`: the size of the data set, its seed and its file.
#[derive(Debug, Clone, Args)]
pub struct GenerateArgs {
    /// Users to draw members from
    #[arg(long, default_value_t = 200_000)]
    pub users: u64,
    /// Chats, two thirds of them single
    #[arg(long, default_value_t = 1_000_000)]
    pub chats: u64,
    /// Memberships; the data set has exactly this many
    #[arg(long, default_value_t = 10_000_000)]
    pub memberships: u64,
    /// Seed; the same seed gives the same bytes
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// File to write, whole or not at all; `-` writes to stdout
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub out: PathBuf,
}

/// Writes the data set to the file of the arguments.
pub fn run(args: &GenerateArgs) -> Result<ExitCode, Failure> {
    let started = Instant::now();
    let generator = Generator::new(args)?;
    let mut output = ResultFile::create(&args.out)?;
    generator.write(&mut output)?;
    output.finish()?;
    tell(format_args!(
        "wrote {} chats and {} members in {:.1} s",
        args.chats,
        args.memberships,
        started.elapsed().as_secs_f64()
    ));
    Ok(ExitCode::SUCCESS)
}

/// A data set whose sizes are decided. Its lines are computed while they are written.
pub struct Generator {
    shape: Shape,
    chats: u64,
    seed: u64,
}

/// What the lines of a chat's members need to know of the chat.
struct ChatFacts {
    single: bool,
    last_sequence: u64,
    created_at: u64,
}

impl Generator {
    /// Decides the sizes of the data set. Fails if no data set can have these numbers.
    pub fn new(args: &GenerateArgs) -> Result<Self, Failure> {
        let shape = Shape::new(args.users, args.chats, args.memberships, args.seed);
        Ok(Self { shape: shape.map_err(Failure::usage)?, chats: args.chats, seed: args.seed })
    }

    /// Writes the lines of all chats and members.
    pub fn write(&self, output: &mut ResultFile) -> Result<(), Failure> {
        let mut members = Vec::new();
        for number in 0..self.chats {
            self.shape.members(chat(number), &mut members);
            let mut random = Random::new(derive(self.seed, CHATS, number));
            let id = self.chat_id(number);
            let creator = members.first().copied().unwrap_or_default();
            let facts = self.write_chat(number, &id, creator, &mut random, output.buffer());
            for &user in &members {
                self.write_member(user, &id, &facts, &mut random, output.buffer());
                output.flush_if_full()?;
            }
        }
        Ok(())
    }

    fn chat_id(&self, number: u64) -> String {
        let prefix = match chat(number) {
            ChatShape::Single(_) => 's',
            ChatShape::Group(group) if is_official(group) => 'o',
            ChatShape::Group(_) => 'g',
        };
        // `mix` is a bijection, so no two chats get the same id.
        let digits = mix(derive(self.seed, CHAT_IDS, 0).wrapping_add(number));
        format!("{prefix}_{digits:016x}")
    }

    fn write_chat(
        &self,
        number: u64,
        id: &str,
        creator: u64,
        random: &mut Random,
        line: &mut Vec<u8>,
    ) -> ChatFacts {
        let kind = chat(number);
        let chat_type = match kind {
            ChatShape::Single(_) => 1,
            ChatShape::Group(group) if is_official(group) => 3,
            ChatShape::Group(_) => 2,
        };
        let created_at = NOW_MS - random.below(AGE_MS_MAX);
        let silent = random.chance(50);
        let last_sequence = if silent { 0 } else { 1 + random.long_tailed(20, 16) };
        let last_time = if silent { 0 } else { created_at + random.below(NOW_MS - created_at + 1) };
        line.extend_from_slice(br#"{"chat":{"id":""#);
        line.extend_from_slice(id.as_bytes());
        line.extend_from_slice(br#"","creator_id":""#);
        self.push_user_id(line, creator);
        line.push(b'"');
        push_field(line, "type", chat_type);
        push_unless(line, "status", u64::from(random.chance(5)) * 2, 0);
        push_unless(line, "is_enc", u64::from(random.chance(50)), 0);
        push_unless(line, "last_sequence", last_sequence, 0);
        push_unless(line, "last_time", last_time, 0);
        push_field(line, "created_at", created_at);
        line.extend_from_slice(b"}}\n");
        ChatFacts { single: matches!(kind, ChatShape::Single(_)), last_sequence, created_at }
    }

    fn write_member(
        &self,
        user: u64,
        chat_id: &str,
        chat: &ChatFacts,
        random: &mut Random,
        line: &mut Vec<u8>,
    ) {
        let last = chat.last_sequence;
        let join = if chat.single || random.chance(700) { 1 } else { 1 + random.below(last + 1) };
        let deleted = random.chance(20);
        // Half of the members have read everything. The others are behind, but not before their
        // join sequence.
        let lag = if deleted || random.chance(500) { 0 } else { random.long_tailed(8, 10) };
        let read = last - lag.min(last - (join - 1));
        let wrote = read >= join && random.chance(400);
        let sent = if wrote { join + random.below(read - join + 1) } else { 0 };
        let online = chat.created_at + random.below(NOW_MS - chat.created_at + 1);
        // A deleted row has neither pin nor mark. All three are drawn for it too, so that later
        // draws stay the same.
        let (pinned, muted, hidden) = (random.chance(30), random.chance(100), random.chance(10));
        let marked = random.chance(5);

        line.extend_from_slice(br#"{"member":{"user_id":""#);
        self.push_user_id(line, user);
        line.extend_from_slice(br#"","chat_id":""#);
        line.extend_from_slice(chat_id.as_bytes());
        line.push(b'"');
        push_unless(line, "is_top", u64::from(pinned && !deleted), 0);
        push_unless(line, "is_mute", u64::from(muted), 0);
        push_unless(line, "is_show", u64::from(!deleted), 1);
        push_unless(line, "is_hide", u64::from(hidden), 0);
        push_unless(line, "max_read_seq", read, 0);
        push_field(line, "last_online_time", online);
        push_unless(line, "join_seq", join, 1);
        if deleted {
            push_field(line, "deleted_to_seq", last);
        }
        push_unless(line, "sent_seq", sent, 0);
        push_unless(line, "marked_unread", u64::from(marked && !deleted), 0);
        line.extend_from_slice(b"}}\n");
    }

    /// Writes `0x` and 40 hex digits, like an address of Ethereum. The first 16 digits differ for
    /// each user.
    fn push_user_id(&self, line: &mut Vec<u8>, user: u64) {
        let first = mix(derive(self.seed, USER_IDS, 0).wrapping_add(user));
        line.extend_from_slice(b"0x");
        push_hex(line, first, 16);
        push_hex(line, mix(first.rotate_left(32)), 16);
        push_hex(line, mix(!first), 8);
    }
}

fn is_official(group: u64) -> bool {
    group % GROUPS_PER_OFFICIAL == GROUPS_PER_OFFICIAL / 4
}

fn push_field(line: &mut Vec<u8>, name: &str, value: u64) {
    // Writing to a vector does not fail.
    let _ = write!(line, ",\"{name}\":{value}");
}

fn push_unless(line: &mut Vec<u8>, name: &str, value: u64, default: u64) {
    if value != default {
        push_field(line, name, value);
    }
}

/// Writes the last `digits` hex digits of `value`.
fn push_hex(line: &mut Vec<u8>, value: u64, digits: u32) {
    for place in (0..digits).rev() {
        let digit = u8::try_from(value >> (4 * place) & 0xF).unwrap_or(0);
        line.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
    }
}
