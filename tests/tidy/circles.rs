//! The modules of the node, and those of the shard, import each other in one direction.

use std::collections::{BTreeMap, BTreeSet};

use super::{named_after, none, sources};

/// The modules of `directory`, each with the siblings that it names.
fn siblings(directory: &str) -> BTreeMap<String, BTreeSet<String>> {
    let inside = format!("{}::", directory.replacen("src", "crate", 1).replace('/', "::"));
    let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources(&[directory]) {
        let path: Vec<_> = source.path.strip_prefix(directory).unwrap().iter().collect();
        let module = path[0].to_str().unwrap().trim_end_matches(".rs").to_owned();
        if module == "mod" {
            continue;
        }
        let code = source.code();
        let mut others = named_after(&code, &inside);
        if path.len() == 1 || path[1] == "mod.rs" {
            others.extend(named_after(&code, "super::"));
        }
        others.retain(|other| !["", "super", &module].contains(&other.as_str()));
        named.entry(module).or_default().append(&mut others);
    }
    named
}

fn assert_one_direction(directory: &str) {
    let mut left = siblings(directory);
    let modules: BTreeSet<String> = left.keys().cloned().collect();
    let of_none = left.iter().flat_map(|(module, others)| {
        others.difference(&modules).map(move |other| format!("{module}: {other}"))
    });
    none("imports that do not name the module that defines something", &Vec::from_iter(of_none));
    // A module that imports nothing of what is left is the next one from below.
    loop {
        let is_next = |others: &BTreeSet<String>| !others.iter().any(|o| left.contains_key(o));
        let next: BTreeSet<String> =
            left.iter().filter(|(_, o)| is_next(o)).map(|(module, _)| module.clone()).collect();
        if next.is_empty() {
            break;
        }
        left.retain(|module, _| !next.contains(module));
    }
    let circle = left.iter().map(|(module, others)| {
        let others = others.iter().filter(|other| left.contains_key(*other));
        format!("{module}: {}", Vec::from_iter(others.map(String::as_str)).join(", "))
    });
    none("modules in a circle, or above one", &Vec::from_iter(circle));
}

#[test]
fn modules_of_the_node_import_in_one_direction() {
    assert_one_direction("src/node");
}

#[test]
fn modules_of_the_shard_import_in_one_direction() {
    assert_one_direction("src/shard");
}
