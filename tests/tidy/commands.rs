//! Commands and paths that documents and messages name: their test binaries and files are there.

use std::path::Path;

use super::{all_sources, document, first_word, none, root};
use crate::documents::pages;

/// Files beside pages and sources that run tests.
const SCRIPTS: &[&str] = &["justfile", ".ci/run", "fuzz/run"];

/// Every text that may name a test, with its path from the root.
fn texts() -> Vec<(String, String)> {
    let pages = pages().into_iter().map(|page| page.to_str().unwrap().to_owned());
    let named = SCRIPTS.iter().map(|name| (*name).to_owned()).chain(pages);
    let mut texts: Vec<(String, String)> =
        named.map(|name| (name.clone(), document(&name))).collect();
    texts.extend(all_sources().into_iter().map(|source| (source.name(), source.text)));
    texts
}

/// Whether a package has a test binary of this name.
fn is_binary(name: &str) -> bool {
    root().join("tests").join(name).join("main.rs").exists()
        || root().join("snapshot/tests").join(format!("{name}.rs")).exists()
}

#[test]
fn commands_name_test_binaries_that_are_there() {
    let (mut seen, mut broken) = (0, Vec::new());
    for (file, text) in texts() {
        // Spelled in two, so that this file passes its own test.
        for (at, option) in text.match_indices(["--te", "st "].concat().as_str()) {
            let name = first_word(&text[at + option.len()..]);
            // The justfile takes it as an argument.
            if name.is_empty() {
                continue;
            }
            seen += 1;
            if !is_binary(&name) {
                broken.push(format!("{file}: {name}"));
            }
        }
    }
    assert!(seen > 20, "{seen} commands");
    none("commands that name a test binary that is not there", &broken);
}

#[test]
fn paths_in_pages_are_there() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = document(page.to_str().unwrap());
        // Every second part is between backticks.
        for span in text.split('`').skip(1).step_by(2) {
            let is_path = ["tests/", "snapshot/tests/", "benches/", "examples/"]
                .iter()
                .any(|directory| span.starts_with(directory));
            // A pattern, or a command with arguments.
            if !is_path || span.contains([' ', '{', '*', '\n']) {
                continue;
            }
            // A path from the root, or from the directory of the page.
            let beside = page.parent().unwrap().join(span);
            if ![Path::new(span), &beside].iter().any(|path| root().join(path).exists()) {
                broken.push(format!("{}: {span}", page.display()));
            }
        }
    }
    none("paths that lead nowhere", &broken);
}
