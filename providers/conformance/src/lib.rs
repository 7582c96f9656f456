//! The suite that every back end must pass, and the servers that it is run against.
