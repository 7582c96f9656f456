//! Finding leases by the index that serves a filter.

use std::collections::VecDeque;

use leasehold_core::{
    Lease, SecretPath,
    catalog::{Catalog, Source},
    lease::LeaseKind,
    ports::Ledger,
    provider::ProviderName,
    state::{Entry, Key, KeyRange, LedgerError},
};

use crate::request::{LeaseFilter, StateName};

/// A walk along the ledger's keys that meets every lease which the filter matches, and as few others as the index can
/// tell apart. It goes in the order of keys, so that it can be left and taken up again behind any of them.
#[derive(Debug)]
pub(crate) struct Walk {
    ranges: VecDeque<KeyRange>,
    /// Whether a credential's lease that is met by its secret was met by its back end before.
    made_first: bool,
    /// Whether every lease that is met is one that the filter matches: its key tells all that is asked.
    exact: bool,
    /// Where the last page came from.
    read: Option<KeyRange>,
}

impl Walk {
    /// The walk for a filter. Which static secrets a back end has is for the catalog to say.
    pub(crate) fn of(filter: &LeaseFilter, catalog: &Catalog) -> Self {
        let LeaseFilter { holder, secret, version, prefix, provider, states } = filter;
        let mut made_first = false;
        let ranges = if states.iter().any(|state| state.is_ended()) && holder.is_none() {
            // Of leases that are over, the other indices know nothing.
            vec![KeyRange::leases()]
        } else if !states.is_empty() && states.iter().all(|state| *state == StateName::Quarantined) {
            vec![KeyRange::quarantined()]
        } else if let Some(holder) = holder {
            vec![KeyRange::held_by(holder)]
        } else if let Some(secret) = secret {
            match version {
                Some(version) => vec![KeyRange::on_version(secret, version)],
                None => vec![KeyRange::making_of(secret), KeyRange::on_secret(secret)],
            }
        } else if let Some(prefix) = prefix {
            vec![KeyRange::making_under(prefix), KeyRange::under(prefix)]
        } else if let Some(provider) = provider {
            made_first = true;
            let mut ranges = vec![KeyRange::made_by(provider)];
            ranges.extend(kept_by(provider, catalog));
            ranges
        } else {
            vec![KeyRange::leases()]
        };
        let by_secret = secret.is_some() || prefix.is_some();
        let both = secret.is_some() && prefix.is_some();
        let exact = by_secret && !both && holder.is_none() && provider.is_none() && states.is_empty();
        Self { ranges: ranges.into(), made_first, exact, read: None }
    }

    /// Goes on behind `key`; false when that is none of its places.
    pub(crate) fn go_on_behind(&mut self, key: &Key) -> bool {
        let on_the_way = self.ranges.iter().any(|range| range.contains(key));
        self.ranges.retain(|range| *key < range.to);
        if let Some(first) = self.ranges.front_mut().filter(|range| range.contains(key)) {
            *first = first.after(key);
        }
        on_the_way
    }

    /// The next entries, at most `limit`; none at the end.
    pub(crate) async fn page(
        &mut self,
        ledger: &dyn Ledger,
        limit: usize,
    ) -> Result<Vec<Entry>, LedgerError> {
        while let Some(range) = self.ranges.front_mut() {
            let entries = ledger.scan(range, limit).await?;
            self.read = Some(range.clone());
            match entries.last() {
                Some(last) if entries.len() >= limit => *range = range.after(&last.key),
                _ => drop(self.ranges.pop_front()),
            }
            if !entries.is_empty() {
                return Ok(entries);
            }
        }
        Ok(Vec::new())
    }

    /// Goes on behind all leases on the secret of this key, which the last page had, whatever else was on that page.
    pub(crate) fn pass_over(&mut self, key: &Key, secret: &SecretPath) {
        let Some(read) = self.read.take().filter(|read| read.contains(key)) else { return };
        let of_the_secret = [KeyRange::making_of(secret), KeyRange::on_secret(secret)];
        let Some(passed) = of_the_secret.into_iter().find(|range| range.contains(key)) else { return };
        if self.ranges.front().is_some_and(|front| front.to == read.to) {
            self.ranges.pop_front();
        }
        if passed.to < read.to {
            self.ranges.push_front(KeyRange { from: passed.to, to: read.to });
        }
    }

    /// Looks at nothing more.
    pub(crate) fn stop(&mut self) {
        self.ranges.clear();
    }

    /// Whether there is nothing left to look at.
    pub(crate) fn is_over(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether the keys alone tell that the filter matches.
    pub(crate) const fn is_exact(&self) -> bool {
        self.exact
    }

    /// Whether the lease behind this key is met by another one, too.
    pub(crate) fn meets_twice(&self, key: &Key, lease: &Lease) -> bool {
        self.made_first && lease.kind == LeaseKind::Dynamic && key.as_str().starts_with("secret/")
    }
}

/// Where the leases on a back end's static secrets are, each place once.
fn kept_by(provider: &ProviderName, catalog: &Catalog) -> Vec<KeyRange> {
    let is_kept = |(name, source): (&ProviderName, &Source)| {
        name == provider && matches!(source, Source::Static { .. })
    };
    let secrets = catalog
        .secrets()
        .filter(|(_, entry)| is_kept((&entry.provider, &entry.source)))
        .map(|(path, _)| KeyRange::on_secret(path));
    let mounts = catalog
        .mounts()
        .filter(|(_, entry)| is_kept((&entry.provider, &entry.source)))
        .map(|(prefix, _)| KeyRange::under(prefix));
    let mut ranges: Vec<KeyRange> = secrets.chain(mounts).collect();
    ranges.sort_by(|one, other| one.from.cmp(&other.from));
    let mut apart: Vec<KeyRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match apart.last_mut() {
            Some(last) if range.from < last.to => {
                if last.to < range.to {
                    last.to = range.to;
                }
            }
            _ => apart.push(range),
        }
    }
    apart
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use leasehold_core::{
        catalog::{Entry, Freshness},
        ttl::TtlLimits,
    };

