//! The directory: reading, writing and changing versions. Blocking, and without an opinion on whom it serves.
//!
//! A version is written beside its place, fsynced, renamed into it, and the directory fsynced: it is there whole and for
//! good, or not at all. What is written is current at once by its number, unless it was written to wait; whatever else
//! was done to a secret is in its [`Standing`], which is replaced in the same way. So every change is one rename.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use leasehold_core::{
    SecretValue, Timestamp,
    ports::{Clock, Entropy},
    provider::{VersionFacts, VersionState},
    ttl::after,
};
use leasehold_seal::KeyRing;

use crate::{
    config::LocalConfig,
    directory::{Directory, SECRETS, sync_directory},
    fault::{Fault, OpenError},
    files::{self, Files},
    reference::{Reference, Version},
    standing::{Promoted, Standing},
    stored::Stored,
};

/// The secrets of one directory.
pub(crate) struct Store {
    pub(crate) config: LocalConfig,
    pub(crate) files: Files,
    keys: Arc<KeyRing>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    pub(crate) root: PathBuf,
    /// Readers share it: what they see is then durable, and no version vanishes under them.
    access: RwLock<()>,
    /// The deleted secrets, by when they are to be purged.
    dying: Mutex<BTreeMap<(Timestamp, Box<str>), Reference>>,
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
    /// Whether it waits until it is promoted.
    pub(crate) pending: bool,
}

