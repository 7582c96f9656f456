//! A sealed bundle: all secrets of a directory in one file, to be carried to another one. Both are at rest meanwhile: who
//! exports or imports holds the directory's lock, so no broker does.
//!
//! ```text
//! leasehold-local-bundle/1\n   the form
//! 16 bytes                     the bundle's own name, random
//! frames                       each a length (4 bytes, big endian) and so many sealed bytes
//! ```
//!
//! A frame is sealed for its bundle and its place in it, so that none can be left out, put elsewhere or taken from another
//! bundle; the last one says how many secrets and versions there were, so that a bundle that was cut is no bundle.

mod frame;

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, ErrorKind},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use leasehold_core::ports::Entropy;
use leasehold_seal::KeyRing;
use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use thiserror::Error;

use self::frame::{Frame, Frames, Head, Sealer};
use crate::{
    directory::sync_directory,
    fault::Fault,
    files,
    provider::LocalProvider,
    reference::{Reference, Version},
    standing::Standing,
    store::Store,
    stored::Stored,
};

/// A bundle's file, and the key under which it is sealed.
#[derive(Clone, Copy, Debug)]
pub struct Bundle<'a> {
    /// The file.
    pub path: &'a Path,
    /// The key ring: of its own, and not the broker's.
    pub key: &'a KeyRing,
}

/// What was carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Secrets that were written.
    pub secrets: u64,
    /// With so many versions.
    pub versions: u64,
    /// Secrets that were there already, just as they are in the bundle.
    pub unchanged: u64,
}

/// Why nothing was carried. An export leaves no file behind then; an import that was refused has changed nothing.
#[derive(Debug, Error)]
pub enum BundleError {
    /// The system said no.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something is there already.
    #[error("{} exists: name another file, a bundle never replaces one", path.display())]
    FileExists {
        /// The file.
        path: PathBuf,
    },
    /// No bundle, or one of another form.
    #[error("{} is not a bundle that this version reads", path.display())]
    NotABundle {
        /// The file.
        path: PathBuf,
    },
    /// Sealed under another key.
    #[error("{} was sealed under another key than the one given", path.display())]
    WrongKey {
        /// The file.
        path: PathBuf,
    },
    /// Changed, cut, or put together of others.
    #[error("{} is damaged at frame {frame}: nothing was imported, take another copy of it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which frame, counted from 0.
        frame: u64,
    },
    /// Secrets are there, and are not the same.
    #[error("these secrets exist and are not as in the bundle: {}; say `--replace` to take the bundle's", .names.join(", "))]
    Exists {
        /// Up to 20 of them.
        names: Vec<String>,
    },
    /// A secret that cannot be read or written.
    #[error("the secret `{name}`: {reason}")]
    Secret {
        /// Which.
        name: String,
        /// Why, with the way out.
        reason: String,
    },
    /// No randomness for the bundle's name.
    #[error("the system gave no randomness")]
    NoEntropy,
}

/// The name of a secret's directory while it is imported. Not a character of a segment, so no secret's name can be this.
const ARRIVING: &str = "@new";
/// So many names are told.
const MOST_NAMES: usize = 20;

impl LocalProvider {
    /// Writes all secrets into a new file. Blocking.
    ///
    /// # Errors
    /// When a secret cannot be read or the file cannot be written; no file is left behind then.
    pub fn export(&self, bundle: &Bundle<'_>, entropy: &dyn Entropy) -> Result<Moved, BundleError> {
        let flags = OFlags::NOFOLLOW.bits().cast_signed();
        let mut options = File::options();
        options.write(true).create_new(true).mode(0o600).custom_flags(flags);
        let file = options.open(bundle.path).map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists => BundleError::FileExists { path: bundle.path.to_owned() },
            _ => bundle.io("create")(source),
        })?;
        let exported = self.store.export(bundle, entropy, file);
        if exported.is_err() {
            let _ = fs::remove_file(bundle.path);
        }
        exported
    }

    /// Takes all secrets of a bundle in, once the whole of it was read and found good. Each is replaced in one step.
    /// Blocking.
    ///
    /// # Errors
    /// [`BundleError::Exists`] unless `replace`; or when the bundle or a secret cannot be used.
    pub fn import(&self, bundle: &Bundle<'_>, replace: bool) -> Result<Moved, BundleError> {
        self.store.look_through(bundle, replace)?;
        self.store.import(bundle)
    }
}

