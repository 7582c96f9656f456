//! The files that hold what the broker itself shows its back ends: passwords, tokens, keys.
//!
//! A file is opened once, and what is judged is what is read, whatever the path names by then. A pipe has nobody wait for
//! its writer, and what says that it is empty and is not (as files of `/proc` do) is not read without end. Calls block
//! as long as the file system does: those who must not wait for it call from a thread that may.

mod fault;

use std::{
    fs::{File, Metadata},
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use leasehold_core::SecretBytes;
use rustix::fs::{Mode, OFlags};

pub use fault::SecretFileFault;

/// Who besides its owner may read a file. Nobody else may ever change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// The owner's group at most: systemd's credentials are 0440.
    Group,
    /// Anybody on the machine: Kubernetes projects its tokens so, into a container that is alone with them.
    Anybody,
}

/// What tells one content of a file from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    inode: (u64, u64),
    size: u64,
    changed: (i64, i64),
}

/// What a file held when it was read. `Debug` shows no content.
#[derive(Clone, Debug)]
pub struct SecretFile {
    path: PathBuf,
    content: SecretBytes,
    stamp: Stamp,
}

/// The most that a file may hold, in bytes: tokens and keys are a few KiB.
pub const MOST: u64 = 64 * 1024;

impl SecretFile {
    /// Reads a file that nobody else can change or, unless said, read.
    ///
    /// # Errors
    /// When it cannot be read, is open to others, is no file, or is too large.
    pub fn read(path: &Path, readers: Readers) -> Result<Self, SecretFileFault> {
        let unreadable = |error: std::io::Error| SecretFileFault::unreadable(path, &error);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened =
            rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| unreadable(errno.into()))?;
        let file = File::from(opened);
        let meta = file.metadata().map_err(unreadable)?;
        judge(path, &meta, readers)?;
        let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or_default().saturating_add(1));
        let read = file.take(MOST.saturating_add(1)).read_to_end(&mut bytes);
        let content = SecretBytes::new(bytes);
        read.map_err(unreadable)?;
        if u64::try_from(content.len()).unwrap_or(u64::MAX) > MOST {
            return Err(SecretFileFault::NoFile(path.to_owned()));
        }
        Ok(Self { path: path.to_owned(), content, stamp: Stamp::from(&meta) })
    }

    /// What it was when it was read.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Everything in it.
    pub fn bytes(&self) -> &[u8] {
        self.content.expose()
    }

    /// Everything in it.
    ///
    /// # Errors
    /// When it is not text.
    pub fn text(&self) -> Result<&str, SecretFileFault> {
        str::from_utf8(self.bytes()).map_err(|_| SecretFileFault::NoText(self.path.clone()))
    }

    /// Its one word, without the white space around it.
    ///
    /// # Errors
    /// When it holds something else.
    pub fn word(&self) -> Result<&str, SecretFileFault> {
        let word = self.text()?.trim();
        if word.is_empty() || word.contains(char::is_whitespace) {
            return Err(SecretFileFault::NoWord(self.path.clone()));
        }
        Ok(word)
    }

    /// Its one line, spaces and all, without the line's end.
    ///
    /// # Errors
    /// When it holds something else.
    pub fn line(&self) -> Result<&str, SecretFileFault> {
        let text = self.text()?;
        let line = text.strip_suffix('\n').unwrap_or(text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() || line.contains(['\n', '\r', '\0']) {
            return Err(SecretFileFault::NoLine(self.path.clone()));
        }
        Ok(line)
    }
}

impl Stamp {
    /// Of a file as it is now, whoever may read it; `None` when there is none.
    pub fn of(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().as_ref().map(Self::from)
    }

    /// Of a file as it is now.
    ///
    /// # Errors
    /// What [`SecretFile::read`] would say against it before reading it.
    pub fn judged(path: &Path, readers: Readers) -> Result<Self, SecretFileFault> {
        let meta = std::fs::metadata(path).map_err(|error| SecretFileFault::unreadable(path, &error))?;
        judge(path, &meta, readers)?;
        Ok(Self::from(&meta))
    }
}

impl From<&Metadata> for Stamp {
    fn from(meta: &Metadata) -> Self {
        Self {
            inode: (meta.dev(), meta.ino()),
            size: meta.size(),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

fn judge(path: &Path, meta: &Metadata, readers: Readers) -> Result<(), SecretFileFault> {
    let (forbidden, fault): (_, fn(PathBuf) -> SecretFileFault) = match readers {
        Readers::Group => (0o027, SecretFileFault::Open),
        Readers::Anybody => (0o022, SecretFileFault::Changeable),
    };
    if meta.mode() & forbidden != 0 {
        return Err(fault(path.to_owned()));
    }
    if meta.is_file() && meta.len() <= MOST { Ok(()) } else { Err(SecretFileFault::NoFile(path.to_owned())) }
}

#[cfg(test)]
mod tests;
