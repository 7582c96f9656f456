//! The durable form of a lease. There may be a million of them, and most are static and active: what those have is written
//! in binary, some hundred bytes; what only others have follows as JSON, and says so by being there.
//!
//! A byte 1; a byte that is 1 when the lease has ended; then holder, secret and provider, each with its length before it;
//! the id (16 bytes); the times of issue, end and last end (seconds, zigzag; nanoseconds); the version with its length, or
//! an empty one; then the rest. Numbers and lengths are LEB128. A lease that an older broker wrote is JSON as a whole,
//! which begins with a brace.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Lease, LeaseKind, LeaseState, Parties, RevocationHandle, Undecodable, Verification};
use crate::{
    bytes::{Reader, put_bytes, put_number},
    id::LeaseId,
    secret::{FieldName, SecretBytes},
};

const FORM: u8 = 1;

/// What a static, active lease as it was issued does not have.
#[derive(Serialize, Deserialize)]
struct Rest {
    kind: LeaseKind,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fields: Vec<FieldName>,
    state: LeaseState,
    #[serde(default, skip_serializing_if = "super::is_zero")]
    renewals: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    moved: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stale_since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    handle: Option<RevocationHandle>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unsettled_until: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    irrevocable_until: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verification: Option<Verification>,
}

impl Lease {
    /// Its durable form. It holds the revocation handle in clear: only for the ledger, which seals it.
    ///
    /// # Errors
    /// Never in practice; the encoder's type says that it could.
    pub fn encode(&self) -> Result<SecretBytes, Undecodable> {
        let rest = self.rest()?;
        let texts = [self.holder.as_str(), self.secret.as_str(), self.provider.as_str()];
        let version = self.version.as_ref().map(|version| version.as_str()).unwrap_or_default();
        let room = texts.iter().chain([&version]).map(|text| text.len()).fold(96, usize::saturating_add);
        // Room for all of it at once: a buffer that grows would leave copies of the handle behind.
        let mut out = Vec::with_capacity(room.saturating_add(rest.len()));
        out.extend_from_slice(&[FORM, u8::from(self.is_ended())]);
        texts.iter().for_each(|text| put_bytes(&mut out, text.as_bytes()));
        out.extend_from_slice(self.id.bits());
        [self.issued_at, self.expires_at, self.max_expires_at]
            .iter()
            .for_each(|time| put_time(&mut out, *time));
        put_bytes(&mut out, version.as_bytes());
        out.extend_from_slice(&rest);
        Ok(SecretBytes::new(out))
    }

    /// A lease from its durable form.
    ///
    /// # Errors
    /// When it is not one.
    pub fn decode(bytes: &SecretBytes) -> Result<Self, Undecodable> {
        if bytes.expose().first() == Some(&b'{') {
            return Ok(serde_json::from_slice(bytes.expose())?);
        }
        let (parties, _, mut reader) = parties(bytes.expose()).ok_or_else(malformed)?;
        let id = LeaseId::from_bits(reader.take(16).and_then(|id| id.try_into().ok()).ok_or_else(malformed)?);
        let mut times = [Timestamp::UNIX_EPOCH; 3];
        for read in &mut times {
            *read = time(&mut reader).ok_or_else(malformed)?;
        }
        let [issued_at, expires_at, max_expires_at] = times;
        let version = text(&mut reader).ok_or_else(malformed)?;
        let Rest {
            kind,
            fields,
            state,
            renewals,
            moved,
            stale_since,
            handle,
            unsettled_until,
            irrevocable_until,
            verification,
        } = if reader.is_empty() { Rest::none() } else { serde_json::from_slice(reader.rest())? };
        Ok(Self {
            id,
            holder: parties.holder.parse().map_err(|_| malformed())?,
            secret: parties.secret.parse().map_err(|_| malformed())?,
            provider: parties.provider.parse().map_err(|_| malformed())?,
            version: if version.is_empty() { None } else { Some(version.parse().map_err(|_| malformed())?) },
            kind,
            fields,
            state,
            issued_at,
            expires_at,
            max_expires_at,
            renewals,
            moved,
            stale_since,
            handle,
            unsettled_until,
            irrevocable_until,
            verification,
        })
    }

    /// What is written behind the binary part; empty when there is nothing to say.
    fn rest(&self) -> Result<Vec<u8>, Undecodable> {
        let Self {
            kind,
            fields,
            state,
            renewals,
            moved,
            stale_since,
            handle,
            unsettled_until,
            irrevocable_until,
            verification,
            ..
        } = self;
        let usual = *kind == LeaseKind::Static && fields.is_empty() && *state == LeaseState::Active;
        let later = *moved
            || stale_since.is_some()
            || unsettled_until.is_some()
            || irrevocable_until.is_some()
            || verification.is_some();
        if usual && *renewals == 0 && handle.is_none() && !later {
            return Ok(Vec::new());
        }
        Ok(serde_json::to_vec(&Rest {
            kind: *kind,
            fields: fields.clone(),
            state: state.clone(),
            renewals: *renewals,
            moved: *moved,
            stale_since: *stale_since,
            handle: handle.clone(),
            unsettled_until: *unsettled_until,
            irrevocable_until: *irrevocable_until,
            verification: *verification,
        })?)
    }
}

