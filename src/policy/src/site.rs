//! What decisions on one principal, action and resource have in common, prepared once and kept while there is room.
//!
//! A decision is a function of what is asked, as far as the policies look at it, and of the policies, which never change
//! here: the last one at each site is kept with the inputs that it was made of. New policies are a new set with no sites
//! at all.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use arc_swap::ArcSwapOption;
use cedar_policy::{Entities, EntityUid, PolicySet, Request};
use leasehold_core::{
    SpiffeId,
    access::{AccessRequest, Action, Resource},
    record::Decision,
};

use crate::context::{self, Inputs, Reads};

/// The prepared part of such decisions.
pub(crate) struct Site {
    principal: SpiffeId,
    action: Action,
    resource: Resource,
    pub(crate) selection: Arc<Selection>,
    pub(crate) entities: Entities,
    uids: [EntityUid; 3],
    /// The last decision here: workloads ask the same again and again.
    last: ArcSwapOption<Decision>,
}

/// Some of the policies.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    pub(crate) policies: PolicySet,
    /// Which inputs any of them looks at.
    pub(crate) reads: Reads,
}

/// A bounded number of sites. Each can be in a few places; a newcomer takes one over when they are taken, so nothing
/// has to be evicted and nobody waits for anybody.
pub(crate) struct Sites {
    places: Box<[ArcSwapOption<Site>]>,
    hasher: RandomState,
}

/// In how many places a site can be.
const WAYS: usize = 4;

impl Site {
    pub(crate) fn new(
        request: &AccessRequest<'_>,
        selection: Arc<Selection>,
        entities: Entities,
        uids: [EntityUid; 3],
    ) -> Self {
        Self {
            principal: request.principal.clone(),
            action: request.action,
            resource: request.resource.clone(),
            selection,
            entities,
            uids,
            last: ArcSwapOption::empty(),
        }
    }

    fn is_of(&self, request: &AccessRequest<'_>) -> bool {
        self.action == request.action
            && self.resource == *request.resource
            && self.principal == *request.principal
    }

    /// The request as Cedar takes it.
    ///
    /// # Errors
    /// When its inputs are not of the types that the schema gives them.
    pub(crate) fn request(&self, inputs: &Inputs) -> Result<Request, String> {
        let [principal, action, resource] = self.uids.clone();
        let context = context::context(self.action, inputs)?;
        Request::new(principal, action, resource, context, None).map_err(|e| e.to_string())
    }

    /// The last decision, if these inputs would lead to the same: its grounds are theirs, too.
    pub(crate) fn decided(&self, inputs: &Inputs) -> Option<Decision> {
        let last = self.last.load();
        let last = last.as_ref().filter(|last| self.selection.reads.are_alike(&last.inputs, inputs))?;
        Some(Decision {
            action: last.action,
            effect: last.effect,
            policies: last.policies.clone(),
            max_ttl: last.max_ttl,
            policy_set: Arc::clone(&last.policy_set),
            inputs: inputs.clone(),
            errors: last.errors.clone(),
        })
    }

    /// Keeps a decision, which names its inputs.
    pub(crate) fn keep(&self, decision: Decision) {
        self.last.store(Some(Arc::new(decision)));
    }
}

impl Sites {
    /// Room for so many.
    pub(crate) fn new(places: usize) -> Self {
        Self {
            places: std::iter::repeat_with(ArcSwapOption::empty).take(places.max(WAYS)).collect(),
            hasher: RandomState::new(),
        }
    }

    /// The site of a request, prepared by `prepare` when it is not there.
    pub(crate) fn find(
        &self,
        request: &AccessRequest<'_>,
        prepare: impl FnOnce() -> Result<Site, String>,
    ) -> Result<Arc<Site>, String> {
        let (ways, victim) = self.ways(request);
        let mut vacant = None;
        for place in ways {
            match &*place.load() {
                Some(site) if site.is_of(request) => return Ok(Arc::clone(site)),
                Some(_) => {}
                None => vacant = vacant.or(Some(place)),
            }
        }
        let site = Arc::new(prepare()?);
        if let Some(place) = vacant.or_else(|| ways.get(victim)) {
            place.store(Some(Arc::clone(&site)));
        }
        Ok(site)
    }

    /// The places where the request's site can be, and which of them it takes over when all are taken.
    fn ways(&self, request: &AccessRequest<'_>) -> (&[ArcSwapOption<Site>], usize) {
        let resource = match request.resource {
            Resource::Secret(path) => path.as_str(),
            Resource::Broker => "",
        };
        // The hash is keyed by the process: nobody can choose names that keep throwing another's site out.
        let hash = self.hasher.hash_one((request.principal.as_str(), request.action, resource));
        let below = |hash: u64, bound: usize| {
            let bound = u64::try_from(bound).unwrap_or(u64::MAX);
            usize::try_from(hash.checked_rem(bound).unwrap_or_default()).unwrap_or_default()
        };
        let (groups, _) = self.places.as_chunks::<WAYS>();
        let group = groups.get(below(hash, groups.len())).map_or(&[][..], <[_; WAYS]>::as_slice);
        (group, below(hash.rotate_left(32), WAYS))
    }
}

impl fmt::Debug for Sites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sites").field("places", &self.places.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn sites_stay_while_there_is_room_and_never_grow_beyond_it() {
        let sites = Sites::new(64);
        let prepared = Cell::new(0);
        let find = |number: usize| {
            let principal: SpiffeId = format!("spiffe://example.org/prod/{number}").parse().unwrap();
            let resource = Resource::Broker;
            let request = AccessRequest {
                principal: &principal,
                action: Action::ReadStatus,
                resource: &resource,
                context: Inputs::new(),
            };
            let uid: EntityUid = "Broker::\"broker\"".parse().unwrap();
            let site = sites.find(&request, || {
                prepared.set(prepared.get() + 1);
                let uids = [uid.clone(), uid.clone(), uid];
                Ok(Site::new(&request, Arc::default(), Entities::empty(), uids))
            });
            assert_eq!(site.unwrap().principal, principal);
        };
        (0..4).for_each(find);
        (0..4).for_each(find);
        assert_eq!(prepared.get(), 4, "four always fit");
        (0..1000).for_each(find);
        let kept = sites.places.iter().filter(|place| place.load().is_some()).count();
        assert!((32..=64).contains(&kept), "{kept}");
        (0..1000).for_each(find);
        assert!(prepared.get() > 1000, "what was thrown out is prepared anew");
    }
}