impl Store {
    fn export(&self, bundle: &Bundle<'_>, entropy: &dyn Entropy, file: File) -> Result<Moved, BundleError> {
        let mut name = [0; 16];
        entropy.fill(&mut name).map_err(|_| BundleError::NoEntropy)?;
        let mut sealer = Sealer::begin(bundle, name, BufWriter::new(file))?;
        let mut references = files::secrets(&self.root);
        references.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        let mut moved = Moved::default();
        for reference in references {
            let told = |fault: Fault| of_secret(&reference, &fault);
            let directory = reference.directory(&self.root);
            let standing = self.files.standing(&reference, &directory).map_err(told)?;
            let mut present = files::versions(&directory).map_err(told)?;
            present.retain(|version| !standing.destroyed.contains_key(version));
            if present.is_empty() {
                continue;
            }
            moved.secrets = moved.secrets.saturating_add(1);
            sealer.put(&Frame::Secret(Head { reference: reference.clone(), standing }))?;
            for version in present {
                let stored = self.files.load(&reference, &directory, &version).map_err(told)?;
                sealer.put(&Frame::Version(version, stored))?;
                moved.versions = moved.versions.saturating_add(1);
            }
        }
        sealer.put(&Frame::End { secrets: moved.secrets, versions: moved.versions })?;
        let file = sealer.finish()?;
        file.sync_all().map_err(bundle.io("fsync"))?;
        let folder = bundle.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        sync_directory(folder.unwrap_or(Path::new("."))).map_err(bundle.io("fsync the folder of"))?;
        Ok(moved)
    }

    /// Reads the whole of a bundle and says what is in its way.
    fn look_through(&self, bundle: &Bundle<'_>, replace: bool) -> Result<(), BundleError> {
        let mut names = Vec::new();
        for arrival in Arrivals::of(bundle)? {
            let arrival = arrival?;
            for (version, stored) in &arrival.versions {
                let (size, limit) = (
                    stored.value.fields.values().map(|bytes| bytes.len()).sum::<usize>(),
                    self.config.max_value_bytes,
                );
                if size > limit {
                    let reason = format!(
                        "version {version} has {size} bytes, and this back end takes at most {limit} (`value_size`)"
                    );
                    return Err(BundleError::Secret {
                        name: arrival.head.reference.as_str().to_owned(),
                        reason,
                    });
                }
            }
            let there = self.has(&arrival)?;
            if there == There::Other && !replace && names.len() < MOST_NAMES {
                names.push(arrival.head.reference.as_str().to_owned());
            }
        }
        if names.is_empty() { Ok(()) } else { Err(BundleError::Exists { names }) }
    }

    fn import(&self, bundle: &Bundle<'_>) -> Result<Moved, BundleError> {
        let mut moved = Moved::default();
        for arrival in Arrivals::of(bundle)? {
            let arrival = arrival?;
            if self.has(&arrival)? == There::Same {
                moved.unchanged = moved.unchanged.saturating_add(1);
                continue;
            }
            self.take_in(&arrival).map_err(|fault| of_secret(&arrival.head.reference, &fault))?;
            moved.secrets = moved.secrets.saturating_add(1);
            let versions = u64::try_from(arrival.versions.len()).unwrap_or(u64::MAX);
            moved.versions = moved.versions.saturating_add(versions);
        }
        Ok(moved)
    }

    /// What is here of a secret that arrives. Version ids have a random part, so the same ids are the same versions.
    fn has(&self, arrival: &Arrival) -> Result<There, BundleError> {
        let reference = &arrival.head.reference;
        let told = |fault: Fault| of_secret(reference, &fault);
        let directory = reference.directory(&self.root);
        let present = files::versions(&directory).map_err(told)?;
        if present.is_empty() {
            return Ok(There::Nothing);
        }
        let same = present.iter().eq(arrival.versions.iter().map(|(version, _)| version));
        // One whose standing cannot be read is another one, and can be replaced.
        let standing = self.files.standing(reference, &directory).ok();
        let same = same && standing.as_ref() == Some(&arrival.head.standing);
        Ok(if same { There::Same } else { There::Other })
    }

