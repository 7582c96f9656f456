//! How long to wait before something is tried again.

use std::time::Duration;

/// Doubles from `first` to `most`, and takes a random part of the upper half, so that many do not come back together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    pub(crate) first: Duration,
    pub(crate) most: Duration,
}

impl Backoff {
    /// The wait after so many failures in a row; `chance` is between 0 and 1.
    pub(crate) fn after(self, failures: u32, chance: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        let whole = self.first.saturating_mul(1_u32 << doublings).min(self.most);
        whole.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_to_its_bound_and_is_never_less_than_half() {
        let backoff = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(2) };
        let longest: Vec<_> = [1, 2, 3, 9, u32::MAX].map(|n| backoff.after(n, 1.0).as_millis()).into();
        assert_eq!(longest, [100, 200, 400, 2_000, 2_000]);
        assert_eq!(backoff.after(3, 0.0), Duration::from_millis(200));
    }
}
