//! `/metrics` has a valid form in every family that a real server exposes.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use chatshard::command::Kind;
use serde_json::json;

use crate::common::raw::Raw;
use crate::common::{HttpConnection, TestServer};

/// A server whose every door was used.
fn used_server() -> (TestServer, Raw, HttpConnection, HttpConnection) {
    let server = TestServer::start(&[("shards", "2"), ("memory_max", "8GiB")]);
    let mut raw = Raw::greeted(server.tcp());
    raw.call(2, Kind::Create, json!({"id": "g", "type": 2, "creator_id": "a", "user_ids": ["a"]}))
        .unwrap();
    let mut http = HttpConnection::open(server.http());
    assert_eq!(http.post_as("a", "/chat/mine-list", "{}").0, 200);
    let mut admin = HttpConnection::open(server.admin());
    assert_eq!(admin.post("/call/unread", &[], "{\"user_ids\": [\"a\"]}").0, 200);
    assert_eq!(admin.post("/call/list", &[], "{}").0, 400);
    assert_eq!(admin.post("/call/snapshot", &[], "{}").0, 200);
    (server, raw, http, admin)
}

/// The families of a page by name: their types, and their numbers of samples. Also checks the form
/// of every line.
fn families(page: &str) -> BTreeMap<String, (String, usize)> {
    let mut found: BTreeMap<String, (String, usize)> = BTreeMap::new();
    let (mut name, mut has_help) = (String::new(), false);
    for line in page.lines().filter(|line| *line != "# EOF" && !line.starts_with("# UNIT ")) {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (family, said) = help.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            assert!(said.len() > 5, "{line}");
            (name, has_help) = (family.to_owned(), true);
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (family, kind) = kind.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            assert!(has_help && family == name, "without a help of its own: {line}");
            let is_first = found.insert(name.clone(), (kind.to_owned(), 0)).is_none();
            assert!(is_first, "twice: {line}");
        } else {
            assert!(line.starts_with(&name), "{line} under {name}");
            let (_, value) = line.rsplit_once(' ').unwrap();
            let value = value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
            assert!(value.is_finite(), "{line}");
            found.get_mut(&name).unwrap().1 += 1;
        }
    }
    found
}

#[test]
fn the_metrics_have_the_form_that_the_scraper_asks_for() {
    let (server, _raw, _http, mut admin) = used_server();
    let (status, text) = admin.get("/metrics");
    assert_eq!(status, 200);
    let (_, open) = admin.get_with("/metrics", "accept: application/openmetrics-text\r\n");
    assert!(open.ends_with("\n# EOF\n") && !text.contains("# EOF"), "{text}");

    let (text_families, open_families) = (families(&text), families(&open));
    assert_eq!(text_families.len(), open_families.len());
    for (name, (kind, samples)) in &text_families {
        assert!(*samples > 0, "{name} has no sample");
        let is_counter = kind == "counter";
        assert!(["counter", "gauge", "histogram"].contains(&kind.as_str()), "{name}: {kind}");
        assert_eq!(name.ends_with("_total"), is_counter, "{name}: {kind}");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        let is_info = name.ends_with("_info");
        let open_name = if is_info { name.trim_end_matches("_info") } else { name };
        let (open_kind, open_samples) = &open_families[open_name.trim_end_matches("_total")];
        assert_eq!(open_kind, if is_info { "info" } else { kind }, "{name}");
        assert_eq!(open_samples, samples, "{name}");
        // Base units alone: seconds and bytes.
        let units = ["ms", "millis", "us", "ns", "kib", "kb", "mb", "minutes", "milliseconds"];
        assert!(!name.split('_').any(|word| units.contains(&word)), "{name}");
    }
    promtool_accepts(&text);
    server.stop();
}

#[test]
fn what_is_not_known_yet_has_no_sample() {
    let server = TestServer::start(&[("shards", "2")]);
    let mut admin = HttpConnection::open(server.admin());
    let unknown = ["snapshot_last_timestamp_seconds", "snapshot_last_bytes", "memory_max_bytes"];
    let (_, text) = admin.get("/metrics");
    for name in unknown {
        assert!(!text.contains(name), "{name} is in {text}");
    }
    promtool_accepts(&text);
    assert_eq!(admin.post("/call/snapshot", &[], "{}").0, 200);
    let (_, text) = admin.get("/metrics");
    let found = families(&text);
    for name in &unknown[..2] {
        assert_eq!(found[&format!("chatshard_{name}")].1, 1, "{text}");
    }
    server.stop();
}

/// Checks the text with promtool, from Debian's package `prometheus`; CI installs it.
fn promtool_accepts(text: &str) {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    // Without promtool the form is checked by `families` alone.
    let Ok(mut promtool) = promtool else { return };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap()).concat();
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
}

#[test]
fn every_family_is_in_the_reference() {
    let (server, _raw, _http, mut admin) = used_server();
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/metrics.md"));
    let page = page.unwrap();
    let (_, text) = admin.get("/metrics");
    let missing: Vec<String> = families(&text)
        .into_keys()
        .map(|name| name.trim_start_matches("chatshard_").to_owned())
        .filter(|name| !name.starts_with("shard_"))
        .filter(|name| !page.contains(&format!("`{name}`")))
        .collect();
    assert_eq!(missing, [""; 0], "docs/reference/metrics.md: the list");
    server.stop();
}

#[test]
fn each_door_has_its_own_label() {
    let (server, raw, http, mut admin) = used_server();
    let (_, text) = admin.get("/metrics");
    for line in [
        "chatshard_requests_total{door=\"tcp\",command=\"create\",status=\"200\"} 1\n",
        "chatshard_requests_total{door=\"http\",command=\"list\",status=\"200\"} 1\n",
        "chatshard_requests_total{door=\"call\",command=\"unread\",status=\"200\"} 1\n",
        "chatshard_requests_total{door=\"call\",command=\"list\",status=\"400\"} 1\n",
        "chatshard_connections{door=\"tcp\"} 1\n",
        "chatshard_connections{door=\"http\"} 1\n",
        "chatshard_connections{door=\"admin\"} 1\n",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    let more = HttpConnection::open(server.http());
    drop((raw, http));
    // The server sees the ends when it sees them.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let wanted = ["{door=\"tcp\"} 0\n", "{door=\"http\"} 1\n"]
        .map(|door| format!("chatshard_connections{door}"));
    while !wanted.iter().all(|line| admin.get("/metrics").1.contains(line)) {
        assert!(std::time::Instant::now() < end, "{}", admin.get("/metrics").1);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    drop(more);
    server.stop();
}
