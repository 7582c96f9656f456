//! What is done with segments that are closed: they are packed, and they are moved to an archive.
//!
//! Each step makes the new file whole and durable under another name, walks through it as [`verify`](crate::verify()) does
//! up to the segment that follows, gives it its name, and only then lets the old file go. A crash leaves the segment in one
//! form or in both; readers take one of them, and the next attempt finishes the work.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read as _, Write},
    os::unix::fs::{DirBuilderExt, symlink},
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use thiserror::Error;

use crate::{
    current::write_all,
    error::Fault,
    files::{Files, JournalFile},
    head::Head,
    line,
    lines::{Found, Lines},
    segment::{ARCHIVE, Segment},
};

/// A segment that nobody writes to any more.
#[derive(Clone, Debug)]
pub struct Closed {
    segment: Segment,
    /// Its last record.
    head: Head,
    until: Timestamp,
    bytes: u64,
}

/// A segment in the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archived {
    /// Where it is now.
    pub path: PathBuf,
    /// The sequence number of its first record.
    pub first: u64,
    /// The sequence number of its last record.
    pub last: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// How long the file is.
    pub bytes: u64,
}

/// Why a closed segment stays as it is, and where it is.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// It is not what was written, or its copy is not.
    #[error("{} is damaged at byte {offset}: {fault}", path.display())]
    Damaged {
        /// The segment, or its copy.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        fault: Fault,
    },
    /// The archive has another file of this name.
    #[error("{} is there already and is another one: give each broker an archive directory of its own", path.display())]
    Occupied {
        /// That file.
        path: PathBuf,
    },
    /// A file cannot be used.
    #[error("{} cannot be {verb}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was to be done to it.
        verb: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// zstd's own default: journals shrink to about half, at some hundred megabytes a second.
const LEVEL: i32 = 3;
const CHUNK: usize = 256 * 1024;
/// How much is written before it is synced: a commit that waits behind it waits for no more.
const PORTION: u64 = 4 * 1024 * 1024;

impl Closed {
    /// The closed segments that are in the journal's own directory, the oldest first.
    ///
    /// # Errors
    /// When a file cannot be read, or has no header.
    pub fn list(dir: &Path) -> Result<Vec<Self>, ArchiveError> {
        let segments = Segment::live(dir).map_err(failed(dir, "listed"))?;
        let pairs = segments.iter().zip(segments.iter().skip(1));
        pairs.map(|(segment, next)| Self::between(segment, next)).collect::<Result<Vec<_>, _>>().map(
            |found| {
                // The segment that was begun last may have no record yet: then it is not known when the one before ended.
                found.into_iter().flatten().collect()
            },
        )
    }

    fn between(segment: &Segment, next: &Segment) -> Result<Option<Self>, ArchiveError> {
        let mut lines = Lines::open(next).map_err(failed(&next.path, "read"))?;
        let damaged = |fault| ArchiveError::Damaged { path: next.path.clone(), offset: 0, fault };
        let line = |lines: &mut Lines| match lines.next().map_err(failed(&next.path, "read"))? {
            Found::Line { range, .. } => Ok(Some(range)),
            Found::End | Found::Cut => Ok(None),
        };
        let header = line(&mut lines)?.ok_or_else(|| damaged(Fault::Header))?;
        let head = next.before(lines.bytes(header)).ok_or_else(|| damaged(Fault::Header))?;
        let Some(first) = line(&mut lines)? else { return Ok(None) };
        let until = line::stamp(lines.bytes(first)).map_err(damaged)?.time;
        let found = fs::metadata(&segment.path).map_err(failed(&segment.path, "examined"))?;
        Ok(Some(Self { segment: segment.clone(), head, until, bytes: found.len() }))
    }

    /// The sequence number of its first record.
    pub fn first(&self) -> u64 {
        self.segment.first
    }

    /// The sequence number of its last record.
    pub fn last(&self) -> u64 {
        self.head.seq
    }

