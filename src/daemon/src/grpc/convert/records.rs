//! Audit queries and the records that answer them.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use leasehold_audit::{Filter, JournalEntry, OutcomeKind};
use leasehold_core::{
    SpiffeId, Timestamp,
    record::{Actor, Decision, Kind, Outcome},
};
use leasehold_proto::v1;
use serde::{Deserialize, de::IntoDeserializer, de::value::Error as Unknown};
use serde_json::Value;

use super::{
    responses::count,
    time::{duration, parse_timestamp, timestamp},
    violations::Violations,
};
use crate::grpc::status::EdgeError;

/// A query of the journal.
#[derive(Clone, Debug)]
pub(crate) struct AuditQuery {
    pub(crate) filter: Filter,
    pub(crate) outcomes: Vec<OutcomeKind>,
    /// The first record of interest.
    pub(crate) start: u64,
    /// Of what is there already, only the last so many.
    pub(crate) tail: Option<usize>,
    /// After so many records it ends.
    pub(crate) limit: Option<u64>,
    /// Whether it goes on with what becomes durable later.
    pub(crate) follow: bool,
}

const MOST_KINDS: usize = 32;
const MOST_OUTCOMES: usize = 8;
const LONGEST_TAIL: usize = 10_000;

impl AuditQuery {
    /// Whether every record is of interest.
    pub(crate) fn is_everything(&self) -> bool {
        self.filter == Filter::default() && self.outcomes.is_empty()
    }

    /// Whether this record is of interest.
    pub(crate) fn wants(&self, entry: &JournalEntry) -> bool {
        let outcome = match entry.record.outcome {
            Outcome::Ok => OutcomeKind::Ok,
            Outcome::Denied => OutcomeKind::Denied,
            Outcome::Failed { .. } => OutcomeKind::Failed,
        };
        (self.outcomes.is_empty() || self.outcomes.contains(&outcome)) && self.filter.matches(&entry.record)
    }

    /// The query in the words of the record that is made of it.
    pub(crate) fn described(&self) -> BTreeMap<String, String> {
        let Self { filter, outcomes, start, tail, limit, follow } = self;
        let list = |texts: Vec<String>| (!texts.is_empty()).then(|| texts.join(","));
        let told = [
            ("kinds", list(filter.kinds.iter().map(Kind::to_string).collect())),
            ("actor", filter.actor.clone()),
            ("secret", filter.secret.as_ref().map(ToString::to_string)),
            ("secret_prefix", filter.prefix.as_ref().map(ToString::to_string)),
            ("lease", filter.lease.map(|lease| lease.to_string())),
            ("since", filter.since.map(|time| time.to_string())),
            ("until", filter.until.map(|time| time.to_string())),
            ("outcomes", list(outcomes.iter().map(|one| format!("{one:?}").to_lowercase()).collect())),
            ("start", (*start > 0).then(|| start.to_string())),
            ("tail", tail.map(|tail| tail.to_string())),
            ("limit", limit.map(|limit| limit.to_string())),
            ("follow", follow.then(|| "true".to_owned())),
        ];
        told.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?))).collect()
    }
}

/// The query that was sent.
pub(crate) fn audit_query(message: v1::QueryAuditRequest) -> Result<AuditQuery, EdgeError> {
    let v1::QueryAuditRequest { filter, start_sequence, tail_count, limit, follow } = message;
    let mut faults = Violations::default();
    let (filter, outcomes) = parse_filter(&mut faults, filter.unwrap_or_default());
    let start = u64::try_from(start_sequence).ok();
    if start.is_none() {
        faults.add("start_sequence", "is 0 for the oldest record, or a sequence number");
    }
    let tail = usize::try_from(tail_count).ok().filter(|tail| *tail <= LONGEST_TAIL);
    if tail.is_none() {
        faults.add("tail_count", format!("is 0 for all, or at most {LONGEST_TAIL}"));
    }
    let limit = u64::try_from(limit).ok();
    if limit.is_none() {
        faults.add("limit", "is 0 for no limit, or a number of records");
    }
    let made = || {
        Some(AuditQuery {
            filter,
            outcomes,
            start: start?,
            tail: Some(tail?).filter(|tail| *tail > 0),
            limit: Some(limit?).filter(|limit| *limit > 0),
            follow,
        })
    };
    faults.finish(made())
}

