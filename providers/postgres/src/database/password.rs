//! Passwords of users that live as long as a lease.

use leasehold_core::ports::{Entropy, NoEntropy};
use zeroize::Zeroizing;

/// Nothing in it needs quoting anywhere: not in a URL, not in a shell, not in a connection string.
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// 190 bits.
const LENGTH: usize = 32;

/// Bytes from here on are left out: the remainders of the others are equally likely.
const FAIR: u8 = 248;

/// A new password: 32 letters and digits, each equally likely.
///
/// # Errors
/// When there is no randomness, or none that deserves the name.
pub fn generate(entropy: &dyn Entropy) -> Result<Zeroizing<String>, NoEntropy> {
    // Its capacity is what it will need: growing would leave a copy behind.
    let mut password = Zeroizing::new(String::with_capacity(LENGTH));
    let mut buffer = Zeroizing::new([0; 64]);
    for _ in 0..16 {
        entropy.fill(&mut *buffer)?;
        for byte in buffer.iter().filter(|byte| **byte < FAIR) {
            if password.len() == LENGTH {
                return Ok(password);
            }
            let letter = ALPHABET.get(usize::from(byte % 62)).copied();
            password.extend(letter.map(char::from));
        }
    }
    Err(NoEntropy)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    struct Dice;

    impl Entropy for Dice {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy> {
            aws_lc_rs::rand::fill(buffer).map_err(|_| NoEntropy)
        }
    }

    struct Stuck(u8);

    impl Entropy for Stuck {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy> {
            buffer.fill(self.0);
            Ok(())
        }
    }

    #[test]
    fn each_letter_is_equally_likely() {
        let mut seen = BTreeMap::<char, u32>::new();
        for _ in 0..4000 {
            let password = generate(&Dice).unwrap();
            assert_eq!(password.len(), LENGTH);
            password.chars().for_each(|c| *seen.entry(c).or_default() += 1);
        }
        // 2,064 of each are expected, with a deviation of 45: 7 of those would be seen once in 10^10 runs.
        assert_eq!(seen.len(), ALPHABET.len());
        for (letter, count) in seen {
            assert!((1750..2380).contains(&count), "{letter}: {count}");
        }
    }

    #[test]
    fn a_source_that_gives_nothing_of_use_is_given_up() {
        assert!(generate(&Stuck(255)).is_err());
        assert_eq!(&**generate(&Stuck(62)).unwrap(), "A".repeat(LENGTH));
    }
}
