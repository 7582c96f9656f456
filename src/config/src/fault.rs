//! What is wrong with a configuration, where, and how to get out of it.

use std::{cell::RefCell, fmt, path::Path, sync::Arc};

#[cfg(feature = "record")]
use crate::record::Record;
use crate::record::{Key, Trail};

/// A place in a configuration file. Lines and columns count from 1; columns count characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as it was named or found.
    pub file: Arc<Path>,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What.
    pub message: String,
    /// The way out; empty when the message says it.
    pub help: String,
}

/// Everything that is wrong, in the order of the files and lines. INVARIANT: as an error, never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Faults(Vec<Fault>);

/// Where faults are put while files are read.
#[derive(Debug, Default)]
pub struct Sink {
    faults: RefCell<Vec<Fault>>,
    #[cfg(feature = "record")]
    record: Option<Record>,
}

impl Faults {
    /// A single fault.
    pub fn one(place: Place, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self(vec![Fault { place, message: message.into(), help: help.into() }])
    }

    /// The faults.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl Sink {
    /// One beside which everything that is asked for is written down.
    #[cfg(feature = "record")]
    pub fn recording(record: &Record) -> Self {
        Self { record: Some(record.clone()), ..Self::default() }
    }

    #[cfg(feature = "record")]
    pub(crate) fn note(&self, trail: &Trail, key: &'static str, tell: impl FnOnce(&mut Key)) {
        if let Some(record) = &self.record {
            record.note(trail, key, tell);
        }
    }

    #[cfg(not(feature = "record"))]
    pub(crate) fn note(&self, _: &Trail, _: &'static str, _: impl FnOnce(&mut Key)) {}

    /// Says that something is wrong.
    pub fn put(&self, place: Place, message: impl Into<String>, help: impl Into<String>) {
        self.faults.borrow_mut().push(Fault { place, message: message.into(), help: help.into() });
    }

    /// The outcome: `value` when nothing was wrong. A value that is missing although nothing was said is a fault of `start`.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn finish<T>(self, value: Option<T>, start: Place) -> Result<T, Faults> {
        let mut faults = self.faults.into_inner();
        match value {
            Some(value) if faults.is_empty() => Ok(value),
            _ if faults.is_empty() => Err(Faults::one(start, "the configuration is not complete", "")),
            _ => {
                faults.sort_by(|a, b| a.place.cmp(&b.place));
                faults.dedup();
                Err(Faults(faults))
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)?;
        if self.help.is_empty() { Ok(()) } else { write!(f, "\n    {}", self.help) }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (fault, index) in self.0.iter().zip(0_usize..) {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}
