//! The ledger's data as the domain sees it: an ordered view of keys and values, changed only together with a record.
//!
//! Keys are text. Their parts are separated by a space, which no identifier may contain, so that a prefix scan for one
//! principal or path can never reach into another one whose name merely starts alike.

use std::fmt;

use jiff::Timestamp;
use thiserror::Error;

use crate::{
    id::{LeaseId, RequestId, RevocationId},
    path::{PathPrefix, SecretPath},
    principal::SpiffeId,
    provider::ProviderName,
    record::Record,
    secret::{SecretBytes, VersionId},
};

/// The sequence number of the record that wrote a key last; it only grows.
pub type Revision = u64;

/// A key of the ledger, ordered as bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Box<str>);

/// One state change with its audit record: durable together or not at all.
#[derive(Debug)]
pub struct Commit {
    /// What an auditor will read.
    pub record: Record,
    /// What must hold for the change to happen; checked in the order of commits.
    pub conditions: Vec<Condition>,
    /// The change; empty for a record that changes nothing, such as a denial.
    pub writes: Vec<Write>,
}

/// What must be true of a key when the commit takes its place in the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The key does not exist.
    Absent(Key),
    /// The key was last written at this revision.
    Unchanged(Key, Revision),
}

/// One key put or deleted.
#[derive(Clone, Debug)]
pub struct Write {
    /// The key.
    pub key: Key,
    /// Its new value, or `None` to delete it. Implementations seal it at rest.
    pub value: Option<SecretBytes>,
}

/// A key with its value, as read.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// Its value.
    pub value: SecretBytes,
    /// When it was written last.
    pub revision: Revision,
}

/// One write that has become durable, as a watcher sees it.
#[derive(Clone, Debug)]
pub struct Change {
    /// The record that made it.
    pub revision: Revision,
    /// The key.
    pub key: Key,
    /// Its new value, or `None` when it was deleted.
    pub value: Option<SecretBytes>,
}

/// A half-open range of keys: `from <= key < to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key that may be in it.
    pub from: Key,
    /// The first key after it.
    pub to: Key,
}

/// Why the ledger did not do what it was asked. None of these has changed anything, except as said.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LedgerError {
    /// A condition did not hold; the caller reads again and decides anew.
    #[error("`{0}` has changed in the meantime")]
    Conflict(Key),
    /// There is no room for the record; it works again when there is.
    #[error("the journal cannot grow: {0}")]
    Full(String),
    /// The state cannot be written or read now, for a reason that an operator can mend.
    #[error("the ledger is not available: {0}")]
    Unavailable(String),
    /// A write to the disk failed in a way after which nothing can be promised; whether this very commit is durable is
    /// unknown, and the process must end.
    #[error("the journal is poisoned: {0}")]
    Poisoned(String),
    /// What was read is not what was written.
    #[error("the ledger is damaged: {0}")]
    Corrupt(String),
}

/// What the keys of rotations start with.
const ROTATION: &str = "lease-rotation/";
/// What the keys of unfinished rotations start with.
const ROTATION_OPEN: &str = "rotation-open/";

impl Commit {
    /// A record that changes no state.
    pub fn record_only(record: Record) -> Self {
        Self { record, conditions: Vec::new(), writes: Vec::new() }
    }
}

impl Write {
    /// Puts a value.
    pub fn put(key: Key, value: SecretBytes) -> Self {
        Self { key, value: Some(value) }
    }

    /// Puts an index key, which is its own information.
    pub fn mark(key: Key) -> Self {
        Self::put(key, SecretBytes::new(Vec::new()))
    }

    /// Deletes a key.
    pub fn delete(key: Key) -> Self {
        Self { key, value: None }
    }
}

impl Key {
    /// A key read back from storage.
    pub fn from_stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Every lease makes half a dozen keys: one allocation for each.
    fn of(parts: &[&str]) -> Self {
        Self(parts.concat().into())
    }

    /// The lease itself.
    pub fn lease(id: LeaseId) -> Self {
        Self::of(&["lease/", id.text().as_str()])
    }

    /// When the lease needs attention next: its end, a retry, or its removal. Milliseconds of the Unix epoch, 15 digits.
    pub fn due(at: Timestamp, id: LeaseId) -> Self {
        Self::of(&["expiry/", &millis(at), " ", id.text().as_str()])
    }

    /// The holder's leases.
    pub fn holder(holder: &SpiffeId, id: LeaseId) -> Self {
        Self::of(&["holder/", holder.as_str(), " ", id.text().as_str()])
    }

