//! What this process has written lately, so that a token that is used again is recognised.
//!
//! KV has no place for a write's token. A write that is repeated is recognised by its value, here and in KV; that one
//! token stands for two values only here, for as long as it is remembered.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use aws_lc_rs::hmac;
use leasehold_core::{
    SecretBytes,
    ports::{Entropy, NoEntropy},
};

/// The writes remembered, the oldest first.
pub(crate) struct Written {
    key: hmac::Key,
    writes: Mutex<VecDeque<Write>>,
}

struct Write {
    token: Box<str>,
    path: Box<str>,
    digest: Digest,
    version: Option<u64>,
}

/// What is known of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing.
    Unknown,
    /// It stands for this value, which may have become this version.
    Same(Option<u64>),
    /// It stands for another value, or another secret.
    Other,
}

/// A keyed digest: it tells equal values and nothing else.
pub(crate) type Digest = [u8; 32];

const MOST: usize = 1024;

impl Written {
    pub(crate) fn new(entropy: &dyn Entropy) -> Result<Self, NoEntropy> {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        entropy.fill(&mut *key)?;
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &*key), writes: Mutex::default() })
    }

    /// The digest of what a secret holds.
    pub(crate) fn digest(&self, path: &str, object: &SecretBytes) -> Digest {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(path.as_bytes());
        context.update(&[0]);
        context.update(object.expose());
        let mut digest = [0; 32];
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }

    /// What is known of a token; it is remembered from now on.
    pub(crate) fn recall(&self, token: &str, path: &str, digest: &Digest) -> Known {
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(write) = writes.iter().find(|write| &*write.token == token) {
            let same = &*write.path == path
                && aws_lc_rs::constant_time::verify_slices_are_equal(&write.digest, digest).is_ok();
            return if same { Known::Same(write.version) } else { Known::Other };
        }
        if writes.len() >= MOST {
            writes.pop_front();
        }
        writes.push_back(Write { token: token.into(), path: path.into(), digest: *digest, version: None });
        Known::Unknown
    }

    /// Remembers what a token's write became.
    pub(crate) fn became(&self, token: &str, version: u64) {
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(write) = writes.iter_mut().find(|write| &*write.token == token) {
            write.version = Some(version);
        }
    }

    /// Forgets a token whose write was refused: the next one may be for another value.
    pub(crate) fn forget(&self, token: &str) {
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        writes.retain(|write| &*write.token != token || write.version.is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;
    impl Entropy for Fixed {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy> {
            buffer.fill(7);
            Ok(())
        }
    }

    #[test]
    fn a_token_stands_for_one_value_of_one_secret() {
        let written = Written::new(&Fixed).unwrap();
        let digest = |path: &str, value: &str| written.digest(path, &value.to_owned().into());
        let (one, two) = (digest("a", "one"), digest("a", "two"));
        assert_ne!(one, two);
        assert_ne!(one, digest("b", "one"));
        assert_eq!(written.recall("t", "a", &one), Known::Unknown);
        assert_eq!(written.recall("t", "a", &one), Known::Same(None));
        written.became("t", 4);
        assert_eq!(written.recall("t", "a", &one), Known::Same(Some(4)));
        assert_eq!(written.recall("t", "a", &two), Known::Other);
        assert_eq!(written.recall("t", "b", &one), Known::Other);
        written.forget("t");
        assert_eq!(written.recall("t", "a", &one), Known::Same(Some(4)));
        for token in 0..MOST {
            written.recall(&token.to_string(), "a", &one);
        }
        assert_eq!(written.recall("t", "a", &two), Known::Unknown);
    }
}
