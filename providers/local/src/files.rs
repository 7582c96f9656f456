//! The files of a secret: sealed, whole, durable.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use leasehold_core::SecretBytes;
use leasehold_seal::KeyRing;

use crate::{
    directory::{make_private, read_private, sync_directory},
    fault::Fault,
    reference::{Reference, Version},
    standing::{self, Standing},
    stored::{self, Stored},
};

/// Reads and places the sealed files of secrets under one root.
pub(crate) struct Files {
    root: PathBuf,
    keys: Arc<KeyRing>,
    max_value_bytes: usize,
}

/// What a file is called before it is whole.
const UNFINISHED: &str = ".new";
/// What was done to the versions.
const STANDING: &str = "standing";
/// It is a list of a few hundred names at most.
const LARGEST_STANDING: usize = 1 << 20;

impl Files {
    pub(crate) fn new(root: PathBuf, keys: Arc<KeyRing>, max_value_bytes: usize) -> Self {
        Self { root, keys, max_value_bytes }
    }

    /// A version's content.
    pub(crate) fn load(
        &self,
        reference: &Reference,
        directory: &Path,
        version: &Version,
    ) -> Result<Stored, Fault> {
        let path = directory.join(version.to_string());
        // Base64 makes four bytes of three; names, times and the envelope need little.
        let limit = self.max_value_bytes.saturating_mul(2).saturating_add(64 * 1024);
        let plain = self.unsealed(&path, limit, &stored::context(reference, version))?;
        Stored::decode(&plain).ok_or(Fault::Unreadable { path })
    }

    /// Makes a version's file, whole and durable.
    pub(crate) fn place(
        &self,
        reference: &Reference,
        directory: &Path,
        version: &Version,
        stored: &Stored,
    ) -> Result<(), Fault> {
        let plain = stored.encode().ok_or(Fault::Broken("the value cannot be written"))?;
        let path = directory.join(version.to_string());
        let placed = self.sealed(&path, directory, &stored::context(reference, version), &plain);
        if placed.is_err() {
            // What may or may not be durable must not be seen as current.
            for left in [&directory.join(UNFINISHED), &path] {
                let _ = fs::remove_file(left);
            }
        }
        placed
    }

    /// What was done to the secret's versions; nothing when nobody wrote of it.
    pub(crate) fn standing(&self, reference: &Reference, directory: &Path) -> Result<Standing, Fault> {
        let path = directory.join(STANDING);
        match self.unsealed(&path, LARGEST_STANDING, &standing::context(reference)) {
            Ok(plain) => Standing::decode(&plain).ok_or(Fault::Unreadable { path }),
            Err(Fault::Absent) => Ok(Standing::default()),
            Err(fault) => Err(fault),
        }
    }

    /// Replaces it, whole and durable.
    pub(crate) fn place_standing(
        &self,
        reference: &Reference,
        directory: &Path,
        standing: &Standing,
    ) -> Result<(), Fault> {
        let plain = standing.encode().ok_or(Fault::Broken("the standing cannot be written"))?;
        self.sealed(&directory.join(STANDING), directory, &standing::context(reference), &plain)
    }

    fn unsealed(&self, path: &Path, limit: usize, context: &[u8]) -> Result<SecretBytes, Fault> {
        let sealed = read_private(path, limit)?;
        self.keys.open(context, &sealed).map_err(|source| Fault::Sealed { path: path.to_owned(), source })
    }

    fn sealed(
        &self,
        path: &Path,
        directory: &Path,
        context: &[u8],
        plain: &SecretBytes,
    ) -> Result<(), Fault> {
        let sealed = self
            .keys
            .seal(context, plain.expose())
            .map_err(|source| Fault::Sealed { path: path.to_owned(), source })?;
        make_private(&self.root, directory)?;
        let unfinished = directory.join(UNFINISHED);
        write_durably(&unfinished, &sealed)?;
        fs::rename(&unfinished, path).map_err(Fault::io("rename into", path))?;
        sync_directory(directory).map_err(Fault::io("fsync", directory))
    }
}

/// The versions in a secret's directory, the oldest first. Other files there are none of ours.
pub(crate) fn versions(directory: &Path) -> Result<Vec<Version>, Fault> {
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

/// Every secret under `root`, in no order. Links are not followed, and what cannot be listed is left out.
pub(crate) fn secrets(root: &Path) -> Vec<Reference> {
    let (mut found, mut look) = (Vec::new(), vec![root.to_owned()]);
    while let Some(directory) = look.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            match Reference::of_directory(root, &entry.path()) {
                Some(reference) => found.push(reference),
                None => look.push(entry.path()),
            }
        }
    }
    found
}

/// Removes one file, durably. One that is gone already is a success.
pub(crate) fn remove(directory: &Path, name: &str) -> Result<(), Fault> {
    let path = directory.join(name);
    match fs::remove_file(&path) {
        Ok(()) => sync_directory(directory).map_err(Fault::io("fsync", directory)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Fault::io("remove", &path)(error)),
    }
}

/// Removes a secret's directory, durably. What says that it is deleted goes last, so that a crash brings nothing back.
pub(crate) fn remove_all(directory: &Path) -> Result<(), Fault> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Fault::io("list", directory)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(Fault::io("list", directory))?;
        if entry.file_name() != STANDING {
            let path = entry.path();
            fs::remove_file(&path).map_err(Fault::io("remove", &path))?;
        }
    }
    sync_directory(directory).map_err(Fault::io("fsync", directory))?;
    remove(directory, STANDING)?;
    fs::remove_dir(directory).map_err(Fault::io("remove", directory))?;
    match directory.parent() {
        Some(parent) => sync_directory(parent).map_err(Fault::io("fsync", parent)),
        None => Ok(()),
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
