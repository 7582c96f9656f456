//! `[exec]`: how a program is run with the secrets.

use leasehold_config::Section;

/// How a program is run by `leasehold-sidecar exec`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exec {}

pub(super) fn read(section: Section<'_>) -> Option<Exec> {
    section.finish();
    Some(Exec::default())
}