    /// Puts a secret together beside its place, and then there in one step.
    fn take_in(&self, arrival: &Arrival) -> Result<(), Fault> {
        let Head { reference, standing } = &arrival.head;
        let directory = reference.directory(&self.root);
        let arriving = directory.with_file_name(ARRIVING);
        files::remove_all(&arriving)?;
        for (version, stored) in &arrival.versions {
            self.files.place(reference, &arriving, version, stored)?;
        }
        if *standing != Standing::default() {
            self.files.place_standing(reference, &arriving, standing)?;
        }
        let renamed = if directory.exists() {
            renameat_with(CWD, &arriving, CWD, &directory, RenameFlags::EXCHANGE).map_err(io::Error::from)
        } else {
            fs::rename(&arriving, &directory)
        };
        renamed.map_err(Fault::io("rename into", &directory))?;
        if let Some(parent) = directory.parent() {
            sync_directory(parent).map_err(Fault::io("fsync", parent))?;
        }
        files::remove_all(&arriving)
    }
}

/// What is here of a secret that arrives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum There {
    Nothing,
    Same,
    Other,
}

/// A secret with its versions, the oldest first.
struct Arrival {
    head: Head,
    versions: Vec<(Version, Stored)>,
}

/// The secrets of a bundle, one at a time; the last step finds out whether the bundle was whole.
struct Arrivals<'a> {
    frames: Option<Frames<'a>>,
    next: Option<Head>,
    secrets: u64,
    versions: u64,
}

impl<'a> Arrivals<'a> {
    fn of(bundle: &'a Bundle<'a>) -> Result<Self, BundleError> {
        let file = File::open(bundle.path).map_err(bundle.io("open"))?;
        let mut frames = Frames::begin(bundle, BufReader::new(file))?;
        let mut arrivals = Self { next: None, secrets: 0, versions: 0, frames: None };
        match frames.next()? {
            Frame::Secret(head) => arrivals.next = Some(head),
            Frame::End { secrets: 0, versions: 0 } => {
                frames.finish()?;
                return Ok(arrivals);
            }
            Frame::Version(..) | Frame::End { .. } => return Err(frames.damaged()),
        }
        arrivals.frames = Some(frames);
        Ok(arrivals)
    }

    fn take(&mut self) -> Result<Option<Arrival>, BundleError> {
        let Some((frames, head)) = self.frames.as_mut().zip(self.next.take()) else { return Ok(None) };
        self.secrets = self.secrets.saturating_add(1);
        let mut versions: Vec<(Version, Stored)> = Vec::new();
        loop {
            match frames.next()? {
                Frame::Version(version, stored)
                    if versions.last().is_none_or(|(last, _)| *last < version) =>
                {
                    self.versions = self.versions.saturating_add(1);
                    versions.push((version, stored));
                }
                Frame::Secret(next)
                    if !versions.is_empty() && head.reference.as_str() < next.reference.as_str() =>
                {
                    self.next = Some(next);
                    return Ok(Some(Arrival { head, versions }));
                }
                Frame::End { secrets, versions: all }
                    if !versions.is_empty() && (secrets, all) == (self.secrets, self.versions) =>
                {
                    frames.finish()?;
                    return Ok(Some(Arrival { head, versions }));
                }
                _ => return Err(frames.damaged()),
            }
        }
    }
}

impl Iterator for Arrivals<'_> {
    type Item = Result<Arrival, BundleError>;

    fn next(&mut self) -> Option<Self::Item> {
        let taken = self.take().transpose();
        if matches!(taken, Some(Err(_))) {
            self.frames = None;
        }
        taken
    }
}

impl Bundle<'_> {
    fn io(&self, action: &'static str) -> impl FnOnce(io::Error) -> BundleError {
        let path = self.path.to_owned();
        move |source| BundleError::Io { action, path, source }
    }
}

fn of_secret(reference: &Reference, fault: &Fault) -> BundleError {
    let mut reason = fault.to_string();
    let mut below = std::error::Error::source(fault);
    while let Some(cause) = below {
        reason.push_str(&format!(": {cause}"));
        below = cause.source();
    }
    BundleError::Secret { name: reference.as_str().to_owned(), reason }
}
