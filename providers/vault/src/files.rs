//! The files that hold what the broker shows Vault: tokens, secret ids, keys.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use thiserror::Error;
use zeroize::Zeroizing;

/// What tells one content of a file from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: (u64, u64),
    size: u64,
    changed: (i64, i64),
}

/// Who besides its owner may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    /// The owner's group at most: systemd's credentials are 0440.
    Group,
    /// Anybody: Kubernetes projects its tokens so, into a container that is alone with them.
    Anybody,
}

/// Why a file is not used. No content is in it.
#[derive(Debug, Error)]
pub(crate) enum FileFault {
    /// It cannot be read.
    #[error("{0}: {1}")]
    Unreadable(PathBuf, io::ErrorKind),
    /// Others can.
    #[error("{0}: others can read or change it: chmod 600")]
    Open(PathBuf),
    /// It holds something else.
    #[error("{0}: it must hold one word on one line, and at most 16 KiB")]
    NotOneWord(PathBuf),
}

const MOST: u64 = 16 * 1024;

impl Stamp {
    /// Of a file as it is now; `None` when there is none.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        Some(Self {
            inode: (meta.dev(), meta.ino()),
            size: meta.size(),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

/// The one word in a file that nobody else can change or, unless said, read; with its stamp from before it was read.
pub(crate) fn read_word(
    path: &Path,
    readers: Readers,
) -> Result<(Zeroizing<String>, Option<Stamp>), FileFault> {
    let unreadable = |error: io::Error| FileFault::Unreadable(path.to_owned(), error.kind());
    let stamp = Stamp::of(path);
    let meta = check(path, readers)?;
    if !meta.is_file() || meta.len() > MOST {
        return Err(FileFault::NotOneWord(path.to_owned()));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(unreadable)?);
    let word = text.trim();
    if word.is_empty() || word.contains(char::is_whitespace) {
        return Err(FileFault::NotOneWord(path.to_owned()));
    }
    Ok((Zeroizing::new(word.to_owned()), stamp))
}

/// A private key's file.
pub(crate) fn read_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileFault> {
    check(path, Readers::Group)?;
    fs::read(path).map(Zeroizing::new).map_err(|error| FileFault::Unreadable(path.to_owned(), error.kind()))
}

fn check(path: &Path, readers: Readers) -> Result<fs::Metadata, FileFault> {
    let meta = fs::metadata(path).map_err(|error| FileFault::Unreadable(path.to_owned(), error.kind()))?;
    let forbidden = match readers {
        Readers::Group => 0o027,
        Readers::Anybody => 0o022,
    };
    if meta.mode() & forbidden == 0 { Ok(meta) } else { Err(FileFault::Open(path.to_owned())) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_others_can_read_is_refused_unless_that_is_how_it_comes() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("token");
        fs::write(&path, " s.canary\n").unwrap();
        for (mode, readers, good) in [
            (0o600, Readers::Group, true),
            (0o440, Readers::Group, true),
            (0o644, Readers::Group, false),
            (0o644, Readers::Anybody, true),
            (0o666, Readers::Anybody, false),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            match read_word(&path, readers) {
                Ok((word, stamp)) => assert!(good && *word == "s.canary" && stamp.is_some(), "{mode:o}"),
                Err(fault) => assert!(!good && !fault.to_string().contains("canary"), "{mode:o}: {fault}"),
            }
        }
    }

    #[test]
    fn another_content_has_another_stamp() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("token");
        fs::write(&path, "one").unwrap();
        let first = Stamp::of(&path);
        fs::write(home.path().join("next"), "two").unwrap();
        fs::rename(home.path().join("next"), &path).unwrap();
        assert_ne!(first, Stamp::of(&path));
        assert_eq!(Stamp::of(&home.path().join("none")), None);
        for bad in ["", "two words", " \n"] {
            fs::write(&path, bad).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(read_word(&path, Readers::Group), Err(FileFault::NotOneWord(_))), "{bad:?}");
        }
    }
}
