//! No `_` arm swallows a command: a new one must not compile until each layer knows it.

use super::{none, sources};

/// Enums that list commands or operations.
const LISTS: [&str; 5] = ["Command::", "Kind::", "ShardCommand::", "RouterCommand::", "Op::"];

/// Matches that are about some commands only, each with the reason.
const SOME: &[(&str, &str)] = &[("src/protocol/fast_path.rs", "the fast path has four commands")];

/// The bodies of matches in formatted code: the number of the first line, and the patterns.
fn matches(code: &str) -> Vec<(usize, Vec<&str>)> {
    let lines: Vec<&str> = code.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut found = Vec::new();
    for (number, head) in lines.iter().enumerate() {
        let is_match = head.trim_end().ends_with('{')
            && (head.trim_start().starts_with("match ") || head.contains(" match "));
        if !is_match {
            continue;
        }
        let body = lines[number + 1..]
            .iter()
            .take_while(|line| line.trim().is_empty() || indent(line) > indent(head));
        let arms = body.filter(|line| indent(line) == indent(head) + 4);
        let patterns = arms.map(|line| line.split(" => ").next().unwrap_or_default().trim());
        found.push((number + 1, patterns.collect()));
    }
    found
}

/// Where a match lists commands and has a `_` arm besides.
fn swallowed(code: &str) -> Vec<usize> {
    let of_commands = |pattern: &&str| {
        LISTS.iter().any(|list| {
            pattern
                .match_indices(list)
                .any(|(at, _)| !pattern[..at].ends_with(|before: char| before.is_alphanumeric()))
        })
    };
    let drops = |pattern: &&str| *pattern == "_" || pattern.starts_with("_ if ");
    matches(code)
        .into_iter()
        .filter(|(_, arms)| arms.iter().any(of_commands) && arms.iter().any(drops))
        .map(|(line, _)| line)
        .collect()
}

#[test]
fn no_arm_swallows_a_command() {
    let mut broken = Vec::new();
    for source in sources(&["src"]) {
        let name = source.name();
        if name.ends_with("tests.rs") || SOME.iter().any(|(file, _)| *file == name) {
            continue;
        }
        let code = source.code();
        let code = code.split("mod tests {").next().unwrap_or_default();
        broken.extend(swallowed(code).into_iter().map(|line| format!("{name}:{line}")));
    }
    none("matches whose `_` arm swallows commands", &broken);
}

#[test]
fn a_swallowing_arm_is_found() {
    let code = "fn f() {\n    match kind {\n        Kind::List => 1,\n        _ => 0,\n    }\n}\n";
    assert_eq!(swallowed(code), [2]);
    assert_eq!(swallowed(&code.replace("_ => 0", "other => g(other)")), [0; 0]);
    assert_eq!(swallowed(&code.replace("Kind::List", "ErrorKind::Other")), [0; 0]);
}