    /// The time of the record that follows it.
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// How long the file is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether it is packed.
    pub fn is_packed(&self) -> bool {
        self.segment.packed
    }

    /// Compresses it where it is.
    ///
    /// # Errors
    /// When it is damaged, or when a file cannot be written; it is as it was then.
    pub fn pack(&self, files: &dyn Files) -> Result<(), ArchiveError> {
        if self.is_packed() {
            return Ok(());
        }
        let dir = self.segment.path.parent().unwrap_or(Path::new("."));
        let path = dir.join(self.segment.packed_name());
        let new = Unfinished::create(files, &path)?;
        let mut out =
            zstd::Encoder::new(Sink::new(&*new.file), LEVEL).map_err(failed(&new.path, "written"))?;
        out.include_checksum(true).map_err(failed(&new.path, "written"))?;
        let read = || failed(&self.segment.path, "read");
        let mut lines = Lines::open(&self.segment).map_err(read())?;
        while let Found::Line { range, .. } = lines.next().map_err(read())? {
            let line = lines.bytes(range);
            out.write_all(line).and_then(|()| out.write_all(b"\n")).map_err(failed(&new.path, "written"))?;
        }
        out.finish().map_err(failed(&new.path, "written"))?;
        let offset = lines.offset();
        if !lines.remains(offset).map_err(read())?.is_empty() {
            // Evidence of something: it is not left out silently.
            return Err(ArchiveError::Damaged {
                path: self.segment.path.clone(),
                offset,
                fault: Fault::Remains,
            });
        }
        self.check(&new.path, true)?;
        new.name(files, &path)?;
        self.remove(files)
    }

    /// Copies it to an archive; it stays where it is until [`Closed::remove`].
    ///
    /// # Errors
    /// When it is damaged, when the archive has another file of its name, or when a file cannot be read or written.
    pub fn copy_to(&self, archive: &Path, files: &dyn Files) -> Result<Archived, ArchiveError> {
        let name = self.segment.path.file_name().unwrap_or_default();
        let path = archive.join(name);
        let (sha256, bytes) = digest(&self.segment.path)?;
        let archived = Archived { path: path.clone(), first: self.first(), last: self.last(), sha256, bytes };
        if path.exists() {
            // A crash came between the copy and the removal.
            return match digest(&path)? == (archived.sha256.clone(), bytes) {
                true => Ok(archived),
                false => Err(ArchiveError::Occupied { path }),
            };
        }
        let new = Unfinished::create(files, &path)?;
        let mut from = File::open(&self.segment.path).map_err(failed(&self.segment.path, "read"))?;
        let mut out = Sink::new(&*new.file);
        io::copy(&mut from, &mut out).map_err(failed(&new.path, "written"))?;
        self.check(&new.path, self.segment.packed)?;
        new.name(files, &path)?;
        Ok(archived)
    }

    /// Removes it from the journal's directory: only when it is whole elsewhere.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, files: &dyn Files) -> Result<(), ArchiveError> {
        let path = &self.segment.path;
        fs::remove_file(path).map_err(failed(path, "removed"))?;
        let dir = path.parent().unwrap_or(Path::new("."));
        files.sync_dir(dir).map_err(failed(dir, "synced"))
    }

    /// Walks through this segment as it is at `path`: from its header to the record that the next segment's header names.
    fn check(&self, path: &Path, packed: bool) -> Result<(), ArchiveError> {
        let segment = Segment { path: path.to_owned(), packed, ..self.segment.clone() };
        let mut lines = Lines::open(&segment).map_err(failed(path, "read"))?;
        let mut head = None;
        loop {
            let offset = lines.offset();
            let damaged = |fault| ArchiveError::Damaged { path: path.to_owned(), offset, fault };
            let range = match lines.next().map_err(failed(path, "read"))? {
                Found::Line { range, .. } => range,
                Found::End if head == Some(self.head) => return Ok(()),
                Found::End | Found::Cut => return Err(damaged(Fault::Incomplete)),
            };
            head = Some(match head {
                None => segment.before(lines.bytes(range)).ok_or_else(|| damaged(Fault::Header))?,
                Some(head) => line::follow(head, lines.bytes(range)).map_err(damaged)?.0,
            });
        }
    }
}

