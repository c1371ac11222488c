//! One name, one meaning: a public type is defined once in the whole tree.

use std::collections::BTreeMap;

use super::{first_word, none, sources};

const DEFINES: [&str; 4] = ["pub struct ", "pub enum ", "pub trait ", "pub type "];

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
