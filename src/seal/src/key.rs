//! One key of the ring, and the subkeys that do the work.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use aws_lc_rs::{
    aead::{AES_256_GCM, LessSafeKey, UnboundKey},
    hkdf, hmac,
};
use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use crate::envelope::Salt;

/// Names a key: the first 8 bytes of HKDF-SHA-256 of the key, in hexadecimal. It says nothing of the key itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

/// A key's 32 bytes, wiped when dropped.
pub(crate) type Raw = Zeroizing<[u8; 32]>;

/// A key that can seal and open, through subkeys.
///
/// AES-GCM with random 96-bit nonces is safe for 2^32 values under one key (SP 800-38D, 8.3): less than three days at
/// 20,000 leases a second. So each process seals under a subkey of its own, HKDF-SHA-256 (RFC 5869) of the key with
/// a random 96-bit salt, and takes a new salt after 2^31 values. The key itself then lasts longer than its owner.
pub(crate) struct Key {
    id: KeyId,
    raw: Raw,
    opening: Mutex<HashMap<Salt, Arc<LessSafeKey>>>,
}

/// A subkey with its salt and a count of what it has sealed.
pub(crate) struct Subkey {
    pub(crate) salt: Salt,
    pub(crate) aead: Arc<LessSafeKey>,
    sealed: AtomicU64,
}

const LIMIT: u64 = 1 << 31;
/// Subkeys kept for opening: one for each process that wrote what is read now.
const KEPT: usize = 256;

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl KeyId {
    pub(crate) const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Key {
    pub(crate) fn new(raw: Raw) -> Option<Self> {
        let mut id = [0; 8];
        derive(&*raw, &[], b"leasehold key id", &mut id)?;
        Some(Self { id: KeyId(id), raw, opening: Mutex::default() })
    }

    pub(crate) fn id(&self) -> KeyId {
        self.id
    }

    pub(crate) fn raw(&self) -> &[u8; 32] {
        &self.raw
    }

    /// A subkey to seal with.
    pub(crate) fn subkey(&self, salt: Salt) -> Option<Subkey> {
        Some(Subkey { salt, aead: self.opening(&salt)?, sealed: AtomicU64::new(0) })
    }

    /// The subkey that opens what was sealed under `salt`.
    pub(crate) fn opening(&self, salt: &Salt) -> Option<Arc<LessSafeKey>> {
        let mut kept = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept.get(salt) {
            return Some(Arc::clone(found));
        }
        let mut bytes = Zeroizing::new([0; 32]);
        derive(&*self.raw, salt, b"leasehold seal", &mut *bytes)?;
        let aead = Arc::new(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*bytes).ok()?));
        // A salt comes from the sealed bytes, so whoever can write those must not be able to fill memory.
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(*salt, Arc::clone(&aead));
        Some(aead)
    }
}

impl Subkey {
    /// Counts one value; `false` when this subkey has sealed its share.
    pub(crate) fn take(&self) -> bool {
        self.sealed.fetch_add(1, Ordering::Relaxed) < LIMIT
    }

    #[cfg(test)]
    pub(crate) fn wear_out(&self) {
        self.sealed.store(LIMIT, Ordering::Relaxed);
    }
}

/// The key for value tags.
pub(crate) fn tag_key(raw: &Raw) -> Option<hmac::Key> {
    let mut bytes = Zeroizing::new([0; 32]);
    derive(&**raw, &[], b"leasehold value tag", &mut *bytes)?;
    Some(hmac::Key::new(hmac::HMAC_SHA256, &*bytes))
}

/// A key that follows from a secret which is there for something else.
pub(crate) fn following(secret: &[u8], purpose: &[u8]) -> Option<Raw> {
    let mut raw = Zeroizing::new([0; 32]);
    derive(secret, &[], purpose, &mut *raw)?;
    Some(raw)
}

fn derive(secret: &[u8], salt: &[u8], purpose: &[u8], out: &mut [u8]) -> Option<()> {
    let purpose = [purpose];
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    prk.expand(&purpose, Length(out.len())).ok()?.fill(out).ok()
}
