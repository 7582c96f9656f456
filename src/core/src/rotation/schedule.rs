//! When a secret is rotated.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{path::SecretPath, ttl::after};

/// When a secret is rotated. The next time follows from when its current version was made and from nothing else, so that a
/// restart changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// So long after the current version was made.
    pub every: Duration,
}

/// When a secret may be rotated, seen from some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// From when on; what is not in the future means now.
    pub from: Timestamp,
    /// Until when; `None` for as long as it takes.
    pub until: Option<Timestamp>,
    /// Why that is not now, although its time has come.
    pub waits_for: Option<Hindrance>,
}

/// What keeps a secret from being rotated although its time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// It is a time in which nothing is to be rotated.
    Blackout,
    /// The last window closed before it was rotated.
    WindowMissed,
}

impl Schedule {
    /// When the version that was made at `made_at` is to be replaced. `spread` is a number that differs from secret to
    /// secret and never changes for one.
    pub fn next(&self, made_at: Timestamp, _spread: u64) -> Timestamp {
        after(made_at, self.every)
    }

    /// When the version that was made at `made_at` may be replaced, seen from `now`; `None` for never.
    pub fn opening(&self, made_at: Timestamp, spread: u64, _now: Timestamp) -> Option<Opening> {
        Some(Opening { from: self.next(made_at, spread), until: None, waits_for: None })
    }
}

/// A number that differs from secret to secret and never changes for one (FNV-1a, and the end of MurmurHash3 so that all of
/// its bits do).
pub fn spread_of(path: &SecretPath) -> u64 {
    let fnv = path.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}
