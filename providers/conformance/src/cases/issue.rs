//! Credentials that are made for one lease.

use std::time::Duration;

use leasehold_core::{
    LeaseId, SpiffeId, Timestamp,
    lease::RevocationHandle,
    ports::{Issuer, Provider},
    provider::{
        ErrorClass, IssueCredential, IssuedCredential, ProviderError, RenewCredential, Revocation,
        RevokeCredential, Verification,
    },
};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep};

use super::{ensure, is, told};
use crate::{fixture::Fixture, issuing::Issuing, report::Against, scene::Unplayed};

/// The clocks of two processes on one machine, and a back end that counts in whole seconds.
const SLACK: Duration = Duration::from_secs(5);

/// A back end may end a credential in the background.
const PATIENCE: Duration = Duration::from_secs(20);

/// One lease's credential, and what it was asked with.
pub(super) struct Made {
    pub(super) lease: LeaseId,
    pub(super) credential: IssuedCredential,
    asked_at: Timestamp,
}

pub(super) async fn issued(subject: &dyn Fixture, issuing: &dyn Issuing) -> Result<(), String> {
    let made = make(subject, issuing, 1, issuing.ttl()).await?;
    ensure!(!made.credential.value.is_empty(), "there is nothing in the credential");
    works(issuing, &made, true).await?;
    let can = subject.provider().capabilities();
    let longest = issuing.ttl().max(can.min_ttl.unwrap_or_default());
    if let Some(end) = made.credential.expires_at {
        ensure!(end > made.asked_at, "it ended at {end}, before it began");
        within(end, made.asked_at, longest, "what was asked for")?;
    }
    ensure!(
        can.revoke || made.credential.expires_at.is_some(),
        "nothing ends it: it cannot be revoked, and has no end of its own"
    );
    end(subject, &made).await
}

pub(super) async fn distinct(subject: &dyn Fixture, issuing: &dyn Issuing) -> Result<(), String> {
    let one = make(subject, issuing, 2, issuing.ttl()).await?;
    let other = make(subject, issuing, 3, issuing.ttl()).await?;
    ensure!(one.credential.version != other.credential.version, "two leases have one version");
    let same = one.credential.value.fields.iter().all(|(name, bytes)| {
        other.credential.value.fields.get(name).is_some_and(|theirs| theirs.expose() == bytes.expose())
    });
    ensure!(!same, "two leases have one credential");
    end(subject, &one).await?;
    works(issuing, &other, true).await?;
    end(subject, &other).await
}

pub(super) async fn absent_role(subject: &dyn Fixture, issuing: &dyn Issuing) -> Result<(), String> {
    let role = issuing.absent_role();
    let answer = ask(subject.provider(), lease(4), &role, issuing.ttl(), None).await;
    let Err(error) = answer else { return Err(format!("a credential of `{role}` is made")) };
    ensure!(
        matches!(error.class, ErrorClass::Absent | ErrorClass::Invalid | ErrorClass::Denied),
        "a role that is not there is {:?}: {error}",
        error.class
    );
    Ok(())
}

pub(super) async fn renewed(subject: &dyn Fixture, issuing: &dyn Issuing) -> Result<(), String> {
    let made = make(subject, issuing, 5, issuing.ttl()).await?;
    let handle = handle(&made)?;
    let wanted = later(made.asked_at, issuing.ttl().mul_f32(1.5));
    let mut ends = Vec::new();
    for _ in 0..2 {
        let request = RenewCredential { lease: made.lease, handle, until: wanted };
        let end = issuer(subject.provider())?.renew(request).await;
        ends.push(end.map_err(|error| told("a credential is not renewed", &error))?);
    }
    for end in ends {
        ensure!(
            made.credential.expires_at.is_none_or(|before| end > before),
            "it was to live until {wanted}, and lives until {end}"
        );
        let asked = wanted.duration_since(made.asked_at).unsigned_abs();
        within(end, made.asked_at, asked, "what was asked for, asked for twice")?;
    }
    works(issuing, &made, true).await?;
    self::end(subject, &made).await
}

