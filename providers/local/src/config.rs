//! What the local back end is told. Plain data: whoever reads configuration fills it in.

use std::{path::PathBuf, time::Duration};

/// Where and how the local back end keeps its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalConfig {
    /// The directory, created (0700) when absent; its parent must exist. One provider owns it at a time.
    pub directory: PathBuf,
    /// How many versions of a secret are kept, the current one among them; at least 1.
    pub history: usize,
    /// How large one value may be: the bytes of all its fields together.
    pub max_value_bytes: usize,
    /// How long a deleted secret can be restored; after that it is purged.
    pub deleted_retention: Duration,
}

impl LocalConfig {
    /// Versions kept when nobody says otherwise.
    pub const DEFAULT_HISTORY: usize = 10;
    /// The size limit when nobody says otherwise.
    pub const DEFAULT_MAX_VALUE_BYTES: usize = 256 * 1024;
    /// How long a deleted secret is kept when nobody says otherwise: 30 days.
    pub const DEFAULT_DELETED_RETENTION: Duration = Duration::from_secs(30 * 86_400);

    /// The defaults, in this directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            history: Self::DEFAULT_HISTORY,
            max_value_bytes: Self::DEFAULT_MAX_VALUE_BYTES,
            deleted_retention: Self::DEFAULT_DELETED_RETENTION,
        }
    }
}
