//! The directory: reading and writing versions' files. Blocking, and without an opinion on whom it serves.
//!
//! A version is written beside its place, fsynced, renamed into it, and the directory fsynced: it is there whole and for
//! good, or not at all. The one with the highest number is current; there is no other pointer that could disagree.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use leasehold_core::{
    SecretValue,
    ports::{Clock, Entropy},
};
use leasehold_seal::KeyRing;

use crate::{
    config::LocalConfig,
    directory::{Directory, SECRETS, make_private, read_private, sync_directory},
    fault::{Fault, OpenError},
    reference::{Reference, Version},
    stored::{Stored, context},
};

/// The secrets of one directory.
pub(crate) struct Store {
    config: LocalConfig,
    keys: Arc<KeyRing>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    root: PathBuf,
    /// Readers share it: what they see is then durable, and no version vanishes under them.
    access: RwLock<()>,
    _held: Directory,
}

/// What is to be written.
pub(crate) struct NewVersion {
    /// The value.
    pub(crate) value: SecretValue,
    /// Makes a repeated write the same write.
    pub(crate) token: Box<str>,
    /// The version that must be current.
    pub(crate) expected: Option<Version>,
}

/// What a version is called before it is whole.
const UNFINISHED: &str = ".new";

impl Store {
    pub(crate) fn open(
        config: LocalConfig,
        keys: Arc<KeyRing>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, OpenError> {
        if config.history == 0 {
            return Err(OpenError::NoHistory);
        }
        let held = Directory::open(&config.directory)?;
        let root = config.directory.join(SECRETS);
        Ok(Self { config, keys, clock, entropy, root, access: RwLock::new(()), _held: held })
    }

    /// One version, or the current one.
    pub(crate) fn read(
        &self,
        reference: &Reference,
        version: Option<&Version>,
    ) -> Result<(Version, Stored), Fault> {
        let _shared = self.access.read().unwrap_or_else(PoisonError::into_inner);
        let directory = reference.directory(&self.root);
        let version = match version {
            Some(version) => version.clone(),
            None => versions(&directory)?.pop().ok_or(Fault::Absent)?,
        };
        let stored = self.load(reference, &directory, &version)?;
        Ok((version, stored))
    }

    /// Writes a version and makes it current, or finds that it was written before.
    pub(crate) fn write(&self, reference: &Reference, new: NewVersion) -> Result<Version, Fault> {
        self.check(&new)?;
        let _alone = self.access.write().unwrap_or_else(PoisonError::into_inner);
        let directory = reference.directory(&self.root);
        let mut present = versions(&directory)?;
        if let Some(written) = self.find(reference, &directory, &present, &new)? {
            // The first attempt may have died between its rename and its fsync.
            sync_directory(&directory).map_err(Fault::io("fsync", &directory))?;
            return Ok(written);
        }
        if let Some(expected) = new.expected
            && present.last() != Some(&expected)
        {
            return Err(Fault::Conflict { current: present.pop(), expected });
        }
        let mut random = [0; 5];
        self.entropy.fill(&mut random).map_err(|_| Fault::Broken("the system gave no randomness"))?;
        let last = present.last().map_or(0, |version| version.number);
        let number = last.checked_add(1).ok_or(Fault::Unfit("there are no version numbers left"))?;
        let version = Version::new(number, random);
        let stored = Stored { created_at: self.clock.now(), token: new.token, value: new.value };
        self.place(reference, &directory, &version, &stored)?;
        present.push(version.clone());
        self.prune(&directory, &present);
        Ok(version)
    }

    /// Removes an old version. One that is gone already is a success.
    pub(crate) fn retire(&self, reference: &Reference, version: &Version) -> Result<(), Fault> {
        let _alone = self.access.write().unwrap_or_else(PoisonError::into_inner);
        let directory = reference.directory(&self.root);
        let present = versions(&directory)?;
        if present.last() == Some(version) {
            return Err(Fault::Current(version.clone()));
        }
        if present.contains(version) {
            let path = directory.join(version.to_string());
            fs::remove_file(&path).map_err(Fault::io("remove", &path))?;
            sync_directory(&directory).map_err(Fault::io("fsync", &directory))?;
        }
        Ok(())
    }

    fn check(&self, new: &NewVersion) -> Result<(), Fault> {
        let limit = self.config.max_value_bytes;
        let size = new.value.fields.values().fold(0usize, |sum, bytes| sum.saturating_add(bytes.len()));
        if size > limit {
            return Err(Fault::TooLarge { size, limit });
        }
        if new.value.fields.is_empty() {
            return Err(Fault::Unfit("a value has at least one field"));
        }
        if new.token.is_empty() || new.token.len() > 256 || new.value.content_type.len() > 256 {
            return Err(Fault::Unfit("a token has 1 to 256 bytes, and a content type at most 256"));
        }
        Ok(())
    }

    /// The version that the same write made earlier, among those that are kept.
    fn find(
        &self,
        reference: &Reference,
        directory: &Path,
        present: &[Version],
        new: &NewVersion,
    ) -> Result<Option<Version>, Fault> {
        for version in present.iter().rev() {
            let stored = match self.load(reference, directory, version) {
                // A new version is the way out of a damaged one.
                Err(fault) if fault.is_damage() => continue,
                loaded => loaded?,
            };
            if stored.token == new.token {
                let same = stored.holds(&new.value, &*self.keys.value_mac());
                return if same { Ok(Some(version.clone())) } else { Err(Fault::TokenReused) };
            }
        }
        Ok(None)
    }

    fn load(&self, reference: &Reference, directory: &Path, version: &Version) -> Result<Stored, Fault> {
        let path = directory.join(version.to_string());
        // Base64 makes four bytes of three; names, times and the envelope need little.
        let limit = self.config.max_value_bytes.saturating_mul(2).saturating_add(64 * 1024);
        let sealed = read_private(&path, limit)?;
        let plain = self
            .keys
            .open(&context(reference, version), &sealed)
            .map_err(|source| Fault::Sealed { path: path.clone(), source })?;
        Stored::decode(&plain).ok_or(Fault::Unreadable { path })
    }

    /// Makes a version's file, whole and durable.
    fn place(
        &self,
        reference: &Reference,
        directory: &Path,
        version: &Version,
        stored: &Stored,
    ) -> Result<(), Fault> {
        let path = directory.join(version.to_string());
        let plain = stored.encode().ok_or(Fault::Broken("the value cannot be written"))?;
        let sealed = self
            .keys
            .seal(&context(reference, version), plain.expose())
            .map_err(|source| Fault::Sealed { path: path.clone(), source })?;
        make_private(&self.root, directory)?;
        let unfinished = directory.join(UNFINISHED);
        let placed = write_durably(&unfinished, &sealed)
            .and_then(|()| fs::rename(&unfinished, &path).map_err(Fault::io("rename into", &path)))
            .and_then(|()| sync_directory(directory).map_err(Fault::io("fsync", directory)));
        if placed.is_err() {
            // What may or may not be durable must not be seen as current.
            for left in [&unfinished, &path] {
                let _ = fs::remove_file(left);
            }
        }
        placed
    }

    /// Removes what is older than the history. A file that stays is tried again at the next write.
    fn prune(&self, directory: &Path, present: &[Version]) {
        let spare = present.len().saturating_sub(self.config.history);
        for version in present.iter().take(spare) {
            let _ = fs::remove_file(directory.join(version.to_string()));
        }
    }
}

/// The versions in a secret's directory, the oldest first. Other files there are none of ours.
fn versions(directory: &Path) -> Result<Vec<Version>, Fault> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Fault::io("list", directory)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Fault::io("list", directory))?;
        found.extend(entry.file_name().to_str().and_then(Version::parse));
    }
    found.sort();
    match found.last_chunk() {
        Some([before, last]) if before.number == last.number => {
            Err(Fault::Ambiguous { path: directory.to_owned(), number: last.number })
        }
        _ => Ok(found),
    }
}

/// Writes a new file and waits until it is on the disk. One that a crash left under this name goes first.
fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(Fault::io("remove", path)(error)),
        _ => {}
    }
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(Fault::io("create", path))?;
    file.write_all(bytes).map_err(Fault::io("write", path))?;
    file.sync_all().map_err(Fault::io("fsync", path))
}
