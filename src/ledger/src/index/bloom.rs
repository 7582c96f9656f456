//! A Bloom filter (B. H. Bloom, 1970): most lookups of a key that is not in a run never touch the run.
//!
//! The bits are set by double hashing (Kirsch and Mitzenmacher, 2006). The hash is written out here because it is kept on
//! disk and must not change with a library: every key is hashed whenever its run is written, so it goes by words.

use leasehold_core::bytes::{Reader, put_number};

/// Ten bits a key and seven probes: about one key in a hundred is looked for in vain.
const BITS_PER_KEY: u64 = 10;
const PROBES: u32 = 7;

/// Which keys may be in a run.
#[derive(Debug)]
pub(crate) struct Bloom {
    words: Vec<u64>,
}

impl Bloom {
    /// For up to `keys` keys; with more it stays right and gets worse.
    pub(crate) fn with_room_for(keys: u64) -> Self {
        let words = keys.saturating_mul(BITS_PER_KEY).div_ceil(64).max(1);
        Self { words: vec![0; usize::try_from(words).unwrap_or(usize::MAX)] }
    }

    pub(crate) fn insert(&mut self, hash: u64) {
        for (word, bit) in probes(hash, self.words.len()) {
            if let Some(word) = self.words.get_mut(word) {
                *word |= bit;
            }
        }
    }

    /// False only when no key of this hash was inserted.
    pub(crate) fn may_contain(&self, hash: u64) -> bool {
        probes(hash, self.words.len()).all(|(word, bit)| self.words.get(word).is_some_and(|w| w & bit != 0))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.words.len().saturating_mul(8).saturating_add(16));
        put_number(&mut out, (self.words.len() as u64).saturating_mul(8));
        for word in &self.words {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let (words, rest) = reader.bytes()?.as_chunks::<8>();
        let whole = rest.is_empty() && !words.is_empty() && reader.is_empty();
        whole.then(|| Self { words: words.iter().map(|word| u64::from_le_bytes(*word)).collect() })
    }
}

/// The hash of a key, the same for ever.
pub(crate) fn hash(key: &str) -> u64 {
    let (words, rest) = key.as_bytes().as_chunks::<8>();
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let fold = |hash: u64, word: &[u8; 8]| {
        let hash = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^ (hash >> 32)
    };
    let hash = words.iter().chain([&last]).fold(key.len() as u64, fold);
    // The finaliser of MurmurHash3, so that every bit of a word reaches every bit of the hash.
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

fn probes(hash: u64, words: usize) -> impl Iterator<Item = (usize, u64)> {
    let bits = (words as u128).saturating_mul(64);
    let step = hash.rotate_left(32) | 1;
    (0..PROBES).map(move |probe| {
        let spread = hash.wrapping_add(step.wrapping_mul(u64::from(probe)));
        // From the hash's range to the filter's without a division (D. Lemire, 2019).
        let at = (u128::from(spread).saturating_mul(bits) >> 64) as u64;
        (usize::try_from(at >> 6).unwrap_or(usize::MAX), 1 << (at & 63))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_what_it_was_told_and_little_else() {
        let mut bloom = Bloom::with_room_for(1000);
        let key = |n: u32| hash(&format!("lease/{n:032x}"));
        (0..1000).for_each(|n| bloom.insert(key(n)));
        let bloom = Bloom::decode(&bloom.encode()).unwrap();
        assert!((0..1000).all(|n| bloom.may_contain(key(n))));
        let mistaken = (1000..11_000).filter(|n| bloom.may_contain(key(*n))).count();
        assert!(mistaken < 300, "{mistaken} of 10000");
    }

    #[test]
    fn the_hash_never_changes() {
        // Changing it would make every index on disk deny its own keys: the form in the manifest's context goes with it.
        assert_eq!(hash("lease/x"), 0x0f8f_49e1_15cd_707f);
    }

    #[test]
    fn damage_is_refused() {
        let mut bytes = Bloom::with_room_for(100).encode();
        bytes.pop();
        assert!(Bloom::decode(&bytes).is_none());
        assert!(Bloom::decode(&[]).is_none());
    }
}
