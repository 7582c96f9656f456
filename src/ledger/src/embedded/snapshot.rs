//! Snapshots: the whole state as of one record in one file, so that a rebuild need not begin with the first record.
//!
//! A line of JSON says which record (`{"leasehold-snapshot":1,"seq":..,"hash":"..","keys":..}`); then frames: a kind (1
//! byte: 0 entries, 1 end), a length (4 bytes, little endian) and a sealed block of entries as in the index's runs; the
//! last frame seals how many entries there were. Each frame is sealed for its place in this snapshot. The file gets its
//! name when it is durable, and its SHA-256 is recorded in the journal after that.
//!
//! It is made of runs, which never change, so it is exact as of the record that they end with, and commits go on meanwhile.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{BufRead, BufReader, BufWriter, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::HEXLOWER;
use leasehold_audit::Head;
use leasehold_core::{
    SecretBytes,
    bytes::{Reader, put_bytes, put_number},
};
use leasehold_seal::KeyRing;
use serde::{Deserialize, Serialize};

use crate::index::{BlockBuilder, BlockCursor, IndexError, Row, Whole};

/// So many are kept.
const KEPT: usize = 2;
/// How many blocks are written at a time.
const STEP_BLOCKS: u32 = 64;
/// How many bytes are written before they are brought to disk: commits that wait behind that wait for no more.
const SYNC_BYTES: u64 = 4 * 1024 * 1024;
/// No sealed block is longer; a longer one is no block.
const LONGEST: u32 = 256 * 1024 * 1024;
const ENTRIES: u8 = 0;
const END: u8 = 1;

/// The directory of the snapshots.
#[derive(Clone)]
pub(crate) struct Snapshots {
    dir: PathBuf,
    keys: Arc<KeyRing>,
}

/// A snapshot that is being written.
pub(crate) struct Snapshot {
    whole: Whole,
    out: Output,
    block: BlockBuilder,
    keys: u64,
    path: PathBuf,
    new: Unfinished,
}

/// The file under its first name, which is gone when it has its last one. What is given up takes no room.
struct Unfinished(PathBuf);

/// A snapshot that is durable.
pub(crate) struct Written {
    pub(crate) path: PathBuf,
    pub(crate) head: Head,
    /// SHA-256 of the file, in hexadecimal.
    pub(crate) digest: String,
    pub(crate) keys: u64,
}

/// A snapshot that is read: its rows, and then its digest.
pub(crate) struct SnapshotRows {
    file: BufReader<File>,
    keys: Arc<KeyRing>,
    path: PathBuf,
    pub(crate) head: Head,
    /// About how many entries it has.
    pub(crate) about: u64,
    frame: u64,
    read: u64,
    block: Option<BlockCursor>,
    digest: Context,
    ended: bool,
}

#[derive(Serialize, Deserialize)]
struct Header {
    #[serde(rename = "leasehold-snapshot")]
    form: u32,
    seq: u64,
    hash: String,
    keys: u64,
}

struct Output {
    file: BufWriter<File>,
    keys: Arc<KeyRing>,
    head: Head,
    frame: u64,
    digest: Context,
    /// How many bytes were written since they were last brought to disk.
    unsynced: u64,
}

impl Snapshots {
    /// The snapshots in `dir`; removes what a crash left unfinished.
    pub(crate) fn open(dir: PathBuf, keys: Arc<KeyRing>) -> Result<Self, IndexError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(IndexError::io(&dir, "created"))?;
        for path in list(&dir, "new")? {
            fs::remove_file(&path).map_err(IndexError::io(path, "removed"))?;
        }
        Ok(Self { dir, keys })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The finished ones, the newest first.
    pub(crate) fn list(&self) -> Result<Vec<PathBuf>, IndexError> {
        let mut found = list(&self.dir, "snapshot")?;
        found.sort_unstable_by(|a, b| b.cmp(a));
        Ok(found)
    }

    /// The record of the newest one, by its name; 0 when there is none.
    pub(crate) fn last(&self) -> Result<u64, IndexError> {
        let found = self.list()?;
        let newest = found.first().and_then(|path| path.file_stem()?.to_str()?.parse().ok());
        Ok(newest.unwrap_or_default())
    }

