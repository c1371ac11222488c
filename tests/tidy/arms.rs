//! No `_` arm swallows a command, an operation or an answer: a new one must not compile until each
//! layer knows it.

use super::{none, sources};

/// Enums that list commands, operations, or what shards give back and send.
const LISTS: [&str; 7] =
    ["Command::", "Kind::", "ShardCommand::", "RouterCommand::", "Op::", "Answer::", "Message::"];

/// Matches that are about some commands only, each with the reason.
const SOME: &[(&str, &str)] = &[("src/protocol/fast_path.rs", "the fast path has four commands")];

/// The one `_` arm that may stand beside answers: a step of a router names those that fit its
/// operation, and fails with any other.
const MISFIT: &str = "mixed_up()";

/// The code with the name of the type where an `impl` says `Self`.
fn with_names(code: &str) -> String {
    let mut of = String::new();
    let lines = code.lines().map(|line| {
        if let Some(header) = line.strip_prefix("impl").and_then(|line| line.strip_suffix(" {")) {
            let name = header.rsplit(' ').next().unwrap_or_default();
            of = name.split('<').next().unwrap_or_default().to_owned() + "::";
        }
        if of.is_empty() { line.to_owned() } else { line.replace("Self::", &of) }
    });
    lines.map(|line| line + "\n").collect()
}

/// The bodies of matches in formatted code: the number of the first line, and the first lines of
/// the arms.
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
        found.push((number + 1, arms.map(|line| line.trim()).collect()));
    }
    found
}

/// Where a match lists commands and has a `_` arm besides.
fn swallowed(code: &str) -> Vec<usize> {
    let of_commands = |arm: &&str| {
        let pattern = arm.split(" => ").next().unwrap_or_default();
        LISTS.iter().any(|list| {
            pattern
                .match_indices(list)
                .any(|(at, _)| !pattern[..at].ends_with(|before: char| before.is_alphanumeric()))
        })
    };
    let drops =
        |arm: &&str| (arm.starts_with("_ =>") || arm.starts_with("_ if ")) && !arm.contains(MISFIT);
    matches(&with_names(code))
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

#[test]
fn a_swallowing_arm_is_found_where_the_enum_is_called_self() {
    let code = "impl Op {\n    fn f(&self) {\n        match self {\n            \
                Self::Stats => 1,\n            _ => 0,\n        }\n    }\n}\n";
    assert_eq!(swallowed(code), [3]);
    assert_eq!(swallowed(&code.replace("impl Op", "impl From<Op> for Step")), [0; 0]);
}

#[test]
fn a_router_fails_with_an_answer_that_does_not_fit() {
    let code = "fn f() {\n    match answer {\n        Answer::Stats(_) => 1,\n        \
                _ => mixed_up(),\n    }\n}\n";
    assert_eq!(swallowed(code), [0; 0]);
    assert_eq!(swallowed(&code.replace("mixed_up()", "0")), [2]);
}
