//! Users of the database, one for each lease.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use leasehold_core::{
    LeaseId, SecretBytes, SecretValue, Timestamp,
    lease::RevocationHandle,
    ports::Issuer,
    provider::{
        ErrorClass, IssueCredential, IssuedCredential, ProviderError, RenewCredential, Revocation,
        RevokeCredential, Tagged, Verification,
    },
    secret::FieldName,
    ttl::{after, until},
};
use tokio_postgres::error::SqlState;

use crate::{
    config::PostgresConfigFault,
    connection::moment,
    database::{UserNames, Values, last_entry},
    error::{Call, Failure},
    handle::{Handle, Password},
    in_time::{Moment, SAYS_TIME, deadline},
    role::Recipe,
    secrets::{Secret, Secrets},
    server::{ATTEMPTS, Server},
    sql::{LONGEST_NAME, Sql, identifier, literal},
    tag::Tag,
};

/// Makes users by the roles of the configuration.
pub(crate) struct Users {
    pub(crate) server: Arc<Server>,
    pub(crate) recipes: BTreeMap<String, Recipe>,
    pub(crate) names: UserNames,
    secrets: Arc<Secrets>,
}

/// The statement of a renewal that says whether the user may log in, counted from 0.
const CAN_LOG_IN: usize = SAYS_TIME + 1;

/// What a statement names that is not there: the user, mostly.
pub(crate) const GONE: &SqlState = &SqlState::UNDEFINED_OBJECT;

impl Users {
    pub(crate) fn new(server: Arc<Server>) -> Result<Self, Vec<PostgresConfigFault>> {
        let names =
            UserNames::new(&server.config.user_prefix, LONGEST_NAME).map_err(|fault| vec![fault.into()])?;
        let (mut recipes, mut faults) = (BTreeMap::new(), Vec::new());
        for (name, role) in &server.config.roles {
            match role.recipe() {
                Ok(recipe) => drop(recipes.insert(name.clone(), recipe)),
                Err(wrong) => {
                    faults.extend(
                        wrong.into_iter().map(|fault| PostgresConfigFault::Role(name.clone(), fault)),
                    );
                }
            }
        }
        let secrets = Arc::new(Secrets::new(Arc::clone(&server.entropy)));
        if faults.is_empty() { Ok(Self { server, recipes, names, secrets }) } else { Err(faults) }
    }

    /// The statements that make a user, as one text for the moment at which it is sent.
    pub(crate) fn creation(
        &self,
        recipe: &Recipe,
        request: &IssueCredential<'_>,
        name: &str,
        verifier: &str,
        at: &Moment,
    ) -> String {
        let lease = request.lease.to_string();
        let end = after(at.now, request.ttl);
        let values = Values {
            name,
            password_verifier: verifier,
            expiration: &last_entry(end, self.server.config.margin).to_string(),
            lease: &lease,
            holder: request.holder.as_str(),
            role: request.role,
        };
        let tag = Tag {
            leasehold: lease.clone(),
            broker: self.server.config.broker.clone(),
            role: request.role.to_owned(),
            holder: request.holder.to_string(),
            ended: false,
        };
        let mut statements = vec![at.opening(request.lease), recipe.creation.fill(&Sql, &values)];
        statements.extend(recipe.granting(name));
        statements.push(comment(name, &tag));
        statements.join("\n;\n")
    }

    /// Makes a user. What was sent before and not answered is done, or never will be, before it is sent again; and if
    /// something may have been done, no refusal says that there is nothing.
    async fn create(
        &self,
        recipe: &Recipe,
        request: &IssueCredential<'_>,
        name: &str,
        verifier: &str,
    ) -> Result<(), Failure> {
        let deadline = deadline(request.within.min(self.server.config.timeout));
        let statements = |at: &Moment| self.creation(recipe, request, name, verifier, at);
        let (mut attempt, mut doubt) = (1, false);
        loop {
            let failure = match self.server.ask_in_time_once(deadline, &statements).await {
                Ok(_) => return Ok(()),
                Err(failure) => failure,
            };
            doubt |= failure.left.is_some();
            let is_cut_off = match &failure.left {
                Some(left) => self.server.cut_off(left).await.is_ok(),
                None => true,
            };
            let made_before = failure.is(&SqlState::DUPLICATE_OBJECT);
            if !is_cut_off || attempt >= ATTEMPTS || !(failure.again || made_before) {
                return Err(if doubt { failure.in_doubt() } else { failure });
            }
            if made_before {
                // An earlier call made it, and its password reached nobody.
                self.end(request.lease, name, request.role).await.map_err(Failure::in_doubt)?;
                doubt = false;
            } else {
                self.server.pause(attempt).await;
            }
            attempt = attempt.saturating_add(1);
        }
    }

