//! Whether the server lets the broker make the users that the configuration will ask for, for people to read. What is
//! tried is taken back: nothing is changed.

use leasehold_core::{
    LeaseId, SpiffeId, Timestamp,
    provider::{Demand, ErrorClass, Finding, IssueCredential},
    ttl::until,
};
use std::time::Duration;
use tokio_postgres::error::SqlState;

use crate::{
    config::Tls,
    connection::{Facts, Link},
    error::Failure,
    in_time::deadline,
    issuer::Users,
    role::{Owned, Recipe},
    scram::{ITERATIONS, verifier},
    sql::{identifier, literal},
};

/// The oldest server that is known to do all this.
const OLDEST: u32 = 130_000;
/// From here on, to make a role is not to be allowed to give it away (release notes of 16).
const ADMIN_OPTION_NEEDED: u32 = 160_000;
/// Clocks further apart than this end leases and users at different times.
const APART: Duration = Duration::from_secs(30);

/// Tries everything, in order, until something makes the rest pointless.
pub(crate) async fn check(users: &Users, demands: &[Demand]) -> Vec<Finding> {
    let config = &users.server.config;
    let step = format!("sign in to {} as {}", config.address, users.server.signs_in.name());
    let link = match users.server.elsewhere(&config.database).await {
        Ok(link) => link,
        Err(failure) => {
            let mut findings = vec![Finding::failed(step, failure.to_string(), remedy(&failure))];
            findings.extend(demands.iter().map(|demand| Finding::not_tried(self::step(demand), "see above")));
            return findings;
        }
    };
    let facts = &link.facts;
    let mut findings = vec![signed_in(step, facts, config.tls), clocks(users.server.clock.now(), facts)];
    findings.push(power(&link.user, facts));
    for demand in demands {
        findings.push(judge(users, &link, demand).await);
    }
    findings
}

fn signed_in(step: String, facts: &Facts, tls: Tls) -> Finding {
    let version = &facts.version;
    if facts.version_number < OLDEST {
        return Finding::failed(
            step,
            format!("it is PostgreSQL {version}"),
            "13 is the oldest that is known to work",
        );
    }
    let name = Tls::ALL.iter().find(|(_, one)| *one == tls).map_or("", |(name, _)| name);
    Finding::passed(step, format!("PostgreSQL {version}, tls {name}"))
}

fn clocks(ours: Timestamp, facts: &Facts) -> Finding {
    let step = "compare clocks";
    let Some(theirs) = facts.clock else {
        return Finding::not_tried(step, "the server does not say its time");
    };
    let (late, early) = (until(theirs, ours), until(ours, theirs));
    let apart = late.max(early);
    if apart < APART {
        return Finding::passed(step, "");
    }
    let direction = if late > early { "ahead of" } else { "behind" };
    Finding::failed(
        step,
        format!("the broker's clock is {}s {direction} PostgreSQL's", apart.as_secs()),
        "set both by NTP: users end at other times than their leases (`margin` covers a little)",
    )
}

fn power(user: &str, facts: &Facts) -> Finding {
    let (step, user) = ("make users", identifier(user));
    if facts.superuser {
        return Finding::failed(
            step,
            "the broker is a superuser: whoever takes the broker takes the server",
            "give it a user that may only make users (config/examples/postgres/setup.sql)",
        )
        .granted_by(format!("ALTER ROLE {user} NOSUPERUSER CREATEROLE;"));
    }
    if !facts.creates_roles {
        return Finding::failed(step, "the broker's user may not make roles", "allow it")
            .granted_by(format!("ALTER ROLE {user} CREATEROLE;"));
    }
    Finding::passed(step, "allowed (CREATEROLE)")
}

fn step(demand: &Demand) -> String {
    match demand {
        Demand::Read { reference } => format!("read `{reference}`"),
        Demand::Write { reference } => format!("write `{reference}`"),
        Demand::Rotate { reference } => format!("rotate `{reference}`"),
        Demand::Generate { policy } => format!("make a value by `{policy}`"),
        Demand::Issue { role } => format!("make users of the role `{role}`"),
    }
}

