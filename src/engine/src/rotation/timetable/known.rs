//! Which secrets have a place in the timetable: what the catalog has by name, what lies under its mounts and somebody was
//! ever issued, and what is under way although the catalog has it no longer.

use std::collections::{BTreeMap, BTreeSet};

use leasehold_core::{
    SecretPath, Timestamp,
    catalog::Source,
    rotation::{self, Rotation},
    state::{Key, KeyRange},
    ttl::after,
};
use tokio::task::coop;

use super::table::{Home, Plan};
use crate::{engine::Engine, error::EngineError};

/// So many keys are read at once.
const PAGE: usize = 512;

impl Engine {
    /// Every secret with what is to come for it. Many are nothing but waited for, so this is not done often.
    pub(super) async fn known_rotations(&self) -> Result<Vec<(SecretPath, Plan)>, EngineError> {
        let catalog = self.catalog();
        let now = self.now();
        let mut all = Vec::new();
        let mut unmet: BTreeMap<SecretPath, Home> = BTreeMap::new();
        for (path, entry) in catalog.secrets() {
            let is_static = matches!(entry.source, Source::Static { .. });
            if is_static && entry.rotation.as_deref().is_some_and(needs_age) {
                unmet.insert(path.clone(), Some(entry.provider.clone()));
            }
        }
        let mut met = BTreeSet::new();
        let mut range = KeyRange::rotations();
        loop {
            let page = self.ledger.scan(&range, PAGE).await?;
            for entry in &page {
                coop::consume_budget().await;
                let Ok(rotation) = Rotation::decode(&entry.value) else { continue };
                unmet.remove(&rotation.secret);
                let plan = self.place_of(&rotation, now);
                met.insert(rotation.secret.clone());
                if plan.at.is_some() || plan.old_at.is_some() || plan.late.is_some() {
                    all.push((rotation.secret, plan));
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE => range = range.after(&last.key),
                _ => break,
            }
        }
        for (prefix, entry) in catalog.mounts() {
            if !entry.rotation.as_deref().is_some_and(needs_age) {
                continue;
            }
            let mut range = KeyRange::held_under(prefix);
            // One key of each secret is enough: from there the reading goes on behind all of that secret's.
            while let Some(first) = self.ledger.scan(&range, 1).await?.pop() {
                coop::consume_budget().await;
                let path = held_path(&first.key);
                let behind = path.as_ref().map(|path| Key::from_stored(&format!("held/{path} \u{10ffff}")));
                range = range.after(behind.as_ref().unwrap_or(&first.key));
                if let Some(path) = path
                    && !met.contains(&path)
                    && self.plan_of(&path).is_some_and(|plan| needs_age(&plan))
                {
                    let home = self.home_of(&path);
                    unmet.entry(path).or_insert(home);
                }
            }
        }
        all.extend(
            unmet.into_iter().map(|(path, home)| (path, Plan { home, at: Some(now), ..Plan::default() })),
        );
        Ok(all)
    }

    /// What is to come for a secret of which this is known.
    pub(super) fn place_of(&self, rotation: &Rotation, now: Timestamp) -> Plan {
        let plan = self.plan_of(&rotation.secret);
        let plan = plan.as_deref();
        let urgent = rotation.course.is_some() || rotation.wanted.is_some();
        // What is not known of a version is asked for, unless nobody wants to know.
        let unknown = !urgent && rotation.current.is_none() && plan.is_some_and(needs_age);
        let at = if unknown && rotation.paused.is_none() { Some(now) } else { rotation.look_at(plan, now) };
        let made_at = rotation.current.as_ref().map(|current| current.made_at);
        Plan {
            home: match &rotation.course {
                Some(course) => Some(course.provider.clone()),
                None => self.home_of(&rotation.secret),
            },
            at,
            urgent,
            late: self.lateness(rotation, now),
            until: rotation.opening(plan, now).and_then(|opening| opening.until),
            old_at: made_at.zip(plan.and_then(|plan| plan.max_age)).map(|(made_at, age)| after(made_at, age)),
        }
    }

    /// Why a secret was not rotated although its time has come, as far as its own state says.
    fn lateness(&self, rotation: &Rotation, now: Timestamp) -> Option<Box<str>> {
        let plan = self.plan_of(&rotation.secret);
        if rotation.paused.is_some() {
            let open = rotation.course.is_some() || rotation.wanted.is_some();
            let would = Rotation { paused: None, ..rotation.clone() };
            let due = || plan.as_deref().is_some_and(|plan| would.due(plan, now).is_some());
            return (open || due()).then(|| "it is paused".into());
        }
        if let Some(failure) = rotation.failure() {
            return Some(failure.message.clone());
        }
        let opening = rotation.opening(plan.as_deref(), now).filter(|_| rotation.course.is_none())?;
        opening.waits_for.map(|hindrance| hindrance.as_str().into())
    }

    /// The provider where the catalog has a secret.
    pub(super) fn home_of(&self, path: &SecretPath) -> Home {
        Some(self.catalog().resolve(path)?.entry.provider.clone())
    }
}

/// Whether it matters how old a version is.
pub(super) fn needs_age(plan: &rotation::Plan) -> bool {
    plan.schedule.is_some() || plan.max_age.is_some()
}

/// The secret in a key of who was ever issued it.
fn held_path(key: &Key) -> Option<SecretPath> {
    key.as_str().strip_prefix("held/")?.split_once(' ')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_read_from_the_key_of_its_holders() {
        let path: SecretPath = "prod/db".parse().unwrap();
        let holder = "spiffe://example.org/prod/api".parse().unwrap();
        let key = Key::held(&path, &"v1".parse().unwrap(), &holder);
        assert_eq!(held_path(&key), Some(path));
        assert_eq!(held_path(&Key::hold()), None);
        let next = Key::from_stored("held/prod/db \u{10ffff}");
        assert!(!KeyRange::held_under(&"prod/".parse().unwrap()).after(&next).contains(&key));
    }
}
