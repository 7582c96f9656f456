//! Audit records as the command line shows them, the same whether they came through the broker or from files. The names
//! in JSON are those of the journal's own lines.

use std::{collections::BTreeMap, time::Duration};

use data_encoding::HEXLOWER;
use jiff::SignedDuration;
use leasehold_audit::JournalEntry;
use leasehold_client::proto;
use leasehold_core::{RequestId, Timestamp, record::Outcome};
use prost_types::value::Kind as Inner;
use serde::Serialize;
use serde_json::Value;

use crate::{output::Row, table::Cut};

/// One record.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct RecordView {
    seq: u64,
    prev: String,
    hash: String,
    node: String,
    time: Timestamp,
    kind: String,
    actor: ActorView,
    outcome: OutcomeView,
    #[serde(skip_serializing_if = "String::is_empty")]
    secret: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    provider: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    lease: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<DecisionView>,
    #[serde(skip_serializing_if = "String::is_empty")]
    request_id: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    value_hmac: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    details: BTreeMap<String, String>,
}

#[derive(Debug, PartialEq, Serialize)]
struct ActorView {
    id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    certificate: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    address: String,
}

#[derive(Debug, PartialEq, Serialize)]
struct OutcomeView {
    result: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
}

#[derive(Debug, PartialEq, Serialize)]
struct DecisionView {
    action: String,
    effect: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    policies: Vec<String>,
    policy_set: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_ttl_seconds: Option<u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    inputs: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<String>,
}

impl RecordView {
    /// Whether it is of a request of this name: the client's own, or the broker's for a call that it refused.
    pub(super) fn is_of(&self, request: &RequestId) -> bool {
        self.request_id == request.as_str()
            || self.details.get("call").is_some_and(|call| call == request.as_str())
    }

    /// What is in no column of its own: why it failed, the lease, the policies that decided, and the details.
    pub(crate) fn in_words(&self) -> String {
        let mut words = Vec::new();
        if !self.outcome.reason.is_empty() {
            words.push(self.outcome.reason.clone());
        }
        if !self.lease.is_empty() {
            words.push(self.lease.clone());
        }
        if let Some(decision) = &self.decision
            && !decision.policies.is_empty()
        {
            words.push(format!("by {}", decision.policies.join(", ")));
        }
        words.extend(self.details.iter().map(|(name, text)| format!("{name}={text}")));
        words.join("; ")
    }
}

impl Row for RecordView {
    const COLUMNS: &'static [&'static str] =
        &["SEQ", "TIME", "KIND", "OUTCOME", "SECRET", "ACTOR", "DETAILS"];
    const CUTS: &'static [(&'static str, Cut)] =
        &[("DETAILS", Cut::End), ("ACTOR", Cut::Start), ("SECRET", Cut::Start), ("TIME", Cut::Time)];
    const FIRST_OUT: &'static [&'static str] = &["SEQ", "DETAILS"];
    const LAST_OUT: &'static [&'static str] = &["ACTOR"];
    const WIDTHS: &'static [usize] = &[6, 24, 18, 8, 24, 44, 33];

    fn cells(&self) -> Vec<String> {
        let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        vec![
            self.seq.to_string(),
            format!("{:.3}", self.time),
            self.kind.clone(),
            self.outcome.result.to_owned(),
            dash(&self.secret),
            self.actor.id.clone(),
            self.in_words(),
        ]
    }
}

