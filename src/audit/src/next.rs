//! The next segment, made ready before it is needed: zeros are written and synced beside the commits, not in their way.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
};

use crate::{
    current::{Current, is_full, write_all, write_zeros},
    error::JournalError,
    files::{Files, JournalFile},
    head::Head,
    segment::Segment,
};

/// Makes segments.
pub(crate) struct Next {
    files: Arc<dyn Files>,
    dir: PathBuf,
    /// How long a segment is at least.
    bytes: u64,
    slot: Slot,
}

enum Slot {
    Empty,
    Preparing(JoinHandle<Result<Blank, JournalError>>),
    Ready(Blank),
}

/// A segment of zeros without a name of its own.
struct Blank {
    file: Box<dyn JournalFile>,
    len: u64,
}

const BLANK: &str = "next.tmp";
/// How much is written before it is synced: a commit that waits behind it waits for no more.
const PORTION: u64 = 4 * 1024 * 1024;

impl Next {
    pub(crate) fn new(files: Arc<dyn Files>, dir: PathBuf, bytes: u64) -> Self {
        Self { files, dir, bytes, slot: Slot::Empty }
    }

    /// Begins to make the next segment ready, if that has not begun.
    pub(crate) fn prepare(&mut self) {
        if !matches!(self.slot, Slot::Empty) {
            return;
        }
        let (files, path, len) = (Arc::clone(&self.files), self.dir.join(BLANK), self.bytes);
        let thread = std::thread::Builder::new().name("journal-next".to_owned());
        // Without a thread the segment is made when it is needed.
        if let Ok(handle) = thread.spawn(move || Blank::make(&*files, &path, len)) {
            self.slot = Slot::Preparing(handle);
        }
    }

    /// Makes sure that there is room for a next segment.
    pub(crate) fn ensure(&mut self) -> Result<(), JournalError> {
        let blank = self.blank(self.bytes)?;
        self.slot = Slot::Ready(blank);
        Ok(())
    }

    /// The segment that follows `head`, at its place and with its header, with room for `group` bytes.
    pub(crate) fn take(&mut self, head: Head, group: usize) -> Result<Current, JournalError> {
        let header = Segment::header(head);
        let need = (header.len() as u64).saturating_add(group as u64);
        let blank = self.blank(need.max(self.bytes))?;
        let (path, temporary) =
            (Segment::new(&self.dir, head.seq.saturating_add(1)).path, self.dir.join(BLANK));
        let failed = |source| failed(&path, source);
        // The header is durable before the file has its name, so that a named segment always has one.
        write_all(&*blank.file, &header, 0).map_err(failed)?;
        blank.file.sync_data().map_err(|source| sync_failed(&path, source))?;
        self.files.rename(&temporary, &path).map_err(failed)?;
        self.files.sync_dir(&self.dir).map_err(|source| sync_failed(&self.dir, source))?;
        Current::new(blank.file, path.clone(), header.len() as u64).map_err(failed)
    }

    fn blank(&mut self, len: u64) -> Result<Blank, JournalError> {
        let ready = match std::mem::replace(&mut self.slot, Slot::Empty) {
            Slot::Empty => None,
            Slot::Ready(blank) => Some(blank),
            Slot::Preparing(handle) => match handle.join() {
                Ok(Ok(blank)) => Some(blank),
                // There may be room by now.
                Ok(Err(JournalError::Full { .. })) | Err(_) => None,
                Ok(Err(why)) => return Err(why),
            },
        };
        match ready {
            Some(blank) if blank.len >= len => Ok(blank),
            _ => Blank::make(&*self.files, &self.dir.join(BLANK), len),
        }
    }
}

impl Drop for Next {
    fn drop(&mut self) {
        if let Slot::Preparing(handle) = std::mem::replace(&mut self.slot, Slot::Empty) {
            drop(handle.join());
        }
        remove_blank(&self.dir);
    }
}

impl Blank {
    fn make(files: &dyn Files, path: &Path, len: u64) -> Result<Self, JournalError> {
        drop(std::fs::remove_file(path));
        let made = Self::fill(files, path, len);
        if made.is_err() {
            // What was taken is given back: others may need the room.
            drop(std::fs::remove_file(path));
        }
        made
    }

    fn fill(files: &dyn Files, path: &Path, len: u64) -> Result<Self, JournalError> {
        let file = files.create(path).map_err(|source| failed(path, source))?;
        // Asked for at once, so that a disk without room is not filled to the brim first.
        file.allocate(len).map_err(|source| failed(path, source))?;
        let mut at = 0;
        while at < len {
            let portion = PORTION.min(len.saturating_sub(at));
            write_zeros(&*file, at, portion).map_err(|source| failed(path, source))?;
            file.sync_data().map_err(|source| sync_failed(path, source))?;
            at = at.saturating_add(portion);
        }
        Ok(Self { file, len })
    }
}

/// Removes what a crash may have left half made.
pub(crate) fn remove_blank(dir: &Path) {
    drop(std::fs::remove_file(dir.join(BLANK)));
}

fn failed(path: &Path, source: io::Error) -> JournalError {
    let path = path.to_owned();
    if is_full(&source) {
        JournalError::Full { path, source }
    } else {
        JournalError::Io { path, verb: "created", source }
    }
}

/// File systems that allocate late tell of a full disk only here; every other failure of an fsync is the end.
fn sync_failed(path: &Path, source: io::Error) -> JournalError {
    if is_full(&source) {
        JournalError::Full { path: path.to_owned(), source }
    } else {
        JournalError::Poisoned { reason: format!("fsync of {} failed: {source}", path.display()) }
    }
}
