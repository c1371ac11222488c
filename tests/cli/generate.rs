//! `bench generate` keeps its promises: its data is deterministic, exact, consistent and of
//! realistic shape.

use std::collections::{HashMap, HashSet};

use chatshard::cli::generate::{GenerateArgs, Generator};
use chatshard::cli::result_file::ResultFile;
use chatshard::cli::transfer::line::Line;
use chatshard::command::lines::{ChatLine, MemberLine};
use chatshard::types::{ChatType, Flag, Sequence};

fn generate(users: u64, chats: u64, memberships: u64, seed: u64) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("data.jsonl");
    let args = GenerateArgs { users, chats, memberships, seed, out: out.clone() };
    let mut output = ResultFile::create(&out).unwrap();
    Generator::new(&args).unwrap().write(&mut output).unwrap();
    output.finish().unwrap();
    std::fs::read(out).unwrap()
}

fn parse(data: &[u8]) -> Vec<(ChatLine, Vec<MemberLine>)> {
    let mut chats: Vec<(ChatLine, Vec<MemberLine>)> = Vec::new();
    for line in data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match Line::parse(line).unwrap() {
            Line::Chat(chat) => chats.push((chat, Vec::new())),
            Line::Member(member) => {
                let (chat, members) = chats.last_mut().unwrap();
                assert_eq!(chat.id, member.chat_id, "members follow their chat");
                members.push(member);
            }
        }
    }
    chats
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let data = generate(500, 900, 9000, 7);
    assert_eq!(data, generate(500, 900, 9000, 7));
    assert_ne!(data, generate(500, 900, 9000, 8));
    // The digest of the data on one machine; every other machine must write the same data.
    let digest = chatshard::types::KeyHasher::new(0).hash(std::str::from_utf8(&data).unwrap());
    assert_eq!(format!("{digest:016x}"), "56518f8f275c0a36");
}

#[test]
fn counts_are_exact_and_nobody_is_in_a_chat_twice() {
    for (users, chats, memberships) in
        [(3, 1, 2), (10, 30, 70), (200, 300, 600), (400, 3000, 20_000), (5000, 999, 123_457)]
    {
        let data = parse(&generate(users, chats, memberships, 3));
        assert_eq!(data.len() as u64, chats);
        assert_eq!(data.iter().map(|(_, members)| members.len() as u64).sum::<u64>(), memberships);
        let ids: HashSet<&str> = data.iter().map(|(chat, _)| chat.id.as_str()).collect();
        assert_eq!(ids.len() as u64, chats);
        let mut people = HashSet::new();
        let mut pairs = HashSet::new();
        for (chat, members) in &data {
            let mut users: Vec<&str> = members.iter().map(|row| row.user_id.as_str()).collect();
            users.sort_unstable();
            let all = users.len();
            users.dedup();
            assert_eq!(users.len(), all, "{}: a user twice", chat.id);
            people.extend(users.iter().copied());
            if chat.chat_type == ChatType::Single {
                assert!(all == 2 && pairs.insert(users), "{}: not a new pair", chat.id);
            }
        }
        assert!(people.len() as u64 <= users);
    }
}

#[test]
fn ids_and_positions_are_consistent() {
    for (chat, members) in parse(&generate(2000, 3000, 40_000, 5)) {
        let (prefix, digits) = chat.id.as_str().split_once('_').unwrap();
        let wanted = match chat.chat_type {
            ChatType::Single => "s",
            ChatType::Group => "g",
            ChatType::Official => "o",
        };
        assert_eq!((prefix, digits.len()), (wanted, 16));
        assert!(members.iter().any(|row| row.user_id == chat.creator_id));
        assert!(chat.last_time == Default::default() || chat.last_time >= chat.created_at);
        assert_eq!(chat.last_time.get() == 0, chat.last_sequence == Sequence::ZERO);
        for row in members {
            let last = chat.last_sequence;
            let join = row.join_seq.map_or(1, Sequence::get);
            assert_eq!(row.user_id.as_str().len(), 42);
            assert!(row.max_read_seq <= last && row.sent_seq <= row.max_read_seq);
            assert!(row.max_read_seq.get() + 1 >= join && join <= last.get() + 1);
            assert!(row.sent_seq == Sequence::ZERO || row.sent_seq.get() >= join);
            if row.is_show == Some(Flag::NO) {
                assert_eq!((row.deleted_to_seq, row.max_read_seq), (Some(last), last));
                assert_eq!((row.is_top, row.marked_unread), (Flag::NO, Flag::NO));
            }
        }
    }
}

#[test]
fn the_shape_is_realistic() {
    let (users, chats, memberships) = (10_000, 45_000, 500_000);
    let data = parse(&generate(users, chats, memberships, 1));
    let singles = data.iter().filter(|(chat, _)| chat.chat_type == ChatType::Single).count();
    let officials = data.iter().filter(|(chat, _)| chat.chat_type == ChatType::Official).count();
    assert_eq!((singles, officials), (30_000, 300));

    let mut rows: HashMap<&str, u64> = HashMap::new();
    let mut count = [0_u64; 4];
    for row in data.iter().flat_map(|(_, members)| members) {
        *rows.entry(row.user_id.as_str()).or_default() += 1;
        let flags = [row.is_top, row.is_mute, row.is_hide, Flag(row.is_show == Some(Flag::NO))];
        flags.iter().zip(&mut count).for_each(|(flag, count)| *count += u64::from(flag.0));
    }
    // 3% pinned, 10% muted, 1% hidden, 2% deleted, within a tenth of each.
    for (found, per_mille) in count.into_iter().zip([30, 100, 10, 20]) {
        let wanted = memberships * per_mille / 1000;
        assert!(found.abs_diff(wanted) * 10 < wanted, "{found} instead of {wanted}");
    }
    let mut rows: Vec<u64> = rows.into_values().collect();
    rows.sort_unstable();
    assert_eq!(rows.len() as u64, users, "everybody is in a chat");
    let heaviest = rows[rows.len() - 1];
    assert!((10_000..=10_100).contains(&heaviest), "the heavy user has {heaviest}");
    let median = rows[rows.len() / 2];
    assert!((20..50).contains(&median), "half of the users have at most {median}");

    let mut sizes: Vec<usize> = data.iter().map(|(_, members)| members.len()).collect();
    sizes.sort_unstable();
    assert!(sizes[sizes.len() - 1] > 2000, "the largest group has {}", sizes[sizes.len() - 1]);
    assert!(sizes[sizes.len() * 5 / 6] < 30, "half of the groups are small");
}