    /// Begins one of about `keys` entries.
    pub(crate) fn begin(&self, whole: Whole, keys: u64) -> Result<Snapshot, IndexError> {
        let head = whole.head;
        let path = self.dir.join(format!("{:020}.snapshot", head.seq));
        let new = path.with_extension("new");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new);
        let file = BufWriter::with_capacity(256 * 1024, file.map_err(IndexError::io(&new, "created"))?);
        let (keyring, digest) = (Arc::clone(&self.keys), Context::new(&SHA256));
        let mut out = Output { file, keys: keyring, head, frame: 0, digest, unsynced: 0 };
        let header = Header { form: 1, seq: head.seq, hash: HEXLOWER.encode(&head.hash), keys };
        let mut line = serde_json::to_vec(&header).map_err(|why| IndexError::Damaged(why.to_string()))?;
        line.push(b'\n');
        out.write(&line).map_err(IndexError::io(&new, "written"))?;
        Ok(Snapshot { whole, out, block: BlockBuilder::default(), keys: 0, path, new: Unfinished(new) })
    }

    /// Opens one for reading.
    pub(crate) fn read(&self, path: &Path) -> Result<SnapshotRows, IndexError> {
        let file = File::open(path).map_err(IndexError::io(path, "opened"))?;
        let mut file = BufReader::with_capacity(256 * 1024, file);
        let mut line = Vec::new();
        let read = file.by_ref().take(4096).read_until(b'\n', &mut line);
        read.map_err(IndexError::io(path, "read"))?;
        let parse = || {
            let header: Header = serde_json::from_slice(&line).ok()?;
            let hash = HEXLOWER.decode(header.hash.as_bytes()).ok()?.try_into().ok()?;
            (header.form == 1).then_some((Head { seq: header.seq, hash }, header.keys))
        };
        let (head, about) = parse().ok_or_else(|| damaged(path))?;
        let mut digest = Context::new(&SHA256);
        digest.update(&line);
        Ok(SnapshotRows {
            file,
            keys: Arc::clone(&self.keys),
            path: path.to_owned(),
            head,
            about,
            frame: 0,
            read: 0,
            block: None,
            digest,
            ended: false,
        })
    }

    /// Removes all but the newest.
    pub(crate) fn prune(&self) -> Result<(), IndexError> {
        for path in self.list()?.into_iter().skip(KEPT) {
            fs::remove_file(&path).map_err(IndexError::io(path, "removed"))?;
        }
        Ok(())
    }
}

impl Snapshot {
    /// Writes a piece; gives it back while there is more, else what was written.
    pub(crate) fn step(mut self) -> Result<Result<Self, Written>, IndexError> {
        for _ in 0..STEP_BLOCKS {
            while !self.block.is_full() {
                let Some(Row { key, slot }) = self.whole.next()? else {
                    return self.finish().map(Err);
                };
                self.keys = self.keys.saturating_add(1);
                self.block.push(key.as_str(), slot.revision, slot.value.as_ref().map(SecretBytes::expose));
            }
            self.write_block()?;
        }
        Ok(Ok(self))
    }

    fn write_block(&mut self) -> Result<(), IndexError> {
        let Some((_, plain)) = self.block.take() else { return Ok(()) };
        self.out.frame(&self.new.0, ENTRIES, plain.expose())
    }

