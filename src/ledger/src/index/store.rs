//! The index on disk: the files of its runs, and sled as the catalogue that finds a block by its first key.
//!
//! sled is not asked to hold every key: that costs it 10 to 30 microseconds a key, five of them for each lease. It holds
//! one for each block of some dozens of entries, and the manifest, whose replacement is the one step that makes a new
//! run count. What sled has lost after a crash was in no manifest, or its run is still in the journal.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::Arc,
};

use leasehold_audit::Head;
use leasehold_core::{
    SecretBytes,
    bytes::{put_bytes, put_number},
    state::Key,
};
use leasehold_seal::KeyRing;
use serde::{Deserialize, Serialize};

use super::error::IndexError;

/// How much sled may cache. Its cache is counted in accesses, not bytes, so that it is small only with small values.
const CACHE_BYTES: u64 = 2 * 1024 * 1024;
const MANIFEST: &[u8] = b"manifest";
/// With the form of the index: one of another form does not open, and is made anew.
const MANIFEST_CONTEXT: &[u8] = b"leasehold/index/manifest/2";
/// A file that is in the directory when something damaged was read from it.
const DOUBTFUL: &str = "doubtful";

/// What the index consists of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Drawn when the index was made: blocks of another index do not open in this one.
    pub(crate) index: [u8; 16],
    /// The last record that is in the runs.
    pub(crate) seq: u64,
    /// Its hash.
    pub(crate) hash: [u8; 32],
    /// The number of the next run.
    pub(crate) next_run: u64,
    /// The runs, the newest first.
    pub(crate) runs: Vec<RunFacts>,
}

/// What the manifest knows of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunFacts {
    pub(crate) id: u64,
    /// How many entries it has, deletions included.
    pub(crate) keys: u64,
    /// How many of them are deletions.
    pub(crate) deleted: u64,
    /// Where its blocks end and its filter begins.
    pub(crate) bytes: u64,
    /// How long the sealed filter is.
    pub(crate) filter: u32,
}

/// Where a block lies in its run's file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) at: u64,
    pub(crate) length: u32,
}

/// The directory of the index.
pub(crate) struct Store {
    dir: PathBuf,
    runs: PathBuf,
    catalogue_dir: PathBuf,
    db: sled::Db,
    blocks: sled::Tree,
    keys: Arc<KeyRing>,
}

impl Manifest {
    /// An index of nothing.
    pub(crate) fn empty(index: [u8; 16]) -> Self {
        Self { index, seq: Head::START.seq, hash: Head::START.hash, next_run: 1, runs: Vec::new() }
    }

    pub(crate) fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash }
    }

    pub(crate) fn with_head(mut self, head: Head) -> Self {
        (self.seq, self.hash) = (head.seq, head.hash);
        self
    }
}

