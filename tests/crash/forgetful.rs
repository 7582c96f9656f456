//! A file layer that forgets at the end of the process what was not made durable, as a disk does in a power cut. Of the
//! rest it keeps some sectors at random, as a disk does too.
//!
//! What is in a file on the real disk is what would be there after the cut.

use std::{
    io,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use leasehold_audit::{Files, Identity, JournalFile, Status};

const SECTOR: usize = 512;

/// Forgets what was written and not synced.
pub(crate) struct Forgetful {
    inner: Arc<dyn Files>,
    chance: Arc<AtomicU64>,
}

struct ForgetfulFile {
    inner: Box<dyn JournalFile>,
    /// What was written since the last sync.
    written: Mutex<Vec<(u64, Vec<u8>)>>,
    chance: Arc<AtomicU64>,
}

impl Forgetful {
    pub(crate) fn new(inner: Arc<dyn Files>) -> Self {
        Self { inner, chance: Arc::new(AtomicU64::new(u64::from(std::process::id()))) }
    }

    fn wrap(&self, inner: Box<dyn JournalFile>) -> Box<dyn JournalFile> {
        let (written, chance) = (Mutex::default(), Arc::clone(&self.chance));
        Box::new(ForgetfulFile { inner, written, chance })
    }
}

impl Files for Forgetful {
    fn create(&self, path: &Path) -> io::Result<Box<dyn JournalFile>> {
        self.inner.create(path).map(|file| self.wrap(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn JournalFile>> {
        self.inner.open(path).map(|file| self.wrap(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_dir(dir)
    }

    fn identity(&self, path: &Path) -> io::Result<Identity> {
        self.inner.identity(path)
    }
}

impl JournalFile for ForgetfulFile {
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.inner.allocate(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.written.lock().expect("nobody panics").push((offset, bytes.to_vec()));
        // Some sectors get to the disk before they are asked for, in no order.
        let mut at = 0;
        while at < bytes.len() {
            let to_the_border = SECTOR - (offset as usize + at) % SECTOR;
            let end = bytes.len().min(at + to_the_border);
            let chance = self.chance.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed);
            if (chance ^ (chance >> 32)).count_ones().is_multiple_of(3) {
                self.inner.write_at(&bytes[at..end], offset + at as u64)?;
            }
            at = end;
        }
        Ok(bytes.len())
    }

    #[expect(clippy::disallowed_methods, reason = "a slow disk is played, so that a cut meets a write")]
    fn sync_data(&self) -> io::Result<()> {
        std::thread::sleep(Duration::from_millis(4));
        for (offset, bytes) in self.written.lock().expect("nobody panics").drain(..) {
            let mut at = 0;
            while at < bytes.len() {
                at += self.inner.write_at(&bytes[at..], offset + at as u64)?;
            }
        }
        self.inner.sync_data()
    }

    fn status(&self) -> io::Result<Status> {
        self.inner.status()
    }
}