/// What a pending version is labelled with.
const PENDING: &str = "pending";

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
        let files = Files::new(root.clone(), keys.clone(), config.max_value_bytes);
        let store = Self {
            config,
            files,
            keys,
            clock,
            entropy,
            root,
            access: RwLock::new(()),
            dying: Mutex::default(),
            _held: held,
        };
        store.remember_the_deleted();
        Ok(store)
    }

    /// One version, or the current one.
    pub(crate) fn read(
        &self,
        reference: &Reference,
        version: Option<&Version>,
    ) -> Result<(Version, Stored), Fault> {
        self.purge_what_is_due();
        let _shared = self.access.read().unwrap_or_else(PoisonError::into_inner);
        let directory = reference.directory(&self.root);
        let standing = self.files.standing(reference, &directory)?;
        if let Some(at) = standing.deleted_at {
            return Err(Fault::Deleted(at));
        }
        let Some(version) = version else {
            let present = files::versions(&directory)?;
            return self.current(reference, &directory, &present, &standing);
        };
        if standing.disabled.contains(version) {
            return Err(Fault::Disabled(version.clone()));
        }
        if standing.destroyed.contains_key(version) {
            return Err(Fault::Destroyed(version.clone()));
        }
        let stored = self.files.load(reference, &directory, version)?;
        Ok((version.clone(), stored))
    }

    /// Every version, the newest first, and those that were destroyed.
    pub(crate) fn list(&self, reference: &Reference) -> Result<Vec<VersionFacts>, Fault> {
        self.purge_what_is_due();
        let _shared = self.access.read().unwrap_or_else(PoisonError::into_inner);
        let directory = reference.directory(&self.root);
        let present = files::versions(&directory)?;
        let standing = self.files.standing(reference, &directory)?;
        if present.is_empty() {
            return Err(Fault::Absent);
        }
        let current = self.current_version(reference, &directory, &present, &standing)?;
        let facts = |version: &Version, state, created_at, labels| {
            Some(VersionFacts {
                version: version.to_string().parse().ok()?,
                created_at,
                state,
                current: standing.deleted_at.is_none() && current.as_ref() == Some(version),
                labels,
            })
        };
        let mut listed: BTreeMap<_, Option<VersionFacts>> = BTreeMap::new();
        for (version, created_at) in &standing.destroyed {
            listed.insert(version.clone(), facts(version, VersionState::Destroyed, *created_at, Vec::new()));
        }
        for version in present.iter().filter(|version| !standing.destroyed.contains_key(version)) {
            // A damaged version is there, and says nothing of itself.
            let stored = match self.files.load(reference, &directory, version) {
                Ok(stored) => Some(stored),
                Err(fault) if fault.is_damage() => None,
                Err(fault) => return Err(fault),
            };
            let waits = stored.as_ref().is_some_and(|stored| stored.pending);
            let waits = waits && !standing.released.contains(version) && current.as_ref() != Some(version);
            let labels = if waits { vec![PENDING.into()] } else { Vec::new() };
            if waits {
                // The newest one that waits is the one that will be promoted.
                listed.values_mut().flatten().for_each(|facts| facts.labels.clear());
            }
            let state = if standing.deleted_at.is_some() {
                VersionState::Deleted
            } else if standing.disabled.contains(version) {
                VersionState::Disabled
            } else {
                VersionState::Enabled
            };
            listed.insert(
                version.clone(),
                facts(version, state, stored.map(|stored| stored.created_at), labels),
            );
        }
        Ok(listed.into_values().rev().flatten().collect())
    }

    /// Writes a version, or finds that it was written before.
    pub(crate) fn write(&self, reference: &Reference, new: NewVersion) -> Result<Version, Fault> {
        self.check_new(&new)?;
        self.purge_what_is_due();
        let _alone = self.access.write().unwrap_or_else(PoisonError::into_inner);
        let directory = reference.directory(&self.root);
        let mut present = files::versions(&directory)?;
        let standing = self.files.standing(reference, &directory)?;
        if let Some(at) = standing.deleted_at {
            return Err(Fault::NotChangeable(at));
        }
        if let Some(written) = self.find(reference, &directory, &present, &new)? {
            // The first attempt may have died between its rename and its fsync.
            sync_directory(&directory).map_err(Fault::io("fsync", &directory))?;
            return Ok(written);
        }
        if let Some(expected) = new.expected {
            let current = self.current_version(reference, &directory, &present, &standing)?;
            if current.as_ref() != Some(&expected) {
                return Err(Fault::Conflict { current, expected });
            }
        }
        let mut random = [0; 5];
        self.entropy.fill(&mut random).map_err(|_| Fault::Broken("the system gave no randomness"))?;
        let last = present.iter().chain(standing.destroyed.keys()).map(|version| version.number).max();
        let number =
            last.unwrap_or(0).checked_add(1).ok_or(Fault::Unfit("there are no version numbers left"))?;
        let version = Version::new(number, random);
        let stored =
            Stored { created_at: self.clock.now(), token: new.token, value: new.value, pending: new.pending };
        self.files.place(reference, &directory, &version, &stored)?;
        present.push(version.clone());
        let current = self.current_version(reference, &directory, &present, &standing)?;
        self.prune(&directory, &present, current.as_ref());
        Ok(version)
    }

    /// Makes a version current, if `expected` is, when that is given.
    pub(crate) fn promote(
        &self,
        reference: &Reference,
        version: &Version,
        expected: Option<&Version>,
    ) -> Result<(), Fault> {
        self.change(
            reference,
            |present, standing, current| {
                if current == Some(version) {
                    return Ok(false);
                }
                if let Some(expected) = expected.filter(|expected| current != Some(*expected)) {
                    return Err(Fault::Conflict { current: current.cloned(), expected: expected.clone() });
                }
                if standing.disabled.contains(version) {
                    return Err(Fault::NotPromotable(version.clone()));
                }
                let over = present.last().map_or(0, |last| last.number);
                standing.promoted = Some(Promoted { version: version.clone(), over });
                standing.released.insert(version.clone());
                Ok(true)
            },
            Some(version),
        )
    }

    /// Makes a version unreadable for a time.
    pub(crate) fn disable(&self, reference: &Reference, version: &Version) -> Result<(), Fault> {
        self.change(
            reference,
            |_, standing, current| {
                if current == Some(version) {
                    return Err(Fault::Current(version.clone()));
                }
                Ok(standing.disabled.insert(version.clone()))
            },
            Some(version),
        )
    }

    /// Makes a version readable again.
    pub(crate) fn enable(&self, reference: &Reference, version: &Version) -> Result<(), Fault> {
        self.change(reference, |_, standing, _| Ok(standing.disabled.remove(version)), Some(version))
    }

    /// Removes an old version's value for good. One that was destroyed before is a success.
    pub(crate) fn destroy(&self, reference: &Reference, version: &Version) -> Result<(), Fault> {
        let directory = reference.directory(&self.root);
        let gone = self.change(
            reference,
            |_, standing, current| {
                if current == Some(version) {
                    return Err(Fault::Current(version.clone()));
                }
                let made =
                    self.files.load(reference, &directory, version).ok().map(|stored| stored.created_at);
                standing.destroyed.insert(version.clone(), made);
                standing.disabled.remove(version);
                Ok(true)
            },
            Some(version),
        );
        match gone {
            Ok(()) | Err(Fault::Destroyed(_)) => {}
            Err(fault) => return Err(fault),
        }
        // It is unreadable from here on; a crash before this leaves the file to the next one who asks.
        let _alone = self.access.write().unwrap_or_else(PoisonError::into_inner);
        files::remove(&directory, &version.to_string())
    }

    /// Removes a version that waits, and was never current, for good. One that is gone is a success.
    pub(crate) fn discard(&self, reference: &Reference, version: &Version) -> Result<(), Fault> {
        let directory = reference.directory(&self.root);
        let gone = self.change(
            reference,
            |_, standing, current| {
                let stored = match self.files.load(reference, &directory, version) {
                    Err(fault) if fault.is_damage() => None,
                    loaded => Some(loaded?),
                };
                let waits = stored.as_ref().is_none_or(|stored| stored.pending);
                if !waits || current == Some(version) || standing.released.contains(version) {
                    return Err(Fault::Unfit("it is or was current: only what waits is put away"));
                }
                standing.destroyed.insert(version.clone(), stored.map(|stored| stored.created_at));
                standing.disabled.remove(version);
                Ok(true)
            },
            Some(version),
        );
        match gone {
            Ok(()) | Err(Fault::Destroyed(_)) => {}
            Err(Fault::Absent) => return Ok(()),
            Err(fault) => return Err(fault),
        }
        let _alone = self.access.write().unwrap_or_else(PoisonError::into_inner);
        files::remove(&directory, &version.to_string())
    }

    /// Deletes the secret so that it can be restored for a time.
    pub(crate) fn delete(&self, reference: &Reference) -> Result<(), Fault> {
        let now = self.clock.now();
        self.change_whole(reference, |standing| {
            if standing.deleted_at.is_some() {
                return false;
            }
            standing.deleted_at = Some(now);
            true
        })?;
        self.remember(reference.clone(), now);
        Ok(())
    }

    /// Brings a deleted secret back.
    pub(crate) fn restore(&self, reference: &Reference) -> Result<(), Fault> {
        self.change_whole(reference, |standing| standing.deleted_at.take().is_some())
    }

    /// Removes a deleted secret for good. One that is not there is a success.
    pub(crate) fn purge(&self, reference: &Reference) -> Result<(), Fault> {
        let _alone = self.access.write().unwrap_or_else(PoisonError::into_inner);
        let directory = reference.directory(&self.root);
        if files::versions(&directory)?.is_empty() {
            // What a crash left of an earlier attempt.
            return files::remove_all(&directory);
        }
        if self.files.standing(reference, &directory)?.deleted_at.is_none() {
            return Err(Fault::NotDeleted);
        }
        files::remove_all(&directory)
    }

    /// One change of a version that is there, made durable by one rename.
    fn change(
        &self,
        reference: &Reference,
        change: impl FnOnce(&[Version], &mut Standing, Option<&Version>) -> Result<bool, Fault>,
        of: Option<&Version>,
    ) -> Result<(), Fault> {
        self.purge_what_is_due();
        let _alone = self.access.write().unwrap_or_else(PoisonError::into_inner);
        let directory = reference.directory(&self.root);
        let present = files::versions(&directory)?;
        let mut standing = self.files.standing(reference, &directory)?;
        if let Some(at) = standing.deleted_at {
            return Err(Fault::NotChangeable(at));
        }
        if let Some(version) = of {
            if standing.destroyed.contains_key(version) {
                return Err(Fault::Destroyed(version.clone()));
            }
            if !present.contains(version) {
                return Err(Fault::Absent);
            }
        }
        let current = self.current_version(reference, &directory, &present, &standing)?;
        if change(&present, &mut standing, current.as_ref())? {
            standing.tidy(&present, self.config.history);
            self.files.place_standing(reference, &directory, &standing)?;
        }
        Ok(())
    }

    /// One change of a secret that is there, deleted or not.
    fn change_whole(
        &self,
        reference: &Reference,
        change: impl FnOnce(&mut Standing) -> bool,
    ) -> Result<(), Fault> {
        self.purge_what_is_due();
        let _alone = self.access.write().unwrap_or_else(PoisonError::into_inner);
        let directory = reference.directory(&self.root);
        if files::versions(&directory)?.is_empty() {
            return Err(Fault::Absent);
        }
        let mut standing = self.files.standing(reference, &directory)?;
        if change(&mut standing) {
            self.files.place_standing(reference, &directory, &standing)?;
        }
        Ok(())
    }

    /// The version that is read when none is named, with what is in it.
    fn current(
        &self,
        reference: &Reference,
        directory: &Path,
        present: &[Version],
        standing: &Standing,
    ) -> Result<(Version, Stored), Fault> {
        let (over, promoted) = match &standing.promoted {
            Some(promoted) => (promoted.over, Some(&promoted.version)),
            None => (0, None),
        };
        let readable = |version: &&Version| {
            !standing.disabled.contains(version) && !standing.destroyed.contains_key(version)
        };
        for version in present.iter().rev().filter(|version| version.number > over).filter(readable) {
            let stored = self.files.load(reference, directory, version)?;
            if !stored.pending || standing.released.contains(version) {
                return Ok((version.clone(), stored));
            }
        }
        let version = promoted.filter(readable).ok_or(Fault::Absent)?;
        Ok((version.clone(), self.files.load(reference, directory, version)?))
    }

    /// The same without what is in it: a version that is damaged is current all the same.
    fn current_version(
        &self,
        reference: &Reference,
        directory: &Path,
        present: &[Version],
        standing: &Standing,
    ) -> Result<Option<Version>, Fault> {
        match self.current(reference, directory, present, standing) {
            Ok((version, _)) => Ok(Some(version)),
            Err(Fault::Absent) => Ok(None),
            Err(fault) if fault.is_damage() => Ok(present.last().cloned()),
            Err(fault) => Err(fault),
        }
    }

    fn check_new(&self, new: &NewVersion) -> Result<(), Fault> {
        let limit = self.config.max_value_bytes;
        let size = new.value.fields.values().fold(0usize, |sum, bytes| sum.saturating_add(bytes.len()));
        if size > limit {
            return Err(Fault::TooLarge { size, limit });
        }
        if new.value.fields.is_empty() {
            return Err(Fault::Unfit("a value has at least one field"));
        }
        if new.token.is_empty() || new.token.len() > 1024 || new.value.content_type.len() > 256 {
            return Err(Fault::Unfit("a token has 1 to 1024 bytes, and a content type at most 256"));
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
            let stored = match self.files.load(reference, directory, version) {
                // A new version is the way out of a damaged one.
                Err(fault) if fault.is_damage() => continue,
                loaded => loaded?,
            };
            if stored.token == new.token {
                let same = stored.pending == new.pending && stored.holds(&new.value, &*self.keys.value_mac());
                return if same { Ok(Some(version.clone())) } else { Err(Fault::TokenReused) };
            }
        }
        Ok(None)
    }

    /// Removes what is older than the history, but never what is current. A file that stays is tried again at the next
    /// write.
    fn prune(&self, directory: &Path, present: &[Version], current: Option<&Version>) {
        let spare = present.len().saturating_sub(self.config.history);
        for version in present.iter().take(spare).filter(|version| current != Some(*version)) {
            let _ = fs::remove_file(directory.join(version.to_string()));
        }
    }

    /// Finds what was deleted before this process began. What cannot be read now says so when it is asked for.
    fn remember_the_deleted(&self) {
        for reference in files::secrets(&self.root) {
            let directory = reference.directory(&self.root);
            if let Ok(Standing { deleted_at: Some(at), .. }) = self.files.standing(&reference, &directory) {
                self.remember(reference, at);
            }
        }
    }

    fn remember(&self, reference: Reference, deleted_at: Timestamp) {
        let due = after(deleted_at, self.config.deleted_retention);
        let mut dying = self.dying.lock().unwrap_or_else(PoisonError::into_inner);
        dying.insert((due, reference.as_str().into()), reference);
    }

    /// Purges deleted secrets whose time is over: whoever comes next finds them gone.
    fn purge_what_is_due(&self) {
        let now = self.clock.now();
        loop {
            let due = {
                let mut dying = self.dying.lock().unwrap_or_else(PoisonError::into_inner);
                match dying.first_entry() {
                    Some(first) if first.key().0 <= now => first.remove(),
                    _ => return,
                }
            };
            let _alone = self.access.write().unwrap_or_else(PoisonError::into_inner);
            let directory = due.directory(&self.root);
            // It may have been restored, and deleted anew, since.
            let over = self.files.standing(&due, &directory).is_ok_and(|standing| {
                standing.deleted_at.is_some_and(|at| after(at, self.config.deleted_retention) <= now)
            });
            if over {
                let _ = files::remove_all(&directory);
            }
        }
    }
}
