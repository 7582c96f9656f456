//! How a new value is made.

use serde::{Deserialize, Serialize};

use crate::secret::SecretBytes;

/// How a new value is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Generator {
    /// So many random bytes, in lower-case hexadecimal.
    Hex {
        /// How many bytes before they are encoded.
        bytes: u32,
    },
    /// By a rule that the secret's back end has under this name.
    BackEnd {
        /// The rule's name there.
        policy: Box<str>,
    },
}

impl Default for Generator {
    fn default() -> Self {
        Self::Hex { bytes: 32 }
    }
}

/// What a generator made.
#[derive(Clone, Debug)]
pub struct Generated {
    /// The value: what is secret of it.
    pub value: SecretBytes,
    /// Of a key pair: the public key.
    pub public: Option<SecretBytes>,
}
