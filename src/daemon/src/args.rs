//! The command line and the exit codes.