/// Whether one demand can be met.
async fn judge(users: &Users, link: &Link, demand: &Demand) -> Finding {
    let step = step(demand);
    let Demand::Issue { role } = demand else {
        return Finding::failed(
            step,
            "a database has no secrets to read or write",
            "lend its users by `role`",
        );
    };
    let Some(recipe) = users.recipes.get(&**role) else {
        return Finding::failed(step, format!("there is no [[role]] `{role}` for this provider"), "add it");
    };
    let missing = match missing(link, recipe).await {
        Ok(missing) => missing,
        Err(failure) => return Finding::failed(step, failure.to_string(), remedy(&failure)),
    };
    if !missing.is_empty() {
        let (problems, lines): (Vec<_>, Vec<_>) = missing.into_iter().unzip();
        let remedy = "run these lines as somebody who may (see config/examples/postgres/setup.sql)";
        return Finding::failed(step, problems.join("; "), remedy).granted_by(lines.join("\n"));
    }
    match rehearse(users, link, role, recipe).await {
        Ok(()) => Finding::passed(step, "tried, and taken back"),
        Err(failure) => Finding::failed(step, failure.to_string(), remedy(&failure)),
    }
}

/// What the broker cannot give its users, or cannot take over from them, each with the line that lets it.
async fn missing(link: &Link, recipe: &Recipe) -> Result<Vec<(String, String)>, Failure> {
    let own = identifier(&link.user);
    let mut missing = Vec::new();
    for grant in &recipe.grants {
        let Membership { exists, superuser, admin, .. } = Membership::of(link, grant).await?;
        let role = identifier(grant);
        let needed = superuser || link.facts.version_number >= ADMIN_OPTION_NEEDED;
        if !exists {
            missing.push((format!("there is no role `{grant}`"), format!("CREATE ROLE {role} NOLOGIN;")));
        }
        if needed && !admin && !link.facts.superuser {
            missing.push((
                format!("the broker may not grant `{grant}`"),
                format!("GRANT {role} TO {own} WITH ADMIN OPTION;"),
            ));
        }
    }
    if let Owned::Reassign(to) = &recipe.owned {
        let Membership { exists, member, .. } = Membership::of(link, to).await?;
        if !exists {
            missing.push((
                format!("there is no role `{to}`"),
                format!("CREATE ROLE {} NOLOGIN;", identifier(to)),
            ));
        }
        if !member {
            missing.push((
                format!("the broker may not give anything to `{to}`"),
                format!("GRANT {} TO {own};", identifier(to)),
            ));
        }
    }
    Ok(missing)
}

/// How the broker's user stands to a role.
struct Membership {
    exists: bool,
    superuser: bool,
    admin: bool,
    member: bool,
}

impl Membership {
    async fn of(link: &Link, role: &str) -> Result<Self, Failure> {
        let statement = format!(
            "SELECT rolsuper, pg_catalog.pg_has_role(oid, 'MEMBER WITH ADMIN OPTION'), \
                    pg_catalog.pg_has_role(oid, 'USAGE') FROM pg_catalog.pg_roles WHERE rolname = {}",
            literal(role)
        );
        let answer = link.ask(&statement).await?;
        let row = answer.last().first();
        let says = |column| row.and_then(|row| row.get(column)) == Some("t");
        Ok(Self { exists: row.is_some(), superuser: says(0), admin: says(1), member: says(2) })
    }
}