impl Store {
    /// Opens or makes the directory; the manifest is absent in a new one.
    pub(crate) fn open(dir: &Path, keys: Arc<KeyRing>) -> Result<(Self, Option<Manifest>), IndexError> {
        let (runs, catalogue_dir) = (dir.join("runs"), dir.join("catalogue"));
        for dir in [dir, &runs, &catalogue_dir] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
            made.map_err(IndexError::io(dir, "created"))?;
        }
        let config = sled::Config::new()
            .path(&catalogue_dir)
            .cache_capacity(CACHE_BYTES)
            .mode(sled::Mode::LowSpace)
            .flush_every_ms(None);
        // sled can panic on files that a power cut left half written; that too is an index that does not open.
        let db = panic::catch_unwind(AssertUnwindSafe(|| config.open()))
            .map_err(|_| IndexError::Damaged("sled gave up on the catalogue".to_owned()))??;
        let blocks = db.open_tree("blocks")?;
        let store = Self { dir: dir.to_owned(), runs, catalogue_dir, db, blocks, keys };
        let manifest = store.manifest()?;
        Ok((store, manifest))
    }

    fn manifest(&self) -> Result<Option<Manifest>, IndexError> {
        let Some(sealed) = self.db.get(MANIFEST)? else { return Ok(None) };
        let plain = self.keys.open(MANIFEST_CONTEXT, &sealed).map_err(IndexError::sealed("the manifest"))?;
        let manifest = serde_json::from_slice(plain.expose());
        Ok(Some(manifest.map_err(|why| IndexError::Damaged(format!("the manifest: {why}")))?))
    }

    /// Whether something damaged was read from the index in `dir`, by this process or one before.
    pub(crate) fn is_doubtful(dir: &Path) -> bool {
        dir.join(DOUBTFUL).exists()
    }

    /// Makes `manifest` the one that counts, and hands all of sled's writes to the kernel.
    pub(crate) fn set_manifest(&self, manifest: &Manifest) -> Result<(), IndexError> {
        let plain = serde_json::to_vec(manifest).map_err(|why| IndexError::Damaged(why.to_string()))?;
        let sealed = self.keys.seal(MANIFEST_CONTEXT, &plain).map_err(IndexError::Key)?;
        self.db.insert(MANIFEST, sealed)?;
        self.db.flush()?;
        Ok(())
    }

    pub(crate) fn create_run(&self, id: u64) -> Result<File, IndexError> {
        let path = self.run_path(id);
        // A run that a crash left unfinished has no place in the manifest, so that its number is given again.
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(IndexError::io(path, "created"))
    }

    pub(crate) fn open_run(&self, id: u64) -> Result<File, IndexError> {
        let path = self.run_path(id);
        File::open(&path).map_err(IndexError::io(path, "opened"))
    }

    pub(crate) fn seal(
        &self,
        index: &[u8; 16],
        run: u64,
        at: u64,
        plain: &[u8],
    ) -> Result<Vec<u8>, IndexError> {
        self.keys.seal(&block_context(index, run, at), plain).map_err(IndexError::Key)
    }

    pub(crate) fn write(&self, file: &File, run: u64, at: u64, bytes: &[u8]) -> Result<(), IndexError> {
        file.write_all_at(bytes, at).map_err(IndexError::io(self.run_path(run), "written"))
    }

    /// Reads and opens what was sealed for this place of this run.
    pub(crate) fn read(
        &self,
        file: &File,
        index: &[u8; 16],
        run: u64,
        place: Place,
    ) -> Result<SecretBytes, IndexError> {
        let mut sealed = vec![0; usize::try_from(place.length).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut sealed, place.at)
            .map_err(IndexError::io(self.run_path(run), "read"))
            .and_then(|()| {
                let opened = self.keys.open(&block_context(index, run, place.at), &sealed);
                opened.map_err(|why| IndexError::sealed(&self.run_path(run).display().to_string())(why))
            })
            .inspect_err(|why| self.doubt(why))
    }

    /// Leaves word that the index is to be made anew at the next start: only there can that be done.
    fn doubt(&self, why: &IndexError) {
        let path = self.dir.join(DOUBTFUL);
        if !matches!(why, IndexError::Key(_)) && !path.exists() {
            tracing::error!(%why, "the index is damaged: restart, and it is made anew from the journal");
            if let Err(why) = File::create(&path) {
                tracing::error!(%why, "{} cannot be created: move the index away yourself", path.display());
            }
        }
    }

    /// Checks that every block of a run is catalogued: what sled forgot would be missing from the state without a word.
    pub(crate) fn check_catalogue(&self, facts: &RunFacts) -> Result<(), IndexError> {
        let mut blocks = self.blocks_from(facts.id, None)?;
        let mut end = 0;
        // They were written in the order of their keys, without a gap.
        while let Some((place, _)) = blocks.next()?.filter(|(place, _)| place.at == end) {
            end = place.at.saturating_add(u64::from(place.length));
        }
        if end == facts.bytes {
            return Ok(());
        }
        Err(IndexError::Damaged(format!("the catalogue has lost blocks of run {}", facts.id)))
    }

    /// Notes where the block that starts with `first` lies.
    pub(crate) fn place(&self, run: u64, first: &Key, place: Place) -> Result<(), IndexError> {
        let mut value = [0; 12];
        let (at, length) = value.split_at_mut(8);
        at.copy_from_slice(&place.at.to_le_bytes());
        length.copy_from_slice(&place.length.to_le_bytes());
        self.blocks.insert(catalogue_key(run, first), &value)?;
        Ok(())
    }

    /// The block in which `key` is, if it is in the run at all.
    pub(crate) fn find(&self, run: u64, key: &Key) -> Result<Option<Place>, IndexError> {
        let last = self.blocks.range(run.to_be_bytes().to_vec()..=catalogue_key(run, key)).next_back();
        last.transpose()?.map(|(_, value)| parse_place(&value)).transpose()
    }

    /// The blocks from the one in which `key` would be.
    pub(crate) fn blocks_from(&self, run: u64, key: Option<&Key>) -> Result<Blocks, IndexError> {
        let start = run.to_be_bytes().to_vec();
        let from = match key {
            None => start,
            Some(key) => {
                let last = self.blocks.range(start.clone()..=catalogue_key(run, key)).next_back();
                last.transpose()?.map_or(start, |(found, _)| found.to_vec())
            }
        };
        Ok(Blocks(self.blocks.range(from..run.saturating_add(1).to_be_bytes().to_vec())))
    }

    /// Removes a run that no manifest names and nobody reads.
    pub(crate) fn remove_run(&self, id: u64) -> Result<(), IndexError> {
        for key in self.blocks.range(id.to_be_bytes()..id.saturating_add(1).to_be_bytes()).keys() {
            self.blocks.remove(key?)?;
        }
        let path = self.run_path(id);
        match fs::remove_file(&path) {
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
                Err(IndexError::io(path, "removed")(why))
            }
            _ => Ok(()),
        }
    }

    /// Removes what is left of runs that no manifest names: work that a crash cut short.
    pub(crate) fn remove_strangers(&self, manifest: &Manifest) -> Result<(), IndexError> {
        let known = |id: u64| manifest.runs.iter().any(|run| run.id == id);
        let mut from = 0u64;
        while let Some(entry) = self.blocks.range(from.to_be_bytes()..).next() {
            let (key, _) = entry?;
            let Some(id) = key.first_chunk::<8>().map(|id| u64::from_be_bytes(*id)) else {
                return Err(IndexError::Damaged("the catalogue has a key without a run".to_owned()));
            };
            if !known(id) {
                self.remove_run(id)?;
            }
            from = id.saturating_add(1);
        }
        for entry in fs::read_dir(&self.runs).map_err(IndexError::io(&self.runs, "listed"))? {
            let path = entry.map_err(IndexError::io(&self.runs, "listed"))?.path();
            let id = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            if !id.is_some_and(known) {
                fs::remove_file(&path).map_err(IndexError::io(path, "removed"))?;
            }
        }
        Ok(())
    }

    /// Makes the whole directory durable. sled's own flush does not: it starts the writing and does not wait for the
    /// disk's cache (`sync_file_range`).
    pub(crate) fn sync(&self) -> Result<(), IndexError> {
        self.db.flush()?;
        for dir in [&self.runs, &self.catalogue_dir] {
            sync_tree(dir)?;
        }
        Ok(())
    }

    fn run_path(&self, id: u64) -> PathBuf {
        self.runs.join(format!("{id:020}.run"))
    }
}

