//! The machine's clock, as the domain wants it.