    fn finish(mut self) -> Result<Written, IndexError> {
        self.write_block()?;
        let mut count = Vec::new();
        put_number(&mut count, self.keys);
        self.out.frame(&self.new.0, END, &count)?;
        let Output { file, head, digest, .. } = self.out;
        let synced = file.into_inner().map_err(|why| why.into_error()).and_then(|file| file.sync_all());
        synced.map_err(IndexError::io(&self.new.0, "synced"))?;
        fs::rename(&self.new.0, &self.path).map_err(IndexError::io(&self.path, "renamed"))?;
        let dir = self.path.parent().unwrap_or(Path::new("."));
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(IndexError::io(dir, "synced"))?;
        let digest = HEXLOWER.encode(digest.finish().as_ref());
        Ok(Written { path: self.path, head, digest, keys: self.keys })
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Output {
    fn frame(&mut self, path: &Path, kind: u8, plain: &[u8]) -> Result<(), IndexError> {
        let context = context(self.head, self.frame, kind);
        let sealed = self.keys.seal(&context, plain).map_err(IndexError::Key)?;
        let length = u32::try_from(sealed.len()).ok().filter(|length| *length <= LONGEST);
        let length = length.ok_or_else(|| IndexError::Damaged("an entry is too long".to_owned()))?;
        self.frame = self.frame.saturating_add(1);
        let parts = [&[kind][..], &length.to_le_bytes(), &sealed];
        parts.into_iter().try_for_each(|part| self.write(part)).map_err(IndexError::io(path, "written"))
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.digest.update(bytes);
        self.file.write_all(bytes)?;
        self.unsynced = self.unsynced.saturating_add(bytes.len() as u64);
        if self.unsynced >= SYNC_BYTES {
            self.unsynced = 0;
            self.file.flush()?;
            self.file.get_ref().sync_data()?;
        }
        Ok(())
    }
}

impl SnapshotRows {
    /// The next entry; `None` at the end of a whole snapshot.
    pub(crate) fn next(&mut self) -> Result<Option<Row>, IndexError> {
        loop {
            if let Some(block) = &mut self.block
                && let Some(row) = block.next_row().map_err(|_| damaged(&self.path))?
            {
                self.read = self.read.saturating_add(1);
                return Ok(Some(row));
            }
            if self.ended {
                return Ok(None);
            }
            self.next_frame()?;
        }
    }

    /// The file's SHA-256, in hexadecimal, when all of it was read.
    pub(crate) fn digest(self) -> String {
        HEXLOWER.encode(self.digest.finish().as_ref())
    }

    fn next_frame(&mut self) -> Result<(), IndexError> {
        let mut head = [0; 5];
        self.fill(&mut head)?;
        let [kind, length @ ..] = head;
        let length = u32::from_le_bytes(length);
        if kind > END || length > LONGEST {
            return Err(damaged(&self.path));
        }
        let mut sealed = vec![0; usize::try_from(length).unwrap_or_default()];
        self.fill(&mut sealed)?;
        let context = context(self.head, self.frame, kind);
        let plain = self.keys.open(&context, &sealed);
        let plain = plain.map_err(|why| IndexError::sealed(&self.path.display().to_string())(why))?;
        self.frame = self.frame.saturating_add(1);
        if kind == END {
            let at_end = self.file.fill_buf().map_err(IndexError::io(&self.path, "read"))?.is_empty();
            self.ended = at_end && Reader::new(plain.expose()).number() == Some(self.read);
            self.block = None;
            return if self.ended { Ok(()) } else { Err(damaged(&self.path)) };
        }
        self.block = Some(BlockCursor::new(plain));
        Ok(())
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), IndexError> {
        self.file.read_exact(buffer).map_err(|_| damaged(&self.path))?;
        self.digest.update(buffer);
        Ok(())
    }
}

fn damaged(path: &Path) -> IndexError {
    IndexError::Damaged(format!("{} is not a whole snapshot", path.display()))
}

fn context(head: Head, frame: u64, kind: u8) -> Vec<u8> {
    let mut context = Vec::with_capacity(80);
    put_bytes(&mut context, b"leasehold/snapshot");
    put_number(&mut context, head.seq);
    context.extend_from_slice(&head.hash);
    put_number(&mut context, frame);
    context.push(kind);
    context
}

fn list(dir: &Path, extension: &str) -> Result<Vec<PathBuf>, IndexError> {
    let entries = fs::read_dir(dir).map_err(IndexError::io(dir, "listed"))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let paths: Vec<_> = paths.collect::<Result<_, _>>().map_err(IndexError::io(dir, "listed"))?;
    Ok(paths.into_iter().filter(|path| path.extension().is_some_and(|found| found == extension)).collect())
}