    /// The live leases on a version.
    pub fn secret(path: &SecretPath, version: &VersionId, id: LeaseId) -> Self {
        Self::of(&["secret/", path.as_str(), " ", version.as_str(), " ", id.text().as_str()])
    }

    /// A lease whose credential is still being made, so that no version is known of it.
    pub fn making(path: &SecretPath, id: LeaseId) -> Self {
        Self::of(&["making/", path.as_str(), " ", id.text().as_str()])
    }

    /// A credential that a back end made, or was asked to make.
    pub fn made(provider: &ProviderName, id: LeaseId) -> Self {
        Self::of(&["made/", provider.as_str(), " ", id.text().as_str()])
    }

    /// Who was ever issued a version; kept after the lease.
    pub fn held(path: &SecretPath, version: &VersionId, holder: &SpiffeId) -> Self {
        Self::of(&["held/", path.as_str(), " ", version.as_str(), " ", holder.as_str()])
    }

    /// What was disclosed with a credential's lease, for a retry of the request that it answered.
    pub fn answer(id: LeaseId) -> Self {
        Self::of(&["answer/", id.text().as_str()])
    }

    /// A lease that could not be ended.
    pub fn quarantined(id: LeaseId) -> Self {
        Self::of(&["quarantined/", id.text().as_str()])
    }

    /// A lease that was given up; kept after it, so that nobody takes its credential for an orphan.
    pub fn forgotten(id: LeaseId) -> Self {
        Self::of(&["forgotten/", id.text().as_str()])
    }

    /// What a principal's request id stands for.
    pub fn request(holder: &SpiffeId, request: &RequestId) -> Self {
        Self::of(&["request/", holder.as_str(), " ", request.as_str()])
    }

    /// When the memory of a request id ends.
    pub fn request_due(at: Timestamp, holder: &SpiffeId, request: &RequestId) -> Self {
        Self::of(&["request-due/", &millis(at), " ", holder.as_str(), " ", request.as_str()])
    }

    /// The revocation of many leases.
    pub fn revocation(id: RevocationId) -> Self {
        Self::of(&["revocation/", &id.to_string()])
    }

    /// When a revocation began; the newest is the first.
    pub fn revocation_begun(at: Timestamp, id: RevocationId) -> Self {
        Self::of(&["revocation-begun/", &millis_left(at), " ", &id.to_string()])
    }

    /// That a revocation has not come to its end.
    pub fn revocation_running(id: RevocationId) -> Self {
        Self::of(&["revocation-running/", &id.to_string()])
    }

    /// Which revocation a caller's request id stands for.
    pub fn revocation_request(caller: &SpiffeId, request: &RequestId) -> Self {
        Self::of(&["revocation-request/", caller.as_str(), " ", request.as_str()])
    }

    /// That the broker is on hold.
    pub fn hold() -> Self {
        Self::of(&["hold"])
    }

    /// What is known of a secret's versions and its rotation. It lies before the leases, so that one watch sees both in
    /// their order.
    pub fn rotation(path: &SecretPath) -> Self {
        Self::of(&[ROTATION, path.as_str()])
    }

    /// That something is to be done about a secret's rotation, or is deliberately not done.
    pub fn rotation_open(path: &SecretPath) -> Self {
        Self::of(&[ROTATION_OPEN, path.as_str()])
    }

    /// The secret in a key made by [`Key::rotation`] or [`Key::rotation_open`].
    pub fn rotation_of(&self) -> Option<SecretPath> {
        let rest = self.0.strip_prefix(ROTATION).or_else(|| self.0.strip_prefix(ROTATION_OPEN))?;
        rest.parse().ok()
    }

    /// The lease id that ends an index key.
    pub fn lease_id(&self) -> Option<LeaseId> {
        self.0.rsplit([' ', '/']).next()?.parse().ok()
    }

    /// The secret's path in a key of a lease on it, made by [`Key::secret`] or [`Key::making`].
    pub fn secret_path(&self) -> Option<SecretPath> {
        let rest = self.0.strip_prefix("secret/").or_else(|| self.0.strip_prefix("making/"))?;
        rest.split_once(' ')?.0.parse().ok()
    }

    /// The revocation's id that ends a key.
    pub fn revocation_id(&self) -> Option<RevocationId> {
        self.0.rsplit([' ', '/']).next()?.parse().ok()
    }