    use super::*;

    fn entry(provider: &str, source: Source) -> Entry {
        Entry {
            provider: provider.parse().unwrap(),
            source,
            limits: TtlLimits::new(Duration::from_secs(60), Duration::from_secs(600)).unwrap(),
            freshness: Freshness::default(),
            description: None,
            rotation: None,
            max_leases: None,
        }
    }

    fn catalog() -> Catalog {
        let kept = |reference: &str| Source::Static { reference: reference.into() };
        let made = Source::Dynamic { role: "readonly".into() };
        let secrets = [
            ("prod/a".parse().unwrap(), entry("main", kept("a"))),
            ("prod/shared/b".parse().unwrap(), entry("main", kept("b"))),
            ("prod/user".parse().unwrap(), entry("main", made)),
            ("prod/z".parse().unwrap(), entry("other", kept("z"))),
        ];
        let mounts = [("prod/shared/".parse().unwrap(), entry("main", kept("{rest}")))];
        Catalog::new(secrets, mounts).unwrap()
    }

    fn begins(filter: &LeaseFilter) -> Vec<String> {
        Walk::of(filter, &catalog()).ranges.iter().map(|range| range.from.to_string()).collect()
    }

    #[test]
    fn each_filter_has_its_index() {
        let all = LeaseFilter::default();
        assert_eq!(begins(&all), ["lease/"]);
        let secret = LeaseFilter { secret: Some("prod/a".parse().unwrap()), ..all.clone() };
        assert_eq!(begins(&secret), ["making/prod/a ", "secret/prod/a "]);
        let version = LeaseFilter { version: Some("v1".parse().unwrap()), ..secret.clone() };
        assert_eq!(begins(&version), ["secret/prod/a v1 "]);
        let prefix = LeaseFilter { prefix: Some("prod/".parse().unwrap()), ..all.clone() };
        assert_eq!(begins(&prefix), ["making/prod/", "secret/prod/"]);
        let holder = Some("spiffe://example.org/prod/api".parse().unwrap());
        let holder = LeaseFilter { holder, ..secret.clone() };
        assert_eq!(begins(&holder), ["holder/spiffe://example.org/prod/api "]);
        let provider = LeaseFilter { provider: Some("main".parse().unwrap()), ..all.clone() };
        assert_eq!(begins(&provider), ["made/main ", "secret/prod/a ", "secret/prod/shared/"]);
        let aside = LeaseFilter { states: vec![StateName::Quarantined], ..secret.clone() };
        assert_eq!(begins(&aside), ["quarantined/"]);
        let over = LeaseFilter { states: vec![StateName::Active, StateName::Revoked], ..secret.clone() };
        assert_eq!(begins(&over), ["lease/"]);
        let exact = |filter: &LeaseFilter| Walk::of(filter, &catalog()).is_exact();
        assert!(exact(&secret) && exact(&version) && exact(&prefix));
        assert!(!exact(&holder) && !exact(&provider) && !exact(&all) && !exact(&aside));
    }

    #[test]
    fn a_walk_goes_on_where_it_was_left() {
        let filter = LeaseFilter { secret: Some("prod/a".parse().unwrap()), ..LeaseFilter::default() };
        let walk = || Walk::of(&filter, &catalog());
        let behind = |key: &str| {
            let mut walk = walk();
            let on_the_way = walk.go_on_behind(&Key::from_stored(key));
            (on_the_way, walk.ranges.iter().map(|range| range.from.to_string()).collect::<Vec<_>>())
        };
        let both = vec!["making/prod/a x\0".to_owned(), "secret/prod/a ".to_owned()];
        assert_eq!(behind("making/prod/a x"), (true, both));
        assert_eq!(behind("secret/prod/a v1 x"), (true, vec!["secret/prod/a v1 x\0".to_owned()]));
        assert!(!behind("secret/prod/b v1 x").0);
    }

    #[test]
    fn what_is_passed_over_is_one_secrets() {
        let filter = LeaseFilter { prefix: Some("prod/".parse().unwrap()), ..LeaseFilter::default() };
        let path = "prod/a".parse().unwrap();
        let behind = |key: &str, left: usize| {
            let mut walk = Walk::of(&filter, &catalog());
            while walk.ranges.len() > left {
                walk.read = walk.ranges.pop_front();
            }
            walk.pass_over(&Key::from_stored(key), &path);
            walk.ranges.iter().map(|range| range.from.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(behind("making/prod/a x", 1), ["making/prod/a \u{10ffff}", "secret/prod/"]);
        assert_eq!(behind("secret/prod/a v1 x", 0), ["secret/prod/a \u{10ffff}"]);
        assert_eq!(behind("secret/prod/b v1 x", 0), Vec::<String>::new(), "another secret's");
    }
}
