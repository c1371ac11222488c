//! One name, one meaning: a public type is defined once in the whole tree, and a word of the
//! glossary that once had several meanings stays where it has its one.

use std::collections::BTreeMap;

use super::{all_sources, first_word, none, sources};

const DEFINES: [&str; 4] = ["pub struct ", "pub enum ", "pub trait ", "pub type "];

/// Beginnings of words that names may hold only in these places, by the beginning of the path. Last,
/// what other places say instead.
const PLACES: &[(&str, &[&str], &str)] = &[
    (
        "claim",
        &[
            "src/journal",
            "src/node",
            "src/server",
            "src/command/cluster",
            "src/cli/cluster",
            "src/config",
            "src/cli/journal",
            "src/cli/refill",
            "src/access/jwt",
        ],
        "an idempotency key has a reservation, a budget has holds, and bytes name a length",
    ),
    (
        "epoch",
        &[
            "src/journal",
            "src/node",
            "src/cli/cluster",
            "src/cli/journal",
            "src/cli/refill",
            "src/client/cluster",
            "src/server/claim_rounds",
            "src/server/joining",
            "src/command/cluster",
            "src/command/error",
            "src/command/handover",
            "src/command/hello",
            "src/metrics/journal",
            "src/protocol/reply",
        ],
        "a chat has returns",
    ),
    ("tombstone", &["src/command/hello"], "a user has removals; only the wire has the old name"),
    ("bury", &[], "a user remembers a removal"),
    ("here", &[], "a shard owns a slot, and a worker or the offload thread runs"),
    ("aside", &[], "long work is offloaded"),
    ("hot", &[], "the fast path, or frequent commands"),
];

#[test]
fn a_public_name_means_one_thing() {
    let mut defined: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources(&["src", "snapshot/src"]) {
        let code = source.code();
        let names = code.lines().filter_map(|line| {
            DEFINES.iter().find_map(|word| line.trim_start().strip_prefix(word)).map(first_word)
        });
        // A macro defines some by a name that it is given.
        for name in names.filter(|name| !name.is_empty()) {
            defined.entry(name).or_default().push(source.name());
        }
    }
    assert!(defined.len() > 100, "{} names", defined.len());
    let twice: Vec<String> = defined
        .iter()
        .filter(|(_, places)| places.len() > 1)
        .map(|(name, places)| format!("{name}: {}", places.join(", ")))
        .collect();
    none("names with several meanings", &twice);
}

/// The names in code, each with its words in lower case, except one of the standard library.
fn names(code: &str) -> Vec<(&str, Vec<String>)> {
    let names = code.split(|c: char| !c.is_alphanumeric() && c != '_');
    names
        .filter(|name| !["", "UNIX_EPOCH"].contains(name))
        .map(|name| (name, words(name)))
        .collect()
}

/// The words of a name: `max_read_seq`, `ReadSeq` and `MAX_SEQS` hold `seq`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = '_';
    for c in name.chars() {
        if c == '_' || (c.is_uppercase() && before.is_lowercase()) {
            words.push(String::new());
        }
        if c != '_' {
            words.last_mut().unwrap().extend(c.to_lowercase());
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn a_word_of_names_stays_where_it_has_its_one_meaning() {
    let mut broken = Vec::new();
    for source in sources(&["src"]) {
        let (path, code) = (source.name(), source.code());
        for (word, places, instead) in PLACES {
            if places.iter().any(|place| path.starts_with(place)) {
                continue;
            }
            for (name, words) in names(&code) {
                if words.iter().any(|other| other.starts_with(word)) {
                    broken.push(format!("{path}: {name}: {instead}"));
                }
            }
        }
    }
    broken.dedup();
    none("names with a word of another meaning", &broken);
}

/// What a variable `core` of type `Shard` looks like. A core is a processor core with its worker;
/// what it runs is a shard.
const CORES_OF_SHARDS: [&str; 4] =
    ["core: Shard", "core: &mut Shard", "core = Shard::new", "core = &mut shard"];
/// Calls that only a shard has.
const CALLS_OF_SHARDS: [&str; 7] = [
    "core.operation",
    "core.message",
    "core.tick",
    "core.replay",
    "core.restore",
    "core.read_list",
    "core.fast_advance",
];

#[test]
fn a_shard_is_not_called_a_core() {
    let mut broken = Vec::new();
    for source in all_sources() {
        let code = source.code();
        let is_whole = |rest: &str| !rest.starts_with(char::is_alphanumeric);
        let is_wrong = |line: &&str| {
            let mut wrong = CORES_OF_SHARDS.iter().chain(&CALLS_OF_SHARDS);
            wrong.any(|wrong| line.split_once(wrong).is_some_and(|(_, rest)| is_whole(rest)))
        };
        broken.extend(
            code.lines().filter(is_wrong).map(|line| format!("{}: {}", source.name(), line.trim())),
        );
    }
    none("shards that are called cores", &broken);
}

/// Names of types that say nothing without the name of what they are of.
const VAGUE_TYPES: [&str; 1] = ["Place"];

#[test]
fn a_type_says_what_it_is() {
    let mut broken = Vec::new();
    for source in all_sources() {
        for line in source.code().lines() {
            let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            let is_vague = words.windows(2).any(|pair| {
                ["struct", "enum", "type", "trait"].contains(&pair[0])
                    && VAGUE_TYPES.contains(&pair[1])
            });
            if is_vague {
                broken.push(format!("{}: {}", source.name(), line.trim()));
            }
        }
    }
    none("types whose name says too little", &broken);
}

#[test]
fn the_words_of_a_name_are_found() {
    assert_eq!(words("is_written_here"), ["is", "written", "here"]);
    assert_eq!(words("READ_HERE_MAX"), ["read", "here", "max"]);
    assert_eq!(words("ClaimFacts"), ["claim", "facts"]);
    assert_eq!(names("let claims = a.b_c;").len(), 4);
}
