//! A new configuration under a running broker.
