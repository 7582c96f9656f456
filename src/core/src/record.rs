//! What the audit journal says of one event. Public by design: nothing in a record is secret, and no field can hold a value.
//!
//! The journal adds what makes a line provable (sequence, previous hash, node) and the sealed state change.

use std::{collections::BTreeMap, fmt, net::SocketAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    access::Action,
    id::{CallId, LeaseId, RequestId},
    path::SecretPath,
    principal::SpiffeId,
    provider::ProviderName,
    secret::{FieldName, VersionId},
};

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When the broker took the event up, by its own clock.
    pub time: Timestamp,
    /// What happened.
    pub kind: Kind,
    /// Who did it.
    pub actor: Actor,
    /// How it ended.
    pub outcome: Outcome,
    /// The secret that it is about, as asked for; absent when it is about none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretPath>,
    /// The version that was disclosed or written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionId>,
    /// The provider that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderName>,
    /// The lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseId>,
    /// The lease's end as of this event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What policy said and on what grounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// The client's own name for the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// Keyed HMACs of the disclosed fields: they answer "was this string ever issued?" and nothing else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub value_hmac: BTreeMap<FieldName, ValueTag>,
    /// Whatever else an auditor should know, such as `stale_for`: text that the broker wrote itself, or took over from a
    /// back end's error; only the `reason` of a revocation is its caller's own sentence.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
}

