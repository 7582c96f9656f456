//! A record's state change as the journal keeps it: the writes in one piece, sealed for that record and no other.
//!
//! The form within the seal: version 1, the number of writes, and for each the key, and the value's length plus one
//! with the value, or 0 for a deletion. The context of the seal is made of what the record says and of the node's name,
//! so that a change moved to another record does not open: whoever can write the journal but lacks the key cannot
//! compose a history of changes out of old ones.

use std::io::Write as _;

use leasehold_core::{
    SecretBytes,
    bytes::{Reader, put_bytes, put_number},
    record::Record,
    state::{Key, Write},
};
use leasehold_seal::{KeyRing, SealError};

const VERSION: u64 = 1;

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
    keys.seal(&context(node, record), encode(writes).expose())
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
    let plain = keys.open(&context(node, record), sealed)?;
    decode(&plain).ok_or(SealError::Damaged)
}

fn context(node: &str, record: &Record) -> Vec<u8> {
    let mut context = Vec::with_capacity(256);
    put_bytes(&mut context, b"leasehold/journal/writes");
    put_bytes(&mut context, node.as_bytes());
    put_bytes(&mut context, &record.time.as_nanosecond().to_le_bytes());
    put_bytes(&mut context, record.actor.id.as_str().as_bytes());
    put_bytes(&mut context, record.lease.as_ref().map_or(&[], |lease| &lease.bits()[..]));
    // Last, because its length is not known before; writing to a vector does not fail.
    let _ = write!(context, "{}", record.kind);
    context
}

fn encode(writes: &[Write]) -> SecretBytes {
    let length = |write: &Write| {
        let value = write.value.as_ref().map_or(0, SecretBytes::len);
        write.key.as_str().len().saturating_add(value).saturating_add(16)
    };
    // Room for all of it at once: a buffer that grows would leave copies of the values behind.
    let room = writes.iter().map(length).fold(16, usize::saturating_add);
    let mut out = Vec::with_capacity(room);
    put_number(&mut out, VERSION);
    put_number(&mut out, writes.len() as u64);
    for write in writes {
        put_bytes(&mut out, write.key.as_str().as_bytes());
        match &write.value {
            None => put_number(&mut out, 0),
            Some(value) => {
                put_number(&mut out, (value.len() as u64).saturating_add(1));
                out.extend_from_slice(value.expose());
            }
        }
    }
    SecretBytes::new(out)
}

fn decode(plain: &SecretBytes) -> Option<Vec<Write>> {
    let mut reader = Reader::new(plain.expose());
    if reader.number()? != VERSION {
        return None;
    }
    let mut writes = Vec::new();
    for _ in 0..reader.number()? {
        let key = Key::from_stored(std::str::from_utf8(reader.bytes()?).ok()?);
        let value = match reader.number()?.checked_sub(1) {
            None => None,
            Some(length) => Some(SecretBytes::new(reader.take(length)?.to_vec())),
        };
        writes.push(Write { key, value });
    }
    reader.is_empty().then_some(writes)
}

#[cfg(test)]
mod tests {
    use leasehold_core::{
        Timestamp,
        record::{Actor, Kind},
    };
    use leasehold_seal::SystemEntropy;

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
    }
}
