//! What the local back end is told. Plain data: whoever reads configuration fills it in.

use std::path::PathBuf;

/// Where and how the local back end keeps its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalConfig {
    /// The directory, created (0700) when absent; its parent must exist. One provider owns it at a time.
    pub directory: PathBuf,
    /// How many versions of a secret are kept, the current one among them; at least 1.
    pub history: usize,
    /// How large one value may be: the bytes of all its fields together.
    pub max_value_bytes: usize,
}

impl LocalConfig {
    /// Versions kept when nobody says otherwise.
    pub const DEFAULT_HISTORY: usize = 10;
    /// The size limit when nobody says otherwise.
    pub const DEFAULT_MAX_VALUE_BYTES: usize = 256 * 1024;

    /// The defaults, in this directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            history: Self::DEFAULT_HISTORY,
            max_value_bytes: Self::DEFAULT_MAX_VALUE_BYTES,
        }
    }
}
