//! The lists on the page: what stands in each, and how it is named.

use leasehold_client::{Lease, LeaseState};
use leasehold_core::Timestamp;

use super::{
    news::{Listing, Trouble},
    page::{Page, Part, Seen},
    rates,
};
use crate::{
    duration,
    look::{self, Tone},
    output::printable,
    provider::ProviderView,
    table::Cut,
};

/// A list on the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pane {
    #[default]
    Leases,
    Rotations,
    Providers,
    Tail,
}

/// What stands in a pane.
pub(super) struct Contents {
    pub(super) title: String,
    pub(super) head: &'static [&'static str],
    pub(super) cuts: &'static [(&'static str, Cut)],
    pub(super) rows: Vec<Vec<String>>,
    /// What stands there when there are no rows.
    pub(super) nothing: String,
}

/// The rows of a pane, before they are filtered.
struct Rows {
    rows: Vec<Vec<String>>,
    more: bool,
    nothing: &'static str,
}

impl Pane {
    pub(super) const ALL: [Self; 4] = [Self::Leases, Self::Rotations, Self::Providers, Self::Tail];

    pub(super) fn index(self) -> usize {
        Self::ALL.iter().position(|pane| *pane == self).unwrap_or_default()
    }

    /// The one so many places further on, round and round.
    pub(super) fn after(self, places: usize) -> Self {
        Self::ALL.iter().copied().cycle().nth(self.index().saturating_add(places)).unwrap_or_default()
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Leases => "LEASES",
            Self::Rotations => "ROTATIONS",
            Self::Providers => "PROVIDERS",
            Self::Tail => "AUDIT",
        }
    }

    /// What policy has to allow.
    const fn action(self) -> &'static str {
        match self {
            Self::Leases => "ReadLease",
            Self::Rotations => "DescribeSecret",
            Self::Providers => "ReadStatus",
            Self::Tail => "ReadAudit",
        }
    }

    const fn head(self) -> &'static [&'static str] {
        match self {
            Self::Leases => &["STATE", "ENDS", "SECRET", "HOLDER", "LEASE"],
            Self::Rotations => &["STATE", "NEXT", "SECRET", "OLD LEASES", "NOTE"],
            Self::Providers => &["PROVIDER", "STATE", "CALLS/S", "CALLS", "FAILED", "THROTTLED"],
            Self::Tail => &["TIME", "KIND", "OUTCOME", "SECRET", "ACTOR", "DETAILS"],
        }
    }

    const fn cuts(self) -> &'static [(&'static str, Cut)] {
        match self {
            Self::Leases => &[("SECRET", Cut::Start), ("HOLDER", Cut::Start)],
            Self::Rotations => &[("SECRET", Cut::Start), ("NOTE", Cut::End)],
            Self::Providers => &[("STATE", Cut::End)],
            Self::Tail => &[("SECRET", Cut::Start), ("ACTOR", Cut::Start), ("DETAILS", Cut::End)],
        }
    }

    /// What stands in it.
    pub(super) fn contents(self, page: &Page, now: Timestamp) -> Contents {
        let seen = page.shown();
        let there = page.time_there(now);
        let (rows, trouble) = match self {
            Self::Leases => (listed(&seen.leases, |all| leases(all, there)), &seen.leases.trouble),
            Self::Rotations => {
                let rows = listed(&seen.rotations, |all| Rows {
                    rows: all.items.iter().map(|rotation| rotation.brief(there).into()).collect(),
                    more: all.more,
                    nothing: "no secrets that are rotated and that you may see",
                });
                (rows, &seen.rotations.trouble)
            }
            Self::Providers => (listed(&seen.status, |_| providers(seen, there)), &seen.status.trouble),
            Self::Tail => (tail(seen), &seen.tail.trouble),
        };
        let filter = page.view.filter.to_lowercase();
        let mut title = self.name().to_owned();
        let mut nothing = match trouble {
            Some(Trouble::NotAllowed) => format!("not allowed: no policy grants you {}", self.action()),
            Some(Trouble::Away(_)) => "not known: the broker does not answer".to_owned(),
            None => "asking ...".to_owned(),
        };
        let mut shown = Vec::new();
        if let Some(Rows { rows, more, nothing: none }) = rows {
            let all = rows.len();
            shown = rows.into_iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
            shown.retain(|row: &Vec<String>| {
                filter.is_empty() || row.iter().any(|cell| cell.to_lowercase().contains(&filter))
            });
            let count = if more { format!("the first {all}") } else { all.to_string() };
            title = match filter.is_empty() {
                true => format!("{title}  {count}"),
                false => format!("{title}  {} of {count} with \"{}\"", shown.len(), page.view.filter),
            };
            nothing = if all == 0 { none.to_owned() } else { "nothing that fits the filter".to_owned() };
        }
        if self == Self::Tail && seen.skipped > 0 {
            title.push_str(&format!(", {} passed over", seen.skipped));
        }
        Contents { title, head: self.head(), cuts: self.cuts(), rows: shown, nothing }
    }

    /// What a cell in it means.
    pub(super) fn tone(self, column: &str, cell: &str) -> Tone {
        match (self, column) {
            (Self::Providers, "STATE") if cell == "ok" => Tone::Good,
            (Self::Providers, "STATE") if !cell.starts_with("ok") => Tone::Bad,
            (Self::Providers, "FAILED") if cell != "0" => Tone::Busy,
            _ => match look::of_cell(column, cell) {
                Tone::Plain => look::of_part(cell),
                tone => tone,
            },
        }
    }
}

