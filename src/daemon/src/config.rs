//! The configuration: types, defaults, and a parser that tells every fault at once.
