//! What is written down encrypted, and the keys that open it.
//!
//! [`KeyRing`] seals with AES-256-GCM (NIST SP 800-38D) under its newest key and opens with any of its keys. The sealed
//! form names its key, and is bound to a context (a record's or a key's name), so that a sealed value put in another's
//! place does not open. Not here: where the sealed bytes are kept, and keys held by a KMS.

mod entropy;
mod envelope;
mod key;
mod keyfile;
mod ring;
mod tag;

pub use entropy::{DrawnAhead, SystemEntropy};
pub use key::KeyId;
pub use keyfile::KeyRingError;
pub use ring::{KeyRing, SealError};
