//! Puts the files of a snapshot where programs read them: all together, or none of them.

use std::{collections::BTreeSet, sync::Arc};

use crate::{name::Name, snapshot::Snapshot};

/// What has been published: whoever acts on a change is told by it.
#[derive(Clone, Debug)]
pub struct Published {
    /// Whether it is the first since the start: nobody has to be told of that as of a change.
    pub first: bool,
    /// The secrets whose values, and the files whose contents, are others than before; of the first, all.
    pub changed: BTreeSet<Name>,
    /// What was published.
    pub snapshot: Arc<Snapshot>,
}

/// How publishing goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The generation of the snapshot that is published; absent before the first.
    pub generation: Option<u64>,
    /// Why a newer one could not be published; tried again.
    pub trouble: Option<Box<str>>,
}