/// What kinds of event there are. The names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// The broker started; says what it found.
    #[serde(rename = "broker.started")]
    BrokerStarted,
    /// The broker ended in order.
    #[serde(rename = "broker.stopped")]
    BrokerStopped,
    /// New certificates, policies or catalog are in force.
    #[serde(rename = "config.reloaded")]
    ConfigReloaded,
    /// New configuration was refused; the old one stays.
    #[serde(rename = "config.rejected")]
    ConfigRejected,
    /// The journal's end was not whole after a crash and was mended; nothing acknowledged was in it.
    #[serde(rename = "journal.recovered")]
    JournalRecovered,
    /// A snapshot of the state was written; `details` has its digest.
    #[serde(rename = "journal.snapshot")]
    JournalSnapshot,
    /// Segments of the journal were handed to the archive; `details` says which.
    #[serde(rename = "journal.archived")]
    JournalArchived,
    /// A dynamic credential is about to be made.
    #[serde(rename = "lease.attempted")]
    LeaseAttempted,
    /// A lease was issued, or was refused (see the outcome).
    #[serde(rename = "lease.issued")]
    LeaseIssued,
    /// A lease's end was moved.
    #[serde(rename = "lease.renewed")]
    LeaseRenewed,
    /// A lease's credential is being revoked at the back end.
    #[serde(rename = "lease.revoking")]
    LeaseRevoking,
    /// A lease ended before its time.
    #[serde(rename = "lease.revoked")]
    LeaseRevoked,
    /// A lease ended at its time.
    #[serde(rename = "lease.expired")]
    LeaseExpired,
    /// A lease's credential could not be revoked within the retry budget.
    #[serde(rename = "lease.quarantined")]
    LeaseQuarantined,
    /// An operator gave up a lease whose credential could not be ended; `details` has the reason.
    #[serde(rename = "lease.forgotten")]
    LeaseForgotten,
    /// The revocation of many leases began; `details` says which and why.
    #[serde(rename = "revocation.started")]
    RevocationStarted,
    /// It was asked what such a revocation would do.
    #[serde(rename = "revocation.previewed")]
    RevocationPreviewed,
    /// The revocation of many leases came to its end; `details` has the counts.
    #[serde(rename = "revocation.finished")]
    RevocationFinished,
    /// Somebody had the back ends asked for orphans.
    #[serde(rename = "orphan.swept")]
    OrphanSwept,
    /// A credential with the broker's tag was found for which no lease stands.
    #[serde(rename = "orphan.found")]
    OrphanFound,
    /// Such a credential was ended.
    #[serde(rename = "orphan.revoked")]
    OrphanRevoked,
    /// The broker is on hold: it ends nothing.
    #[serde(rename = "hold.began")]
    HoldBegan,
    /// The broker is on hold no longer.
    #[serde(rename = "hold.released")]
    HoldReleased,
    /// A lease was looked at by someone who is not its holder, or leases were listed.
    #[serde(rename = "lease.read")]
    LeaseRead,
    /// Ended leases were removed from the ledger.
    #[serde(rename = "lease.purged")]
    LeasePurged,
    /// The broker read a secret for itself, to sign in at a back end.
    #[serde(rename = "secret.read")]
    SecretRead,
    /// A secret's metadata was read.
    #[serde(rename = "secret.described")]
    SecretDescribed,
    /// A new version is about to be written.
    #[serde(rename = "secret.attempted")]
    SecretAttempted,
    /// A new version was written.
    #[serde(rename = "secret.written")]
    SecretWritten,
    /// Something that exists was changed, such as a version disabled; `details` says what.
    #[serde(rename = "secret.changed")]
    SecretChanged,
    /// The broker took note of a secret's current version, which it did not know, or which somebody else made
    /// current.
    #[serde(rename = "rotation.seen")]
    RotationSeen,
    /// A rotation began: the new version is about to be made, or is made anew; `details` says why and how.
    #[serde(rename = "rotation.started")]
    RotationStarted,
    /// The new version was written, and is lent to nobody yet.
    #[serde(rename = "rotation.created")]
    RotationCreated,
    /// The target accepts the new value.
    #[serde(rename = "rotation.applied")]
    RotationApplied,
    /// The new value was tried and works.
    #[serde(rename = "rotation.tested")]
    RotationTested,
    /// The new version is current, and the old one is draining.
    #[serde(rename = "rotation.promoted")]
    RotationPromoted,
    /// The old version is held no longer, or its deadline came.
    #[serde(rename = "rotation.drained")]
    RotationDrained,
    /// The old value was made unusable, and tried; `details` has what came of it.
    #[serde(rename = "rotation.verified")]
    RotationVerified,
    /// The old version is put away: the rotation is over.
    #[serde(rename = "rotation.retired")]
    RotationRetired,
    /// A step of a rotation did not work; `details` says which, why, and when it is tried again.
    #[serde(rename = "rotation.failed")]
    RotationFailed,
    /// The new version is to be thrown away; `details` says why.
    #[serde(rename = "rotation.given-up")]
    RotationGivenUp,
    /// The new version was thrown away: the rotation is over.
    #[serde(rename = "rotation.discarded")]
    RotationDiscarded,
    /// The old version is being made current again.
    #[serde(rename = "rotation.rolling-back")]
    RotationRollingBack,
    /// The old version is current again, and the new one is draining.
    #[serde(rename = "rotation.rolled-back")]
    RotationRolledBack,
    /// A rotation was asked for.
    #[serde(rename = "rotation.requested")]
    RotationRequested,
    /// It was asked what a rotation would do.
    #[serde(rename = "rotation.previewed")]
    RotationPreviewed,
    /// A secret's rotation was paused.
    #[serde(rename = "rotation.paused")]
    RotationPaused,
    /// A secret's rotation was resumed.
    #[serde(rename = "rotation.resumed")]
    RotationResumed,
    /// Rotations were looked at.
    #[serde(rename = "rotation.read")]
    RotationRead,
    /// Somebody began to watch a secret's versions.
    #[serde(rename = "secret.watched")]
    SecretWatched,
    /// A lease was moved to the current version, whose value was disclosed.
    #[serde(rename = "lease.moved")]
    LeaseMoved,
    /// A back end was tried for what the configuration asks of it.
    #[serde(rename = "provider.checked")]
    ProviderChecked,
    /// The audit journal was read.
    #[serde(rename = "audit.read")]
    AuditRead,
    /// The broker's status was read.
    #[serde(rename = "status.read")]
    StatusRead,
    /// Requests of a principal were turned away within a minute because it asked more often than it may; `details` says
    /// by which limit, and how many.
    #[serde(rename = "request.limited")]
    RequestLimited,
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The SPIFFE ID; the broker's own acts have one too.
    pub id: SpiffeId,
    /// SHA-256 of the peer's certificate (DER), in hexadecimal; absent for the broker itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Arc<str>>,
    /// Where the peer connected from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// The call in which it is done; in records of what was denied or failed, among the details.
    #[serde(skip)]
    pub call: Option<CallId>,
}

