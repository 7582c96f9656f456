//! The system's randomness, through aws-lc's generator.

use std::sync::{Mutex, PoisonError};

use aws_lc_rs::rand;
use leasehold_core::ports::{Entropy, NoEntropy};

/// Randomness from the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy> {
        rand::fill(buffer).map_err(|_| NoEntropy)
    }
}

/// Randomness for names, a good deal of it drawn at once: a draw costs the same for sixteen bytes as for a thousand.
///
/// Not for keys, nonces or passwords: what is still to be drawn lies in memory, and a copy of the machine has it, too.
#[derive(Debug, Default)]
pub struct DrawnAhead<E> {
    source: E,
    stock: Mutex<Vec<u8>>,
}

const STOCK: usize = 1024;

impl<E: Entropy> Entropy for DrawnAhead<E> {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy> {
        let mut stock = self.stock.lock().unwrap_or_else(PoisonError::into_inner);
        if stock.len() < buffer.len() {
            let mut drawn = vec![0; STOCK.max(buffer.len())];
            self.source.fill(&mut drawn)?;
            *stock = drawn;
        }
        let left = stock.len().saturating_sub(buffer.len());
        buffer.iter_mut().zip(stock.drain(left..)).for_each(|(to, drawn)| *to = drawn);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn nothing_that_was_drawn_ahead_is_given_twice() {
        let ahead = DrawnAhead::<SystemEntropy>::default();
        let mut given = HashSet::new();
        for length in [16, 16, 1000, 2000, 16].into_iter().chain([16; 200]) {
            let mut bytes = vec![0; length];
            ahead.fill(&mut bytes).unwrap();
            assert!(bytes.chunks_exact(8).all(|piece| given.insert(piece.to_vec())), "{length}");
        }
    }

    #[test]
    fn without_randomness_there_is_none_ahead() {
        #[derive(Default)]
        struct Dry;
        impl Entropy for Dry {
            fn fill(&self, _buffer: &mut [u8]) -> Result<(), NoEntropy> {
                Err(NoEntropy)
            }
        }
        let ahead = DrawnAhead::<Dry>::default();
        assert!((0..2).all(|_| ahead.fill(&mut [0; 16]).is_err()));
    }

    #[test]
    fn two_draws_differ() {
        let (mut one, mut two) = ([0; 32], [0; 32]);
        SystemEntropy.fill(&mut one).unwrap();
        SystemEntropy.fill(&mut two).unwrap();
        assert_ne!(one, two);
    }
}
