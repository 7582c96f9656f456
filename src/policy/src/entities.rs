//! How principals, secrets and the broker look to Cedar: their entities, their parents, their attributes.

use std::collections::{BTreeMap, HashMap, HashSet};

use cedar_policy::{
    Entities, Entity, EntityId, EntityTypeName, EntityUid, ParseErrors, RestrictedExpression, Schema,
};
use leasehold_core::{
    SecretPath, SpiffeId,
    access::{Action, Resource},
};

use crate::identity::Directory;

/// The names of the schema, parsed once.
pub(crate) struct Vocabulary {
    workload: EntityTypeName,
    operator: EntityTypeName,
    scheduler: EntityTypeName,
    group: EntityTypeName,
    spiffe_path: EntityTypeName,
    environment: EntityTypeName,
    secret: EntityTypeName,
    secret_path: EntityTypeName,
    broker: EntityTypeName,
    actions: BTreeMap<Action, EntityUid>,
    /// The actions with their groups, as the schema declares them.
    action_entities: Entities,
}

/// One side of a request.
pub(crate) struct Party {
    pub(crate) uid: EntityUid,
    pub(crate) ancestors: HashSet<EntityUid>,
    pub(crate) entity: Entity,
}

impl Vocabulary {
    pub(crate) fn new(schema: &Schema) -> Result<Self, String> {
        let name = |text: &str| text.parse::<EntityTypeName>().map_err(|e: ParseErrors| e.to_string());
        let action = name("Action")?;
        let actions = Action::ALL
            .into_iter()
            .map(|each| (each, uid(&action, each.as_str())))
            .collect::<BTreeMap<_, _>>();
        Ok(Self {
            workload: name("Workload")?,
            operator: name("Operator")?,
            scheduler: name("Scheduler")?,
            group: name("Group")?,
            spiffe_path: name("SpiffePath")?,
            environment: name("Environment")?,
            secret: name("Secret")?,
            secret_path: name("SecretPath")?,
            broker: name("Broker")?,
            actions,
            action_entities: schema.action_entities().map_err(|e| e.to_string())?,
        })
    }

    /// The principal of `id`: a workload or an operator, in its groups, under every start of its path, in its environment.
    pub(crate) fn principal(&self, directory: &Directory, id: &SpiffeId) -> Result<Party, String> {
        let profile = directory.profile(id);
        let kind = match profile.operator {
            _ if directory.is_scheduler(id) => &self.scheduler,
            true => &self.operator,
            false => &self.workload,
        };
        let mut ancestors: HashSet<EntityUid> =
            profile.groups.iter().map(|group| uid(&self.group, group)).collect();
        ancestors.extend(starts(id).map(|start| uid(&self.spiffe_path, start)));
        let mut attributes = HashMap::from([
            text("spiffe_id", id.as_str()),
            text("trust_domain", id.trust_domain()),
            text("path", id.path()),
        ]);
        if let Some(name) = profile.environment {
            let environment = uid(&self.environment, name);
            attributes
                .insert("environment".to_owned(), RestrictedExpression::new_entity_uid(environment.clone()));
            ancestors.insert(environment);
        }
        Party::new(uid(kind, id.as_str()), attributes, ancestors)
    }

    /// The secret at `path`, or the broker.
    pub(crate) fn resource(&self, resource: &Resource) -> Result<Party, String> {
        match resource {
            Resource::Secret(path) => self.secret(path),
            Resource::Broker => Party::new(uid(&self.broker, "broker"), HashMap::new(), HashSet::new()),
        }
    }

    fn secret(&self, path: &SecretPath) -> Result<Party, String> {
        let environment = uid(&self.environment, path.environment());
        let attributes = HashMap::from([
            text("path", path.as_str()),
            ("environment".to_owned(), RestrictedExpression::new_entity_uid(environment.clone())),
        ]);
        let mut ancestors: HashSet<EntityUid> =
            path.ancestors().chain([path.as_str()]).map(|start| uid(&self.secret_path, start)).collect();
        ancestors.insert(environment);
        Party::new(uid(&self.secret, path.as_str()), attributes, ancestors)
    }

