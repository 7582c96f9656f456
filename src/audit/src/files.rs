//! What the journal asks of the file system when it writes: the seam through which full disks and failing fsyncs are
//! tested. Reading does not go through it.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

/// The file system as the journal's writer needs it.
pub trait Files: Send + Sync + 'static {
    /// Makes a new file for reading and writing, for its owner only. It must not exist.
    ///
    /// # Errors
    /// What the system says.
    fn create(&self, path: &Path) -> io::Result<Box<dyn JournalFile>>;

    /// Opens a file that exists, for reading and writing.
    ///
    /// # Errors
    /// What the system says.
    fn open(&self, path: &Path) -> io::Result<Box<dyn JournalFile>>;

    /// Gives a file its final name, replacing what has it.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// What the system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Which file is at this path now.
    ///
    /// # Errors
    /// What the system says; that there is none is an error of kind `NotFound`.
    fn identity(&self, path: &Path) -> io::Result<Identity>;
}

/// One open file.
pub trait JournalFile: Send {
    /// Makes room for `len` bytes from the start, or fails with `ENOSPC`. What it makes room with reads as zeros.
    ///
    /// # Errors
    /// What the system says. A file system that cannot do this is no error: writing will then find out.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Writes some of `bytes` at `offset`; returns how much.
    ///
    /// # Errors
    /// What the system says.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Makes what was written durable (`fdatasync`).
    ///
    /// # Errors
    /// What the system says. After an error nothing is known of what was written since the last success.
    fn sync_data(&self) -> io::Result<()>;

    /// What the open file is like now.
    ///
    /// # Errors
    /// What the system says.
    fn status(&self) -> io::Result<Status>;
}

/// Which file it is: the device and the number on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The device's number.
    pub device: u64,
    /// The inode's number.
    pub inode: u64,
}

/// What an open file is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Which file it is.
    pub identity: Identity,
    /// How many names it has; 0 when it was removed.
    pub links: u64,
    /// Its length in bytes.
    pub len: u64,
}

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemFiles;

struct SystemFile(File);

impl Files for SystemFiles {
    fn create(&self, path: &Path) -> io::Result<Box<dyn JournalFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Box::new(SystemFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn JournalFile>> {
        Ok(Box::new(SystemFile(OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn identity(&self, path: &Path) -> io::Result<Identity> {
        let found = std::fs::symlink_metadata(path)?;
        Ok(Identity { device: found.dev(), inode: found.ino() })
    }
}

impl JournalFile for SystemFile {
    fn allocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), 0, len) {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS | rustix::io::Errno::INVAL)
            | Ok(()) => Ok(()),
            Err(why) => Err(why.into()),
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn status(&self) -> io::Result<Status> {
        let found = self.0.metadata()?;
        let identity = Identity { device: found.dev(), inode: found.ino() };
        Ok(Status { identity, links: found.nlink(), len: found.len() })
    }
}
