//! A record's state change as the journal keeps it: the writes in one piece, sealed for that record and no other.
//!
//! The form within the seal: version 2, the number of writes, and for each the key, and the value's length plus one
//! with the value, or 0 for a deletion. A key is what is before its first `/`, the number of its parts behind that, and
//! each part: the number of the record's word that it is, or its length plus the number of words, and itself. What the
//! record's line says in clear already (the lease, the actor, the secret, the version, the provider) is said once so,
//! and not again in each of a lease's half a dozen keys. How short that makes it tells nothing: no key is secret.
//!
//! The context of the seal is made of what the record says, those words included, and of the node's name, so that a
//! change moved to another record does not open: whoever can write the journal but lacks the key cannot compose a history
//! of changes out of old ones.

use std::io::Write as _;

use leasehold_core::{
    SecretBytes,
    bytes::{Reader, put_bytes, put_number},
    id::LeaseIdText,
    record::Record,
    state::{Key, Write},
};
use leasehold_seal::{KeyRing, SealError};

const VERSION: u64 = 2;

/// How many words of a record its keys may be made of.
const WORDS: usize = 5;

/// The words of a record that its keys are made of; what it does not have is empty.
struct Words<'a> {
    lease: Option<LeaseIdText>,
    others: [&'a str; WORDS - 1],
}

/// The sealed form of the writes, for `record` by `node`.
///
/// # Errors
/// When they cannot be sealed.
pub(crate) fn seal(
    keys: &KeyRing,
    node: &str,
    record: &Record,
    writes: &[Write],
) -> Result<Vec<u8>, SealError> {
    let words = Words::of(record);
    // Room for all of it at once: a buffer that grows would leave copies of the values behind.
    let length = |write: &Write| {
        let value = write.value.as_ref().map_or(0, SecretBytes::len);
        write.key.as_str().len().saturating_add(value).saturating_add(16)
    };
    let room = writes.iter().map(length).fold(16, usize::saturating_add);
    keys.seal_written(&context(node, record, &words), room, |out| encode(&words, writes, out))
}

/// The writes that were sealed for `record` by `node`.
///
/// # Errors
/// As [`KeyRing::open`].
pub(crate) fn open(
    keys: &KeyRing,
    node: &str,
    record: &Record,
    sealed: &[u8],
) -> Result<Vec<Write>, SealError> {
    let words = Words::of(record);
    let plain = keys.open(&context(node, record, &words), sealed)?;
    decode(&words, &plain).ok_or(SealError::Damaged)
}

fn context(node: &str, record: &Record, words: &Words<'_>) -> Vec<u8> {
    let mut context = Vec::with_capacity(384);
    put_bytes(&mut context, b"leasehold/journal/writes");
    put_bytes(&mut context, node.as_bytes());
    put_bytes(&mut context, &record.time.as_nanosecond().to_le_bytes());
    (0..WORDS).for_each(|n| put_bytes(&mut context, words.get(n).as_bytes()));
    // Last, because its length is not known before; writing to a vector does not fail.
    let _ = write!(context, "{}", record.kind);
    context
}

fn encode(words: &Words<'_>, writes: &[Write], out: &mut Vec<u8>) {
    put_number(out, VERSION);
    put_number(out, writes.len() as u64);
    for write in writes {
        words.put_key(out, write.key.as_str());
        match &write.value {
            None => put_number(out, 0),
            Some(value) => {
                put_number(out, (value.len() as u64).saturating_add(1));
                out.extend_from_slice(value.expose());
            }
        }
    }
}

fn decode(words: &Words<'_>, plain: &SecretBytes) -> Option<Vec<Write>> {
    let mut reader = Reader::new(plain.expose());
    if reader.number()? != VERSION {
        return None;
    }
    let mut writes = Vec::new();
    for _ in 0..reader.number()? {
        let key = words.read_key(&mut reader)?;
        let value = match reader.number()?.checked_sub(1) {
            None => None,
            Some(length) => Some(SecretBytes::new(reader.take(length)?.to_vec())),
        };
        writes.push(Write { key, value });
    }
    reader.is_empty().then_some(writes)
}

impl<'a> Words<'a> {
    fn of(record: &'a Record) -> Self {
        let others = [
            record.actor.id.as_str(),
            record.secret.as_ref().map(|secret| secret.as_str()).unwrap_or_default(),
            record.version.as_ref().map(|version| version.as_str()).unwrap_or_default(),
            record.provider.as_ref().map(|provider| provider.as_str()).unwrap_or_default(),
        ];
        Self { lease: record.lease.map(|lease| lease.text()), others }
    }

    fn get(&self, n: usize) -> &str {
        match n.checked_sub(1) {
            None => self.lease.as_ref().map(LeaseIdText::as_str).unwrap_or_default(),
            Some(n) => self.others.get(n).copied().unwrap_or_default(),
        }
    }