/// Makes an archive directory, and lets readers of the journal in `dir` find it.
///
/// # Errors
/// When it cannot be made, or when the journal's archive is elsewhere already.
pub fn link_archive(dir: &Path, archive: &Path) -> Result<(), ArchiveError> {
    DirBuilder::new().recursive(true).mode(0o700).create(archive).map_err(failed(archive, "created"))?;
    let archive = archive.canonicalize().map_err(failed(archive, "found"))?;
    let link = dir.join(ARCHIVE);
    match link.canonicalize() {
        Ok(found) if found == archive => return Ok(()),
        Ok(_) => return Err(ArchiveError::Occupied { path: link }),
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(failed(&link, "read")(why)),
        // A link to where nothing is any more.
        Err(_) if link.is_symlink() => fs::remove_file(&link).map_err(failed(&link, "removed"))?,
        Err(_) => {}
    }
    symlink(&archive, &link).map_err(failed(&link, "created"))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed(dir, "synced"))
}

/// A file that does not have its name yet; it is gone when it never gets it.
struct Unfinished {
    path: PathBuf,
    file: Box<dyn JournalFile>,
    named: bool,
}

impl Unfinished {
    fn create(files: &dyn Files, of: &Path) -> Result<Self, ArchiveError> {
        let mut path = of.as_os_str().to_owned();
        path.push(".new");
        let path = PathBuf::from(path);
        match fs::remove_file(&path) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(failed(&path, "removed")(why)),
            _ => {}
        }
        let file = files.create(&path).map_err(failed(&path, "created"))?;
        Ok(Self { path, file, named: false })
    }

    /// Makes it durable, first what is in it and then its name.
    fn name(mut self, files: &dyn Files, name: &Path) -> Result<(), ArchiveError> {
        self.file.sync_data().map_err(failed(&self.path, "synced"))?;
        files.rename(&self.path, name).map_err(failed(name, "renamed"))?;
        self.named = true;
        let dir = name.parent().unwrap_or(Path::new("."));
        files.sync_dir(dir).map_err(failed(dir, "synced"))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.named {
            drop(fs::remove_file(&self.path));
        }
    }
}

/// Writes to a file from its start on, and brings it to disk piece by piece.
struct Sink<'a> {
    file: &'a dyn JournalFile,
    at: u64,
    synced: u64,
}

impl<'a> Sink<'a> {
    fn new(file: &'a dyn JournalFile) -> Self {
        Self { file, at: 0, synced: 0 }
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_all(self.file, bytes, self.at)?;
        self.at = self.at.saturating_add(bytes.len() as u64);
        if self.at.saturating_sub(self.synced) >= PORTION {
            self.file.sync_data()?;
            self.synced = self.at;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file's SHA-256 in hexadecimal, and its length.
fn digest(path: &Path) -> Result<(String, u64), ArchiveError> {
    let mut file = File::open(path).map_err(failed(path, "read"))?;
    let (mut context, mut bytes, mut chunk) = (Context::new(&SHA256), 0_u64, vec![0; CHUNK]);
    loop {
        let count = file.read(&mut chunk).map_err(failed(path, "read"))?;
        let read = chunk.get(..count).unwrap_or_default();
        if read.is_empty() {
            return Ok((HEXLOWER.encode(context.finish().as_ref()), bytes));
        }
        context.update(read);
        bytes = bytes.saturating_add(count as u64);
    }
}

fn failed(path: &Path, verb: &'static str) -> impl FnOnce(io::Error) -> ArchiveError + use<> {
    let path = path.to_owned();
    move |source| ArchiveError::Io { path, verb, source }
}
