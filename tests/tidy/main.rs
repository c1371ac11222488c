//! House rules that no compiler checks: layers, headers, sizes, and documents that agree with the
//! code. Each test names every place that breaks its rule.
//!
//! The layer table below is the one of ARCHITECTURE.md. If an import breaks it, the import is
//! wrong, or the table must be changed on purpose.

#![allow(clippy::unwrap_used)]

mod arms;
mod circles;
mod commands;
mod documents;
mod names;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use chatshard::command::{ErrorCode, Kind};
use chatshard::config::log_level::MODULES;
use chatshard::config::settings::{SETTINGS, variable};
use chatshard::limits;

/// The layers from the ground up: an import points to a lower layer. Modules of one layer do not
/// see each other.
const LAYERS: &[&[&str]] = &[
    &["limits", "throttle", "files", "system"],
    &["types"],
    &["command", "journal"],
    &["protocol", "shard", "metrics", "access"],
    &["router", "client", "admission"],
    &["node"],
    &["net", "http"],
    &["config"],
    &["server"],
    &["cli"],
    &["main"],
];

/// Imports that point down and are still wrong: a module, and the modules that it must not see.
const BANNED: &[(&str, &[&str])] = &[
    ("router", &["protocol", "metrics", "access"]),
    ("client", &["shard", "metrics", "access"]),
    ("node", &["client", "access"]),
    ("net", &["shard", "router", "client"]),
    ("http", &["shard", "router", "client", "node", "protocol"]),
    (
        "config",
        &["command", "protocol", "shard", "metrics", "router", "client", "node", "net", "http"],
    ),
];

/// The modules that may see the disk's crate.
const SEE_THE_DISK: &[&str] = &["limits", "files", "journal", "shard", "node", "server", "cli"];

/// Files that may hold `unsafe`, each with its reason beside it.
const MAY_BE_UNSAFE: &[&str] = &[];

const LINES_MAX: usize = 700;

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// The text without comments and strings.
    fn code(&self) -> String {
        code_of(&self.text)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn document(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every Rust file of the repository below these directories, with its path from the root.
fn sources(directories: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = directories.iter().map(|name| root().join(name)).collect();
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                open.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                let path = entry.strip_prefix(root()).unwrap().to_owned();
                found.push(Source { path, text: fs::read_to_string(&entry).unwrap() });
            }
        }
    }
    assert!(found.len() > 1, "{directories:?} hold no sources");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn all_sources() -> Vec<Source> {
    sources(&[
        "src",
        "snapshot/src",
        "snapshot/tests",
        "tests",
        "benches",
        "fuzz/src",
        "fuzz/fuzz_targets",
    ])
}

fn none(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

/// The kind of text that is being read, to separate code from comments and strings.
enum Reading {
    Code,
    Line,
    Block(usize),
    Text,
    Raw(usize),
}

fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let starts = |at: usize, what: &str| {
        what.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c))
    };
    let hashes = |at: usize| chars[at..].iter().take_while(|c| **c == '#').count();
    let mut code = String::with_capacity(text.len());
    let mut reading = Reading::Code;
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        let mut step = 1;
        reading = match reading {
            Reading::Code if starts(at, "//") => Reading::Line,
            Reading::Code if starts(at, "/*") => Reading::Block(1),
            Reading::Code if c == '"' => Reading::Text,
            Reading::Code
                if c == 'r'
                    && !at
                        .checked_sub(1)
                        .is_some_and(|before| is_word(chars[before]) && chars[before] != 'b')
                    && chars.get(at + 1 + hashes(at + 1)) == Some(&'"') =>
            {
                step = 2 + hashes(at + 1);
                Reading::Raw(step - 2)
            }
            Reading::Code if c == '\'' && starts(at + 1, "\\") => {
                step = 4 + chars.iter().skip(at + 3).take_while(|c| **c != '\'').count();
                Reading::Code
            }
            // A character may be a quote; a lifetime has no second one behind it.
            Reading::Code if c == '\'' && chars.get(at + 2) == Some(&'\'') => {
                step = 3;
                Reading::Code
            }
            Reading::Code => {
                code.push(c);
                Reading::Code
            }
            Reading::Line if c == '\n' => {
                code.push('\n');
                Reading::Code
            }
            Reading::Block(depth) if starts(at, "*/") => {
                step = 2;
                if depth == 1 { Reading::Code } else { Reading::Block(depth - 1) }
            }
            Reading::Block(depth) if starts(at, "/*") => {
                step = 2;
                Reading::Block(depth + 1)
            }
            Reading::Text if c == '\\' => {
                step = 2;
                Reading::Text
            }
            Reading::Text if c == '"' => Reading::Code,
            Reading::Raw(count) if c == '"' && hashes(at + 1) >= count => {
                step = 1 + count;
                Reading::Code
            }
            other => other,
        };
        at += step;
    }
    code
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether `word` is in `text` as a whole word.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let behind = text[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !behind.is_some_and(is_word)
    })
}

