//! Documents stay right: links lead somewhere, JSON is valid, lines have a bound.

use std::path::{Component, Path, PathBuf};

use super::{document, none, root};

/// Longest line of a page outside tables, code and links, in characters.
const COLUMNS: usize = 100;

/// Every Markdown page of the repository, with its path from the root.
pub fn pages() -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![root().to_owned()]);
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()) {
            let name = entry.file_name().unwrap().to_str().unwrap();
            if entry.is_dir() {
                if !name.starts_with('.') && name != "target" && name != "node_modules" {
                    open.push(entry);
                }
            } else if name.ends_with(".md") {
                found.push(entry.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    assert!(found.len() > 10, "pages: {found:?}");
    found.sort();
    found
}

fn name_of(page: &Path) -> &str {
    page.to_str().unwrap()
}

/// The lines of a page. A line in a block of code comes with the language of the block.
fn lines(text: &str) -> Vec<(Option<&str>, &str)> {
    let mut fence = None;
    let mut found = Vec::new();
    for line in text.lines() {
        match (fence, line.trim_start().strip_prefix("```")) {
            (None, Some(language)) => fence = Some(language.trim()),
            (Some(_), Some(_)) => fence = None,
            _ => found.push((fence, line)),
        }
    }
    found
}

/// The targets of the links of a page: the text in `](...)`.
fn links(text: &str) -> Vec<String> {
    let prose: Vec<&str> = lines(text)
        .into_iter()
        .filter_map(|(fence, line)| fence.is_none().then_some(line))
        .collect();
    let prose = without_code(&prose.join("\n"));
    prose
        .match_indices("](")
        .filter_map(|(at, mark)| prose[at + mark.len()..].split_once(')'))
        .map(|(target, _)| target.split(' ').next().unwrap().to_owned())
        .collect()
}

/// A text without the parts between backticks.
fn without_code(text: &str) -> String {
    text.split('`').step_by(2).collect()
}

/// The anchor of a heading, in the form of GitHub.
fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// Every anchor of a page: those of its headings, and those that it sets.
fn anchors(text: &str) -> Vec<String> {
    let prose = lines(text);
    let headings = prose
        .iter()
        .filter(|(fence, line)| fence.is_none() && line.starts_with('#'))
        .map(|(_, line)| anchor(line.trim_start_matches('#').trim()));
    let set = text
        .match_indices("<a id=\"")
        .filter_map(|(at, mark)| text[at + mark.len()..].split_once('"'))
        .map(|(id, _)| id.to_owned());
    headings.chain(set).collect()
}

/// `page`'s relative link as a path from the root, without `..`.
fn resolved(page: &Path, target: &str) -> PathBuf {
    let mut path = PathBuf::new();
    for part in page.parent().unwrap().join(target).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            part => path.push(part),
        }
    }
    path
}

#[test]
fn links_lead_to_files_and_headings_that_are_there() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = document(name_of(&page));
        for link in links(&text) {
            if link.starts_with("http://") || link.starts_with("https://") {
                continue;
            }
            let (target, place) = link.split_once('#').unwrap_or((&link, ""));
            let path = if target.is_empty() { page.clone() } else { resolved(&page, target) };
            let is_there = root().join(&path).exists();
            let has_place = place.is_empty()
                || (is_there
                    && path.extension().is_some_and(|extension| extension == "md")
                    && anchors(&document(name_of(&path))).iter().any(|other| other == place));
            if !is_there || !has_place {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    none("links that lead nowhere", &broken);
}

#[test]
fn blocks_of_json_are_json() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = document(name_of(&page));
        let is_json = |(fence, _): &(Option<&str>, &str)| *fence == Some("json");
        let found = lines(&text);
        for block in found.chunk_by(|one, other| is_json(one) == is_json(other)) {
            if !is_json(&block[0]) {
                continue;
            }
            let block: Vec<&str> = block.iter().map(|(_, line)| *line).collect();
            let values = serde_json::Deserializer::from_str(&block.join("\n"))
                .into_iter::<serde_json::Value>()
                .find_map(Result::err);
            if let Some(error) = values {
                broken.push(format!("{}: {error}: {}", page.display(), block[0]));
            }
        }
    }
    none("blocks of JSON that are none", &broken);
}

/// The blocks of code of one language on a page.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let text = document(page);
    let mut found: Vec<Vec<&str>> = Vec::new();
    let mut was_in = false;
    for (fence, line) in lines(&text) {
        let is_in = fence == Some(language);
        if is_in && !was_in {
            found.push(Vec::new());
        }
        if let Some(block) = found.last_mut().filter(|_| is_in) {
            block.push(line);
        }
        was_in = is_in;
    }
    found.into_iter().map(|block| block.join("\n")).collect()
}

/// `src/lib.rs` compiles the Rust of the English page as a test of the documentation.
#[test]
fn the_client_of_the_readme_has_the_dependencies_of_this_crate() {
    let (english, chinese) = ("README.md", "README.zh-CN.md");
    let manifest: toml::Table = toml::from_str(&document("Cargo.toml")).unwrap();
    let version = |value: &toml::Value| {
        let version = value.as_str().or_else(|| value.get("version")?.as_str());
        version.map(str::to_owned)
    };
    let tables = blocks(english, "toml");
    assert_eq!(tables.len(), 1, "{tables:?}");
    assert_eq!(tables, blocks(chinese, "toml"));
    assert_eq!(blocks(english, "rust"), blocks(chinese, "rust"));
    let asked: toml::Table = toml::from_str(&tables[0]).unwrap();
    let asked = asked["dependencies"].as_table().unwrap();
    for (name, value) in asked.iter().filter(|(name, _)| *name != "chatshard") {
        let own = version(&manifest["dependencies"][name]).unwrap();
        let asked = version(value).unwrap();
        assert!(own.starts_with(&asked), "{name}: the page asks for {asked}, the crate for {own}");
    }
    assert_eq!(asked["chatshard"]["default-features"].as_bool(), Some(false));
}

#[test]
fn lines_of_pages_fit_on_a_screen() {
    let mut broken = Vec::new();
    for page in &pages() {
        for (fence, line) in lines(&document(name_of(page))) {
            // A table, a link, and a line with only one span of code cannot be broken.
            let can_break = fence.is_none() && !line.starts_with('|') && !line.contains("](");
            let is_long = line.chars().count() > COLUMNS && without_code(line).trim().contains(' ');
            if can_break && is_long {
                broken.push(format!("{}: {line}", page.display()));
            }
        }
    }
    none("lines of more than 100 characters", &broken);
}
