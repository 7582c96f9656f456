//! Chance that can be had again: a variable such as `LEASEHOLD_CRASH_SEED` gives a seed, else it is taken from the clock, and
//! each test says which one it had. It decides what is done and when; how threads and processes then run is not in its
//! hands.

use std::{
    env,
    ops::Range,
    time::{SystemTime, UNIX_EPOCH},
};

/// Steele, Lea and Flood's SplitMix64.
#[derive(Clone)]
pub struct Seed(u64);

impl Seed {
    /// The one that this variable gives, or a new one. It is said.
    ///
    /// # Panics
    /// When it is no number.
    pub fn from_env(variable: &str) -> Self {
        let given = env::var(variable).ok();
        let seed = given.map_or_else(now, |text| text.parse().expect("a seed is a number"));
        eprintln!("{variable}={seed}");
        Self(seed)
    }

    /// Chance of its own for somebody else.
    #[must_use]
    pub fn split(&mut self) -> Self {
        Self(self.next())
    }

    /// The number that gives the same chance again.
    pub fn number(&self) -> u64 {
        self.0
    }

    /// One of these numbers.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    /// One of these things.
    pub fn pick<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        &things[self.within(0..things.len() as u64) as usize]
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[expect(clippy::disallowed_methods, reason = "a seed is wanted, not a time")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_micros() as u64
}