    /// The time in a key made by [`Key::due`] or [`Key::request_due`].
    pub fn due_time(&self) -> Option<Timestamp> {
        let millis = self.0.split_once('/')?.1.split_once(' ')?.0;
        Timestamp::from_millisecond(millis.parse().ok()?).ok()
    }
}

impl KeyRange {
    /// Every key that starts with `prefix`.
    pub fn prefix(prefix: impl Into<String>) -> Self {
        let from: String = prefix.into();
        // INVARIANT: keys are text, and no text has a character after U+10FFFF.
        let to = format!("{from}\u{10ffff}");
        Self { from: Key(from.into()), to: Key(to.into()) }
    }

    /// The leases that need attention at or before `now`.
    pub fn due_until(now: Timestamp) -> Self {
        let to = format!("expiry/{:015}", now.as_millisecond().max(0).saturating_add(1));
        Self { from: Key("expiry/".into()), to: Key(to.into()) }
    }

    /// Everything that needs attention at some time.
    pub fn due() -> Self {
        Self::prefix("expiry/")
    }

    /// The request ids whose memory ends at or before `now`.
    pub fn requests_due_until(now: Timestamp) -> Self {
        let to = format!("request-due/{:015}", now.as_millisecond().max(0).saturating_add(1));
        Self { from: Key("request-due/".into()), to: Key(to.into()) }
    }

    /// Every lease.
    pub fn leases() -> Self {
        Self::prefix("lease/")
    }

    /// Every lease, and what is known of every secret's rotation.
    pub fn leases_and_rotations() -> Self {
        Self { from: Key(ROTATION.into()), to: Self::leases().to }
    }

    /// The live leases on any secret.
    pub fn live() -> Self {
        Self::prefix("secret/")
    }

    /// The leases that could not be ended.
    pub fn quarantined() -> Self {
        Self::prefix("quarantined/")
    }

    /// The leases on one secret whose credentials are still being made.
    pub fn making_of(path: &SecretPath) -> Self {
        Self::prefix(format!("making/{path} "))
    }

    /// The leases on the secrets under a prefix whose credentials are still being made.
    pub fn making_under(prefix: &PathPrefix) -> Self {
        Self::prefix(format!("making/{prefix}"))
    }

    /// Every revocation, the newest first.
    pub fn revocations() -> Self {
        Self::prefix("revocation-begun/")
    }

    /// The revocations that began at or before `time`.
    pub fn revocations_begun_until(time: Timestamp) -> Self {
        Self { from: Key(format!("revocation-begun/{}", millis_left(time)).into()), ..Self::revocations() }
    }

    /// The revocations that have not come to their end.
    pub fn running_revocations() -> Self {
        Self::prefix("revocation-running/")
    }

    /// The leases whose credentials are still being made, or were not known to be made when they were to end.
    pub fn making() -> Self {
        Self::prefix("making/")
    }

    /// The credentials that a back end made, or was asked to make, and that are not over.
    pub fn made_by(provider: &ProviderName) -> Self {
        Self::prefix(format!("made/{provider} "))
    }

    /// One holder's leases.
    pub fn held_by(holder: &SpiffeId) -> Self {
        Self::prefix(format!("holder/{holder} "))
    }

    /// What is known of every secret's rotation.
    pub fn rotations() -> Self {
        Self::prefix(ROTATION)
    }

    /// What is known of the rotation of the secrets under a prefix.
    pub fn rotations_under(prefix: &PathPrefix) -> Self {
        Self::prefix(format!("{ROTATION}{prefix}"))
    }

    /// The secrets about whose rotation something is to be done, or is deliberately not done.
    pub fn open_rotations() -> Self {
        Self::prefix(ROTATION_OPEN)
    }

    /// Who was ever issued a version of a secret under a prefix.
    pub fn held_under(prefix: &PathPrefix) -> Self {
        Self::prefix(format!("held/{prefix}"))
    }

    /// The live leases on any version of one secret.
    pub fn on_secret(path: &SecretPath) -> Self {
        Self::prefix(format!("secret/{path} "))
    }

    /// The live leases on one version of one secret.
    pub fn on_version(path: &SecretPath, version: &VersionId) -> Self {
        Self::prefix(format!("secret/{path} {version} "))
    }

    /// The live leases on the secrets under a prefix.
    pub fn under(prefix: &PathPrefix) -> Self {
        Self::prefix(format!("secret/{prefix}"))
    }

