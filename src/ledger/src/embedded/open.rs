//! Opens the state: finds out whether the index can be used, makes it anew when not, and brings it up to date.
//!
//! What is believed, and why:
//!
//! * The journal, when its chain is whole. It was synced before anything was acknowledged.
//! * The index, when its note says that it was closed in order or that the kernel has not been restarted since, when it
//!   opens, and when the record that it ends with is in the journal with the same hash. It may be from another day: what
//!   came after is read from the journal. Otherwise it is thrown away.
//! * A snapshot, when every frame opens, its record is in the journal with the same hash, and its digest is the recorded one.
//!
//! An index or a snapshot that knows a record *after* the journal's end proves that the end was cut off, for both are
//! written only after the journal was synced. Then nothing is rebuilt and nothing served: leases that were revoked there
//! would come alive again. To accept the loss, an operator moves the witness away.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use leasehold_audit::{Fault, Head, Journal, JournalError, JournalOptions, Opened};
use leasehold_core::{ports::Entropy, record::Kind};
use leasehold_seal::{SealError, SystemEntropy};

use super::{
    EmbeddedOptions, OpenError, Recovery,
    marker::{Marker, Trust},
    snapshot::Snapshots,
    writes,
};
use crate::index::{Index, IndexError, Limits};

/// Everything that was opened.
pub(crate) struct State {
    pub(crate) journal: Journal,
    pub(crate) index: Index,
    pub(crate) snapshots: Snapshots,
    pub(crate) marker: Marker,
    pub(crate) recovery: Recovery,
}

/// An index with the journal that it fits.
struct Fitting {
    index: Index,
    journal: Journal,
    opened: Opened,
    snapshot: Option<u64>,
    replayed: u64,
}

/// Why an index or a snapshot is not used.
enum Unfit {
    /// Another way is to be tried.
    Because(String),
    /// There is no other way.
    Fatal(OpenError),
}

struct Opening<'a> {
    options: &'a EmbeddedOptions,
    limits: Limits,
    journal: JournalOptions,
    index_dir: PathBuf,
    snapshots: Snapshots,
    marker: Marker,
}

pub(crate) fn open(options: &EmbeddedOptions, limits: Limits) -> Result<State, OpenError> {
    let index_dir = options.dir.join("index");
    let snapshots = Snapshots::open(options.dir.join("snapshots"), Arc::clone(&options.keys));
    let snapshots = snapshots.map_err(|why| OpenError::Index(why.to_string()))?;
    let marker = Marker::new(&index_dir, &options.boot_id);
    let journal = JournalOptions {
        dir: options.dir.join("journal"),
        node: options.node.clone(),
        segment_bytes: options.segment_bytes,
        files: Arc::clone(&options.files),
    };
    let opening = Opening { options, limits, journal, index_dir, snapshots, marker };
    let trust = opening.marker.trust();
    let mut rejected = Vec::new();
    let (fitting, rebuilt) = match opening.kept(&trust) {
        Ok(fitting) => (fitting, None),
        Err(Unfit::Fatal(why)) => return Err(why),
        Err(Unfit::Because(why)) => (opening.rebuild(&mut rejected)?, Some(why)),
    };
    let head = fitting.opened.head;
    let recovery = Recovery {
        head,
        last_time: fitting.opened.last_time,
        clean: trust == Trust::Clean || head == Head::START,
        torn: fitting.opened.torn,
        rebuilt: rebuilt.filter(|_| head != Head::START),
        snapshot: fitting.snapshot,
        replayed: fitting.replayed,
        rejected_snapshots: rejected,
    };
    let Opening { snapshots, marker, .. } = opening;
    Ok(State { journal: fitting.journal, index: fitting.index, snapshots, marker, recovery })
}

