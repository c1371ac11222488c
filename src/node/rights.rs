//! Who may read the data directory: the server's user, and nobody else.
//!
//! A directory that is there already keeps its rights: its owner chose them, and is only warned.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

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
