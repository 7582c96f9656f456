//! `[[on_change]]`: who is told of a change, and how.

use leasehold_config::Section;

use crate::name::Name;

/// One thing to do when something has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnChange {
    /// Only when one of these secrets or files has changed; empty means on any change.
    pub only_for: Vec<Name>,
}

/// `known` are the names of all secrets and files; `None` when they could not be read.
pub(super) fn read_all(sections: Vec<Section<'_>>, known: &Option<Vec<&str>>) -> Option<Vec<OnChange>> {
    sections.into_iter().map(|section| read(section, known.as_deref())).collect()
}

fn read(section: Section<'_>, _known: Option<&[&str]>) -> Option<OnChange> {
    let only_for = section.or("only_for", Vec::new());
    section.finish();
    Some(OnChange { only_for })
}