fn listed<T>(part: &Part<T>, rows: impl FnOnce(&T) -> Rows) -> Option<Rows> {
    part.value.as_deref().map(rows)
}

/// Those that need somebody first, then those that end first.
fn leases(all: &Listing<Lease>, now: Timestamp) -> Rows {
    let urgency = |lease: &Lease| match lease.state {
        LeaseState::Quarantined => 0,
        LeaseState::Revoking => 1,
        LeaseState::Pending => 2,
        _ => 3,
    };
    let mut sorted: Vec<_> = all.items.iter().collect();
    sorted.sort_by_key(|lease| (urgency(lease), lease.expires_at, lease.id));
    let row = |lease: &&Lease| {
        vec![
            lease.state.name().to_owned(),
            duration::relative(lease.ended_at.unwrap_or(lease.expires_at), now),
            lease.secret.to_string(),
            lease.holder.to_string(),
            lease.id.to_string(),
        ]
    };
    Rows { rows: sorted.iter().map(row).collect(), more: all.more, nothing: "no leases that you may see" }
}

fn providers(seen: &Seen, now: Timestamp) -> Rows {
    let all = seen.status.value.as_deref().map(|status| status.providers.as_slice()).unwrap_or_default();
    let row = |provider: &leasehold_client::proto::ProviderStatus| {
        let rate = seen.calls.get(&provider.name).and_then(|calls| calls.rate());
        vec![
            provider.name.clone(),
            ProviderView::of(provider.clone()).health(now),
            rate.map_or_else(|| "-".to_owned(), rates::shown),
            provider.call_count.to_string(),
            provider.failure_count.to_string(),
            provider.throttled_count.to_string(),
        ]
    };
    Rows { rows: all.iter().map(row).collect(), more: false, nothing: "no providers are configured" }
}

/// The newest first.
fn tail(seen: &Seen) -> Option<Rows> {
    if seen.records.is_empty() && seen.tail.value.is_none() {
        return None;
    }
    let row = |record: &super::news::Record| {
        vec![
            record.time.strftime("%H:%M:%S").to_string(),
            record.kind.clone(),
            record.outcome.name().to_owned(),
            if record.secret.is_empty() { "-".to_owned() } else { record.secret.clone() },
            record.actor.clone(),
            record.words.clone(),
        ]
    };
    Some(Rows { rows: seen.records.iter().rev().map(row).collect(), more: false, nothing: "no records yet" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panes_go_round() {
        assert_eq!(Pane::Leases.after(1), Pane::Rotations);
        assert_eq!((Pane::Tail.after(1), Pane::Leases.after(3)), (Pane::Leases, Pane::Tail));
    }

    #[test]
    fn what_is_cut_is_a_column_and_no_id_is_cut() {
        for pane in Pane::ALL {
            for (cut, _) in pane.cuts() {
                assert!(pane.head().contains(cut), "{pane:?}: {cut}");
            }
            assert!(!pane.cuts().iter().any(|(cut, _)| *cut == "LEASE"));
        }
    }

    #[test]
    fn what_a_cell_means_depends_on_its_pane() {
        assert_eq!(Pane::Leases.tone("STATE", "quarantined"), Tone::Bad);
        assert_eq!(Pane::Providers.tone("STATE", "is given a rest"), Tone::Bad);
        assert_eq!(Pane::Providers.tone("STATE", "ok"), Tone::Good);
        assert_eq!(Pane::Providers.tone("FAILED", "3"), Tone::Busy);
        assert_eq!(Pane::Tail.tone("OUTCOME", "denied"), Tone::Bad);
        assert_eq!(Pane::Tail.tone("ACTOR", "spiffe://e.org/a"), Tone::Plain);
    }
}
