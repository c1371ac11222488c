//! Machines with an address each, on one switch that loses and delays what they send.
//!
//! [`isolated`] runs a test again in namespaces of its own: of the network, of mounts and of
//! processes. Within them it may do all that root may. They end with its process, and so does all
//! that it started and mounted, however it ends.
//!
//! Each machine is a network namespace. The test itself is the machine [`CLIENT`].
//!
//! Invariants:
//! - Nothing outside these namespaces changes: no device, no address, no file.
//! - Where they cannot be had, that is printed loudly. It is a failure where `CI` is set.

use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The machine on which the test runs.
pub const CLIENT: &str = "client";
const SWITCH: &str = "switch";
/// Set for the run within the namespaces.
const ISOLATED: &str = "CHATSHARD_TEST_IS_ISOLATED";
/// Named namespaces are mounts below `/run`, which is a new directory here.
const PRIVATE_RUN: &str = r#"mount -t tmpfs tmpfs /run && exec "$0" "$@""#;
/// What a test does, in small.
const TRIAL: &str = "mount -t tmpfs tmpfs /run && ip netns add trial \
    && ip link add one type veth peer name other netns trial \
    && nsenter --net=/run/netns/trial ip link set other up \
    && python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'";

fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["sh", "-c"]);
    command
}

/// Why the system gives no namespaces; `None` if it does.
fn refusal() -> Option<String> {
    match unshare().arg(TRIAL).output() {
        Ok(tried) if tried.status.success() => None,
        Ok(tried) => Some(String::from_utf8_lossy(&tried.stderr).trim().to_owned()),
        Err(error) => Some(format!("unshare: {error}")),
    }
}

/// Runs `test` in namespaces of its own: in this process if it has them, else in another one, which
/// runs the test of this name. What that prints is shown at its end, or at once if it `is_long`.
pub fn isolated(name: &str, is_long: bool, test: impl FnOnce()) {
    if std::env::var_os(ISOLATED).is_some() {
        test();
        return;
    }
    if let Some(why) = refusal() {
        let missing = format!(
            "NOT TESTED: cuts of the network. They need unshare, nsenter, ip, python3, and the right \
            to make namespaces: {why}"
        );
        assert!(std::env::var_os("CI").is_none(), "{missing}");
        eprintln!("\n{missing}\n");
        return;
    }
    let mut command = unshare();
    command.arg(PRIVATE_RUN).arg(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture"]).env(ISOLATED, "1");
    command.stdin(Stdio::null());
    if is_long {
        assert!(command.status().unwrap().success());
        return;
    }
    let ran = command.output().unwrap();
    println!("{}", String::from_utf8_lossy(&ran.stdout));
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

/// Machines and the switch between them.
pub struct Network {
    switch: Child,
    commands: ChildStdin,
    replies: BufReader<ChildStdout>,
    machines: Vec<String>,
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {why}");
}

impl Network {
    /// Machines with these names, and [`CLIENT`].
    pub fn start(names: &[String]) -> Self {
        ip(&format!("netns add {SWITCH}"));
        let mut machines = names.to_vec();
        machines.push(CLIENT.to_owned());
        let mut switch = Command::new("nsenter");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/switch");
        switch.arg(format!("--net=/run/netns/{SWITCH}")).arg("python3").arg(script);
        for (number, name) in machines.iter().enumerate() {
            let (mac, address) = (format!("02:00:00:00:00:{number:02x}"), address(number));
            let (place, within) = match name.as_str() {
                CLIENT => (String::new(), String::new()),
                name => (format!("netns {name}"), format!("-n {name}")),
            };
            if name != CLIENT {
                ip(&format!("netns add {name}"));
            }
            let other_end = format!("peer name {name} netns {SWITCH}");
            ip(&format!("link add wire {place} address {mac} type veth {other_end}"));
            ip(&format!("{within} addr add {address}/24 dev wire"));
            ip(&format!("{within} link set lo up"));
            ip(&format!("{within} link set wire up"));
            ip(&format!("-n {SWITCH} link set {name} up"));
            switch.arg(format!("{name}={mac}"));
        }
        switch.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut switch = switch.spawn().unwrap();
        let commands = switch.stdin.take().unwrap();
        let replies = BufReader::new(switch.stdout.take().unwrap());
        let mut network = Self { switch, commands, replies, machines };
        network.wait_ok();
        network
    }

    /// The address of a machine.
    pub fn address(&self, name: &str) -> Ipv4Addr {
        address(self.machines.iter().position(|machine| machine == name).unwrap())
    }

    /// The network namespace of a machine.
    pub fn namespace(name: &str) -> PathBuf {
        Path::new("/run/netns").join(name)
    }

    /// The same command, on a machine.
    pub fn on(name: &str, command: &Command) -> Command {
        let mut there = Command::new("nsenter");
        there.arg(format!("--net={}", Self::namespace(name).display()));
        there.arg(command.get_program()).args(command.get_args());
        for (variable, value) in command.get_envs() {
            match value {
                Some(value) => there.env(variable, value),
                None => there.env_remove(variable),
            };
        }
        there
    }

    /// Nothing arrives that one of `from` sends to one of `to`.
    pub fn cut_one_way(&mut self, from: &[&str], to: &[&str]) {
        self.tell(&format!("cut {} {}", from.join(","), to.join(",")));
    }

    /// Nothing passes between the two groups.
    pub fn cut(&mut self, one: &[&str], other: &[&str]) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// What a machine sends and gets is late by `ms`, and so many percent of it are lost.
    pub fn slow(&mut self, name: &str, ms: u64, percent: u64) {
        let others = self.machines.iter().filter(|other| *other != name);
        let others = others.cloned().collect::<Vec<_>>().join(",");
        self.tell(&format!("slow {name} {others} {ms} {percent}"));
        self.tell(&format!("slow {others} {name} {ms} {percent}"));
    }

    /// All that is sent arrives again.
    pub fn heal(&mut self) {
        self.tell("heal");
    }

    fn tell(&mut self, command: &str) {
        writeln!(self.commands, "{command}").unwrap();
        self.wait_ok();
    }

    fn wait_ok(&mut self) {
        let mut reply = String::new();
        self.replies.read_line(&mut reply).unwrap();
        assert_eq!(reply, "ok\n", "the switch has ended");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // An error means that it has ended already.
        drop(self.switch.kill());
        drop(self.switch.wait());
    }
}

fn address(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 99, 0, u8::try_from(number).unwrap() + 1)
}
