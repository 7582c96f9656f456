//! Where the log goes and how it looks.