fn parse_filter(faults: &mut Violations, sent: v1::AuditFilter) -> (Filter, Vec<OutcomeKind>) {
    let outcomes = parse_outcomes(faults, &sent);
    let v1::AuditFilter { kinds, actor, secret, secret_prefix, lease_id, start_time, end_time, .. } = sent;
    if kinds.len() > MOST_KINDS {
        faults.add("filter.kinds", format!("is at most {MOST_KINDS} kinds"));
    }
    let mut known = Vec::new();
    for (name, index) in kinds.iter().zip(0..MOST_KINDS) {
        let parsed: Result<Kind, Unknown> = Kind::deserialize(name.as_str().into_deserializer());
        match parsed {
            Ok(kind) => known.push(kind),
            Err(_) => {
                faults.add(format!("filter.kinds[{index}]"), "is not a kind of record, such as lease.issued")
            }
        }
    }
    let is_actor =
        actor.parse::<SpiffeId>().is_ok() || (actor.starts_with("spiffe://") && actor.ends_with('/'));
    if !actor.is_empty() && !is_actor {
        faults.add("filter.actor", "is a SPIFFE ID, or the start of one that ends with `/`");
    }
    if !secret.is_empty() && !secret_prefix.is_empty() {
        faults.add("filter.secret_prefix", "cannot be given together with `secret`");
    }
    let filter = Filter {
        kinds: known,
        actor: Some(actor).filter(|actor| !actor.is_empty()),
        secret: faults.optional("filter.secret", &secret).flatten(),
        prefix: faults.optional("filter.secret_prefix", &secret_prefix).flatten(),
        lease: faults.optional("filter.lease_id", &lease_id).flatten(),
        since: parse_time(faults, "filter.start_time", start_time),
        until: parse_time(faults, "filter.end_time", end_time),
        outcome: None,
    };
    (filter, outcomes)
}

fn parse_outcomes(faults: &mut Violations, sent: &v1::AuditFilter) -> Vec<OutcomeKind> {
    let outcomes: Vec<_> = sent
        .outcomes()
        .filter_map(|outcome| match outcome {
            v1::AuditOutcome::Unspecified => None,
            v1::AuditOutcome::Ok => Some(OutcomeKind::Ok),
            v1::AuditOutcome::Denied => Some(OutcomeKind::Denied),
            v1::AuditOutcome::Failed => Some(OutcomeKind::Failed),
        })
        .collect();
    if outcomes.len() != sent.outcomes.len() || sent.outcomes.len() > MOST_OUTCOMES {
        faults.add("filter.outcomes", format!("is at most {MOST_OUTCOMES} known outcomes"));
    }
    outcomes
}

fn parse_time(
    faults: &mut Violations,
    field: &str,
    sent: Option<prost_types::Timestamp>,
) -> Option<Timestamp> {
    let time = parse_timestamp(sent?);
    if time.is_none() {
        faults.add(field, "is not a time");
    }
    time
}

/// A record without the sealed state change that the journal keeps beside it.
pub(crate) fn audit_record(entry: JournalEntry) -> v1::AuditRecord {
    let JournalEntry { seq, prev, hash, node, record, .. } = entry;
    let (outcome, failure_reason) = match record.outcome {
        Outcome::Ok => (v1::AuditOutcome::Ok, String::new()),
        Outcome::Denied => (v1::AuditOutcome::Denied, String::new()),
        Outcome::Failed { reason } => (v1::AuditOutcome::Failed, reason),
    };
    let text = |text: Option<String>| text.unwrap_or_default();
    v1::AuditRecord {
        sequence: count(seq),
        node,
        previous_hash: HEXLOWER.encode(&prev),
        hash: HEXLOWER.encode(&hash),
        time: Some(timestamp(record.time)),
        kind: record.kind.to_string(),
        actor: Some(actor(&record.actor)),
        outcome: outcome.into(),
        failure_reason,
        secret: text(record.secret.map(|secret| secret.to_string())),
        version: text(record.version.map(|version| version.to_string())),
        provider: text(record.provider.map(|provider| provider.to_string())),
        lease_id: text(record.lease.map(|lease| lease.to_string())),
        expire_time: record.expires_at.map(timestamp),
        decision: record.decision.map(decision),
        request_id: text(record.request_id.map(|id| id.to_string())),
        value_hmacs: record
            .value_hmac
            .iter()
            .map(|(field, tag)| (field.to_string(), tag.0.to_string()))
            .collect(),
        details: record.details,
    }
}

fn actor(actor: &Actor) -> v1::AuditActor {
    v1::AuditActor {
        spiffe_id: actor.id.as_str().to_owned(),
        certificate_sha256: actor.certificate.as_deref().unwrap_or_default().to_owned(),
        address: actor.address.map(|address| address.to_string()).unwrap_or_default(),
    }
}

fn decision(decision: Decision) -> v1::AuditDecision {
    let fields = decision.inputs.iter().map(|(name, input)| (name.clone(), value(input))).collect();
    v1::AuditDecision {
        action: decision.action.as_str().to_owned(),
        allowed: decision.is_allowed(),
        policies: decision.policies.iter().map(ToString::to_string).collect(),
        policy_set: decision.policy_set.to_string(),
        inputs: Some(prost_types::Struct { fields }),
        errors: decision.errors,
        max_ttl: decision.max_ttl.map(duration),
    }
}

