//! A back end in memory, as good as its one flaw lets it be.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use leasehold_core::{
    LeaseId, SecretBytes, SecretValue, Timestamp,
    lease::RevocationHandle,
    ports::{Issuer, NativeRotation, Provider},
    provider::{
        Capabilities, Change, ChangeSecret, Demand,
        ErrorClass::{Absent, Denied, Invalid, Permanent, Throttled, Transient},
        Fetch, Fetched, Finding, Followed, IssueCredential, IssuedCredential, ProviderError, RenewCredential,
        Revocation, RevokeCredential, Stage, Tagged, Verification, VersionFacts, VersionState, WriteVersion,
    },
    secret::VersionId,
};
use leasehold_provider_conformance::Trouble;

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    ForgetsTokens,
    OverwritesUnseen,
    PendingIsCurrent,
    DestroysNothing,
    ListsTwice,
    ReadsDisabled,
    TakesAnyName,
    CallsEverythingTransient,
    ForgetsHints,
    RepeatsValues,
    OneCredentialForAll,
    RevokesNothing,
    LeavesLostCredentials,
    LivesForEver,
    RenewsTwice,
    PretendsToEnable,
    BelievesEveryEnd,
    DoubtsEveryEnd,
    ListsWhatEnded,
    KeepsEveryPending,
    DiscardsNothing,
    PromotesOverOthers,
    ShortTokens,
    RotatesTwice,
    FinishesAtOnce,
    /// No flaw, but an honest limit.
    CannotRevoke,
}

#[derive(Default)]
pub(crate) struct Back {
    pub(crate) flaw: Option<Flaw>,
    pub(crate) secrets: Mutex<BTreeMap<String, Secret>>,
    pub(crate) credentials: Mutex<HashMap<String, Timestamp>>,
    pub(crate) trouble: Mutex<Option<Trouble>>,
    pub(crate) leases: Mutex<BTreeMap<String, LeaseId>>,
    pub(crate) loses_credentials: AtomicBool,
    pub(crate) ends_in_vain: bool,
    pub(crate) calls: AtomicU64,
}

#[derive(Default)]
pub(crate) struct Secret {
    versions: Vec<Version>,
    current: usize,
    deleted: bool,
    rotations: Vec<String>,
}

struct Version {
    value: SecretValue,
    token: Option<String>,
    state: VersionState,
    waits: bool,
}

pub(crate) const LARGEST: usize = 100_000;
pub(crate) const LONGEST: Duration = Duration::from_secs(600);
pub(crate) const HINT: Duration = Duration::from_secs(30);

impl Back {
    pub(crate) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn error(&self, class: leasehold_core::provider::ErrorClass, why: &str) -> ProviderError {
        let class = if self.has(Flaw::CallsEverythingTransient) { Transient } else { class };
        ProviderError::new(class, why)
    }

    pub(crate) fn put(&self, reference: &str, value: &SecretValue) -> VersionId {
        let mut secrets = self.secrets.lock().unwrap();
        let secret = secrets.entry(reference.to_owned()).or_default();
        secret.add(value, None, true)
    }

    /// A name, when it is one.
    fn asked(&self, reference: &str) -> Result<(), ProviderError> {
        let good = reference.strip_prefix("s-").is_some_and(|rest| {
            rest.len() < 100 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        });
        if !good && !self.has(Flaw::TakesAnyName) {
            return Err(self.error(Invalid, "that is no name"));
        }
        self.calls.fetch_add(1, SeqCst);
        Ok(())
    }

    fn in_trouble(&self, value: &SecretValue) -> Result<(), ProviderError> {
        let Some(trouble) = *self.trouble.lock().unwrap() else { return Ok(()) };
        let value = String::from_utf8_lossy(value.fields.values().next().unwrap().expose()).into_owned();
        Err(match trouble {
            Trouble::Denied => self.error(Denied, "not yours"),
            Trouble::ClockSkew => self.error(Denied, "the clocks differ by an hour"),
            Trouble::Throttled => {
                let hint = (!self.has(Flaw::ForgetsHints)).then_some(HINT);
                self.error(Throttled, "later").retry_after(hint)
            }
            Trouble::CutInAnswer if self.has(Flaw::RepeatsValues) => {
                self.error(Transient, &format!("cut after {value}"))
            }
            Trouble::CutAfterAnswer | Trouble::CredentialExpiry | Trouble::LostWriteAnswer => return Ok(()),
            Trouble::Disabled | Trouble::Deleted => self.error(Absent, "gone"),
            _ => self.error(Transient, "not now"),
        })
    }
}