pub(super) async fn clamped(subject: &dyn Fixture, issuing: &dyn Issuing) -> Result<Against, Unplayed> {
    let Some(longest) = issuing.longest().or(subject.provider().capabilities().max_ttl) else {
        return Err(Unplayed::Impossible("there is no limit to how long a credential lives"));
    };
    let made = make(subject, issuing, 6, longest.saturating_mul(3)).await?;
    let end = made.credential.expires_at.ok_or_else(|| "a clamped credential has no end".to_owned())?;
    within(end, made.asked_at, longest, "the back end's maximum")?;
    if subject.provider().capabilities().renew {
        let until = later(made.asked_at, longest.saturating_mul(3));
        let request = RenewCredential { lease: made.lease, handle: handle(&made)?, until };
        match issuer(subject.provider())?.renew(request).await {
            Ok(end) => within(end, made.asked_at, longest, "the back end's maximum, after a renewal")?,
            refused => drop(is(refused, ErrorClass::Invalid, "a renewal beyond the maximum")?),
        }
    }
    self::end(subject, &made).await?;
    Ok(subject.against())
}

pub(super) async fn revoked(subject: &dyn Fixture, issuing: &dyn Issuing) -> Result<(), String> {
    let before = issuing.living().await?;
    let made = make(subject, issuing, 7, issuing.ttl()).await?;
    works(issuing, &made, true).await?;
    for time in ["once", "twice"] {
        let request = RevokeCredential { lease: made.lease, handle: Some(handle(&made)?) };
        let ended = issuer(subject.provider())?.revoke(request).await;
        let verdict = ended.map_err(|error| told(&format!("a credential is not revoked {time}"), &error))?;
        ensure!(
            subject.provider().capabilities().verify || verdict == Verification::Unverifiable,
            "it says that it cannot try what it ended, and calls it {}",
            verdict.name()
        );
        works(issuing, &made, false).await?;
    }
    count(issuing, before, "after it was revoked").await?;
    let gone = issuer(subject.provider())?.look_up(handle(&made)?).await;
    let Err(error) = gone else { return Err("a revoked credential is looked up".to_owned()) };
    ensure!(
        matches!(error.class, ErrorClass::Absent | ErrorClass::Permanent),
        "a revoked credential that is looked up is {:?}: {error}",
        error.class
    );
    if subject.provider().capabilities().renew {
        let until = later(made.asked_at, issuing.ttl());
        let request = RenewCredential { lease: made.lease, handle: handle(&made)?, until };
        is(
            issuer(subject.provider())?.renew(request).await,
            ErrorClass::Absent,
            "renewing what was revoked",
        )?;
    }
    Ok(())
}

/// What the broker does when the answer never comes: it revokes by what it reserved, and nothing is left behind.
pub(super) async fn lost_answer(issuing: &dyn Issuing) -> Result<Against, Unplayed> {
    let before = issuing.living().await?;
    let lossy = issuing.losing_answers().await?;
    let issuer = issuer(&*lossy.provider)?;
    let reservation = issuer.reserve(&issuing.role()).await;
    let reservation = reservation.map_err(|error| told("nothing is reserved", &error))?;
    let lease = lease(8);
    let answer = ask(&*lossy.provider, lease, &issuing.role(), issuing.ttl(), reservation.as_ref()).await;
    let error = is(answer, ErrorClass::Transient, "a credential whose answer is lost")?;
    if let (Some(before), Some(now)) = (before, issuing.living().await?) {
        ensure!(now > before, "no credential was made, so that none could be left behind: {error}");
    }
    for time in ["once", "twice"] {
        let request = RevokeCredential { lease, handle: reservation.as_ref() };
        let ended = issuer.revoke(request).await;
        ended.map_err(|error| told(&format!("a lost credential is not revoked {time}"), &error))?;
    }
    count(issuing, before, "after a lost one was revoked").await?;
    Ok(lossy.against)
}

pub(super) async fn irrevocable(subject: &dyn Fixture, issuing: &dyn Issuing) -> Result<(), String> {
    let made = make(subject, issuing, 9, issuing.ttl()).await?;
    let Revocation::NoneUntil(end) = made.credential.revocation else {
        return Err("it is said to be revocable, and the back end cannot revoke".to_owned());
    };
    ensure!(end > made.asked_at, "it is irrevocable until {end}, which is over");
    ensure!(
        made.credential.expires_at.is_some_and(|expiry| expiry == end),
        "it is irrevocable until {end}, and lives until {:?}",
        made.credential.expires_at
    );
    let request = RevokeCredential { lease: made.lease, handle: None };
    is(issuer(subject.provider())?.revoke(request).await, ErrorClass::Permanent, "revoking what cannot be")
        .map(drop)
}

pub(super) fn issuer(provider: &dyn Provider) -> Result<&dyn Issuer, String> {
    provider.issuer().ok_or_else(|| "it says that it can issue, and has no issuer".to_owned())
}