fn value(json: &Value) -> prost_types::Value {
    use prost_types::value::Kind as Shape;
    let shape = match json {
        Value::Null => Shape::NullValue(0),
        Value::Bool(flag) => Shape::BoolValue(*flag),
        Value::Number(number) => Shape::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Shape::StringValue(text.clone()),
        Value::Array(items) => {
            Shape::ListValue(prost_types::ListValue { values: items.iter().map(value).collect() })
        }
        Value::Object(members) => Shape::StructValue(prost_types::Struct {
            fields: members.iter().map(|(name, member)| (name.clone(), value(member))).collect(),
        }),
    };
    prost_types::Value { kind: Some(shape) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use leasehold_core::{
        access::Action,
        record::{Effect, Record},
    };

    use super::*;

    fn ask(filter: v1::AuditFilter) -> Result<AuditQuery, EdgeError> {
        audit_query(v1::QueryAuditRequest { filter: Some(filter), ..v1::QueryAuditRequest::default() })
    }

    #[test]
    fn a_query_is_parsed_and_described() {
        let query = audit_query(v1::QueryAuditRequest {
            filter: Some(v1::AuditFilter {
                kinds: vec!["lease.issued".into()],
                actor: "spiffe://example.org/prod/".into(),
                secret_prefix: "prod/".into(),
                outcomes: vec![v1::AuditOutcome::Denied.into()],
                ..v1::AuditFilter::default()
            }),
            tail_count: 10,
            follow: true,
            ..v1::QueryAuditRequest::default()
        })
        .unwrap();
        assert_eq!((query.tail, query.limit, query.follow), (Some(10), None, true));
        assert!(!query.is_everything());
        let told = query.described();
        let told: Vec<_> = told.iter().map(|(name, text)| format!("{name}={text}")).collect();
        let expected = [
            "actor=spiffe://example.org/prod/",
            "follow=true",
            "kinds=lease.issued",
            "outcomes=denied",
            "secret_prefix=prod/",
            "tail=10",
        ];
        assert_eq!(told, expected);
        assert!(ask(v1::AuditFilter::default()).unwrap().is_everything());
    }

    #[test]
    fn every_fault_of_a_query_is_told() {
        let filter = v1::AuditFilter {
            kinds: vec!["lease.issued".into(), "lease.lost".into()],
            actor: "me".into(),
            secret: "prod/x".into(),
            secret_prefix: "prod".into(),
            lease_id: "lease".into(),
            outcomes: vec![0],
            start_time: Some(prost_types::Timestamp { seconds: 0, nanos: -1 }),
            end_time: None,
        };
        let message = v1::QueryAuditRequest {
            filter: Some(filter),
            start_sequence: -1,
            tail_count: 10_001,
            limit: -1,
            follow: false,
        };
        let Err(EdgeError::Invalid(told)) = audit_query(message) else { panic!("taken") };
        let fields: Vec<_> = told.iter().map(|one| one.field.as_str()).collect();
        let expected = [
            "filter.outcomes",
            "filter.kinds[1]",
            "filter.actor",
            "filter.secret_prefix",
            "filter.secret_prefix",
            "filter.lease_id",
            "filter.start_time",
            "start_sequence",
            "tail_count",
            "limit",
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn a_record_is_rendered_whole() {
        let actor = Actor {
            id: "spiffe://example.org/prod/api".parse().unwrap(),
            certificate: Some("cafe".into()),
            address: Some("192.0.2.1:9".parse().unwrap()),
            call: None,
        };
        let mut record = Record::new(Timestamp::UNIX_EPOCH, Kind::LeaseIssued, actor);
        record.outcome = Outcome::Failed { reason: "PROVIDER_THROTTLED".into() };
        record.secret = Some("prod/x".parse().unwrap());
        record.decision = Some(Decision {
            action: Action::IssueLease,
            effect: Effect::Allow,
            policies: vec!["payments".into()],
            max_ttl: Some(Duration::from_secs(900)),
            policy_set: "d1".into(),
            inputs: BTreeMap::from([("ttl_seconds".to_owned(), serde_json::json!(60))]),
            errors: Vec::new(),
        });
        let entry = JournalEntry {
            seq: 7,
            prev: [1; 32],
            hash: [2; 32],
            group: 7,
            node: "a".into(),
            record,
            sealed: Some(b"sealed-state".to_vec()),
            line: "the line".into(),
        };
        let rendered = audit_record(entry);
        assert_eq!((rendered.sequence, rendered.kind.as_str()), (7, "lease.issued"));
        assert_eq!(rendered.outcome(), v1::AuditOutcome::Failed);
        assert_eq!(rendered.failure_reason, "PROVIDER_THROTTLED");
        assert_eq!(rendered.actor.as_ref().unwrap().address, "192.0.2.1:9");
        let decision = rendered.decision.as_ref().unwrap();
        assert!(decision.allowed);
        let ttl = decision.inputs.as_ref().unwrap().fields["ttl_seconds"].kind.clone();
        assert_eq!(ttl, Some(prost_types::value::Kind::NumberValue(60.0)));
        assert_eq!(decision.max_ttl.map(|ttl| ttl.seconds), Some(900));
        assert!(!format!("{rendered:?}").contains("sealed-state"));
    }
}