impl Secret {
    fn add(&mut self, value: &SecretValue, token: Option<&str>, current: bool) -> VersionId {
        let token = token.map(str::to_owned);
        let state = VersionState::Enabled;
        self.versions.push(Version { value: value.clone(), token, state, waits: !current });
        if current {
            self.current = self.versions.len() - 1;
        }
        id(self.versions.len() - 1)
    }

    fn at(&self, version: Option<&VersionId>) -> Option<usize> {
        match version {
            None => Some(self.current),
            Some(version) => (0..self.versions.len()).find(|at| id(*at) == *version),
        }
    }
}

fn id(at: usize) -> VersionId {
    format!("v{}", at + 1).parse().unwrap()
}

fn same(one: &SecretValue, other: &SecretValue) -> bool {
    let bytes = |value: &SecretValue| {
        value.fields.iter().map(|(name, bytes)| (name.clone(), bytes.expose().to_vec())).collect::<Vec<_>>()
    };
    bytes(one) == bytes(other)
}

/// Something newly made every time, so that a scene has a provider of its own.
pub(crate) struct MemoryProvider(pub(crate) std::sync::Arc<Back>);

#[async_trait]
impl Provider for MemoryProvider {
    fn capabilities(&self) -> Capabilities {
        let revokes = !self.0.has(Flaw::CannotRevoke);
        let pretends = self.0.has(Flaw::PretendsToEnable);
        Capabilities {
            read: true,
            versions: true,
            write: true,
            staging: true,
            rotate: true,
            changes: if pretends { &[Change::Disable] } else { &Change::ALL },
            issue: true,
            renew: revokes,
            revoke: revokes,
            verify: revokes,
            tagged: revokes,
            max_ttl: Some(LONGEST),
            ..Capabilities::default()
        }
    }

    fn issuer(&self) -> Option<&dyn Issuer> {
        Some(self)
    }

    fn native(&self) -> Option<&dyn NativeRotation> {
        Some(self)
    }

    async fn fetch(&self, request: Fetch<'_>) -> Result<Fetched, ProviderError> {
        let back = &self.0;
        back.asked(request.reference)?;
        if request.version.is_some_and(|version| !version.as_str().starts_with('v')) {
            return Err(back.error(Invalid, "that is no version"));
        }
        let secrets = back.secrets.lock().unwrap();
        let absent = || back.error(Absent, "not there");
        let secret = secrets.get(request.reference).filter(|secret| !secret.deleted).ok_or_else(absent)?;
        let at = secret.at(request.version).ok_or_else(absent)?;
        let version = &secret.versions[at];
        back.in_trouble(&version.value)?;
        match version.state {
            VersionState::Enabled => {}
            VersionState::Disabled if back.has(Flaw::ReadsDisabled) => {}
            _ => return Err(absent()),
        }
        Ok(Fetched { value: version.value.clone(), version: id(at), created_at: None })
    }

    async fn versions(&self, reference: &str) -> Result<Vec<VersionFacts>, ProviderError> {
        self.0.asked(reference)?;
        let secrets = self.0.secrets.lock().unwrap();
        let secret = secrets.get(reference).ok_or_else(|| self.0.error(Absent, "not there"))?;
        let facts = |at: usize| VersionFacts {
            version: id(at),
            created_at: None,
            state: secret.versions[at].state,
            current: at == secret.current,
            labels: secret.versions[at].waits.then(|| "waits".into()).into_iter().collect(),
        };
        let times = if self.0.has(Flaw::ListsTwice) { 2 } else { 1 };
        Ok((0..secret.versions.len()).rev().flat_map(|at| vec![facts(at); times]).collect())
    }