    fn put_key(&self, out: &mut Vec<u8>, key: &str) {
        let (kind, rest) = match key.split_once('/') {
            Some((kind, rest)) => (kind, Some(rest)),
            None => (key, None),
        };
        put_bytes(out, kind.as_bytes());
        put_number(out, rest.map_or(0, |rest| rest.split(' ').count()) as u64);
        for part in rest.iter().flat_map(|rest| rest.split(' ')) {
            match (0..WORDS).find(|n| self.get(*n) == part) {
                Some(n) => put_number(out, n as u64),
                None => {
                    put_number(out, part.len().saturating_add(WORDS) as u64);
                    out.extend_from_slice(part.as_bytes());
                }
            }
        }
    }

    fn read_key(&self, reader: &mut Reader<'_>) -> Option<Key> {
        let mut key = std::str::from_utf8(reader.bytes()?).ok()?.to_owned();
        for n in 0..reader.number()? {
            key.push(if n == 0 { '/' } else { ' ' });
            let word = reader.number()?;
            key.push_str(match word.checked_sub(WORDS as u64) {
                None => self.get(usize::try_from(word).ok()?),
                Some(length) => std::str::from_utf8(reader.take(length)?).ok()?,
            });
        }
        Some(Key::from_stored(&key))
    }
}

#[cfg(test)]
mod tests {
    use leasehold_core::{
        LeaseId, Timestamp,
        record::{Actor, Kind},
    };
    use leasehold_seal::SystemEntropy;
    use proptest::prelude::*;

    use super::*;

    fn record(second: i64) -> Record {
        let actor = Actor::internal("spiffe://example.org/leasehold/broker".parse().unwrap());
        Record::new(Timestamp::from_second(second).unwrap(), Kind::LeaseIssued, actor)
    }

    #[test]
    fn writes_open_for_their_record_only() {
        let keys = KeyRing::generate(&SystemEntropy).unwrap();
        let writes = [
            Write::put(Key::from_stored("a"), SecretBytes::new(b"value".to_vec())),
            Write::mark(Key::from_stored("b")),
            Write::delete(Key::from_stored("c")),
        ];
        let sealed = seal(&keys, "n1", &record(1), &writes).unwrap();
        let opened = open(&keys, "n1", &record(1), &sealed).unwrap();
        let shown = |writes: &[Write]| {
            let one = |w: &Write| (w.key.to_string(), w.value.as_ref().map(|v| v.expose().to_vec()));
            writes.iter().map(one).collect::<Vec<_>>()
        };
        assert_eq!(shown(&opened), shown(&writes));
        assert_eq!(open(&keys, "n1", &record(2), &sealed).unwrap_err(), SealError::Damaged);
        assert_eq!(open(&keys, "n2", &record(1), &sealed).unwrap_err(), SealError::Damaged);
        assert!(!sealed.windows(5).any(|w| w == b"value"));
        let elsewhere = Record { secret: Some("prod/other".parse().unwrap()), ..record(1) };
        assert_eq!(open(&keys, "n1", &elsewhere, &sealed).unwrap_err(), SealError::Damaged);
    }

    #[test]
    fn what_the_record_says_is_not_said_again() {
        let id = LeaseId::from_bits([7; 16]);
        let holder = "spiffe://example.org/prod/payments/api";
        let mut record = record(1);
        (record.actor.id, record.lease) = (holder.parse().unwrap(), Some(id));
        let writes = [Write::mark(Key::lease(id)), Write::mark(Key::holder(&record.actor.id, id))];
        let mut out = Vec::new();
        encode(&Words::of(&record), &writes, &mut out);
        let length = out.len();
        assert!(length < 30, "{length}");
    }

    proptest! {
        #[test]
        fn any_key_comes_back(
            keys in prop::collection::vec("[a-c/ é]{0,9}( lease-aaaaaaaaaaaaaaaaaaaaaaaaaa| prod/db|/)?", 0..5),
        ) {
            let mut record = record(1);
            record.lease = Some(LeaseId::from_bits([0; 16]));
            record.secret = Some("prod/db".parse().unwrap());
            let writes: Vec<_> = keys.iter().map(|key| Write::delete(Key::from_stored(key))).collect();
            let words = Words::of(&record);
            let mut out = Vec::new();
            encode(&words, &writes, &mut out);
            let back = decode(&words, &SecretBytes::new(out)).unwrap();
            prop_assert_eq!(back.iter().map(|write| write.key.as_str()).collect::<Vec<_>>(), keys);
        }

        #[test]
        fn noise_does_no_harm(noise: Vec<u8>) {
            let plain = SecretBytes::new([&[2], &noise[..]].concat());
            drop(decode(&Words::of(&record(1)), &plain));
        }
    }
}