/// Makes a user, in a transaction that is taken back.
async fn rehearse(users: &Users, link: &Link, role: &str, recipe: &Recipe) -> Result<(), Failure> {
    let nobody = |_| Failure::ours(ErrorClass::Transient, "the system gives no randomness");
    let mut bits = [0; 16];
    users.server.entropy.fill(&mut bits).map_err(nobody)?;
    let holder: SpiffeId = "spiffe://leasehold.check/nobody".parse().map_err(|_| Failure::odd())?;
    let request = IssueCredential {
        lease: LeaseId::from_bits(bits),
        holder: &holder,
        role,
        ttl: APART,
        max_ttl: APART,
        within: APART,
        reservation: None,
    };
    let name = users.names.of(role, request.lease);
    let verifier = verifier("nobody ever has it", &bits, ITERATIONS);
    let at = link.clock.moment(deadline(APART)).ok_or_else(Failure::odd)?;
    let creation = users.creation(recipe, &request, &name, &verifier, &at);
    let tried = link.ask(&format!("BEGIN\n;\n{creation}\n;\nROLLBACK")).await;
    if tried.is_err() {
        link.ask("ROLLBACK").await?;
    }
    tried.map(drop)
}

fn remedy(failure: &Failure) -> &'static str {
    match failure.class {
        _ if failure.is(&SqlState::INVALID_PASSWORD) => {
            "put the user's password into `password_file`, or into the secret; set it with `ALTER ROLE ... PASSWORD` if need be"
        }
        _ if failure.is(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => {
            "give the user LOGIN, and a line in `pg_hba.conf` that lets it in from here with scram-sha-256"
        }
        _ if failure.is(&SqlState::INVALID_CATALOG_NAME) => "set `database` to one that there is",
        _ if failure.is(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            "a statement of the role needs more than the broker's user may: grant it, or change `creation`"
        }
        ErrorClass::Absent => {
            "write the administrator's secret, with the fields `username` and `password`: `leasehold secret put`"
        }
        ErrorClass::Denied => {
            "look at the file and its mode, or at the secret, and at `user` and `pg_hba.conf`"
        }
        ErrorClass::Permanent if failure.state.is_some() => {
            "correct the role's statements and names; PostgreSQL's log has its words"
        }
        ErrorClass::Permanent => {
            "set `ca_file` to the certificates that PostgreSQL's is signed by, and `address` to a name that it has"
        }
        ErrorClass::Throttled => "raise `max_connections`, or lower `connections`",
        _ => {
            "look at `address`, the name's entry in DNS, and what lies between: is it listening, is a firewall in the way?"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(superuser: bool, creates_roles: bool) -> Facts {
        Facts {
            version: "15.1".into(),
            version_number: 150_001,
            clock: "2026-11-22T12:00:00Z".parse().ok(),
            superuser,
            creates_roles,
            ends_at: None,
            session: None,
        }
    }

    #[test]
    fn clocks_that_differ_are_told_with_the_direction() {
        let at = |text: &str| clocks(text.parse().unwrap(), &facts(false, true));
        assert!(!at("2026-11-22T12:00:20Z").is_failed());
        assert!(format!("{:?}", at("2026-11-22T12:02:00Z")).contains("120s ahead of"));
        assert!(format!("{:?}", at("2026-11-22T11:58:00Z")).contains("120s behind"));
    }

    #[test]
    fn a_secret_that_nobody_wrote_is_to_be_written() {
        assert!(remedy(&Failure::ours(ErrorClass::Absent, "x")).contains("`leasehold secret put`"));
        assert!(remedy(&Failure::ours(ErrorClass::Transient, "x")).contains("`address`"));
    }

    #[test]
    fn too_much_power_is_as_wrong_as_too_little() {
        assert!(power("u", &facts(true, true)).is_failed());
        assert!(!power("u", &facts(false, true)).is_failed());
        assert!(
            format!("{:?}", power("u\"", &facts(false, false)))
                .contains("ALTER ROLE \\\"u\\\"\\\"\\\" CREATEROLE;")
        );
        let old = Facts { version_number: 120_000, ..facts(false, true) };
        assert!(signed_in("x".into(), &old, Tls::Disable).is_failed());
    }
}