    async fn secret(&self, call: Call<'_>) -> Result<Secret, ProviderError> {
        let blind = |_| call.error(ErrorClass::Transient, "the system gives no randomness");
        let stopping = || call.error(ErrorClass::Transient, "the broker is stopping");
        self.secrets.take().await.map_err(blind)?.ok_or_else(stopping)
    }

    /// One of this broker's own users, unless it has ended. Those of another broker are for that one to look after.
    fn read(&self, name: &str, comment: &str) -> Option<Tagged> {
        let lease = self.names.lease(name)?;
        let tag = Tag::of(comment).filter(|tag| tag.leasehold == lease.to_string()).unwrap_or_default();
        if tag.ended || tag.broker != self.server.config.broker {
            return None;
        }
        let handle = Handle::found(name.to_owned(), tag.role);
        Some(Tagged { lease, name: name.to_owned(), handle: Some(handle.encode()) })
    }

    /// The user of a lease, looked for on the server; after whoever is still making it.
    async fn find(&self, lease: LeaseId) -> Result<Vec<Handle>, Failure> {
        let statement = format!(
            "{};\nSELECT rolname, coalesce(pg_catalog.shobj_description(oid, 'pg_authid'), '') FROM pg_catalog.pg_roles \
             WHERE pg_catalog.right(rolname, 26) = {}",
            turn(lease),
            literal(&lease.suffix())
        );
        let answer = self.server.ask(&statement).await?;
        let ours = |row: &tokio_postgres::SimpleQueryRow| {
            let name = row.get(0).filter(|name| self.names.lease(name) == Some(lease))?.to_owned();
            let role = row.get(1).and_then(Tag::of).map(|tag| tag.role).unwrap_or_default();
            Some(Handle::found(name, role))
        };
        Ok(answer.last().iter().filter_map(ours).collect())
    }

    fn recipe(&self, role: &str) -> Result<&Recipe, ProviderError> {
        self.recipes.get(role).ok_or_else(|| {
            ProviderError::new(ErrorClass::Absent, format!("there is no role `{role}` in the configuration"))
        })
    }
}

#[async_trait]
impl Issuer for Users {
    async fn issue(&self, request: IssueCredential<'_>) -> Result<IssuedCredential, ProviderError> {
        let call = Call { verb: "make a user of the role", on: request.role };
        let recipe = self.recipe(request.role)?;
        let secret = self.secret(call).await?;
        let name = self.names.of(request.role, request.lease);
        let end = after(self.server.clock.now(), request.ttl);
        self.server.within(call, self.create(recipe, &request, &name, &secret.verifier)).await?;
        let odd = |_| call.error(ErrorClass::Permanent, "the user's name is no version");
        let version = name.parse().map_err(odd)?;
        let mut handle = Handle::found(name.clone(), request.role.to_owned());
        handle.password = Some(Password::new(&secret.password));
        Ok(IssuedCredential {
            value: value(name, &secret.password)?,
            version,
            revocation: Revocation::By(handle.encode()),
            expires_at: Some(end),
        })
    }

    async fn renew(&self, request: RenewCredential<'_>) -> Result<Timestamp, ProviderError> {
        let lease = request.lease.to_string();
        let call = Call { verb: "renew the user of", on: &lease };
        let handle = Handle::decode(call, request.handle, request.lease)?;
        let statements = |at: &Moment| {
            // As long from now on as the broker's clock has to run until then: the two may show different times.
            let end = after(at.now, until(self.server.clock.now(), request.until));
            let expiration = last_entry(end, self.server.config.margin).to_string();
            let renewal = match self.recipes.get(&handle.role) {
                Some(recipe) => {
                    let values = Values {
                        name: &handle.name,
                        expiration: &expiration,
                        lease: &lease,
                        role: &handle.role,
                        ..Values::default()
                    };
                    recipe.renewal.fill(&Sql, &values)
                }
                None => {
                    format!("ALTER ROLE {} VALID UNTIL {}", identifier(&handle.name), literal(&expiration))
                }
            };
            format!(
                "{}\n;\nSELECT rolcanlogin FROM pg_catalog.pg_roles WHERE rolname = {}\n;\n{renewal}",
                at.opening(request.lease),
                literal(&handle.name)
            )
        };
        let deadline = deadline(self.server.config.timeout);
        self.server
            .within(call, async {
                let locked_out = || Failure::ours(ErrorClass::Absent, "somebody has locked it out");
                match self.server.ask_in_time(deadline, &statements).await {
                    Ok(answer) => match answer.rows(CAN_LOG_IN).first().and_then(|row| row.get(0)) {
                        Some("t") => Ok(request.until),
                        Some(_) => Err(locked_out()),
                        None => Err(gone()),
                    },
                    Err(failure) if failure.is(GONE) => Err(gone()),
                    Err(failure) => Err(failure),
                }
            })
            .await
    }

