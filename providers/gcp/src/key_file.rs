//! Files that hold what the broker signs in with.

use std::{fs::Metadata, os::unix::fs::MetadataExt, path::Path};

use rustix::fs::OFlags;
use tokio::{fs::OpenOptions, io::AsyncReadExt};
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
    let meta = tokio::fs::metadata(path).await.map_err(|error| wrong(path, &error.to_string()))?;
    judge(path, &meta)
}

/// What the file holds, and what it was then.
///
/// # Errors
/// As [`stamp`], and when it cannot be read, or is not text.
pub(crate) async fn read(path: &Path) -> Result<(Stamp, Zeroizing<String>), String> {
    let unread = |error: std::io::Error| wrong(path, &error.to_string());
    // What is looked at is what is read, whatever the path names by then; and a pipe has nobody wait for its writer.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).await.map_err(unread)?;
    let stamp = judge(path, &file.metadata().await.map_err(unread)?)?;
    let mut text = Zeroizing::new(String::new());
    let length = file.take(MOST.saturating_add(1)).read_to_string(&mut text).await.map_err(unread)?;
    if u64::try_from(length).unwrap_or(u64::MAX) > MOST {
        return Err(wrong(path, TOO_LARGE));
    }
    Ok((stamp, text))
}

const TOO_LARGE: &str = "credentials are a file of at most 64 KiB";

fn judge(path: &Path, meta: &Metadata) -> Result<Stamp, String> {
    if !meta.is_file() || meta.len() > MOST {
        return Err(wrong(path, TOO_LARGE));
    }
    if meta.mode() & 0o027 != 0 {
        return Err(wrong(path, "others can read or change these credentials: chmod 600"));
    }
    Ok(Stamp { inode: meta.ino(), length: meta.len(), modified: (meta.mtime(), meta.mtime_nsec()) })
}

fn wrong(path: &Path, why: &str) -> String {
    format!("{}: {why}", path.display())
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

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
        let (then, text) = read(&path).await.unwrap();
        assert_eq!((then, &**text), (stamp(&path).await.unwrap(), "three"));
    }

    #[tokio::test]
    async fn a_file_that_says_it_is_empty_is_not_read_without_end() {
        // The system says no length of what it makes up as it is read.
        let mut command = Command::new("sleep");
        let mut child = command.arg("60").env_clear().env("X", "x".repeat(90_000)).spawn().unwrap();
        let path = PathBuf::from(format!("/proc/{}/environ", child.id()));
        let read = read(&path).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let why = read.unwrap_err();
        assert!(why.contains("at most 64 KiB"), "{why}");
    }
}