    async fn write(&self, request: WriteVersion<'_>) -> Result<VersionId, ProviderError> {
        let back = &self.0;
        back.asked(request.reference)?;
        if request.value.len() > LARGEST + 100 {
            let value = request.value.fields.values().next().unwrap().expose();
            let told = String::from_utf8_lossy(&value[..20]).into_owned();
            let told = if back.has(Flaw::RepeatsValues) { told } else { String::new() };
            return Err(back.error(Invalid, &format!("too large {told}")));
        }
        let mut secrets = back.secrets.lock().unwrap();
        let secret = secrets.get_mut(request.reference).ok_or_else(|| back.error(Absent, "not there"))?;
        let known =
            secret.versions.iter().position(|version| version.token.as_deref() == Some(request.token));
        if let Some(at) = known
            && !back.has(Flaw::ForgetsTokens)
        {
            let same = same(&secret.versions[at].value, request.value);
            return if same { Ok(id(at)) } else { Err(back.error(Invalid, "that token was used")) };
        }
        let expected = request.expected.is_none_or(|expected| *expected == id(secret.current));
        if !expected && !back.has(Flaw::OverwritesUnseen) {
            return Err(back.error(Invalid, "another version is current"));
        }
        let current = request.stage == Stage::Current || back.has(Flaw::PendingIsCurrent);
        if back.has(Flaw::ShortTokens) && request.token.len() > 256 {
            return Err(back.error(Invalid, "the token is too long"));
        }
        if !current && !back.has(Flaw::KeepsEveryPending) {
            secret.versions.iter_mut().for_each(|version| version.waits = false);
        }
        let version = secret.add(request.value, Some(request.token), current);
        let lost = back.trouble.lock().unwrap().take_if(|trouble| *trouble == Trouble::LostWriteAnswer);
        if lost.is_some() { Err(back.error(Transient, "cut")) } else { Ok(version) }
    }

    async fn change(&self, request: ChangeSecret<'_>) -> Result<(), ProviderError> {
        let back = &self.0;
        if back.has(Flaw::PretendsToEnable) && !self.capabilities().can(request.change) {
            return Ok(());
        }
        back.asked(request.reference)?;
        let mut secrets = back.secrets.lock().unwrap();
        let absent = || back.error(Absent, "not there");
        let Some(secret) = secrets.get_mut(request.reference) else {
            return if request.change == Change::Purge { Ok(()) } else { Err(absent()) };
        };
        match request.change {
            Change::Delete => secret.deleted = true,
            Change::Restore => secret.deleted = false,
            Change::Purge => drop(secrets.remove(request.reference)),
            change => {
                let at = secret.at(request.version).ok_or_else(absent)?;
                let state = match change {
                    Change::Promote => {
                        let other = request.expected.is_some_and(|expected| *expected != id(secret.current));
                        if other && at != secret.current && !back.has(Flaw::PromotesOverOthers) {
                            return Err(back.error(Invalid, "another version is current"));
                        }
                        secret.current = at;
                        secret.versions[at].waits = false;
                        return Ok(());
                    }
                    Change::Disable => VersionState::Disabled,
                    Change::Enable => VersionState::Enabled,
                    _ if back.has(Flaw::DestroysNothing) => return Ok(()),
                    _ if at == secret.current => return Err(back.error(Invalid, "that one is current")),
                    _ => VersionState::Destroyed,
                };
                secret.versions[at].state = state;
            }
        }
        Ok(())
    }

    async fn discard(&self, reference: &str, pending: &VersionId) -> Result<(), ProviderError> {
        let mut secrets = self.0.secrets.lock().unwrap();
        let secret = secrets.get_mut(reference).ok_or_else(|| self.0.error(Absent, "not there"))?;
        match secret.at(Some(pending)) {
            None => {}
            Some(_) if self.0.has(Flaw::DiscardsNothing) => {}
            Some(at) if secret.versions[at].waits || secret.versions[at].state == VersionState::Destroyed => {
                secret.versions[at].waits = false;
                secret.versions[at].state = VersionState::Destroyed;
            }
            Some(_) => return Err(self.0.error(Invalid, "that one does not wait")),
        }
        Ok(())
    }

    async fn check(&self, _demands: &[Demand]) -> Vec<Finding> {
        Vec::new()
    }
}

#[async_trait]
impl NativeRotation for MemoryProvider {
    async fn start(&self, reference: &str, token: &str) -> Result<(), ProviderError> {
        self.0.asked(reference)?;
        let mut secrets = self.0.secrets.lock().unwrap();
        let secret = secrets.get_mut(reference).ok_or_else(|| self.0.error(Absent, "not there"))?;
        if secret.rotations.iter().all(|known| known != token) || self.0.has(Flaw::RotatesTwice) {
            secret.rotations.push(token.to_owned());
            let value = SecretValue::plain(format!("made by {token}, the {}th", secret.rotations.len()));
            secret.add(&value, None, true);
        }
        Ok(())
    }

    async fn follow(
        &self,
        reference: &str,
        token: &str,
        before: Option<&VersionId>,
    ) -> Result<Followed, ProviderError> {
        let secrets = self.0.secrets.lock().unwrap();
        let secret = secrets.get(reference).ok_or_else(|| self.0.error(Absent, "not there"))?;
        let current = id(secret.current);
        let known = secret.rotations.iter().any(|known| known == token);
        let done = known && before.is_none_or(|before| *before != current);
        Ok(if done || self.0.has(Flaw::FinishesAtOnce) { Followed::Done(current) } else { Followed::Running })
    }
}

