//! Stretches of keys in which nothing is left: scans step over them.
//!
//! Whoever takes entries from the front of a range, as the reconciler does with what is due, leaves a deletion for each of
//! them in front of the next one, and the entry itself in an older run, until a merge drops both. A scan from the front
//! would walk over all of them every time. So a scan that found many deletions and nothing else leaves word of it.

use std::cmp::Ordering;

use leasehold_core::state::{Key, KeyRange};

/// So many deletions in a row are worth a note.
pub(crate) const WORTH: usize = 64;
/// So many notes are kept: each write looks at them.
const KEPT: usize = 4;

/// What is known to be empty, the last noted first.
#[derive(Debug, Default)]
pub(crate) struct Voids(Vec<KeyRange>);

impl Voids {
    /// Shortens `range` at its front by what is known to be empty, and at its end where the next such stretch begins.
    pub(crate) fn narrow(&self, range: &mut KeyRange) {
        while let Some(void) = self.0.iter().find(|void| void.contains(&range.from)) {
            range.from = void.to.clone();
        }
        for void in &self.0 {
            if range.contains(&void.from) {
                range.to = void.from.clone();
            }
        }
    }

    /// Nothing is in `range`. What is known to be empty and touches it becomes one with it.
    pub(crate) fn note(&mut self, mut range: KeyRange) {
        self.0.retain(|void| {
            let touches = void.from <= range.to && range.from <= void.to;
            if touches {
                range.from = (&range.from).min(&void.from).clone();
                range.to = (&range.to).max(&void.to).clone();
            }
            !touches
        });
        self.0.insert(0, range);
        self.0.truncate(KEPT);
    }

    /// `key` was put: what is before it is still empty, and so is what is behind it.
    pub(crate) fn put(&mut self, key: &Key) {
        let Some(at) = self.0.iter().position(|void| void.contains(key)) else { return };
        let void = self.0.remove(at);
        let after = void.after(key);
        let before = KeyRange { from: void.from, to: key.clone() };
        for part in [before, after] {
            if part.from.cmp(&part.to) == Ordering::Less {
                self.0.insert(at.min(self.0.len()), part);
            }
        }
        self.0.truncate(KEPT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: &str, to: &str) -> KeyRange {
        KeyRange { from: Key::from_stored(from), to: Key::from_stored(to) }
    }

    fn narrowed(voids: &Voids, from: &str, to: &str) -> KeyRange {
        let mut range = range(from, to);
        voids.narrow(&mut range);
        range
    }

    #[test]
    fn a_scan_steps_over_what_is_empty() {
        let mut voids = Voids::default();
        voids.note(range("b", "d"));
        voids.note(range("d", "f"));
        voids.note(range("k", "m"));
        assert_eq!(narrowed(&voids, "a", "z"), range("a", "b"));
        assert_eq!(narrowed(&voids, "b", "z"), range("f", "k"));
        assert_eq!(narrowed(&voids, "l", "z"), range("m", "z"));
        assert_eq!(narrowed(&voids, "c", "e"), range("f", "e"), "there is nothing to scan");
    }

    #[test]
    fn what_was_put_is_seen() {
        let mut voids = Voids::default();
        voids.note(range("b", "f"));
        voids.put(&Key::from_stored("a"));
        voids.put(&Key::from_stored("d"));
        assert_eq!(
            narrowed(&voids, "b", "z"),
            KeyRange { from: Key::from_stored("d"), to: Key::from_stored("d\0") }
        );
        assert_eq!(narrowed(&voids, "d\0", "z"), range("f", "z"));
        voids.put(&Key::from_stored("b"));
        assert_eq!(narrowed(&voids, "b", "z").from, Key::from_stored("b"));
    }

    #[test]
    fn few_are_kept() {
        let mut voids = Voids::default();
        for n in 0..100_u8 {
            let key = |n: u8| Key::from_stored(&format!("{n:03}"));
            voids.note(KeyRange { from: key(2 * n), to: key(2 * n + 1) });
        }
        assert_eq!(voids.0.len(), KEPT);
        assert_eq!(narrowed(&voids, "198", "z").from.as_str(), "199");
    }
}
