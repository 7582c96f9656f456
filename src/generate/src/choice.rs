//! Choosing without a bias.

use std::num::NonZeroU32;

use leasehold_core::{
    SecretBytes,
    ports::{Entropy, NoEntropy},
    rotation::Password,
};
use zeroize::Zeroizing;

/// A source of unbiased choices.
pub(crate) struct Choice<'a> {
    entropy: &'a dyn Entropy,
}

impl<'a> Choice<'a> {
    pub(crate) fn new(entropy: &'a dyn Entropy) -> Self {
        Self { entropy }
    }

    /// A number below `bound`, each as likely as the other: of the 2^32 numbers, those too many for whole multiples of the
    /// bound are drawn again.
    pub(crate) fn below(&mut self, bound: NonZeroU32) -> Result<u32, NoEntropy> {
        let too_many = bound.get().wrapping_neg() % bound;
        loop {
            let mut bytes = Zeroizing::new([0; 4]);
            self.entropy.fill(&mut *bytes)?;
            let drawn = u32::from_le_bytes(*bytes);
            if drawn >= too_many {
                return Ok(drawn % bound);
            }
        }
    }

    /// One of them.
    pub(crate) fn of<'t, T>(&mut self, all: &'t [T]) -> Result<&'t T, NoEntropy> {
        let index = self.below(bound(all.len())?)?;
        all.get(usize::try_from(index).map_err(|_| NoEntropy)?).ok_or(NoEntropy)
    }

    /// A password: each class's minimum from its own characters, the rest from all, every order as likely as the other.
    pub(crate) fn password(&mut self, rule: &Password) -> Result<SecretBytes, NoEntropy> {
        let length = usize::try_from(rule.length()).map_err(|_| NoEntropy)?;
        let mut password = Zeroizing::new(Vec::with_capacity(length));
        for class in rule.classes() {
            for _ in 0..class.minimum {
                password.push(*self.of(class.characters.as_bytes())?);
            }
        }
        let all: Vec<u8> = rule.classes().iter().flat_map(|class| class.characters.bytes()).collect();
        while password.len() < length {
            password.push(*self.of(&all)?);
        }
        self.shuffle(&mut password)?;
        Ok(SecretBytes::new(std::mem::take(&mut *password)))
    }

    /// Fisher and Yates's shuffle, as Durstenfeld wrote it (1964).
    fn shuffle(&mut self, all: &mut [u8]) -> Result<(), NoEntropy> {
        for last in (1..all.len()).rev() {
            let other = self.below(bound(last.saturating_add(1))?)?;
            let other = usize::try_from(other).map_err(|_| NoEntropy)?;
            all.swap(last, other);
        }
        Ok(())
    }
}

fn bound(length: usize) -> Result<NonZeroU32, NoEntropy> {
    u32::try_from(length).ok().and_then(NonZeroU32::new).ok_or(NoEntropy)
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test that meets one of these has failed")]
mod tests {
    use std::collections::BTreeMap;

    use leasehold_core::rotation::Class;

    use super::*;
    use crate::tests::Seeded;

    /// Pearson's statistic of counts that should all be the same, over its degrees of freedom: about 1 without a bias.
    fn unevenness(counts: &BTreeMap<u32, u64>, kinds: u32) -> f64 {
        let total: u64 = counts.values().sum();
        let expected = total as f64 / f64::from(kinds);
        let seen: f64 = (0..kinds)
            .map(|kind| {
                let count = counts.get(&kind).copied().unwrap_or_default() as f64;
                (count - expected).powi(2) / expected
            })
            .sum();
        seen / f64::from(kinds - 1)
    }

    fn count(drawn: impl IntoIterator<Item = u32>) -> BTreeMap<u32, u64> {
        let mut counts = BTreeMap::new();
        for one in drawn {
            *counts.entry(one).or_default() += 1;
        }
        counts
    }

    #[test]
    fn every_number_is_as_likely_as_the_other() {
        let entropy = Seeded::new(7);
        for bound in [1, 2, 3, 7, 26, 62, 94, 1000] {
            let mut choice = Choice::new(&*entropy);
            let counts = count((0..100_000).map(|_| choice.below(NonZeroU32::new(bound).unwrap()).unwrap()));
            assert!(counts.keys().all(|drawn| *drawn < bound));
            // Four standard deviations of the statistic, and a modulo of one byte is far beyond (62: about 15).
            let bearable = 1.0 + 4.0 * (2.0 / f64::from(bound.max(2) - 1)).sqrt();
            assert!(
                bound == 1 || unevenness(&counts, bound) < bearable,
                "{bound}: {}",
                unevenness(&counts, bound)
            );
        }
    }

    #[test]
    fn the_test_sees_a_bias() {
        let entropy = Seeded::new(7);
        let mut byte = [0];
        let biased = count((0..100_000).map(|_| {
            entropy.fill(&mut byte).unwrap();
            u32::from(byte[0]) % 62
        }));
        assert!(unevenness(&biased, 62) > 1.0 + 4.0 * (2.0_f64 / 61.0).sqrt());
    }

    #[test]
    fn what_would_be_a_bias_is_drawn_again() {
        struct Scripted(std::sync::Mutex<Vec<u32>>);
        impl Entropy for Scripted {
            fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy> {
                buffer.copy_from_slice(&self.0.lock().unwrap().remove(0).to_le_bytes());
                Ok(())
            }
        }
        // 2^32 = 3 * 1431655765 + 1: one number is too many.
        let script = Scripted(vec![0, 5].into());
        assert_eq!(Choice::new(&script).below(NonZeroU32::new(3).unwrap()), Ok(2));
        assert_eq!(script.0.lock().unwrap().len(), 0);
    }

    #[test]
    fn a_class_stands_anywhere() {
        let class = |characters: &str, minimum| Class { characters: characters.into(), minimum };
        let rule = Password::new(20, vec![class(Password::LOWER, 19), class(Password::DIGITS, 1)]).unwrap();
        let entropy = Seeded::new(3);
        let places = (0..40_000).map(|_| {
            let made = Choice::new(&*entropy).password(&rule).unwrap();
            u32::try_from(made.expose().iter().position(u8::is_ascii_digit).unwrap()).unwrap()
        });
        let uneven = unevenness(&count(places), 20);
        assert!(uneven < 1.0 + 4.0 * (2.0_f64 / 19.0).sqrt(), "{uneven}");
    }
}
