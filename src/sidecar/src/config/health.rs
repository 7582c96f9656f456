//! `[health]`: where one can ask how the sidecar is.

use std::path::PathBuf;

use leasehold_config::Section;

/// Where one can ask how the sidecar is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The Unix socket.
    pub socket: PathBuf,
}

pub(super) fn read(section: Section<'_>) -> Option<Health> {
    let socket = section.required_path("socket");
    section.finish();
    Some(Health { socket: socket? })
}
