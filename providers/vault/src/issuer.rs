//! Credentials: one call makes one, with a token of its own.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use data_encoding::HEXLOWER;
use leasehold_core::{
    Timestamp,
    lease::RevocationHandle,
    ports::Issuer,
    provider::{
        ErrorClass, IssueCredential, IssuedCredential, ProviderError, RenewCredential, Revocation,
        RevokeCredential, Verification,
    },
    secret::{VersionId, json::Format},
    ttl::{after, until},
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use vaultrs::api::{
    EndpointResult,
    token::requests::{RenewTokenAccessorRequest, RevokeTokenAccessorRequest},
};

use tracing::error;

use crate::{
    answer::Reply,
    endpoint::Raw,
    error::{Call, Failure, GONE, Kind},
    handle::{Certificate, Handle},
    login::{granted, look_up},
    role::VaultRole,
    server::{Ask, Server},
    spare::{Spare, Spares},
    standing::{Standing, unwrapped},
    value,
};

/// Makes credentials by the roles of the configuration.
pub(crate) struct Roles {
    standing: Arc<Standing>,
    spares: Arc<Spares>,
}

/// A token outlives what hangs on it by this much.
const MARGIN: Duration = Duration::from_secs(60);

impl Roles {
    pub(crate) fn new(standing: Arc<Standing>) -> Self {
        Self { spares: Arc::new(Spares::new(standing.clone())), standing }
    }

    fn server(&self) -> &Server {
        &self.standing.server
    }

    fn role(&self, name: &str) -> Result<&VaultRole, ProviderError> {
        self.server().config.roles.get(name).ok_or_else(|| {
            ProviderError::new(ErrorClass::Absent, format!("there is no role `{name}` in the configuration"))
        })
    }

    /// What ends something that is made here.
    fn handle(&self) -> Handle {
        Handle { namespace: self.server().config.namespace.clone(), ..Handle::default() }
    }

    /// What was kept of something, when it was made here: of what was made elsewhere, Vault's answer would mean nothing.
    fn decoded(&self, call: Call<'_>, handle: &RevocationHandle) -> Result<Handle, ProviderError> {
        let odd = || call.error(ErrorClass::Invalid, "what was kept of it is not of this back end");
        let handle = Handle::decode(handle).ok_or_else(odd)?;
        if handle.namespace != self.server().config.namespace {
            return Err(call.error(
                ErrorClass::Permanent,
                "it was made in another `namespace` than is configured now: end it there, or configure that one again",
            ));
        }
        Ok(handle)
    }

    async fn issue_with(
        &self,
        call: Call<'_>,
        role: &VaultRole,
        request: &IssueCredential<'_>,
        spare: Option<Spare>,
    ) -> Result<IssuedCredential, ProviderError> {
        let endpoint = Raw::with_parameters(role.method, role.path.clone(), &role.filled(request));
        let since = self.server().clock.now();
        let ask = Ask { wrap: role.wrap_ttl, ..Ask::once(call, None) };
        let reply = match &spare {
            Some(spare) => {
                let ask = Ask { token: Some(&spare.token), ..ask };
                match self.server().ask(&endpoint, ask).await {
                    Ok(reply) if ask.wrap.is_some() => unwrapped(self.server(), call, &reply).await,
                    other => other,
                }
            }
            None => self.standing.ask(&endpoint, ask).await,
        };
        let reply = match reply {
            Ok(reply) => reply,
            Err(failure) => return Err(self.explain(call, failure, spare.as_ref()).await),
        };
        let answer = reply.envelope::<Box<RawValue>>().ok_or_else(|| call.odd())?;
        let made = Made::of(call, &answer)?;
        let accessor = spare.as_ref().map(|spare| spare.accessor.clone());
        let (revocation, mut expires_at) = if answer.lease_id.is_empty() {
            if let Some(spare) = &spare {
                self.spares.discard(spare.token.clone());
            }
            made.without_lease(call, role, after(since, request.ttl), self.handle())?
        } else if spare.is_none() {
            // It hangs on the broker's own token, and had its answer been lost, nothing could have ended it.
            self.revoke_lease(call, &answer.lease_id).await?;
            return Err(call.error(
                ErrorClass::Permanent,
                "the engine answers with a lease: take `leased = false` out of the role",
            ));
        } else {
            let life = Duration::from_secs(answer.lease_duration.into());
            let handle = Handle {
                accessor,
                lease: Some(answer.lease_id.clone()),
                renewable: answer.renewable,
                ..self.handle()
            };
            (Revocation::By(handle.encode()), after(since, life))
        };
        if let (Some(spare), Revocation::By(_), false) = (&spare, &revocation, answer.lease_id.is_empty()) {
            let wanted = until(since, expires_at).min(request.ttl).saturating_add(MARGIN);
            expires_at = expires_at.min(self.outlive(spare, wanted).await);
        }
        Ok(IssuedCredential {
            value: made.value,
            version: made.version,
            revocation,
            expires_at: Some(expires_at),
        })
    }

    /// When a token ends, after it was made to live this long where it would not.
    async fn outlive(&self, spare: &Spare, wanted: Duration) -> Timestamp {
        let now = self.server().clock.now();
        if after(now, wanted) <= spare.ends {
            return spare.ends;
        }
        let call = Call { kind: Kind::Lease, verb: "extend", on: "the token of a credential" };
        let request =
            Raw::post("auth/token/renew-self", &json!({ "increment": format!("{}s", wanted.as_secs()) }));
        let reply = self.server().ask(&request, Ask::repeatable(call, Some(&spare.token))).await;
        // What could not be extended is clamped: the lease ends before its token does.
        let granted = reply.ok().and_then(|reply| granted(&reply, now)?.ends());
        granted.unwrap_or(spare.ends).max(spare.ends)
    }

    /// The error of a refused call; it tells a token that died on the shelf from one that may not.
    async fn explain(&self, call: Call<'_>, failure: Failure, spare: Option<&Spare>) -> ProviderError {
        if let (Failure::Refused(refusal), Some(spare)) = (&failure, spare)
            && matches!(refusal.status, 401 | 403)
            && matches!(look_up(self.server(), &spare.token).await, Err(Failure::Refused(refusal)) if matches!(refusal.status, 401 | 403))
        {
            self.spares.clear();
            return call.error(
                ErrorClass::Transient,
                "the token that was made for it is gone: somebody revoked it, or Vault forgot it",
            );
        }
        failure.into_error(call)
    }

    async fn revoke_lease(&self, call: Call<'_>, lease: &str) -> Result<(), ProviderError> {
        // `sync`: the answer comes when the engine has ended it, not when it has been noted.
        let request = Raw::post("sys/leases/revoke", &json!({ "lease_id": lease, "sync": true }));
        gone_is_done(self.standing.ask(&request, Ask::repeatable(call, None)).await, call)
    }

    async fn revoke_token(&self, call: Call<'_>, accessor: &str) -> Result<(), ProviderError> {
        let request = RevokeTokenAccessorRequest { accessor: accessor.to_owned() };
        gone_is_done(self.standing.ask(&request, Ask::repeatable(call, None)).await, call)
    }

    async fn revoke_certificate(&self, call: Call<'_>, it: &Certificate) -> Result<(), ProviderError> {
        if it.ends <= self.server().clock.now() {
            return Ok(());
        }
        let request = Raw::post(it.path.clone(), &json!({ "serial_number": it.serial }));
        let reply = self.standing.ask(&request, Ask::repeatable(call, None)).await;
        reply.map(drop).map_err(|failure| failure.into_error(call))
    }

    /// Whether Vault still has the lease that it was told to end. What else there is cannot be tried: a revoked
    /// certificate works with whoever does not ask, and of a reservation nobody knows what hung on it.
    async fn verify(&self, call: Call<'_>, handle: &Handle) -> Verification {
        let Some(lease) = &handle.lease else { return Verification::Unverifiable };
        let request = Raw::post("sys/leases/lookup", &json!({ "lease_id": lease }));
        match self.standing.ask(&request, Ask::repeatable(call, None)).await {
            Ok(_) => {
                error!(lease = call.on, "Vault says that it ended a credential, and still has its lease");
                Verification::StillValid
            }
            Err(Failure::Refused(refusal)) if is_gone(&refusal) => Verification::Verified,
            Err(_) => Verification::Unverifiable,
        }
    }

    async fn renew_lease(
        &self,
        call: Call<'_>,
        handle: &Handle,
        lease: &str,
        wanted: Timestamp,
    ) -> Result<Timestamp, ProviderError> {
        let now = self.server().clock.now();
        // Rounded up: Vault counts in seconds.
        let increment = until(now, wanted).as_secs().saturating_add(1);
        let request = Raw::post("sys/leases/renew", &json!({ "lease_id": lease, "increment": increment }));
        let extend_lease = self.standing.ask(&request, Ask::repeatable(call, None));
        let extend_token = async {
            let Some(accessor) = &handle.accessor else { return Ok(Timestamp::MAX) };
            let longer = increment.saturating_add(MARGIN.as_secs());
            let request = RenewTokenAccessorRequest {
                accessor: accessor.clone(),
                increment: Some(format!("{longer}s")),
            };
            let reply = self.standing.ask(&request, Ask::repeatable(call, None)).await;
            let reply = reply.map_err(|failure| gone_is_absent(failure, call))?;
            // The token itself is not in this answer.
            let auth = reply.envelope::<Box<RawValue>>().and_then(|envelope| envelope.auth);
            let auth = auth.ok_or_else(|| call.odd())?;
            Ok(after(now, Duration::from_secs(auth.lease_duration)))
        };
        let (reply, token_ends) = tokio::join!(extend_lease, extend_token);
        let reply = reply.map_err(|failure| failure.into_error(call))?;
        let answer = reply.envelope::<Box<RawValue>>().ok_or_else(|| call.odd())?;
        let ends = after(now, Duration::from_secs(answer.lease_duration.into()));
        Ok(ends.min(token_ends?))
    }
}

#[async_trait]
impl Issuer for Roles {
    async fn reserve(&self, role: &str) -> Result<Option<RevocationHandle>, ProviderError> {
        if !self.role(role)?.leased {
            return Ok(None);
        }
        let call = Call { kind: Kind::Issue, verb: "make a token for", on: role };
        let accessor = self.server().within(call, self.spares.reserve(role)).await?;
        Ok(Some(Handle { accessor: Some(accessor), ..self.handle() }.encode()))
    }

    async fn issue(&self, request: IssueCredential<'_>) -> Result<IssuedCredential, ProviderError> {
        let role = self.role(request.role)?;
        let call = Call { kind: Kind::Issue, verb: "make a credential of the role", on: request.role };
        let spare = match request.reservation.and_then(Handle::decode).and_then(|handle| handle.accessor) {
            Some(accessor) => Some(self.spares.take(&accessor).ok_or_else(|| {
                call.error(ErrorClass::Transient, "its reservation is too old: reserve again")
            })?),
            None if role.leased => {
                return Err(call.error(ErrorClass::Invalid, "nothing was reserved that could end it"));
            }
            None => None,
        };
        self.server().within(call, self.issue_with(call, role, &request, spare)).await
    }

    async fn renew(&self, request: RenewCredential<'_>) -> Result<Timestamp, ProviderError> {
        let lease = request.lease.to_string();
        let call = Call { kind: Kind::Lease, verb: "renew the credential of", on: &lease };
        let handle = self.decoded(call, request.handle)?;
        match &handle.lease {
            Some(upstream) if handle.renewable => {
                self.server().within(call, self.renew_lease(call, &handle, upstream, request.until)).await
            }
            // What its engine does not extend may have been made with more time than the lease was given.
            _ => Ok(self.look_up(request.handle).await?.unwrap_or(request.until)),
        }
    }

    async fn revoke(&self, request: RevokeCredential<'_>) -> Result<Verification, ProviderError> {
        let lease = request.lease.to_string();
        let call = Call { kind: Kind::Revoke, verb: "revoke the credential of", on: &lease };
        // Only a role without leases reserves nothing. What it made was in the answer, and the answer reached nobody.
        let Some(handle) = request.handle else { return Ok(Verification::Unverifiable) };
        let handle = self.decoded(call, handle)?;
        self.server()
            .within(call, async {
                if let Some(lease) = &handle.lease {
                    self.revoke_lease(call, lease).await?;
                }
                if let Some(certificate) = &handle.certificate {
                    self.revoke_certificate(call, certificate).await?;
                }
                if let Some(accessor) = &handle.accessor {
                    self.revoke_token(call, accessor).await?;
                }
                Ok(self.verify(call, &handle).await)
            })
            .await
    }

    async fn look_up(&self, handle: &RevocationHandle) -> Result<Option<Timestamp>, ProviderError> {
        #[derive(Deserialize)]
        struct Looked {
            ttl: i64,
        }
        let call = Call { kind: Kind::Lease, verb: "look up", on: "a credential" };
        let handle = self.decoded(call, handle)?;
        let now = self.server().clock.now();
        let Some(lease) = &handle.lease else {
            return match handle.certificate {
                Some(certificate) if certificate.ends <= now => {
                    Err(call.error(ErrorClass::Absent, "it has ended"))
                }
                Some(certificate) => Ok(Some(certificate.ends)),
                None => Err(call.error(ErrorClass::Permanent, "only a lease can be looked up")),
            };
        };
        self.server()
            .within(call, async {
                let request = Raw::post("sys/leases/lookup", &json!({ "lease_id": lease }));
                let reply = self.standing.ask(&request, Ask::repeatable(call, None)).await;
                let reply = reply.map_err(|failure| failure.into_error(call))?;
                let Looked { ttl } = reply.data().ok_or_else(|| call.odd())?;
                match u64::try_from(ttl) {
                    Ok(0) => Ok(None),
                    Ok(seconds) => Ok(Some(after(now, Duration::from_secs(seconds)))),
                    // Its time has come, and Vault has not managed to end it.
                    Err(_) => Ok(Some(now)),
                }
            })
            .await
    }
}

/// What an engine made.
struct Made {
    value: leasehold_core::SecretValue,
    version: VersionId,
    /// Of a certificate or a signed key.
    serial: Option<String>,
    /// Its own end, by what it says of itself.
    expiration: Option<Timestamp>,
}

impl Made {
    fn of(call: Call<'_>, answer: &EndpointResult<Box<RawValue>>) -> Result<Self, ProviderError> {
        /// What engines without leases say of what they made (PKI, SSH).
        #[derive(Default, Deserialize)]
        struct Facts {
            serial_number: Option<String>,
            expiration: Option<i64>,
        }
        let data = answer.data.as_ref().ok_or_else(|| call.odd())?;
        let Facts { serial_number: serial, expiration } =
            serde_json::from_str(data.get()).unwrap_or_default();
        let version = match &serial {
            Some(serial) => serial.parse().ok(),
            None => None,
        };
        // Vault's own name of a lease is enough to end it, so it is not shown.
        let digest = || {
            let of = if answer.lease_id.is_empty() { &answer.request_id } else { &answer.lease_id };
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, of.as_bytes());
            HEXLOWER.encode(digest.as_ref().get(..16).unwrap_or_default()).parse().ok()
        };
        Ok(Self {
            value: value::decode(data, Format::Fields),
            version: version.or_else(digest).ok_or_else(|| call.odd())?,
            serial,
            expiration: expiration.and_then(|at| Timestamp::from_second(at).ok()),
        })
    }

    /// How a credential without a lease ends, and when.
    fn without_lease(
        &self,
        call: Call<'_>,
        role: &VaultRole,
        asked: Timestamp,
        handle: Handle,
    ) -> Result<(Revocation, Timestamp), ProviderError> {
        // What was asked for is the latest end that it can have.
        let told = || role.parameters.get("ttl").filter(|ttl| *ttl == "{ttl}").map(|_| asked);
        let Some(ends) = self.expiration.or_else(told) else {
            return Err(call.error(
                ErrorClass::Permanent,
                "the engine answers without a lease and without an end: give the role the parameter `ttl = \"{ttl}\"`",
            ));
        };
        let revocation = match (&role.revoke_path, &self.serial) {
            (Some(path), Some(serial)) => {
                let certificate = Certificate { path: path.clone(), serial: serial.clone(), ends };
                Revocation::By(Handle { certificate: Some(certificate), ..handle }.encode())
            }
            _ => Revocation::NoneUntil(ends),
        };
        Ok((revocation, ends))
    }
}

/// What is gone needs no revoking. Vault itself says success for most of it.
fn gone_is_done(result: Result<Reply, Failure>, call: Call<'_>) -> Result<(), ProviderError> {
    match result {
        Ok(_) => Ok(()),
        Err(Failure::Refused(refusal)) if is_gone(&refusal) => Ok(()),
        Err(failure) => Err(failure.into_error(call)),
    }
}

fn gone_is_absent(failure: Failure, call: Call<'_>) -> ProviderError {
    match failure {
        Failure::Refused(refusal) if is_gone(&refusal) => {
            call.error(ErrorClass::Absent, "Vault has ended the credential")
        }
        failure => failure.into_error(call),
    }
}

fn is_gone(refusal: &crate::answer::Refusal) -> bool {
    refusal.says(&GONE)
}