    /// The action, in its groups.
    pub(crate) fn action(&self, action: Action) -> Result<Party, String> {
        let uid = self.actions.get(&action).ok_or_else(|| format!("no action {action}"))?;
        let entity = self
            .action_entities
            .get(uid)
            .ok_or_else(|| format!("the schema does not declare the action {action}"))?;
        let ancestors = self.action_entities.ancestors(uid).into_iter().flatten().cloned().collect();
        Ok(Party { uid: uid.clone(), ancestors, entity: entity.clone() })
    }
}

impl Party {
    fn new(
        uid: EntityUid,
        attributes: HashMap<String, RestrictedExpression>,
        ancestors: HashSet<EntityUid>,
    ) -> Result<Self, String> {
        // Every ancestor is given as a parent: nothing has to be followed, so the ancestors themselves can stay unsaid.
        let entity = Entity::new(uid.clone(), attributes, ancestors.clone()).map_err(|e| e.to_string())?;
        Ok(Self { uid, ancestors, entity })
    }
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn text(name: &str, value: &str) -> (String, RestrictedExpression) {
    (name.to_owned(), RestrictedExpression::new_string(value.to_owned()))
}

/// The id and each of its starts by whole segments: `spiffe://d`, `spiffe://d/prod`, `spiffe://d/prod/api`.
fn starts(id: &SpiffeId) -> impl Iterator<Item = &str> {
    let whole = id.as_str();
    let path_begins = whole.len().saturating_sub(id.path().len());
    whole
        .match_indices('/')
        .map(|(at, _)| at)
        .filter(move |at| *at >= path_begins)
        .filter_map(move |at| whole.get(..at))
        .chain([whole])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{identity::PolicySettings, policies::SCHEMA};

    #[test]
    fn an_id_lies_under_each_of_its_starts() {
        let id = "spiffe://example.org/prod/api".parse().unwrap();
        assert_eq!(
            starts(&id).collect::<Vec<_>>(),
            ["spiffe://example.org", "spiffe://example.org/prod", "spiffe://example.org/prod/api"]
        );
    }

    #[test]
    fn what_is_made_here_conforms_to_the_schema() {
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA).unwrap();
        let vocabulary = Vocabulary::new(&schema).unwrap();
        let mut settings = PolicySettings::new("example.org".parse().unwrap());
        settings.operators = vec!["/operator/".to_owned()];
        settings.groups.insert("all".to_owned(), vec!["/".to_owned()]);
        let directory = Directory::new(&settings, &mut Vec::new());
        let ids = [
            "spiffe://example.org/prod/api",
            "spiffe://example.org/operator/alice",
            "spiffe://evil.test/prod/api",
        ];
        for id in ids {
            let principal = vocabulary.principal(&directory, &id.parse().unwrap()).unwrap();
            for action in Action::ALL {
                let resource = match action {
                    Action::ReadStatus | Action::ReadAudit => Resource::Broker,
                    _ => Resource::Secret("prod/payments/db".parse().unwrap()),
                };
                let resource = vocabulary.resource(&resource).unwrap();
                let context = crate::context::context(action, &BTreeMap::new()).unwrap();
                let action = vocabulary.action(action).unwrap();
                let request = cedar_policy::Request::new(
                    principal.uid.clone(),
                    action.uid.clone(),
                    resource.uid.clone(),
                    context,
                    None,
                );
                assert!(request.is_ok(), "{request:?}");
                let entities = Entities::from_entities(
                    [principal.entity.clone(), action.entity, resource.entity],
                    Some(&schema),
                );
                assert!(entities.is_ok(), "{id}: {entities:?}");
            }
        }
    }
}