    async fn revoke(&self, request: RevokeCredential<'_>) -> Result<Verification, ProviderError> {
        let lease = request.lease.to_string();
        let call = Call { verb: "end the user of", on: &lease };
        let known = match request.handle {
            Some(handle) => Some(Handle::decode(call, handle, request.lease)?),
            None => None,
        };
        self.server
            .within(call, async {
                let found = match known {
                    Some(handle) => vec![handle],
                    None => self.find(request.lease).await?,
                };
                let mut verdict = Verification::Verified;
                for user in found {
                    self.end(request.lease, &user.name, &user.role).await?;
                    verdict = worse(verdict, self.verify(&user).await);
                }
                Ok(verdict)
            })
            .await
    }

    async fn look_up(&self, handle: &RevocationHandle) -> Result<Option<Timestamp>, ProviderError> {
        let call = Call { verb: "look up", on: "a user" };
        let handle = Handle::read(call, handle)?;
        let statement = format!(
            "SELECT rolcanlogin, extract(epoch FROM rolvaliduntil)::pg_catalog.text \
             FROM pg_catalog.pg_roles WHERE rolname = {}",
            literal(&handle.name)
        );
        let answer = self.server.within(call, self.server.ask(&statement)).await?;
        match answer.last().first() {
            Some(row) if row.get(0) == Some("t") => Ok(row.get(1).and_then(moment)),
            Some(_) => Err(call.error(ErrorClass::Absent, "somebody has locked it out")),
            None => Err(call.failed(&gone())),
        }
    }

    async fn tagged(&self) -> Result<Vec<Tagged>, ProviderError> {
        let call = Call { verb: "list", on: "the users of leases" };
        let start = self.names.start();
        let statement = format!(
            "SELECT rolname, coalesce(pg_catalog.shobj_description(oid, 'pg_authid'), '') FROM pg_catalog.pg_roles \
             WHERE pg_catalog.left(rolname, {}) = {}",
            start.len(),
            literal(&start)
        );
        let answer = self.server.within(call, self.server.ask(&statement)).await?;
        Ok(answer.last().iter().filter_map(|row| self.read(row.get(0)?, row.get(1)?)).collect())
    }
}

/// Of two, the one that lets fewer sleep.
const fn worse(one: Verification, other: Verification) -> Verification {
    use Verification::{StillValid, Unverifiable, Verified};
    match (one, other) {
        (StillValid, _) | (_, StillValid) => StillValid,
        (Unverifiable, _) | (_, Unverifiable) => Unverifiable,
        (Verified, Verified) => Verified,
    }
}

fn gone() -> Failure {
    Failure::ours(ErrorClass::Absent, "there is no such user any more")
}

/// Whoever makes or ends the user of a lease does so alone: what was sent before is done, or never will be seen to be.
pub(crate) fn turn(lease: LeaseId) -> String {
    let mut key = [0; 8];
    key.iter_mut().zip(lease.bits()).for_each(|(byte, bit)| *byte = *bit);
    format!("SELECT pg_catalog.pg_advisory_xact_lock({})", i64::from_be_bytes(key))
}

pub(crate) fn comment(name: &str, tag: &Tag) -> String {
    format!("COMMENT ON ROLE {} IS {}", identifier(name), literal(&tag.text()))
}

/// What the holder gets.
fn value(name: String, password: &str) -> Result<SecretValue, ProviderError> {
    let field = |name: &str| -> Result<FieldName, ProviderError> {
        name.parse().map_err(|_| ProviderError::new(ErrorClass::Permanent, "no field's name"))
    };
    let fields = [
        (field("username")?, SecretBytes::from(name)),
        (field("password")?, SecretBytes::from(password.to_owned())),
    ];
    Ok(SecretValue { fields: fields.into(), content_type: SecretValue::TEXT.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_has_one_lock() {
        let lease = LeaseId::from_bits([0xff; 16]);
        assert_eq!(turn(lease), "SELECT pg_catalog.pg_advisory_xact_lock(-1)");
    }
}
