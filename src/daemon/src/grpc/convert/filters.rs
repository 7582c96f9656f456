//! Filters of leases: which are meant, by the contract's words and by the engine's.

use leasehold_engine::request::{LeaseFilter, StateName};
use leasehold_proto::v1;

use super::violations::Violations;

/// A filter names at most so many states.
const MOST_STATES: usize = 16;

/// The engine's filter; `None` when there is a violation.
pub(super) fn lease_filter(faults: &mut Violations, sent: Option<v1::LeaseFilter>) -> Option<LeaseFilter> {
    let v1::LeaseFilter { holder, secret, states, secret_prefix, version, provider } =
        sent.unwrap_or_default();
    let holder = faults.optional("filter.holder", &holder);
    let no_secret = secret.is_empty();
    let secret = faults.optional("filter.secret", &secret);
    let prefix = faults.optional("filter.secret_prefix", &secret_prefix);
    if no_secret && !version.is_empty() {
        faults.add("filter.version", "needs `filter.secret`: versions are a secret's own");
    }
    let version = faults.optional("filter.version", &version);
    let provider = faults.optional("filter.provider", &provider);
    let known: Vec<_> =
        states.iter().filter_map(|state| named(v1::LeaseState::try_from(*state).ok()?)).collect();
    if known.len() != states.len() || states.len() > MOST_STATES {
        faults.add("filter.states", format!("is at most {MOST_STATES} known states"));
    }
    Some(LeaseFilter {
        holder: holder?,
        secret: secret?,
        version: version?,
        prefix: prefix?,
        provider: provider?,
        states: known,
    })
}

/// The filter as whoever asked wrote it.
pub(super) fn shown(filter: &LeaseFilter) -> v1::LeaseFilter {
    fn text<T: ToString>(value: Option<&T>) -> String {
        value.map(ToString::to_string).unwrap_or_default()
    }
    v1::LeaseFilter {
        holder: text(filter.holder.as_ref()),
        secret: text(filter.secret.as_ref()),
        states: filter.states.iter().map(|state| number(*state).into()).collect(),
        secret_prefix: text(filter.prefix.as_ref()),
        version: text(filter.version.as_ref()),
        provider: text(filter.provider.as_ref()),
    }
}

const fn named(state: v1::LeaseState) -> Option<StateName> {
    Some(match state {
        v1::LeaseState::Unspecified => return None,
        v1::LeaseState::Pending => StateName::Pending,
        v1::LeaseState::Active => StateName::Active,
        v1::LeaseState::Revoking => StateName::Revoking,
        v1::LeaseState::Revoked => StateName::Revoked,
        v1::LeaseState::Expired => StateName::Expired,
        v1::LeaseState::Quarantined => StateName::Quarantined,
        v1::LeaseState::Forgotten => StateName::Forgotten,
    })
}

const fn number(state: StateName) -> v1::LeaseState {
    match state {
        StateName::Pending => v1::LeaseState::Pending,
        StateName::Active => v1::LeaseState::Active,
        StateName::Revoking => v1::LeaseState::Revoking,
        StateName::Revoked => v1::LeaseState::Revoked,
        StateName::Expired => v1::LeaseState::Expired,
        StateName::Quarantined => v1::LeaseState::Quarantined,
        StateName::Forgotten => v1::LeaseState::Forgotten,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_comes_back_as_it_was_sent() {
        let sent = v1::LeaseFilter {
            holder: "spiffe://example.org/prod/api".into(),
            secret: "prod/payments/db".into(),
            states: (1..=7).collect(),
            secret_prefix: "prod/".into(),
            version: "v1".into(),
            provider: "main".into(),
        };
        let mut faults = Violations::default();
        let filter = lease_filter(&mut faults, Some(sent.clone())).unwrap();
        assert_eq!(shown(&filter), sent);
        assert_eq!(shown(&LeaseFilter::default()), v1::LeaseFilter::default());
    }
}
