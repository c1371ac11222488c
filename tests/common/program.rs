//! The program of this build, as a process of its own.

use std::process::Command;

/// A command of this build that inherits no setting from the environment.
pub fn chatshard() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatshard"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CHATSHARD_") {
            command.env_remove(name);
        }
    }
    command
}
