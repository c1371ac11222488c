//! One name, one meaning: a public type is defined once in the whole tree, and a word of the
//! glossary that once had several meanings stays where it has its one.

use std::collections::BTreeMap;

use super::{first_word, none, sources};

const DEFINES: [&str; 4] = ["pub struct ", "pub enum ", "pub trait ", "pub type "];

/// Beginnings of words that names may hold only in these places, by the beginning of the path. Last,
/// what other places say instead.
const PLACES: &[(&str, &[&str], &str)] = &[
    (
        "claim",
        &[
            "src/journal",
            "src/node",
            "src/server/engine",
            "src/config",
            "src/cli/journal",
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
            "src/client/cluster",
            "src/command/cluster",
            "src/command/error",
            "src/command/hello",
            "src/metrics/journal",
            "src/protocol/reply",
        ],
        "a chat has returns",
    ),
    ("tombstone", &["src/command/hello"], "a user has removals; only the wire has the old name"),
    ("bury", &[], "a user remembers a removal"),
    ("here", &["src/net/stream"], "a shard owns a slot, and a worker or the offload thread runs"),
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

#[test]
fn the_words_of_a_name_are_found() {
    assert_eq!(words("is_written_here"), ["is", "written", "here"]);
    assert_eq!(words("READ_HERE_MAX"), ["read", "here", "max"]);
    assert_eq!(words("ClaimFacts"), ["claim", "facts"]);
    assert_eq!(names("let claims = a.b_c;").len(), 4);
}
