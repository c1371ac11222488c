//! `call COMMAND --help`: what `protocol.md` says about a command, and an example to run.

use std::fmt::Write;

use super::demo::EXAMPLE_USER;
use crate::command::Kind;

/// The protocol's document, which has a section for each command.
const PAGE: &str = include_str!("../../protocol.md");

/// The group of `serve --demo` that the examples use.
const GROUP: &str = "g_5f2d9c1e7ab34608";

/// A line for each command: its name, and the first sentence of its section.
pub fn commands() -> String {
    let mut text =
        "Commands (`chatshard call COMMAND --help` lists the arguments of one):\n".to_owned();
    for kind in Kind::ALL {
        let about = section(*kind).and_then(|section| section.lines().nth(2)).unwrap_or_default();
        // Leaves out how the section begins, like "Code 32, write. ".
        let about = about.split_once(". ").map_or(about, |(_, about)| about);
        let about = about.split_once(". ").map_or(about, |(about, _)| about);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {:<15} {}", kind.name(), plain(about).trim_end_matches('.'));
    }
    text
}

/// The section of one command as plain text, with an example.
pub fn command(kind: Kind) -> String {
    let mut text = String::new();
    let section = section(kind).unwrap_or_default();
    // Writing to a string cannot fail.
    for line in section.lines() {
        let cells: Vec<String> = line.trim_matches('|').split(" | ").map(plain).collect();
        let _ = match cells.as_slice() {
            _ if line.starts_with("###") => writeln!(text, "{}", kind.name()),
            _ if line.starts_with("|--") || line.starts_with("| # |") => Ok(()),
            [_, name, what, need, range] if line.starts_with('|') => {
                writeln!(text, "  {name:<16} {what:<10} {need:<10} {range}")
            }
            [_, name, what, range] if line.starts_with('|') => {
                writeln!(text, "  {name:<16} {what:<10} {range}")
            }
            cells if line.starts_with('|') => writeln!(text, "  {}", cells.join("  ")),
            _ => writeln!(text, "{}", plain(line)),
        };
    }
    if let Some(json) = kind.example() {
        let json = json.replace("USER", EXAMPLE_USER).replace("GROUP", GROUP);
        let _ = write!(text, "\nExample:\n\n  chatshard call {} '{json}'\n", kind.name());
    }
    text.push_str(
        "\nIn JSON, arguments and replies are objects with these names. Types and errors:\n",
    );
    text.push_str("protocol.md, sections Bytes and Errors.\n");
    text
}

/// Finds the section of a command in the document.
fn section(kind: Kind) -> Option<&'static str> {
    let heading = format!("\n### `{}`\n", kind.name());
    let from = PAGE.find(&heading)? + 1;
    let section = PAGE.get(from..)?;
    let to = section.get(1..)?.find("\n##").map_or(section.len(), |to| to + 1);
    section.get(..to).map(str::trim_end)
}

/// Turns Markdown into plain text: removes the marks of code and the targets of links.
fn plain(text: &str) -> String {
    let mut shown = text.trim().replace('`', "").replace("\\|", "or");
    while let Some(at) = shown.find("](")
        && let Some(length) = shown.get(at..).and_then(|link| link.find(')'))
    {
        shown.replace_range(at..=at + length, "");
        if let Some(open) = shown.get(..at).and_then(|before| before.rfind('[')) {
            shown.remove(open);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_manual() {
        let all = commands();
        for kind in Kind::ALL {
            let manual = command(*kind);
            assert!(manual.starts_with(kind.name()) && manual.contains("Code "), "{manual}");
            let has_example = manual.contains("Example:");
            // `cancel` has no example: each `call` has its own connection, and cannot end the watch
            // of another one. `report` has none: only nodes send it. The others need a journal.
            let has_none =
                matches!(kind, Kind::Cancel | Kind::Handover | Kind::RaiseFormat | Kind::Report);
            assert_eq!(has_example, !has_none, "{manual}");
            let marks = ["`", "](", "|"].iter().find(|mark| manual.contains(**mark));
            assert_eq!(marks, None, "{manual}");
            assert!(all.contains(kind.name()));
        }
        let advance = command(Kind::Advance);
        assert!(advance.contains("allocate") && advance.contains("1 to 1000000"), "{advance}");
    }
}