impl Rest {
    const fn none() -> Self {
        Self {
            kind: LeaseKind::Static,
            fields: Vec::new(),
            state: LeaseState::Active,
            renewals: 0,
            moved: false,
            stale_since: None,
            handle: None,
            unsettled_until: None,
            irrevocable_until: None,
            verification: None,
        }
    }
}

/// Whom a lease of this form concerns, whether it has ended, and what follows.
pub(super) fn parties(bytes: &[u8]) -> Option<(Parties<'_>, bool, Reader<'_>)> {
    let ([FORM, ended @ (0 | 1)], rest) = bytes.split_first_chunk::<2>()? else { return None };
    let mut reader = Reader::new(rest);
    let (holder, secret, provider) = (text(&mut reader)?, text(&mut reader)?, text(&mut reader)?);
    Some((Parties { holder, secret, provider }, *ended == 1, reader))
}

fn malformed() -> Undecodable {
    <serde_json::Error as serde::de::Error>::custom("it is not a lease").into()
}

fn put_time(out: &mut Vec<u8>, time: Timestamp) {
    let second = time.as_second();
    put_number(out, ((second << 1) ^ (second >> 63)).cast_unsigned());
    // A time before 1970 counts its nanoseconds backwards.
    put_number(out, u64::from(time.subsec_nanosecond().unsigned_abs()));
}

fn text<'a>(reader: &mut Reader<'a>) -> Option<&'a str> {
    std::str::from_utf8(reader.bytes()?).ok()
}

fn time(reader: &mut Reader<'_>) -> Option<Timestamp> {
    let zigzag = reader.number()?;
    let second = (zigzag >> 1).cast_signed() ^ (zigzag & 1).cast_signed().checked_neg()?;
    let nanos = i32::try_from(reader.number()?).ok()?;
    Timestamp::new(second, if second < 0 { nanos.checked_neg()? } else { nanos }).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::{lease::Cause, ttl::TtlLimits};

    fn lease(now: Timestamp) -> Lease {
        let limits = TtlLimits::new(Duration::from_secs(60), Duration::from_secs(300)).unwrap();
        Lease::new_static(
            LeaseId::from_bits([7; 16]),
            "spiffe://example.org/prod/api".parse().unwrap(),
            "prod/db".parse().unwrap(),
            "main".parse().unwrap(),
            "v1".parse().unwrap(),
            limits.term(None, now),
            now,
        )
    }

    #[test]
    fn what_an_older_broker_wrote_is_read() {
        let lease = lease(Timestamp::from_second(9).unwrap());
        let json = SecretBytes::new(serde_json::to_vec(&lease).unwrap());
        assert_eq!(format!("{:?}", Lease::decode(&json).unwrap()), format!("{lease:?}"));
        assert_eq!(Parties::read(&json).unwrap(), Parties::read(&lease.encode().unwrap()).unwrap());
    }

    #[test]
    fn a_usual_lease_is_short() {
        let lease = lease(Timestamp::from_nanosecond(1_763_820_000_123_456_789).unwrap());
        let length = lease.encode().unwrap().len();
        assert!(length < 100, "{length}");
    }

    proptest! {
        #[test]
        fn a_lease_comes_back_as_it_was(nanos in -2_000_000_000_000_000_000_i64..4_000_000_000_000_000_000, what in 0..6_u8, number: u32) {
            let now = Timestamp::from_nanosecond(nanos.into()).unwrap();
            let mut lease = lease(now);
            match what {
                0 => {}
                1 => lease.fields = vec!["user".parse().unwrap()],
                2 => (lease.renewals, lease.moved) = (number, number % 2 == 1),
                3 => lease.state = LeaseState::Revoking { cause: Cause::Expiry, attempts: number, next_try: now },
                4 => {
                    lease.kind = LeaseKind::Dynamic;
                    lease.version = None;
                    lease.unsettled_until = Some(now);
                    lease.handle = Some(RevocationHandle::new(SecretBytes::new(number.to_be_bytes().to_vec())));
                }
                _ => {
                    lease.state = LeaseState::Expired { at: now };
                    lease.verification = Some(Verification::Verified);
                    lease.stale_since = Some(now);
                    lease.irrevocable_until = Some(now);
                }
            }
            let stored = lease.encode().unwrap();
            let again = Lease::decode(&stored).unwrap();
            prop_assert_eq!(format!("{again:?}"), format!("{lease:?}"));
            let handle = |lease: &Lease| lease.handle.as_ref().map(|handle| handle.expose().to_vec());
            prop_assert_eq!(handle(&again), handle(&lease));
        }

        #[test]
        fn noise_is_no_lease_and_does_no_harm(noise: Vec<u8>, cut in 0..90_usize) {
            drop(Lease::decode(&SecretBytes::new(noise.clone())));
            let whole = lease(Timestamp::UNIX_EPOCH).encode().unwrap();
            let cut = cut.min(whole.len().saturating_sub(1));
            prop_assert!(Lease::decode(&SecretBytes::new(whole.expose()[..cut].to_vec())).is_err());
            drop(Parties::read(&SecretBytes::new([&[FORM, 0], &noise[..]].concat())));
        }
    }
}