/// How an event ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "lowercase")]
pub enum Outcome {
    /// As asked.
    Ok,
    /// Policy said no, or the thing does not exist: one answer for both.
    Denied,
    /// It went wrong.
    Failed {
        /// The stable reason, such as `PROVIDER_THROTTLED`.
        reason: String,
    },
}

/// What the authorizer said, with what it took into account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The action that was asked for.
    pub action: Action,
    /// Allowed or denied.
    pub effect: Effect,
    /// The names of the policies that determined it; none when nothing allowed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Arc<str>>,
    /// The longest lease that the permitting policies grant; absent when they set no limit. In whole seconds when written.
    #[serde(
        default,
        rename = "max_ttl_seconds",
        with = "whole_seconds",
        skip_serializing_if = "Option::is_none"
    )]
    pub max_ttl: Option<Duration>,
    /// The digest of the policy set that was in force.
    pub policy_set: Arc<str>,
    /// The request's context as the policies saw it: what a replay needs beyond principal and secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, serde_json::Value>,
    /// Errors of evaluation; any of them is a denial.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// Allowed or denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Some policy permits it and none forbids it.
    Allow,
    /// Everything else.
    Deny,
}

/// A keyed HMAC-SHA-256 of a value, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ValueTag(pub Arc<str>);

impl Record {
    /// A record of something that went as asked; the caller fills in what applies.
    pub fn new(time: Timestamp, kind: Kind, actor: Actor) -> Self {
        Self {
            time,
            kind,
            actor,
            outcome: Outcome::Ok,
            secret: None,
            version: None,
            provider: None,
            lease: None,
            expires_at: None,
            decision: None,
            request_id: None,
            value_hmac: BTreeMap::new(),
            details: BTreeMap::new(),
        }
    }
}

impl Actor {
    /// The broker, or a part of it, acting on its own.
    pub fn internal(id: SpiffeId) -> Self {
        Self { id, certificate: None, address: None, call: None }
    }
}

impl Decision {
    /// Whether it may happen.
    pub fn is_allowed(&self) -> bool {
        self.effect == Effect::Allow && self.errors.is_empty()
    }
}

mod whole_seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.map(|duration| duration.as_secs()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_secs))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_written_with_stable_names() {
        let actor = Actor::internal("spiffe://example.org/leasehold/broker".parse().unwrap());
        let mut record = Record::new(Timestamp::UNIX_EPOCH, Kind::LeaseIssued, actor);
        record.secret = Some("prod/payments/db".parse().unwrap());
        record.outcome = Outcome::Failed { reason: "PROVIDER_THROTTLED".to_owned() };
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"time":"1970-01-01T00:00:00Z","kind":"lease.issued","#,
                r#""actor":{"id":"spiffe://example.org/leasehold/broker"},"#,
                r#""outcome":{"result":"failed","reason":"PROVIDER_THROTTLED"},"secret":"prod/payments/db"}"#
            )
        );
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
        assert_eq!(Kind::LeaseIssued.to_string(), "lease.issued");
    }

    #[test]
    fn a_decision_without_a_limit_says_nothing_of_one() {
        let mut decision = Decision {
            action: Action::IssueLease,
            effect: Effect::Allow,
            policies: vec!["payments".into()],
            max_ttl: None,
            policy_set: "abc".into(),
            inputs: BTreeMap::new(),
            errors: Vec::new(),
        };
        let plain = r#"{"action":"IssueLease","effect":"allow","policies":["payments"],"policy_set":"abc"}"#;
        assert_eq!(serde_json::to_string(&decision).unwrap(), plain);
        assert_eq!(serde_json::from_str::<Decision>(plain).unwrap(), decision);
        decision.max_ttl = Some(Duration::from_secs(900));
        let text = serde_json::to_string(&decision).unwrap();
        assert!(text.contains(r#""max_ttl_seconds":900"#), "{text}");
        assert_eq!(serde_json::from_str::<Decision>(&text).unwrap(), decision);
    }
}
