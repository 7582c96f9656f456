//! Files that hold what the broker signs in with.

use std::{os::unix::fs::MetadataExt, path::Path};

use zeroize::Zeroizing;

/// What a file was when it was read: another one is read anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

const MOST: u64 = 64 * 1024;

/// What the file is now.
///
/// # Errors
/// When it is not there, or when others than its owner, or its owner's group, could read it (systemd's credentials are 0440).
pub(crate) async fn stamp(path: &Path) -> Result<Stamp, String> {
    let wrong = |why: &str| format!("{}: {why}", path.display());
    let meta = tokio::fs::metadata(path).await.map_err(|error| wrong(&error.to_string()))?;
    if !meta.is_file() || meta.len() > MOST {
        return Err(wrong("credentials are a file of at most 64 KiB"));
    }
    if meta.mode() & 0o027 != 0 {
        return Err(wrong("others can read or change these credentials: chmod 600"));
    }
    Ok(Stamp { inode: meta.ino(), length: meta.len(), modified: (meta.mtime(), meta.mtime_nsec()) })
}

/// What the file holds.
///
/// # Errors
/// When it cannot be read, or is not text.
pub(crate) async fn read(path: &Path) -> Result<Zeroizing<String>, String> {
    tokio::fs::read_to_string(path)
        .await
        .map(Zeroizing::new)
        .map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn a_file_for_its_owner_is_taken_and_one_that_changed_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "one").unwrap();
        let allow = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        for (mode, ok) in [(0o600, true), (0o440, true), (0o644, false), (0o620, false)] {
            allow(mode);
            assert_eq!(stamp(&path).await.is_ok(), ok, "{mode:o}");
        }
        allow(0o600);
        let before = stamp(&path).await.unwrap();
        assert_eq!(stamp(&path).await.unwrap(), before);
        std::fs::write(&path, "three").unwrap();
        assert_ne!(stamp(&path).await.unwrap(), before);
        assert_eq!(&**read(&path).await.unwrap(), "three");
    }
}
