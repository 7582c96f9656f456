//! What decisions on one principal, action and resource have in common, prepared once and kept while there is room.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use arc_swap::ArcSwapOption;
use cedar_policy::{Entities, EntityUid, PolicySet, Request};
use leasehold_core::{
    SpiffeId,
    access::{AccessRequest, Action, Resource},
};
use serde_json::Value;

use crate::context;

/// The prepared part of such decisions.
pub(crate) struct Site {
    principal: SpiffeId,
    action: Action,
    resource: Resource,
    pub(crate) policies: Arc<PolicySet>,
    pub(crate) entities: Entities,
    uids: [EntityUid; 3],
    /// The last request here: workloads ask the same again and again.
    last: ArcSwapOption<Asked>,
}

/// A request with the inputs that it was made of.
pub(crate) struct Asked {
    inputs: BTreeMap<String, Value>,
    pub(crate) request: Request,
}

/// A bounded number of sites. Each has one place where it can be; a newcomer takes it over, so nothing has to be
/// evicted and nobody waits for anybody.
pub(crate) struct Sites {
    places: Box<[ArcSwapOption<Site>]>,
    hasher: RandomState,
}

impl Site {
    pub(crate) fn new(
        request: &AccessRequest<'_>,
        policies: Arc<PolicySet>,
        entities: Entities,
        uids: [EntityUid; 3],
    ) -> Self {
        Self {
            principal: request.principal.clone(),
            action: request.action,
            resource: request.resource.clone(),
            policies,
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
    pub(crate) fn asked(&self, inputs: &BTreeMap<String, Value>) -> Result<Arc<Asked>, String> {
        if let Some(last) = &*self.last.load()
            && last.inputs == *inputs
        {
            return Ok(Arc::clone(last));
        }
        let [principal, action, resource] = self.uids.clone();
        let context = context::context(inputs, context::is_lending(self.action))?;
        let request = Request::new(principal, action, resource, context, None).map_err(|e| e.to_string())?;
        let asked = Arc::new(Asked { inputs: inputs.clone(), request });
        self.last.store(Some(Arc::clone(&asked)));
        Ok(asked)
    }
}

impl Sites {
    /// Room for so many.
    pub(crate) fn new(places: usize) -> Self {
        Self {
            places: std::iter::repeat_with(ArcSwapOption::empty).take(places.max(1)).collect(),
            hasher: RandomState::new(),
        }
    }

    /// The site of a request, prepared by `prepare` when it is not there.
    pub(crate) fn find(
        &self,
        request: &AccessRequest<'_>,
        prepare: impl FnOnce() -> Result<Site, String>,
    ) -> Result<Arc<Site>, String> {
        let Some(place) = self.places.get(self.place(request)) else {
            return prepare().map(Arc::new);
        };
        if let Some(site) = &*place.load()
            && site.is_of(request)
        {
            return Ok(Arc::clone(site));
        }
        let site = Arc::new(prepare()?);
        place.store(Some(Arc::clone(&site)));
        Ok(site)
    }

    fn place(&self, request: &AccessRequest<'_>) -> usize {
        let resource = match request.resource {
            Resource::Secret(path) => path.as_str(),
            Resource::Broker => "",
        };
        // The hash is keyed by the process: nobody can choose names that keep throwing another's site out.
        let hash = self.hasher.hash_one((request.principal.as_str(), request.action, resource));
        let places = u64::try_from(self.places.len()).unwrap_or(u64::MAX);
        usize::try_from(hash.checked_rem(places).unwrap_or_default()).unwrap_or_default()
    }
}

impl fmt::Debug for Sites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sites").field("places", &self.places.len()).finish_non_exhaustive()
    }
}
