//! The load tool against real servers, for a moment: its counts and reports are right. Speed is not
//! tested.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::common::TestServer;
use crate::common::program::chatshard;
use serde_json::Value;

const CHATS: &str = "2000";
const USERS: &str = "50";
const REQUESTS: u64 = 400;

fn bench(arguments: &[&str]) -> Command {
    let mut command = chatshard();
    command.arg("bench").args(arguments);
    command
}

/// A server with the data of the works.
fn filled() -> TestServer {
    let server = TestServer::start(&[("shards", "2")]);
    let addr = server.tcp().to_string();
    let filled =
        bench(&["fill", "--addr", &addr, "--chats", CHATS, "--users", USERS]).output().unwrap();
    let stderr = String::from_utf8(filled.stderr).unwrap();
    assert!(filled.status.success(), "{stderr}");
    assert!(stderr.starts_with("filled with 2000 chats and 2500 members in "), "{stderr}");
    server
}

/// Runs one work with every reply checked, and returns its report.
fn measure(target: &str, addr: SocketAddr, work: &str, further: &[&str]) -> Value {
    let addr = addr.to_string();
    let output = bench(&["run", "--target", target, "--addr", &addr, "--work", work])
        .args(["--chats", CHATS, "--users", USERS, "--check", "--json"])
        .args(further)
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{target} {work}: {stderr}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(stdout.lines().count(), 1, "one object: {stdout}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((report["target"].as_str(), report["work"].as_str()), (Some(target), Some(work)));
    assert_eq!(report["errors"], 0, "{report}");
    let latencies: Vec<f64> = ["p50_us", "p90_us", "p99_us", "p999_us", "p9999_us", "max_us"]
        .iter()
        .map(|name| report[name].as_f64().unwrap())
        .collect();
    assert!(latencies.is_sorted() && latencies[0] > 0.0, "{report}");
    assert!(report["requests_per_s"].as_f64().unwrap() > 0.0, "{report}");
    report
}

/// Like [`measure`], for exactly [`REQUESTS`] requests.
fn count(target: &str, addr: SocketAddr, work: &str, further: &[&str]) -> Value {
    let requests = REQUESTS.to_string();
    let fixed = ["--requests", &requests, "--connections", "3", "--depth", "4"];
    let report = measure(target, addr, work, &[&fixed, further].concat());
    assert_eq!(report["requests"], REQUESTS, "{report}");
    report
}

const WORKS: [&str; 6] = ["detail1", "detail20", "list50", "advance", "mark_read", "mixed"];

#[test]
fn every_work_runs_on_the_tcp_door() {
    let server = filled();
    let report = count("chatshard", server.tcp(), "list50", &["--threads", "2"]);
    assert!(report["reply_bytes"].as_f64().unwrap() > 50.0 * 20.0, "{report}");
    // The mix is the last of them: it deletes rows, which are missing from lists then.
    for work in WORKS {
        count("chatshard", server.tcp(), work, &["--keys", "zipf"]);
    }
    let own = std::process::id().to_string();
    let report = count("chatshard", server.tcp(), "detail1", &["--server-pid", &own]);
    assert!(report["server_cpu_us_per_request"].is_f64(), "{report}");
    let further = ["--seconds", "0.3", "--warmup", "0.05", "--rate", "1000", "--connections", "4"];
    let report = measure("chatshard", server.tcp(), "advance", &further);
    // As many requests as were due, unless the machine stalled. Never more, including those that
    // are left over from the warm-up of 50 ms.
    let requests = report["requests"].as_u64().unwrap();
    assert!((1..=350).contains(&requests), "{report}");
    server.stop();
}

#[test]
fn the_works_of_apps_run_on_the_http_door() {
    let server = filled();
    for work in ["detail1", "detail20", "list50", "mark_read"] {
        count("http", server.http(), work, &[]);
    }
    let addr = server.http().to_string();
    for work in ["advance", "mixed"] {
        let refused =
            bench(&["run", "--target", "http", "--addr", &addr, "--work", work]).output().unwrap();
        assert_eq!(refused.status.code(), Some(2));
        assert!(String::from_utf8(refused.stderr).unwrap().contains("no advance"));
    }
}

/// A process that ends with the test.
struct Canned(Child, SocketAddr);

impl Canned {
    fn start(further: &[&str]) -> Self {
        let arguments = ["canned", "--listen", "127.0.0.1:0", "--chats", CHATS, "--users", USERS];
        let mut child = bench(&arguments).args(further).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line.trim().strip_prefix("canned: listening on ").map(str::parse);
        Self(child, addr.unwrap_or_else(|| panic!("{line}")).unwrap())
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn canned_replies_are_as_long_as_real_ones() {
    let server = filled();
    let bytes = |report: Value| report["reply_bytes"].as_f64().unwrap();
    let (own, like) = (Canned::start(&[]), Canned::start(&["--like", &server.tcp().to_string()]));
    for work in WORKS {
        let real = bytes(count("chatshard", server.tcp(), work, &[]));
        for canned in [&own, &like] {
            // Canned read positions do not move, so a check of the replies would find them too low.
            let found = match work {
                "mark_read" | "mixed" => bytes(unchecked(canned.1, work)),
                _ => bytes(count("canned", canned.1, work, &[])),
            };
            assert!((found - real).abs() < 0.15 * real, "{work}: {found} instead of {real}");
        }
    }
}

/// The report of a work whose replies are not checked.
fn unchecked(addr: SocketAddr, work: &str) -> Value {
    let output = bench(&["run", "--target", "canned", "--addr", &addr.to_string()])
        .args(["--work", work, "--chats", CHATS, "--users", USERS])
        .args(["--requests", "400", "--connections", "3", "--json"])
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report["requests"].as_u64(), &report["errors"]), (Some(REQUESTS), &Value::from(0)));
    report
}

#[test]
fn what_cannot_be_is_refused() {
    let fails = |arguments: &[&str], code: i32, why: &str| {
        let output = bench(arguments).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && stderr.contains(why), "{stderr}");
    };
    fails(&["run", "--depth", "0"], 2, "--depth");
    fails(&["run", "--depth", "2000"], 2, "at most 1024");
    fails(&["run", "--threads", "3", "--connections", "2"], 2, "--threads");
    fails(&["run", "--rate", "0"], 2, "--rate");
    fails(&["run", "--requests", "5", "--seconds", "5"], 2, "--seconds");
    fails(&["run", "--chats", "7"], 2, "--chats");
    fails(&["fill", "--target", "canned"], 2, "only chatshard and valkey");
    // No server listens there, because the port was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    fails(
        &["run", "--addr", &free.to_string(), "--requests", "1"],
        1,
        "cannot connect to 127.0.0.1:",
    );
    fails(&["fill", "--addr", &free.to_string()], 1, "cannot connect to 127.0.0.1:");
}