impl From<&JournalEntry> for RecordView {
    fn from(entry: &JournalEntry) -> Self {
        let record = &entry.record;
        let outcome = match &record.outcome {
            Outcome::Ok => OutcomeView { result: "ok", reason: String::new() },
            Outcome::Denied => OutcomeView { result: "denied", reason: String::new() },
            Outcome::Failed { reason } => OutcomeView { result: "failed", reason: reason.clone() },
        };
        Self {
            seq: entry.seq,
            prev: HEXLOWER.encode(&entry.prev),
            hash: HEXLOWER.encode(&entry.hash),
            node: entry.node.clone(),
            time: record.time,
            kind: record.kind.to_string(),
            actor: ActorView {
                id: record.actor.id.to_string(),
                certificate: text(record.actor.certificate.as_ref()),
                address: text(record.actor.address.as_ref()),
            },
            outcome,
            secret: text(record.secret.as_ref()),
            version: text(record.version.as_ref()),
            provider: text(record.provider.as_ref()),
            lease: text(record.lease.as_ref()),
            expires_at: record.expires_at,
            decision: record.decision.as_ref().map(|decision| DecisionView {
                action: decision.action.to_string(),
                effect: effect(decision.is_allowed()),
                policies: decision.policies.iter().map(ToString::to_string).collect(),
                policy_set: decision.policy_set.to_string(),
                max_ttl_seconds: decision.max_ttl.as_ref().map(Duration::as_secs),
                inputs: decision.inputs.clone(),
                errors: decision.errors.clone(),
            }),
            request_id: text(record.request_id.as_ref()),
            value_hmac: record
                .value_hmac
                .iter()
                .map(|(name, tag)| (name.to_string(), tag.0.to_string()))
                .collect(),
            details: record.details.clone(),
        }
    }
}

impl From<proto::AuditRecord> for RecordView {
    fn from(record: proto::AuditRecord) -> Self {
        let result = match record.outcome() {
            proto::AuditOutcome::Unspecified => "unknown",
            proto::AuditOutcome::Ok => "ok",
            proto::AuditOutcome::Denied => "denied",
            proto::AuditOutcome::Failed => "failed",
        };
        let actor = record.actor.unwrap_or_default();
        Self {
            seq: u64::try_from(record.sequence).unwrap_or_default(),
            prev: record.previous_hash,
            hash: record.hash,
            node: record.node,
            time: record.time.and_then(timestamp).unwrap_or_default(),
            kind: record.kind,
            actor: ActorView {
                id: actor.spiffe_id,
                certificate: actor.certificate_sha256,
                address: actor.address,
            },
            outcome: OutcomeView { result, reason: record.failure_reason },
            secret: record.secret,
            version: record.version,
            provider: record.provider,
            lease: record.lease_id,
            expires_at: record.expire_time.and_then(timestamp),
            decision: record.decision.map(|decision| DecisionView {
                action: decision.action,
                effect: effect(decision.allowed),
                policies: decision.policies,
                policy_set: decision.policy_set,
                max_ttl_seconds: decision.max_ttl.and_then(|ttl| u64::try_from(ttl.seconds).ok()),
                inputs: decision
                    .inputs
                    .map(|inputs| {
                        inputs.fields.into_iter().map(|(name, value)| (name, json(value))).collect()
                    })
                    .unwrap_or_default(),
                errors: decision.errors,
            }),
            request_id: record.request_id,
            value_hmac: record.value_hmacs.into_iter().collect(),
            details: record.details.into_iter().collect(),
        }
    }
}

fn text<T: ToString>(value: Option<&T>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

fn effect(allowed: bool) -> &'static str {
    if allowed { "allow" } else { "deny" }
}

fn timestamp(time: prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::from_duration(SignedDuration::new(time.seconds, time.nanos)).ok()
}