    /// The rest of this range after `key`: where the next page starts.
    pub fn after(&self, key: &Key) -> Self {
        // The least text above `key` is `key` with a NUL behind it.
        Self { from: Key(format!("{key}\0").into()), to: self.to.clone() }
    }

    /// Whether `key` lies in it.
    pub fn contains(&self, key: &Key) -> bool {
        self.from <= *key && *key < self.to
    }
}

/// A time as keys have it, so that they order by it.
fn millis(at: Timestamp) -> String {
    format!("{:015}", at.as_millisecond().max(0))
}

/// The same backwards: what is later comes first.
fn millis_left(at: Timestamp) -> String {
    const LAST: i64 = 999_999_999_999_999;
    format!("{:015}", LAST.saturating_sub(at.as_millisecond().max(0)))
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holders_scan_never_reaches_another() {
        let id = LeaseId::from_bits([1; 16]);
        let short: SpiffeId = "spiffe://example.org/prod/api".parse().unwrap();
        let longer: SpiffeId = "spiffe://example.org/prod/api/v2".parse().unwrap();
        let range = KeyRange::held_by(&short);
        assert!(range.contains(&Key::holder(&short, id)));
        assert!(!range.contains(&Key::holder(&longer, id)));
    }

    #[test]
    fn due_keys_order_by_time() {
        let id = LeaseId::from_bits([1; 16]);
        let at = |s| Timestamp::from_second(s).unwrap();
        assert!(Key::due(at(9), id) < Key::due(at(10), id));
        assert!(KeyRange::due_until(at(10)).contains(&Key::due(at(10), id)));
        assert!(!KeyRange::due_until(at(10)).contains(&Key::due(at(11), id)));
        assert_eq!(Key::due(at(10), id).due_time(), Some(at(10)));
        assert_eq!(Key::due(at(10), id).lease_id(), Some(id));
    }

    #[test]
    fn a_leases_secret_is_read_from_its_key() {
        let (path, id) = ("prod/db".parse().unwrap(), LeaseId::from_bits([1; 16]));
        assert_eq!(Key::secret(&path, &"v1".parse().unwrap(), id).secret_path().as_ref(), Some(&path));
        assert_eq!(Key::making(&path, id).secret_path(), Some(path));
        assert_eq!(Key::lease(id).secret_path(), None);
    }

    #[test]
    fn revocations_are_listed_from_the_newest_and_purged_from_the_oldest() {
        let at = |millis| Timestamp::from_millisecond(millis).unwrap();
        let begun = |millis| Key::revocation_begun(at(millis), RevocationId::from_bits([1; 16]));
        assert!(begun(2_000) < begun(1_999) && KeyRange::revocations().contains(&begun(5)));
        let old = KeyRange::revocations_begun_until(at(1_999));
        assert!(old.contains(&begun(1_999)) && old.contains(&begun(5)) && !old.contains(&begun(2_000)));
        assert_eq!(begun(5).revocation_id(), Some(RevocationId::from_bits([1; 16])));
        assert_eq!(begun(5).lease_id(), None);
    }

    #[test]
    fn one_range_has_the_leases_and_the_rotations_and_nothing_else() {
        let (id, path) = (LeaseId::from_bits([1; 16]), "prod/db".parse().unwrap());
        let version = "v1".parse().unwrap();
        let holder: SpiffeId = "spiffe://example.org/prod/api".parse().unwrap();
        let range = KeyRange::leases_and_rotations();
        assert!(range.contains(&Key::lease(id)) && range.contains(&Key::rotation(&path)));
        assert_eq!(Key::rotation(&path).rotation_of(), Some(path.clone()));
        assert_eq!(Key::lease(id).rotation_of(), None);
        let at = Timestamp::UNIX_EPOCH;
        for other in [Key::holder(&holder, id), Key::made(&"main".parse().unwrap(), id), Key::due(at, id)] {
            assert!(!range.contains(&other), "{other}");
        }
        assert!(!range.contains(&Key::secret(&path, &version, id)));
        assert!(!range.contains(&Key::rotation_open(&path)));
        assert!(!KeyRange::leases().contains(&Key::rotation(&path)));
    }

    #[test]
    fn a_page_starts_after_its_key() {
        let id = LeaseId::from_bits([1; 16]);
        let range = KeyRange::leases();
        let rest = range.after(&Key::lease(id));
        assert!(range.contains(&Key::lease(id)));
        assert!(!rest.contains(&Key::lease(id)));
        assert!(rest.contains(&Key::lease(LeaseId::from_bits([2; 16]))));
    }
}
