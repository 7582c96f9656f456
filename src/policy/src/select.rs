//! Finds the policies whose heads fit a request, so that Cedar evaluates a few and not all of them.
//!
//! A policy whose head does not fit is false before its conditions are looked at, so leaving it out changes neither the
//! decision nor its grounds nor the errors. A property test holds this to it.

use std::collections::{HashMap, HashSet};

use cedar_policy::{ActionConstraint, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};

use crate::entities::Party;

/// The head of a policy.
pub(crate) struct Head {
    principal: PrincipalConstraint,
    action: ActionConstraint,
    resource: ResourceConstraint,
}

/// Which part of a request a head does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    Principal,
    Action,
    Resource,
}

/// Where a policy is looked for: by the resource that it names, else by the principal, else always.
#[derive(Default)]
pub(crate) struct Index {
    by_resource: HashMap<EntityUid, Vec<usize>>,
    by_principal: HashMap<EntityUid, Vec<usize>>,
    anywhere: Vec<usize>,
}

impl Head {
    pub(crate) fn of(policy: &Policy) -> Self {
        Self {
            principal: policy.principal_constraint(),
            action: policy.action_constraint(),
            resource: policy.resource_constraint(),
        }
    }

    /// The first part that does not fit, if one does not.
    pub(crate) fn misfit(&self, principal: &Party, action: &Party, resource: &Party) -> Option<Misfit> {
        let principal_fits = match &self.principal {
            PrincipalConstraint::Any => true,
            PrincipalConstraint::In(group) => is_in(principal, group),
            PrincipalConstraint::Eq(uid) => principal.uid == *uid,
            PrincipalConstraint::Is(kind) => principal.uid.type_name() == kind,
            PrincipalConstraint::IsIn(kind, group) => {
                principal.uid.type_name() == kind && is_in(principal, group)
            }
        };
        let action_fits = match &self.action {
            ActionConstraint::Any => true,
            ActionConstraint::In(groups) => groups.iter().any(|group| is_in(action, group)),
            ActionConstraint::Eq(uid) => action.uid == *uid,
        };
        let resource_fits = match &self.resource {
            ResourceConstraint::Any => true,
            ResourceConstraint::In(tree) => is_in(resource, tree),
            ResourceConstraint::Eq(uid) => resource.uid == *uid,
            ResourceConstraint::Is(kind) => resource.uid.type_name() == kind,
            ResourceConstraint::IsIn(kind, tree) => resource.uid.type_name() == kind && is_in(resource, tree),
        };
        match (principal_fits, action_fits, resource_fits) {
            (false, _, _) => Some(Misfit::Principal),
            (_, false, _) => Some(Misfit::Action),
            (_, _, false) => Some(Misfit::Resource),
            (true, true, true) => None,
        }
    }

    fn anchor(&self) -> Anchor<'_> {
        if let ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) =
            &self.resource
        {
            return Anchor::Resource(uid);
        }
        match &self.principal {
            PrincipalConstraint::Eq(uid)
            | PrincipalConstraint::In(uid)
            | PrincipalConstraint::IsIn(_, uid) => Anchor::Principal(uid),
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => Anchor::None,
        }
    }
}

enum Anchor<'a> {
    Resource(&'a EntityUid),
    Principal(&'a EntityUid),
    None,
}

impl Index {
    pub(crate) fn new<'a>(heads: impl IntoIterator<Item = &'a Head>) -> Self {
        let mut index = Self::default();
        for (position, head) in heads.into_iter().enumerate() {
            match head.anchor() {
                Anchor::Resource(uid) => index.by_resource.entry(uid.clone()).or_default().push(position),
                Anchor::Principal(uid) => index.by_principal.entry(uid.clone()).or_default().push(position),
                Anchor::None => index.anywhere.push(position),
            }
        }
        index
    }

    /// The positions of the policies that could fit these two, in ascending order; each is still to be asked for its misfit.
    pub(crate) fn candidates(&self, principal: &Party, resource: &Party) -> Vec<usize> {
        let mut found = self.anywhere.clone();
        collect(&self.by_resource, &resource.uid, &resource.ancestors, &mut found);
        collect(&self.by_principal, &principal.uid, &principal.ancestors, &mut found);
        found.sort_unstable();
        found
    }
}

fn collect(
    index: &HashMap<EntityUid, Vec<usize>>,
    uid: &EntityUid,
    ancestors: &HashSet<EntityUid>,
    found: &mut Vec<usize>,
) {
    for key in ancestors.iter().chain([uid]) {
        found.extend(index.get(key).into_iter().flatten());
    }
}

fn is_in(party: &Party, ancestor: &EntityUid) -> bool {
    party.uid == *ancestor || party.ancestors.contains(ancestor)
}
