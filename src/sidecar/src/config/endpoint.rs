//! `[endpoint]`: who may ask for values on this machine, and where.

use std::path::PathBuf;

use leasehold_config::Section;

/// Where values can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The Unix socket.
    pub socket: PathBuf,
}

pub(super) fn read(section: Section<'_>) -> Option<Endpoint> {
    let socket = section.required_path("socket");
    section.finish();
    Some(Endpoint { socket: socket? })
}