/// Such an id as the broker makes, and different in each place.
fn lease(number: u8) -> LeaseId {
    let moment = OffsetDateTime::now_utc().unix_timestamp_nanos().to_be_bytes();
    let mut bits = [number; 16];
    for (bit, byte) in bits.iter_mut().skip(1).zip(moment.iter().skip(1)) {
        *bit = *byte;
    }
    LeaseId::from_bits(bits)
}

async fn ask(
    provider: &dyn Provider,
    lease: LeaseId,
    role: &str,
    ttl: Duration,
    reservation: Option<&RevocationHandle>,
) -> Result<IssuedCredential, ProviderError> {
    let holder: SpiffeId = "spiffe://conformance.test/holder"
        .parse()
        .map_err(|_| ProviderError::new(ErrorClass::Permanent, "no such holder"))?;
    let max_ttl = ttl.saturating_mul(4);
    let request = IssueCredential {
        lease,
        holder: &holder,
        role,
        ttl,
        max_ttl,
        within: Duration::from_secs(60),
        reservation,
    };
    match provider.issuer() {
        Some(issuer) => issuer.issue(request).await,
        None => {
            Err(ProviderError::new(ErrorClass::Permanent, "it says that it can issue, and has no issuer"))
        }
    }
}

/// Reserves and issues, as the broker does.
async fn make(
    subject: &dyn Fixture,
    issuing: &dyn Issuing,
    number: u8,
    ttl: Duration,
) -> Result<Made, String> {
    make_by(subject.provider(), issuing, number, ttl).await
}

/// As [`make`], by a provider that a case has for itself.
pub(super) async fn make_by(
    provider: &dyn Provider,
    issuing: &dyn Issuing,
    number: u8,
    ttl: Duration,
) -> Result<Made, String> {
    let (lease, role) = (lease(number), issuing.role());
    let reservation = issuer(provider)?.reserve(&role).await;
    let reservation = reservation.map_err(|error| told("nothing is reserved", &error))?;
    let asked_at = now();
    let credential = ask(provider, lease, &role, ttl, reservation.as_ref()).await;
    let credential =
        credential.map_err(|error| told(&format!("no credential of `{role}` is made"), &error))?;
    Ok(Made { lease, credential, asked_at })
}

/// Gives a credential back when that is possible, so that the next case counts without it.
async fn end(subject: &dyn Fixture, made: &Made) -> Result<(), String> {
    let Revocation::By(handle) = &made.credential.revocation else { return Ok(()) };
    let request = RevokeCredential { lease: made.lease, handle: Some(handle) };
    let ended = issuer(subject.provider())?.revoke(request).await;
    ended.map(drop).map_err(|error| told("a credential is not revoked", &error))
}

pub(super) fn handle(made: &Made) -> Result<&RevocationHandle, String> {
    match &made.credential.revocation {
        Revocation::By(handle) => Ok(handle),
        Revocation::NoneUntil(end) => {
            Err(format!("it cannot be ended before {end}, and the back end can revoke"))
        }
    }
}

/// Fails the case unless a credential comes to open what it should, or comes not to.
async fn works(issuing: &dyn Issuing, made: &Made, should: bool) -> Result<(), String> {
    let started = Instant::now();
    while let Some(does) = issuing.works(&made.credential.value).await? {
        if does == should {
            break;
        }
        let verb = if should { "never opens" } else { "goes on opening" };
        ensure!(started.elapsed() < PATIENCE, "the credential {verb} what it was made for");
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Fails the case unless there come to be no more credentials than before.
async fn count(issuing: &dyn Issuing, before: Option<usize>, when: &str) -> Result<(), String> {
    let (Some(before), started) = (before, Instant::now()) else { return Ok(()) };
    while let Some(now) = issuing.living().await? {
        if now <= before {
            break;
        }
        ensure!(started.elapsed() < PATIENCE, "there were {before} credentials, and {when} there are {now}");
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

fn within(end: Timestamp, from: Timestamp, most: Duration, what: &str) -> Result<(), String> {
    let latest = later(from, most.saturating_add(SLACK));
    ensure!(end <= latest, "it lives until {end}, and {what} ends at {latest}");
    Ok(())
}

fn later(from: Timestamp, by: Duration) -> Timestamp {
    from.saturating_add(by).unwrap_or(Timestamp::MAX)
}

fn now() -> Timestamp {
    let nanoseconds = OffsetDateTime::now_utc().unix_timestamp_nanos();
    Timestamp::from_nanosecond(nanoseconds).unwrap_or(Timestamp::MAX)
}