#[test]
fn figures_are_told_to_people_too() {
    let server = filled();
    let addr = server.tcp().to_string();
    let output = bench(&["run", "--addr", &addr, "--work", "list50", "--requests", "50"])
        .args(["--chats", CHATS, "--users", USERS])
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    for wanted in ["list50 on chatshard", "closed loop", "requests/s", "p99.99", "50 in "] {
        assert!(stdout.contains(wanted), "{wanted}: {stdout}");
    }
    // A row that is not there is an error of its request, and counted.
    let output = bench(&["run", "--addr", &addr, "--work", "mark_read", "--requests", "50"])
        .args(["--chats", CHATS, "--users", "999999", "--json"])
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let errors = report["errors"].as_u64().unwrap();
    assert!(errors > 0, "{report}");
    assert_eq!(report["requests"].as_u64().unwrap() + errors, 50);
    assert!(report["faults"].as_object().unwrap().keys().all(|fault| fault.contains("not_found")));
}

#[test]
fn unix_sockets_are_measured_too_and_a_server_without_the_data_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", directory.path().join("tcp.sock").display());
    let server = TestServer::start(&[("shards", "2"), ("listen", &socket)]);
    let run = ["run", "--addr", &socket, "--work", "list50", "--requests", "100"];
    let run = || {
        let mut command = bench(&run);
        command.args(["--connections", "2", "--chats", CHATS, "--users", USERS, "--check"]);
        command.output().unwrap()
    };
    let failed = run();
    assert_eq!(failed.status.code(), Some(1));
    let stderr = String::from_utf8(failed.stderr).unwrap();
    let advice = format!("lacks the data: first `chatshard bench fill --chats {CHATS}");
    assert!(stderr.contains(&advice), "{stderr}");
    let fill = ["fill", "--addr", &socket, "--chats", CHATS, "--users", USERS];
    assert!(bench(&fill).output().unwrap().status.success());
    let done = run();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    server.stop();
}

#[test]
fn a_run_over_failovers_sees_each_write_once() {
    let server = TestServer::start(&[("shards", "2")]);
    let addr = server.tcp().to_string();
    let arguments = ["failover", "--addr", &addr, "--writers", "3", "--seconds", "1"];
    let output = bench(&arguments).arg("--json").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let sum = |field: &str| report[field].as_array().unwrap().iter().map(|count| count.as_u64());
    let series = sum("each_100_ms").map(Option::unwrap).sum::<u64>();
    assert!(report["acknowledged"] == series && series > 0, "{report}");
    assert_eq!((&report["wrong"], &report["unknown"]), (&0.into(), &0.into()), "{report}");
    let output = bench(&arguments).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.starts_with("   1 s  "), "{stdout}");
    assert!(stdout.contains("0 with a wrong sequence"), "{stdout}");
    server.stop();
}