/// The top-level modules that code names: `crate::a`, and `crate::{a::b, c}`.
fn named_modules(code: &str) -> BTreeSet<String> {
    named_after(code, "crate::")
}

/// What code names in a module: with `before` as the path of that module, its `a`, and its
/// `{a::b, c}`.
fn named_after(code: &str, before: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for (at, path) in code.match_indices(before) {
        if code[..at].chars().next_back().is_some_and(|c| is_word(c) || c == '$') {
            continue;
        }
        let behind = &code[at + path.len()..];
        match behind.strip_prefix('{') {
            None => drop(named.insert(first_word(behind))),
            Some(braced) => {
                let mut depth = 0_usize;
                let mut begins = true;
                for (place, c) in braced.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => begins = true,
                        c if begins && is_word(c) => {
                            named.insert(first_word(&braced[place..]));
                            begins = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    named
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| is_word(*c)).collect()
}

/// The top-level module that a file of `src` belongs to.
fn module_of(path: &Path) -> String {
    let below = path.strip_prefix("src").unwrap();
    let first = below.iter().next().unwrap().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

#[test]
fn imports_point_down() {
    let mut broken = Vec::new();
    for source in sources(&["src"]) {
        let (module, code) = (module_of(&source.path), source.code());
        if module == "lib" {
            continue;
        }
        let Some(own) = layer(&module) else {
            broken.push(format!("{}: {module} is in no layer", source.name()));
            continue;
        };
        for other in named_modules(&code).into_iter().filter(|other| *other != module) {
            let down = layer(&other).is_some_and(|other| other < own);
            let banned =
                BANNED.iter().any(|(who, what)| *who == module && what.contains(&other.as_str()));
            if !down || banned {
                broken.push(format!("{}: {module} must not see {other}", source.name()));
            }
        }
        // A command has the name of the disk's crate.
        let code = code.replace("command::snapshot::", "").replace("snapshot::Snapshot", "");
        if code.contains("snapshot::") && !SEE_THE_DISK.contains(&module.as_str()) {
            broken.push(format!("{}: {module} must not see the disk's crate", source.name()));
        }
    }
    none("imports go against the layers", &broken);
}

#[test]
fn the_disk_s_crate_knows_nothing_of_chats() {
    let named = sources(&["snapshot/src"]);
    let broken: Vec<String> = named
        .iter()
        .filter(|source| source.code().contains("chatshard"))
        .map(Source::name)
        .collect();
    none("the disk's crate names the store", &broken);
}

#[test]
fn every_file_says_what_it_is_and_stays_short() {
    let mut broken = Vec::new();
    for source in all_sources() {
        if !source.text.starts_with("//! ") {
            broken.push(format!("{}: does not begin with `//!`", source.name()));
        }
        let lines = source.text.lines().count();
        if lines > LINES_MAX {
            broken.push(format!("{}: {lines} lines; {LINES_MAX} are allowed", source.name()));
        }
    }
    none("files without a header, or too long", &broken);
}

#[test]
fn the_targets_of_the_log_are_the_modules_of_the_program() {
    let root = document("src/lib.rs");
    let declared: Vec<String> =
        root.lines().filter_map(|line| line.strip_prefix("pub mod ")).map(first_word).collect();
    assert_eq!(declared, MODULES, "src/config/log_level.rs: the list of modules");
}

#[test]
fn nothing_is_left_undone() {
    // Spelled in two, so that this file passes its own test.
    let calls = [["todo", "!"], ["unimplemented", "!"], ["dbg", "!"], ["#[", "ignore"]]
        .map(|two| two.concat());
    let marks = [["TO", "DO"], ["FIX", "ME"], ["XX", "X"]].map(|two| two.concat());
    let mut broken = Vec::new();
    for source in all_sources() {
        let code = source.code();
        for call in calls.iter().filter(|call| code.contains(call.as_str())) {
            broken.push(format!("{}: {call}", source.name()));
        }
        for mark in marks.iter().filter(|mark| has_word(&source.text, mark)) {
            broken.push(format!("{}: {mark}", source.name()));
        }
        let unsafe_word = has_word(&code, "unsafe");
        if unsafe_word && !MAY_BE_UNSAFE.contains(&source.name().as_str()) {
            broken.push(format!("{}: `unsafe` outside the list", source.name()));
        }
    }
    for name in ["README.md", "SECURITY.md", "protocol.md", "CHANGELOG.md", "snapshot/format.md"] {
        let text = document(name);
        for mark in marks.iter().filter(|mark| has_word(&text, mark)) {
            broken.push(format!("{name}: {mark}"));
        }
    }
    none("something is left undone", &broken);
}

#[test]
fn layouts_name_every_public_module() {
    let mut broken = Vec::new();
    for source in sources(&["src", "snapshot/src"]) {
        let header: Vec<&str> =
            source.text.lines().take_while(|line| line.starts_with("//!")).collect();
        let Some(from) = header.iter().position(|line| line.trim() == "//! # Layout") else {
            continue;
        };
        let layout: Vec<&str> = header
            .iter()
            .skip(from + 1)
            .copied()
            .take_while(|line| !line.starts_with("//! #"))
            .collect();
        let layout = layout.join("\n");
        let declared: Vec<String> = source
            .text
            .lines()
            .filter_map(|line| line.strip_prefix("pub mod "))
            .map(first_word)
            .collect();
        for module in declared.iter().filter(|module| !has_word(&layout, module)) {
            broken.push(format!("{}: the layout does not name {module}", source.name()));
        }
    }
    none("layouts that fell behind", &broken);
}

/// Cells of the rows of a Markdown table whose header row begins with `first`.
fn table(text: &str, first: &str) -> Vec<Vec<String>> {
    let header = format!("| {first} |");
    let rows: Vec<Vec<String>> = text
        .lines()
        .skip_while(|line| !line.starts_with(&header))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells = line.trim().trim_matches('|').split(" | ");
            cells.map(|cell| cell.trim().replace('`', "")).collect()
        })
        .collect();
    assert!(!rows.is_empty(), "there is no table with a first column `{first}`");
    rows
}

#[test]
fn the_protocol_s_page_names_every_command_and_error() {
    let page = document("protocol.md");
    let mut broken = Vec::new();
    for kind in Kind::ALL {
        let row = format!("| {} | [`{1}`](#{1}) |", kind.code(), kind.name());
        let section = format!("### `{}`\n\nCode {}, ", kind.name(), kind.code());
        for wanted in [row, section].iter().filter(|wanted| !page.contains(wanted.as_str())) {
            broken.push(format!("protocol.md lacks: {wanted}"));
        }
    }
    for code in ErrorCode::ALL {
        let row = format!("| {} | `{}` |", code.status(), code.name());
        if !page.contains(&row) {
            broken.push(format!("protocol.md lacks: {row}"));
        }
    }
    none("the protocol's page fell behind", &broken);
}

#[test]
fn the_page_of_settings_has_those_of_the_program() {
    let rows = table(&document("docs/reference/settings.md"), "flag");
    let told: Vec<[String; 4]> =
        rows.iter().map(|row| [0, 1, 2, 3].map(|cell| row[cell].clone())).collect();
    let expected: Vec<[String; 4]> = SETTINGS
        .iter()
        .map(|(name, default)| {
            let flag = format!("--{}", name.replace('_', "-"));
            [flag, variable(name), (*name).to_owned(), (*default).to_owned()]
        })
        .collect();
    assert_eq!(told, expected, "docs/reference/settings.md: the table");
    let help = chatshard::cli::definition();
    let serve = help.find_subcommand("serve").unwrap();
    let flags: BTreeSet<String> = serve
        .get_arguments()
        .filter_map(|argument| argument.get_long())
        .filter(|long| !["help", "version", "config"].contains(long))
        .map(|long| format!("--{long}"))
        .collect();
    let named: BTreeSet<String> = told.iter().map(|row| row[0].clone()).collect();
    assert_eq!(flags, named, "docs/reference/settings.md: the flags");
}

#[test]
fn the_page_of_limits_has_those_of_the_program() {
    let wide = |value: usize| u64::try_from(value).unwrap();
    let known: &[(&str, u64)] = &[
        ("ID_BYTES_MAX", wide(limits::ID_BYTES_MAX)),
        ("INTEGER_MAX", limits::INTEGER_MAX),
        ("ADVANCE_AHEAD_MAX", limits::ADVANCE_AHEAD_MAX),
        ("REQUEST_BYTES_MAX", wide(limits::REQUEST_BYTES_MAX)),
        ("REPLY_BYTES_MAX", wide(limits::REPLY_BYTES_MAX)),
        ("NESTING_MAX", wide(limits::NESTING_MAX)),
        ("IDS_MAX", wide(limits::IDS_MAX)),
        ("USERS_MAX", wide(limits::USERS_MAX)),
        ("IMPORT_LINES_MAX", wide(limits::IMPORT_LINES_MAX)),
        ("IN_FLIGHT_MAX", wide(limits::IN_FLIGHT_MAX)),
        ("IN_FLIGHT_BYTES_MAX", wide(limits::IN_FLIGHT_BYTES_MAX)),
        ("LARGE_IN_FLIGHT_MAX", wide(limits::LARGE_IN_FLIGHT_MAX)),
        ("CONNECTIONS_MAX", wide(limits::CONNECTIONS_MAX)),
        ("STRANGERS_MAX", wide(limits::STRANGERS_MAX)),
        ("STRANGERS_MIN", wide(limits::STRANGERS_MIN)),
        ("GREETING_TIMEOUT_MS", limits::GREETING_TIMEOUT_MS),
        ("HELLO_BYTES_MAX", wide(limits::HELLO_BYTES_MAX)),
        ("WRITE_TIMEOUT_MS", limits::WRITE_TIMEOUT_MS),
        ("FRAME_TIMEOUT_MS", limits::FRAME_TIMEOUT_MS),
        ("INCOMPLETE_BYTES_MAX", wide(limits::INCOMPLETE_BYTES_MAX)),
        ("INCOMPLETE_BYTES_FREE", wide(limits::INCOMPLETE_BYTES_FREE)),
        ("CROSS_CORE_MAX", wide(limits::CROSS_CORE_MAX)),
        ("LOG_QUEUE_BYTES_MAX", wide(limits::LOG_QUEUE_BYTES_MAX)),
        ("HTTP_UNSENT_BYTES_MAX", wide(limits::HTTP_UNSENT_BYTES_MAX)),
        ("TCP_UNSENT_BYTES_MAX", wide(limits::TCP_UNSENT_BYTES_MAX)),
        ("HTTP_READS_MAX", wide(limits::HTTP_READS_MAX)),
        ("IDLE_TIMEOUT_MS", limits::IDLE_TIMEOUT_MS),
        ("CONVERSATIONS_PAGE_MAX", wide(limits::CONVERSATIONS_PAGE_MAX)),
        ("SYNC_PAGE_MAX", wide(limits::SYNC_PAGE_MAX)),
        ("USER_REMOVALS_MAX", wide(limits::USER_REMOVALS_MAX)),
        ("REMOVALS_MAX", wide(limits::REMOVALS_MAX)),
        ("IDEMPOTENCY_WINDOW_MS", limits::IDEMPOTENCY_WINDOW_MS),
        ("IDEMPOTENCY_KEYS_MAX", wide(limits::IDEMPOTENCY_KEYS_MAX)),
        ("IDEMPOTENCY_ANSWER_BYTES", wide(limits::IDEMPOTENCY_ANSWER_BYTES)),
        ("WATCHES_MAX", wide(limits::WATCHES_MAX)),
        ("STALE_MS_MAX", limits::STALE_MS_MAX),
        ("LAG_WAIT_MS", limits::LAG_WAIT_MS),
        ("LAG_WAITS_MAX", wide(limits::LAG_WAITS_MAX)),
        ("SLOTS", u64::from(limits::SLOTS)),
    ];
    for row in table(&document("docs/reference/limits.md"), "what") {
        let (name, value) = (&row[2], &row[1]);
        let found = known.iter().find(|(known, _)| known == name);
        let (_, expected) =
            found.unwrap_or_else(|| panic!("docs/reference/limits.md: no limit {name}"));
        assert_eq!(
            value.replace(' ', ""),
            expected.to_string(),
            "docs/reference/limits.md: {name}"
        );
    }
}

#[test]
fn code_is_told_from_comments_and_strings() {
    let text = "let a = \"// crate::x\"; // crate::y\nuse crate::{a::{b, c}, d};\nlet q = '\"'; crate::e::f();\n\
                let r = r#\"crate::g \" \"#; let n = '\\''; let l: &'static str = crate::h;\n/* crate::i */";
    let named: Vec<String> = named_modules(&code_of(text)).into_iter().collect();
    assert_eq!(named, ["a", "d", "e", "h"]);
}
