//! Files that fail on demand: full disks, failing fsyncs, short writes. For tests, and never in a release.

use std::sync::Arc;

use crate::files::Files;

/// stub
pub fn stub(_inner: Arc<dyn Files>) {}
