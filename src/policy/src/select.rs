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

    /// The parts that do not fit.
    pub(crate) fn misfits(
        &self,
        principal: &Party,
        action: &Party,
        resource: &Party,
    ) -> impl Iterator<Item = Misfit> + use<> {
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
        let parts = [
            (Misfit::Principal, principal_fits),
            (Misfit::Action, action_fits),
            (Misfit::Resource, resource_fits),
        ];
        parts.into_iter().filter_map(|(part, fits)| (!fits).then_some(part))
    }

    /// A part as it is written in the policy.
    pub(crate) fn part(&self, part: Misfit) -> String {
        match part {
            Misfit::Principal => match &self.principal {
                PrincipalConstraint::Any => "principal".to_owned(),
                PrincipalConstraint::In(group) => format!("principal in {group}"),
                PrincipalConstraint::Eq(uid) => format!("principal == {uid}"),
                PrincipalConstraint::Is(kind) => format!("principal is {kind}"),
                PrincipalConstraint::IsIn(kind, group) => format!("principal is {kind} in {group}"),
            },
            Misfit::Action => match &self.action {
                ActionConstraint::Any => "action".to_owned(),
                ActionConstraint::In(groups) => {
                    let groups: Vec<_> = groups.iter().map(ToString::to_string).collect();
                    format!("action in [{}]", groups.join(", "))
                }
                ActionConstraint::Eq(uid) => format!("action == {uid}"),
            },
            Misfit::Resource => match &self.resource {
                ResourceConstraint::Any => "resource".to_owned(),
                ResourceConstraint::In(tree) => format!("resource in {tree}"),
                ResourceConstraint::Eq(uid) => format!("resource == {uid}"),
                ResourceConstraint::Is(kind) => format!("resource is {kind}"),
                ResourceConstraint::IsIn(kind, tree) => format!("resource is {kind} in {tree}"),
            },
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