/// The blocks of a run in the order of their keys.
pub(crate) struct Blocks(sled::Iter);

impl Blocks {
    pub(crate) fn next(&mut self) -> Result<Option<(Place, FirstKey)>, IndexError> {
        let Some((key, value)) = self.0.next().transpose()? else { return Ok(None) };
        Ok(Some((parse_place(&value)?, FirstKey(key))))
    }
}

/// The first key of a block.
pub(crate) struct FirstKey(sled::IVec);

impl FirstKey {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.get(8..).unwrap_or_default()
    }
}

fn catalogue_key(run: u64, key: &Key) -> Vec<u8> {
    [&run.to_be_bytes(), key.as_str().as_bytes()].concat()
}

fn parse_place(value: &[u8]) -> Result<Place, IndexError> {
    let parse = || {
        let (at, rest) = value.split_first_chunk::<8>()?;
        let length = rest.first_chunk::<4>()?;
        Some(Place { at: u64::from_le_bytes(*at), length: u32::from_le_bytes(*length) })
    };
    parse().ok_or_else(|| IndexError::Damaged("the catalogue names a block without its place".to_owned()))
}

fn block_context(index: &[u8; 16], run: u64, at: u64) -> Vec<u8> {
    let mut context = Vec::with_capacity(64);
    put_bytes(&mut context, b"leasehold/index/run");
    context.extend_from_slice(index);
    put_number(&mut context, run);
    put_number(&mut context, at);
    context
}

fn sync_tree(dir: &Path) -> Result<(), IndexError> {
    for entry in fs::read_dir(dir).map_err(IndexError::io(dir, "listed"))? {
        let entry = entry.map_err(IndexError::io(dir, "listed"))?;
        let path = entry.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            File::open(&path).and_then(|file| file.sync_all()).map_err(IndexError::io(path, "synced"))?;
        }
    }
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(IndexError::io(dir, "synced"))
}
