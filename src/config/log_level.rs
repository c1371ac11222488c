//! Checks each directive of the setting `log_level`.
//!
//! `EnvFilter` takes an unknown word for the name of a target. Then it would log only that target,
//! which means nothing. So every level and every target must exist in this program.

use tracing_subscriber::EnvFilter;

use super::choices::did_you_mean;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// How the log targets of this program begin.
const PROGRAM: &str = "chatshard";

/// Crates that this program uses and operators may name in a setting for all their programs.
/// Directives for them have no effect here.
const CRATES: [&str; 9] =
    ["axum", "h2", "hyper", "hyper_util", "mio", "rustls", "tokio", "tower", "tower_http"];

/// The modules of this program, which are the targets of its log lines. `tests/tidy` compares the
/// list with `src/lib.rs`.
pub const MODULES: &[&str] = &[
    "access",
    "admission",
    "cli",
    "client",
    "command",
    "config",
    "files",
    "http",
    "journal",
    "limits",
    "metrics",
    "net",
    "node",
    "protocol",
    "router",
    "server",
    "shard",
    "system",
    "throttle",
    "types",
];

/// Returns the setting without spaces, if each of its directives has an effect or does no harm.
pub(super) fn log_level(text: &str) -> Result<String, String> {
    let directives = text.split(',').map(str::trim).filter(|directive| !directive.is_empty());
    let directives = directives.map(checked).collect::<Result<Vec<String>, String>>()?;
    if directives.is_empty() {
        return Err(format!("must not be empty; there are {}", LEVELS.join(", ")));
    }
    let joined = directives.join(",");
    EnvFilter::try_new(&joined).map_err(|error| format!("`{text}`: {error}"))?;
    Ok(joined)
}

/// Returns one directive without spaces, if it has an effect or does no harm.
fn checked(directive: &str) -> Result<String, String> {
    let parts: Vec<&str> = directive.splitn(2, '=').map(str::trim).collect();
    match parts.as_slice() {
        [target, level] => is_target(target).and_then(|()| is_level(level)),
        _ if directive.contains("::") || directive == PROGRAM => is_target(directive),
        _ => is_level(directive),
    }?;
    Ok(parts.join("="))
}

fn is_level(text: &str) -> Result<(), String> {
    // `EnvFilter` accepts these numbers as levels, from 0 (off) to 5 (trace).
    let is_number = matches!(text.as_bytes(), [b'0'..=b'5']);
    if is_number || LEVELS.iter().any(|level| level.eq_ignore_ascii_case(text)) {
        return Ok(());
    }
    let (levels, meant) = (LEVELS.join(", "), did_you_mean(text, LEVELS));
    Err(format!("`{text}` is no level; there are {levels}{meant}"))
}

fn is_target(text: &str) -> Result<(), String> {
    let mut path = text.split("::");
    let (program, module) = (path.next().unwrap_or_default(), path.next());
    if CRATES.contains(&program) {
        return Ok(());
    }
    if program != PROGRAM {
        return Err(format!("`{text}` is no target; all begin with `{PROGRAM}`"));
    }
    let below_is_named = path.all(|name| !name.is_empty());
    match module {
        None => Ok(()),
        Some(module) if MODULES.contains(&module) && below_is_named => Ok(()),
        Some(module) => {
            let meant = did_you_mean(module, MODULES.iter().copied());
            Err(format!("`{text}` is no target: there is no `{PROGRAM}::{module}`{meant}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_that_have_an_effect_are_taken() {
        for text in [
            "off",
            "WARN",
            "3",
            "info,chatshard::net=debug",
            "info, chatshard::net::accept = trace",
            "chatshard",
            "chatshard=debug",
            "warn,chatshard::node::log",
            "info,hyper=warn,",
        ] {
            log_level(text).unwrap();
        }
    }

    #[test]
    fn directives_without_an_effect_are_refused() {
        for (text, why) in [
            ("warning", "did you mean `warn`?"),
            ("inf", "did you mean `info`?"),
            ("loud", "there are off, error, warn, info, debug, trace"),
            ("", "must not be empty"),
            (" , ", "must not be empty"),
            ("6", "no level"),
            ("info,debg", "did you mean `debug`?"),
            ("chatshard::nett=debug", "did you mean `net`?"),
            ("chatshard::net=loud", "no level"),
            ("chatshard::net::=info", "no target"),
            ("chatshart=info", "all begin with `chatshard`"),
            ("[span]=info", "no target"),
            ("a=b=c", "no target"),
        ] {
            let error = log_level(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