impl Opening<'_> {
    /// The index that is there, if it can be used.
    fn kept(&self, trust: &Trust) -> Result<Fitting, Unfit> {
        match trust {
            Trust::New => return Err(Unfit::Because("there was none".to_owned())),
            Trust::None(why) => return Err(Unfit::Because((*why).to_owned())),
            Trust::Clean | Trust::SameBoot => {}
        }
        self.set_open().map_err(Unfit::Fatal)?;
        let index = self.open_index().map_err(|why| self.unfit(why))?;
        let head = index.indexed();
        let (journal, opened) = self.open_journal(head, "the index", &self.index_dir)?;
        let replayed = self.replay(&index, head, |_, _| None)?;
        Ok(Fitting { index, journal, opened, snapshot: None, replayed })
    }

    /// A new index, from the newest usable snapshot or from the first record.
    fn rebuild(&self, rejected: &mut Vec<String>) -> Result<Fitting, OpenError> {
        let list = self.snapshots.list().map_err(|why| OpenError::Index(why.to_string()))?;
        for path in list {
            match self.try_snapshot(&path) {
                Ok(fitting) => return Ok(fitting),
                Err(Unfit::Fatal(why)) => return Err(why),
                Err(Unfit::Because(why)) => rejected.push(why),
            }
        }
        let fatal = |unfit| match unfit {
            Unfit::Fatal(why) => why,
            Unfit::Because(why) => OpenError::Index(why),
        };
        let index = self.new_index().map_err(fatal)?;
        let (journal, opened) = Journal::open(self.journal.clone(), None)?;
        let first = leasehold_audit::read(&self.journal.dir, 0)?.head().seq.saturating_add(1);
        if first > 1 {
            return Err(OpenError::NoStart { first, path: self.snapshots.dir().to_owned() });
        }
        let replayed = self.replay(&index, Head::START, |_, _| None).map_err(fatal)?;
        Ok(Fitting { index, journal, opened, snapshot: None, replayed })
    }

    fn try_snapshot(&self, path: &Path) -> Result<Fitting, Unfit> {
        let mut rows = self.snapshots.read(path).map_err(|why| self.unfit(why))?;
        let (head, about) = (rows.head, rows.about);
        let index = self.new_index()?;
        index.load(head, about, || rows.next()).map_err(|why| self.unfit(why))?;
        let digest = rows.digest();
        let (journal, opened) = self.open_journal(head, "a snapshot", path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let replayed = self.replay(&index, head, |kind, details| {
            let recorded = || details.get("sha256");
            let about_this = kind == Kind::JournalSnapshot && details.get("file").is_some_and(|f| *f == name);
            let differs = about_this && recorded().is_none_or(|recorded| *recorded != digest);
            differs.then(|| format!("{} is not what was recorded of it", path.display()))
        })?;
        Ok(Fitting { index, journal, opened, snapshot: Some(head.seq), replayed })
    }

    fn open_journal(
        &self,
        head: Head,
        witness: &'static str,
        path: &Path,
    ) -> Result<(Journal, Opened), Unfit> {
        let expected = head.seq.saturating_add(1);
        Journal::open(self.journal.clone(), Some(head)).map_err(|why| match why {
            JournalError::Diverged { seq } => Unfit::Because(format!(
                "{} was made from another journal: record {seq} differs",
                path.display()
            )),
            JournalError::Damaged { seq, fault: Fault::Missing { until }, .. } if seq == expected => {
                Unfit::Because(format!(
                    "{} ends with record {}, but the journal starts after record {until}",
                    path.display(),
                    head.seq
                ))
            }
            JournalError::Cut { ends_at, applied } => {
                Unfit::Fatal(OpenError::Cut { ends_at, applied, witness, path: path.to_owned() })
            }
            why => Unfit::Fatal(why.into()),
        })
    }

    /// Applies the records after `from`; returns how many there were. `objection` may say why they do not belong to the index.
    fn replay(
        &self,
        index: &Index,
        from: Head,
        objection: impl Fn(Kind, &std::collections::BTreeMap<String, String>) -> Option<String>,
    ) -> Result<u64, Unfit> {
        let fatal = |why: OpenError| Unfit::Fatal(why);
        let entries = leasehold_audit::read(&self.journal.dir, from.seq.saturating_add(1));
        let entries = entries.map_err(|why| fatal(why.into()))?;
        if entries.head().seq > from.seq {
            let (ends, starts) = (from.seq, entries.head().seq);
            return Err(Unfit::Because(format!(
                "it ends with record {ends}, but the journal starts after record {starts}"
            )));
        }
        let mut replayed = 0u64;
        for entry in entries {
            let entry = entry.map_err(|why| fatal(why.into()))?;
            if let Some(why) = objection(entry.record.kind, &entry.record.details) {
                return Err(Unfit::Because(why));
            }
            if let Some(sealed) = &entry.sealed {
                let writes = writes::open(&self.options.keys, &entry.node, &entry.record, sealed);
                let mut writes = writes.map_err(|why| fatal(self.seal_error(entry.seq, why)))?;
                index.apply(entry.seq, &mut writes);
            }
            replayed = replayed.saturating_add(1);
            let head = Head { seq: entry.seq, hash: entry.hash };
            if index.is_full(head) {
                index.freeze(head);
                index.settle().map_err(|why| self.unfit(why))?;
            }
        }
        Ok(replayed)
    }

    fn set_open(&self) -> Result<(), OpenError> {
        let io = |source| OpenError::Io { path: self.index_dir.clone(), verb: "written", source };
        self.marker.set_open().map_err(io)
    }

    fn open_index(&self) -> Result<Index, IndexError> {
        let mut identity = [0; 16];
        SystemEntropy.fill(&mut identity).map_err(|_| IndexError::Key(SealError::NoEntropy))?;
        Index::open(&self.index_dir, Arc::clone(&self.options.keys), identity, self.limits)
    }

    fn new_index(&self) -> Result<Index, Unfit> {
        let io =
            |verb| move |source| Unfit::Fatal(OpenError::Io { path: self.index_dir.clone(), verb, source });
        match fs::remove_dir_all(&self.index_dir) {
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => return Err(io("removed")(why)),
            _ => {}
        }
        fs::create_dir_all(&self.index_dir).map_err(io("created"))?;
        self.set_open().map_err(Unfit::Fatal)?;
        self.open_index().map_err(|why| self.unfit(why))
    }

    /// A key that is missing is no fault of the index, and rebuilding it would not help.
    fn unfit(&self, why: IndexError) -> Unfit {
        match why {
            IndexError::Key(source) => {
                Unfit::Fatal(OpenError::Key { path: self.options.dir.clone(), source })
            }
            why => Unfit::Because(why.to_string()),
        }
    }

    fn seal_error(&self, seq: u64, why: SealError) -> OpenError {
        match why {
            SealError::Damaged => OpenError::Forged { seq },
            source => OpenError::Key { path: self.options.dir.clone(), source },
        }
    }
}
