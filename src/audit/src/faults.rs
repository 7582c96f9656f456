//! Files that fail on demand: full disks, failing fsyncs, short writes. For tests, and never in a release.
//!
//! In a test of one process, [`Faults::set`] says what fails. A daemon that is tested from outside takes a file instead
//! ([`Faults::follow_file`]), which is read again at each call, one fault a line:
//!
//! ```text
//! room 4096          files may grow by 4096 bytes together, then the disk is full
//! no-space           every write fails, as on a full file system that copies on write
//! no-space-at 2      the second write fails for want of room, and no other
//! fail-sync 3        fsyncs fail from the third one on
//! short-writes       a write takes only half of what it is given
//! ```
//!
//! An empty or missing file means that nothing fails. The counts begin when the file is
//! changed.

use std::{
    io,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::io::Errno;

use crate::files::{Files, Identity, JournalFile, Status};

/// What fails.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// By how many bytes files may still grow; `None` is without end.
    pub room: Option<u64>,
    /// Whether every write fails for want of room, even where there is some.
    pub no_space: bool,
    /// Which one write fails for want of room, counted from 1.
    pub no_space_at: Option<u64>,
    /// From which fsync on all of them fail, counted from 1.
    pub fail_sync: Option<u64>,
    /// Whether writes take only half of what they are given.
    pub short_writes: bool,
}

/// What fails now; shared by all files and whoever holds a copy of it.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<State>>);

/// A file system with faults.
pub struct FaultyFiles {
    inner: Arc<dyn Files>,
    faults: Faults,
}

#[derive(Default)]
struct State {
    plan: Plan,
    grown: u64,
    writes: u64,
    syncs: u64,
    file: Option<(PathBuf, String)>,
}

struct FaultyFile {
    inner: Box<dyn JournalFile>,
    faults: Faults,
}

impl Faults {
    /// Nothing fails.
    pub fn none() -> Self {
        Self::default()
    }

    /// Fails as the file at `path` says, whenever something is to be done.
    pub fn follow_file(path: &Path) -> Self {
        Self(Arc::new(Mutex::new(State { file: Some((path.to_owned(), String::new())), ..State::default() })))
    }

    /// From now on this fails; counts begin anew.
    pub fn set(&self, plan: Plan) {
        self.state().apply(plan);
    }

    /// From now on nothing fails.
    pub fn clear(&self) {
        self.set(Plan::default());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, after a look at the control file.
    fn now(&self) -> MutexGuard<'_, State> {
        let mut state = self.state();
        if let Some((path, last)) = &mut state.file {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            if text != *last {
                last.clone_from(&text);
                // A control file that cannot be read as one is a mistake of the test: everything fails then.
                let plan = text.parse().unwrap_or(Plan { fail_sync: Some(1), ..Plan::default() });
                state.apply(plan);
            }
        }
        state
    }

    fn write(&self, grows: u64) -> io::Result<()> {
        let mut state = self.now();
        let grown = state.grown.saturating_add(grows);
        state.writes = state.writes.saturating_add(1);
        let chosen = state.plan.no_space || state.plan.no_space_at == Some(state.writes);
        let full = chosen || (grows > 0 && state.plan.room.is_some_and(|room| grown > room));
        if full {
            return Err(Errno::NOSPC.into());
        }
        state.grown = grown;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.now();
        state.syncs = state.syncs.saturating_add(1);
        match state.plan.fail_sync {
            Some(from) if state.syncs >= from => Err(Errno::IO.into()),
            _ => Ok(()),
        }
    }
}

impl State {
    fn apply(&mut self, plan: Plan) {
        self.plan = plan;
        self.grown = 0;
        self.writes = 0;
        self.syncs = 0;
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut plan = Self::default();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let mut words = line.split_ascii_whitespace();
            let number = |word: Option<&str>| word.and_then(|word| word.parse().ok()).ok_or(line.to_owned());
            match words.next() {
                Some("room") => plan.room = Some(number(words.next())?),
                Some("fail-sync") => plan.fail_sync = Some(number(words.next())?),
                Some("no-space-at") => plan.no_space_at = Some(number(words.next())?),
                Some("no-space") => plan.no_space = true,
                Some("short-writes") => plan.short_writes = true,
                _ => return Err(line.to_owned()),
            }
        }
        Ok(plan)
    }
}

impl FaultyFiles {
    /// `inner`, with these faults.
    pub fn new(inner: Arc<dyn Files>, faults: Faults) -> Self {
        Self { inner, faults }
    }

    fn wrap(&self, inner: Box<dyn JournalFile>) -> Box<dyn JournalFile> {
        Box::new(FaultyFile { inner, faults: self.faults.clone() })
    }
}

impl Files for FaultyFiles {
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
        self.faults.sync()?;
        self.inner.sync_dir(dir)
    }

    fn identity(&self, path: &Path) -> io::Result<Identity> {
        self.inner.identity(path)
    }
}

impl JournalFile for FaultyFile {
    fn allocate(&self, len: u64) -> io::Result<()> {
        let grows = len.saturating_sub(self.inner.status()?.len);
        self.faults.write(grows)?;
        self.inner.allocate(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let short = self.faults.now().plan.short_writes && bytes.len() > 1;
        let length = if short { bytes.len() / 2 } else { bytes.len() };
        let end = offset.saturating_add(length as u64);
        self.faults.write(end.saturating_sub(self.inner.status()?.len))?;
        self.inner.write_at(bytes.get(..length).unwrap_or_default(), offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.faults.sync()?;
        self.inner.sync_data()
    }

    fn status(&self) -> io::Result<Status> {
        self.inner.status()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::SystemFiles;

    #[test]
    fn a_control_file_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let control = dir.path().join("control");
        let files = FaultyFiles::new(Arc::new(SystemFiles), Faults::follow_file(&control));
        let file = files.create(&dir.path().join("x")).unwrap();
        assert_eq!(file.write_at(b"1234", 0).unwrap(), 4);
        std::fs::write(&control, "room 2\nshort-writes\n").unwrap();
        assert_eq!(file.write_at(b"5678", 4).unwrap(), 2);
        assert_eq!(file.write_at(b"xx", 6).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(file.write_at(b"zz", 2).unwrap(), 1);
        std::fs::write(&control, "fail-sync 2").unwrap();
        assert!(file.sync_data().is_ok());
        assert!(file.sync_data().is_err());
        assert!(files.sync_dir(dir.path()).is_err());
        std::fs::remove_file(&control).unwrap();
        assert!(file.sync_data().is_ok());
        std::fs::write(&control, "nonsense").unwrap();
        assert!(file.sync_data().is_err());
    }
}
