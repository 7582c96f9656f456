//! The back ends that this build has.
