//! New values of secrets, from the system's randomness: passwords and passphrases without a bias, tokens, key pairs.
//!
//! Everything that holds a part of a value on the way is wiped. Keys are made by aws-lc-rs, from its own generator.

mod choice;
mod keys;
mod words;

use std::sync::Arc;

use data_encoding::{BASE64, HEXLOWER};
use leasehold_core::{
    SecretBytes,
    ports::{Entropy, Generate, NoEntropy},
    rotation::{Generated, Generator},
};
use zeroize::Zeroizing;

use self::choice::Choice;

/// Makes values from this randomness.
pub struct Maker {
    entropy: Arc<dyn Entropy>,
}

impl Maker {
    /// A maker over this randomness.
    pub fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self { entropy }
    }

    fn random(&self, bytes: u32) -> Result<Zeroizing<Vec<u8>>, NoEntropy> {
        let mut random = Zeroizing::new(vec![0; usize::try_from(bytes).map_err(|_| NoEntropy)?]);
        self.entropy.fill(&mut random)?;
        Ok(random)
    }
}

impl Generate for Maker {
    fn generate(&self, generator: &Generator) -> Result<Generated, NoEntropy> {
        let value: SecretBytes = match generator {
            Generator::Password(password) => Choice::new(&*self.entropy).password(password)?,
            Generator::Passphrase { words, separator } => {
                words::passphrase(&mut Choice::new(&*self.entropy), *words, separator)?
            }
            Generator::Hex { bytes } => HEXLOWER.encode(&self.random(*bytes)?).into(),
            Generator::Base64 { bytes } => BASE64.encode(&self.random(*bytes)?).into(),
            Generator::Uuid => {
                let mut bits = Zeroizing::new([0; 16]);
                self.entropy.fill(&mut *bits)?;
                uuid::Builder::from_random_bytes(*bits).into_uuid().to_string().into()
            }
            Generator::KeyPair(kind) => return keys::pair(*kind),
            // Whoever has the back end asks it: see `Provider::generate`.
            Generator::BackEnd { .. } => return Err(NoEntropy),
        };
        Ok(Generated { value, public: None })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use leasehold_core::rotation::{Class, Password};
    use proptest::prelude::*;

    use super::*;

    /// SplitMix64 (Steele, Lea, Flood 2014): the same numbers in every run.
    pub(crate) struct Seeded(Mutex<u64>);

    impl Seeded {
        pub(crate) fn new(seed: u64) -> Arc<Self> {
            Arc::new(Self(Mutex::new(seed)))
        }
    }

    impl Entropy for Seeded {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy> {
            let mut state = self.0.lock().unwrap();
            for chunk in buffer.chunks_mut(8) {
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut z = *state;
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
            }
            Ok(())
        }
    }

    struct Nothing;

    impl Entropy for Nothing {
        fn fill(&self, _: &mut [u8]) -> Result<(), NoEntropy> {
            Err(NoEntropy)
        }
    }

    fn text(generated: Generated) -> String {
        String::from_utf8(generated.value.into_exposed()).unwrap()
    }

    #[test]
    fn each_kind_looks_as_it_should() {
        let maker = Maker::new(Seeded::new(1));
        let make = |generator: Generator| text(maker.generate(&generator).unwrap());
        assert_eq!(make(Generator::default()).len(), 32);
        let hex = make(Generator::hex(16).unwrap());
        assert_eq!(HEXLOWER.decode(hex.as_bytes()).unwrap().len(), 16);
        let base64 = make(Generator::base64(33).unwrap());
        assert_eq!(BASE64.decode(base64.as_bytes()).unwrap().len(), 33);
        let uuid = make(Generator::Uuid);
        let parsed = uuid::Uuid::try_parse(&uuid).unwrap();
        assert_eq!((parsed.get_version_num(), parsed.get_variant()), (4, uuid::Variant::RFC4122));
        let phrase = make(Generator::passphrase(6, ".").unwrap());
        assert_eq!(phrase.split('.').count(), 6, "{phrase}");
        assert_ne!(make(Generator::Uuid), uuid);
    }

    #[test]
    fn without_randomness_there_is_no_value() {
        let maker = Maker::new(Arc::new(Nothing));
        let rules = [
            Generator::default(),
            Generator::passphrase(6, "-").unwrap(),
            Generator::hex(16).unwrap(),
            Generator::base64(16).unwrap(),
            Generator::Uuid,
        ];
        for rule in rules {
            assert!(maker.generate(&rule).is_err(), "{rule:?}");
        }
    }

    proptest! {
        #[test]
        fn a_password_keeps_its_rule(
            seed: u64,
            length in 20u32..200,
            minimums in (0u32..6, 0u32..6, 0u32..6),
        ) {
            let class = |characters: &str, minimum| Class { characters: characters.into(), minimum };
            let classes = vec![
                class(Password::LOWER, minimums.0),
                class(Password::UPPER, minimums.1),
                class(Password::SYMBOLS, minimums.2),
            ];
            let rule = Password::new(length, classes.clone()).unwrap();
            let made = text(Maker::new(Seeded::new(seed)).generate(&Generator::Password(rule)).unwrap());
            prop_assert_eq!(made.len(), usize::try_from(length).unwrap());
            for class in &classes {
                let count = made.chars().filter(|c| class.characters.contains(*c)).count();
                prop_assert!(count >= usize::try_from(class.minimum).unwrap());
            }
            prop_assert!(made.chars().all(|c| classes.iter().any(|class| class.characters.contains(c))));
        }
    }
}
