//! New values of secrets, from the system's randomness.

use std::sync::Arc;

use data_encoding::HEXLOWER;
use leasehold_core::{
    ports::{Entropy, Generate, NoEntropy},
    rotation::{Generated, Generator},
};
use zeroize::Zeroizing;

/// Makes values from this randomness.
pub struct Maker {
    entropy: Arc<dyn Entropy>,
}

impl Maker {
    /// A maker over this randomness.
    pub fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self { entropy }
    }
}

impl Generate for Maker {
    fn generate(&self, generator: &Generator) -> Result<Generated, NoEntropy> {
        match generator {
            Generator::Hex { bytes } => {
                let mut random = Zeroizing::new(vec![0; usize::try_from(*bytes).unwrap_or(usize::MAX)]);
                self.entropy.fill(&mut random)?;
                Ok(Generated { value: HEXLOWER.encode(&random).into(), public: None })
            }
            Generator::BackEnd { .. } => Err(NoEntropy),
        }
    }
}
