//! `[cache]`: what is kept, sealed, on disk, so that a restart without the broker has something to go on with.

use std::path::PathBuf;

use leasehold_config::Section;

/// Where values are kept, and under which key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// The sealed file.
    pub file: PathBuf,
}

pub(super) fn read(section: Section<'_>) -> Option<Cache> {
    let file = section.required_path("file");
    section.finish();
    Some(Cache { file: file? })
}
