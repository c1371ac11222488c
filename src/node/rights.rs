//! Permissions of the data directory, and advice for directories that cannot be used.
//!
//! Only the server's user may read a directory that the server makes. An existing directory keeps
//! its permissions, because its owner chose them. The server only warns.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Access, access};
use rustix::io::Errno;
use tracing::warn;

/// Mode of a data directory that the server creates.
pub const DIRECTORY_MODE: u32 = 0o700;
/// The permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;

/// Creates a directory that only its owner may enter. Creates missing parents too, with the usual
/// permissions.
///
/// # Errors
/// The errors of the operating system, for example if `dir` is a file.
pub fn create_private(dir: &Path) -> io::Result<()> {
    if let Some(parent) = dir.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(DIRECTORY_MODE).create(dir) {
        // Another process may have created it first.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        made => made,
    }
}

/// What the operator can do about an error, to be added to a message about `path`. Empty if the
/// error says it.
pub fn advice(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => advice_of_rights(path),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!(
            "\nMake room there (`df {}` shows how much is left), or name a directory on another disk",
            there(path).display()
        ),
        io::ErrorKind::ReadOnlyFilesystem => {
            "\nMount it for writing, or name a directory on another disk".to_owned()
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            let file = path.ancestors().find(|place| place.exists() && !place.is_dir());
            file.map_or_else(String::new, |file| {
                format!("\n{} is a file: name a directory, or a path to make one", file.display())
            })
        }
        _ => String::new(),
    }
}

/// The nearest place above a path that is there.
fn there(path: &Path) -> &Path {
    path.ancestors().find(|place| place.is_dir()).unwrap_or(path)
}

fn advice_of_rights(path: &Path) -> String {
    // If even the metadata of `path` cannot be read, a parent directory is the obstacle.
    let found = path.ancestors().find_map(|place| Some((place, std::fs::metadata(place).ok()?)));
    let Some((place, found)) = found else { return String::new() };
    let place = if place.as_os_str().is_empty() { Path::new(".") } else { place };
    let (owner, mode) = (found.uid(), found.permissions().mode() & 0o7777);
    let user = rustix::process::geteuid().as_raw();
    let way = if owner == user {
        format!("give its owner the right (chmod u+rwx {})", place.display())
    } else if place == path {
        format!("run as its owner, or as root give it away (chown -R {user} {})", place.display())
    } else {
        // Never a parent: it may be the home of others.
        format!("as root make the directory (install -d -o {user} -m 700 {})", path.display())
    };
    format!(
        "\n{} belongs to user {owner} and group {} with mode {mode:04o}, and this process runs as \
         user {user}: {way}",
        place.display(),
        found.gid()
    )
}

/// The message for an error about `path`, with [`advice`].
pub fn refusal(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}{}", path.display(), advice(path, error))
}

/// Like [`advice`], for an error about a file in `dir` that is not known.
pub fn advice_in(dir: &Path, error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return advice(dir, error);
    }
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths = entries.map(|entry| entry.path());
    // Checks the permission without opening, because opening something that is no file may block.
    let closed = paths.find(|path| access(path, Access::READ_OK) == Err(Errno::ACCESS));
    advice(closed.as_deref().unwrap_or(dir), error)
}

/// Logs a warning if anybody but the owner may enter an existing directory.
pub fn warn_if_open(dir: &Path) {
    // A missing directory is created later. One without readable metadata is rejected later.
    let Ok(found) = std::fs::metadata(dir) else { return };
    if is_open(&found.permissions()) {
        warn!(
            directory = %dir.display(),
            mode = format!("{:04o}", found.permissions().mode() & 0o7777),
            "others than the server's user may reach the data; run `chmod -R go= DIRECTORY`"
        );
    }
}

fn is_open(permissions: &Permissions) -> bool {
    permissions.mode() & OTHERS != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_directory_is_private_and_its_parents_are_not_touched() {
        let root = tempfile::tempdir().unwrap();
        let parent = root.path().join("parent");
        std::fs::create_dir(&parent).unwrap();
        std::fs::set_permissions(&parent, Permissions::from_mode(0o755)).unwrap();
        let dir = parent.join("missing").join("data");
        create_private(&dir).unwrap();
        create_private(&dir).unwrap();
        assert!(!is_open(&std::fs::metadata(&dir).unwrap().permissions()));
        assert!(is_open(&std::fs::metadata(&parent).unwrap().permissions()));
        let file = dir.join("file");
        std::fs::write(&file, "").unwrap();
        assert!(create_private(&file).is_err());
    }
}
