//! Who may read the data directory: the server's user, and nobody else.
//!
//! A directory that is there already keeps its rights: its owner chose them, and is only warned.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Access, access};
use rustix::io::Errno;
use tracing::warn;

/// Rights of a data directory that is made here.
pub const DIRECTORY_MODE: u32 = 0o700;
/// Rights of everybody but the owner.
const OTHERS: u32 = 0o077;

/// Makes a directory that only its owner may enter, and those above it that are missing.
///
/// # Errors
/// Those of the operating system.
pub fn create_private(dir: &Path) -> io::Result<()> {
    if let Some(parent) = dir.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(DIRECTORY_MODE).create(dir) {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        made => made,
    }
}

/// What to do where a right is missing, as the end of a message about `path`; empty for other errors.
pub fn advice(path: &Path, error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return String::new();
    }
    // Of a path that cannot be looked at, a directory above is the obstacle.
    let found = path.ancestors().find_map(|place| Some((place, std::fs::metadata(place).ok()?)));
    let Some((place, found)) = found else { return String::new() };
    let place = if place.as_os_str().is_empty() { Path::new(".") } else { place };
    let (owner, mode) = (found.uid(), found.permissions().mode() & 0o7777);
    let user = rustix::process::geteuid().as_raw();
    let way = if owner == user {
        format!("give its owner the right (chmod -R u+rwX {})", place.display())
    } else {
        format!("run as its owner, or as root give it away (chown -R {user} {})", place.display())
    };
    format!(
        "\n{} belongs to user {owner} and group {} with mode {mode:04o}, and this process runs as \
         user {user}: {way}",
        place.display(),
        found.gid()
    )
}

/// An error of `path`, and what to do about it.
pub fn refusal(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}{}", path.display(), advice(path, error))
}

/// Like [`advice`], for an error of some file in `dir`.
pub fn advice_in(dir: &Path, error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return String::new();
    }
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths = entries.map(|entry| entry.path());
    // Nothing is opened: what is no file might wait for somebody.
    let closed = paths.find(|path| access(path, Access::READ_OK) == Err(Errno::ACCESS));
    advice(closed.as_deref().unwrap_or(dir), error)
}

/// Warns if others than the owner may enter a directory that is there.
pub fn warn_if_open(dir: &Path) {
    // A directory that is missing is made later; one that cannot be looked at is refused later.
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
