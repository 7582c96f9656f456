//! Whether the index can be trusted: a note beside it of who had it open, and whether it was closed.
//!
//! The index is written without waiting for the disk. After the end of a process the kernel still has all of it; after
//! the end of the kernel nobody knows. So an index is trusted when it was last opened in the present run of the kernel,
//! or when it was closed in order, for which everything was synced first.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::index::Index;

/// The note of one index.
#[derive(Clone)]
pub(crate) struct Marker {
    dir: PathBuf,
    boot_id: String,
}

#[derive(Serialize, Deserialize)]
struct Note {
    boot_id: String,
    clean: bool,
}

/// What the note says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// There is no index.
    New,
    /// It was closed in order.
    Clean,
    /// The process that had it open ended, in this run of the kernel.
    SameBoot,
    /// It is not known to be whole.
    None(&'static str),
}

impl Marker {
    pub(crate) fn new(dir: &Path, boot_id: &str) -> Self {
        Self { dir: dir.to_owned(), boot_id: boot_id.to_owned() }
    }

    pub(crate) fn trust(&self) -> Trust {
        if !self.dir.exists() {
            return Trust::New;
        }
        if Index::is_doubtful(&self.dir) {
            return Trust::None("something damaged was read from it");
        }
        let Ok(text) = fs::read(self.path()) else {
            return Trust::None("nothing says that it was closed in order");
        };
        match serde_json::from_slice(&text) {
            Ok(Note { clean: true, .. }) => Trust::Clean,
            Ok(Note { boot_id, .. }) if boot_id == self.boot_id => Trust::SameBoot,
            Ok(_) => Trust::None("the machine went down while it was open"),
            Err(_) => Trust::None("the note on how it was closed is not readable"),
        }
    }

    /// To be said, and durable, before the index is touched.
    pub(crate) fn set_open(&self) -> io::Result<()> {
        self.set(false)
    }

    /// To be said when everything in the index is durable.
    pub(crate) fn set_clean(&self) -> io::Result<()> {
        self.set(true)
    }

    fn set(&self, clean: bool) -> io::Result<()> {
        let note = serde_json::to_vec(&Note { boot_id: self.boot_id.clone(), clean })?;
        let new = self.dir.join("opened.new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&note)?;
        file.sync_all()?;
        fs::rename(&new, self.path())?;
        File::open(&self.dir)?.sync_all()
    }

    fn path(&self) -> PathBuf {
        self.dir.join("opened")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_closed_index_outlasts_a_reboot() {
        let dir = tempfile::tempdir().unwrap();
        let (before, after) = (Marker::new(dir.path(), "boot-1"), Marker::new(dir.path(), "boot-2"));
        assert!(matches!(before.trust(), Trust::None(_)));
        before.set_open().unwrap();
        assert_eq!(before.trust(), Trust::SameBoot);
        assert!(matches!(after.trust(), Trust::None(_)));
        before.set_clean().unwrap();
        assert_eq!(after.trust(), Trust::Clean);
        fs::write(dir.path().join("opened"), "{").unwrap();
        assert!(matches!(after.trust(), Trust::None(_)));
        assert_eq!(Marker::new(&dir.path().join("none"), "boot-1").trust(), Trust::New);
    }
}