/// A value of `google.protobuf.Struct` as JSON. Whole numbers, which a Struct holds as floating point, are whole again.
fn json(value: prost_types::Value) -> Value {
    match value.kind {
        None | Some(Inner::NullValue(_)) => Value::Null,
        Some(Inner::BoolValue(value)) => value.into(),
        Some(Inner::StringValue(value)) => value.into(),
        Some(Inner::ListValue(list)) => list.values.into_iter().map(json).collect(),
        Some(Inner::StructValue(inner)) => {
            Value::Object(inner.fields.into_iter().map(|(name, value)| (name, json(value))).collect())
        }
        Some(Inner::NumberValue(number)) => {
            let shown = format!("{number:.0}");
            match shown.parse::<i64>() {
                Ok(whole) if number.fract() == 0.0 => whole.into(),
                _ => number.into(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use leasehold_core::record::{Actor, Kind, Record};

    use super::*;

    fn entry() -> JournalEntry {
        let actor = Actor::internal("spiffe://example.org/prod/api".parse().unwrap());
        let mut record = Record::new(Timestamp::UNIX_EPOCH, Kind::LeaseIssued, actor);
        record.secret = Some("prod/payments/db".parse().unwrap());
        record.outcome = Outcome::Failed { reason: "PROVIDER_THROTTLED".to_owned() };
        record.details.insert("stale_for".into(), "3s".into());
        JournalEntry {
            seq: 7,
            prev: [0; 32],
            hash: [1; 32],
            group: 7,
            node: "a".into(),
            record,
            sealed: None,
            line: "".into(),
        }
    }

    #[test]
    fn the_table_fits() {
        crate::snapshot::fits::<RecordView>(
            "audit-tail",
            true,
            &[
                &[
                    "41",
                    "2026-11-22T08:00:00.041Z",
                    "lease.issued",
                    "ok",
                    "prod/payments/db",
                    "spiffe://quickstart.test/prod/payments/api",
                    "lease-aeaqcaibaeaqcaibaeaqcaibae; by payments-read",
                ],
                &[
                    "42",
                    "2026-11-22T08:00:12.500Z",
                    "rotation.promoted",
                    "ok",
                    "prod/payments/checkout/stripe-webhook",
                    "spiffe://quickstart.test/leasehold/scheduler",
                    "serial=4",
                ],
                &[
                    "1000043",
                    "2026-11-22T08:01:00.007Z",
                    "catalog.reloaded",
                    "ok",
                    "-",
                    "spiffe://quickstart.test/leasehold/broker",
                    "secrets=4",
                ],
            ],
        );
    }

    #[test]
    fn both_ways_lead_to_one_view() {
        let message = proto::AuditRecord {
            sequence: 7,
            previous_hash: "00".repeat(32),
            hash: "01".repeat(32),
            node: "a".into(),
            time: Some(prost_types::Timestamp { seconds: 0, nanos: 0 }),
            kind: "lease.issued".into(),
            actor: Some(proto::AuditActor {
                spiffe_id: "spiffe://example.org/prod/api".into(),
                ..Default::default()
            }),
            outcome: proto::AuditOutcome::Failed.into(),
            failure_reason: "PROVIDER_THROTTLED".into(),
            secret: "prod/payments/db".into(),
            details: [("stale_for".to_owned(), "3s".to_owned())].into(),
            ..Default::default()
        };
        assert_eq!(RecordView::from(message), RecordView::from(&entry()));
    }

    #[test]
    fn a_record_is_found_by_the_name_that_whoever_was_refused_was_told() {
        let mut record = RecordView::from(&entry());
        let (call, own) = ("call-a".parse().unwrap(), "r-1".parse().unwrap());
        assert!(!record.is_of(&call) && !record.is_of(&own));
        record.details.insert("call".into(), "call-a".into());
        record.request_id = "r-1".into();
        assert!(record.is_of(&call) && record.is_of(&own));
        record.expires_at = Some(Timestamp::UNIX_EPOCH);
        record.version = "v1".into();
        record.provider = "local".into();
        record.lease = "lease-aeaqcaibaeaqcaibaeaqcaibae".into();
        record.value_hmac.insert("password".into(), "k1:00".into());
        record.actor.certificate = "00".repeat(32);
        record.actor.address = "192.0.2.1:40000".into();
        record.decision = Some(DecisionView {
            action: "IssueLease".into(),
            effect: "allow",
            policies: vec!["payments.cedar#0".into()],
            policy_set: "d1".into(),
            max_ttl_seconds: Some(900),
            inputs: BTreeMap::from([("ttl_seconds".to_owned(), 60.into())]),
            errors: Vec::new(),
        });
        crate::snapshot::documented("audit-query", &[RecordView::from(&entry()), record]);
    }

    #[test]
    fn a_record_for_people_is_one_line() {
        assert_eq!(
            RecordView::from(&entry()).cells(),
            [
                "7",
                "1970-01-01T00:00:00.000Z",
                "lease.issued",
                "failed",
                "prod/payments/db",
                "spiffe://example.org/prod/api",
                "PROVIDER_THROTTLED; stale_for=3s",
            ]
        );
    }

    #[test]
    fn whole_numbers_stay_whole() {
        let number = |number| json(prost_types::Value { kind: Some(Inner::NumberValue(number)) });
        assert_eq!(number(900.0).to_string(), "900");
        assert_eq!(number(0.5).to_string(), "0.5");
    }
}