#[async_trait]
impl Issuer for MemoryProvider {
    async fn reserve(&self, _role: &str) -> Result<Option<RevocationHandle>, ProviderError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("user-{}", NEXT.fetch_add(1, SeqCst));
        Ok(Some(RevocationHandle::new(SecretBytes::new(name.into_bytes()))))
    }

    async fn issue(&self, request: IssueCredential<'_>) -> Result<IssuedCredential, ProviderError> {
        let back = &self.0;
        if request.role != "role" {
            return Err(back.error(Absent, "no such role"));
        }
        let mut handle = request.reservation.unwrap().clone();
        if back.has(Flaw::OneCredentialForAll) {
            handle = RevocationHandle::new(SecretBytes::new(b"everybody".to_vec()));
        }
        let name = String::from_utf8(handle.expose().to_vec()).unwrap();
        let ttl = if back.has(Flaw::LivesForEver) { LONGEST * 100 } else { request.ttl.min(LONGEST) };
        let end = crate::stage::now().saturating_add(ttl).unwrap();
        back.credentials.lock().unwrap().insert(name.clone(), end);
        back.leases.lock().unwrap().insert(name.clone(), request.lease);
        if back.loses_credentials.load(SeqCst) {
            return Err(back.error(Transient, "cut"));
        }
        let revocation = match self.capabilities().revoke {
            true => Revocation::By(handle),
            false => Revocation::NoneUntil(end),
        };
        let version = name.parse().unwrap();
        Ok(IssuedCredential { value: SecretValue::plain(name), version, revocation, expires_at: Some(end) })
    }

    async fn renew(&self, request: RenewCredential<'_>) -> Result<Timestamp, ProviderError> {
        if !self.capabilities().renew {
            return Err(self.0.error(Permanent, "it cannot"));
        }
        let name = String::from_utf8(request.handle.expose().to_vec()).unwrap();
        let mut credentials = self.0.credentials.lock().unwrap();
        let end = credentials.get_mut(&name).ok_or_else(|| self.0.error(Absent, "gone"))?;
        let latest = crate::stage::now().saturating_add(LONGEST).unwrap();
        *end = match self.0.has(Flaw::RenewsTwice) {
            true => end.saturating_add(Duration::from_secs(25)).unwrap(),
            false => request.until.min(latest),
        };
        Ok(*end)
    }

    async fn revoke(&self, request: RevokeCredential<'_>) -> Result<Verification, ProviderError> {
        if !self.capabilities().revoke {
            return Err(self.0.error(Permanent, "it cannot"));
        }
        let lost = self.0.loses_credentials.load(SeqCst) && self.0.has(Flaw::LeavesLostCredentials);
        let name = String::from_utf8(request.handle.unwrap().expose().to_vec()).unwrap();
        let mut credentials = self.0.credentials.lock().unwrap();
        if !self.0.has(Flaw::RevokesNothing) && !lost && !self.0.ends_in_vain {
            credentials.remove(&name);
        }
        Ok(match credentials.contains_key(&name) {
            _ if self.0.has(Flaw::DoubtsEveryEnd) => Verification::Unverifiable,
            true if !self.0.has(Flaw::BelievesEveryEnd) => Verification::StillValid,
            _ => Verification::Verified,
        })
    }

    async fn look_up(&self, handle: &RevocationHandle) -> Result<Option<Timestamp>, ProviderError> {
        let name = String::from_utf8(handle.expose().to_vec()).unwrap();
        let end = self.0.credentials.lock().unwrap().get(&name).copied();
        end.map(Some).ok_or_else(|| self.0.error(Absent, "gone"))
    }

    async fn tagged(&self) -> Result<Vec<Tagged>, ProviderError> {
        let credentials = self.0.credentials.lock().unwrap();
        let leases = self.0.leases.lock().unwrap();
        let there = leases
            .iter()
            .filter(|(name, _)| credentials.contains_key(*name) || self.0.has(Flaw::ListsWhatEnded));
        let tagged = |(name, lease): (&String, &LeaseId)| Tagged {
            lease: *lease,
            name: name.clone(),
            handle: Some(RevocationHandle::new(SecretBytes::from(name.clone()))),
        };
        Ok(there.map(tagged).collect())
    }
}
