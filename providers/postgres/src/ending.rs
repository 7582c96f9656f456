//! The end of a user: locked out first, then its sessions, then what it owns, then itself. Every step can be done twice.

use std::time::Duration;

use leasehold_core::LeaseId;
use tokio::time::sleep;
use tracing::warn;

use crate::{
    database::Values,
    error::Failure,
    issuer::{GONE, Users, comment, turn},
    role::Owned,
    sql::{Sql, identifier, literal},
    tag::Tag,
};

/// What hangs on a user, anywhere on the server.
#[derive(Debug, Default, PartialEq, Eq)]
struct Belongings {
    /// The databases in which something does, besides ours.
    elsewhere: Vec<String>,
    /// Whether anything does at all: privileges too.
    any: bool,
    /// Whether it owns something.
    owns: bool,
}

/// A session takes this long to end, and longer when it is busy.
const SESSION_ENDS: Duration = Duration::from_millis(10);
const LONGEST_LOOK: Duration = Duration::from_millis(320);

impl Users {
    /// Ends a user. One that is gone is a success.
    pub(crate) async fn end(&self, lease: LeaseId, name: &str, role: &str) -> Result<(), Failure> {
        match self.end_present(lease, name, role).await {
            Err(failure) if failure.is(GONE) && !self.exists(name).await? => Ok(()),
            outcome => outcome,
        }
    }

    async fn end_present(&self, lease: LeaseId, name: &str, role: &str) -> Result<(), Failure> {
        let user = identifier(name);
        let recipe = self.recipes.get(role);
        // By being a member, the broker may end the user's sessions and give away what it owns, and no other's.
        let lock_out = format!(
            "{}\n;\nALTER ROLE {user} NOLOGIN PASSWORD NULL\n;\nGRANT {user} TO CURRENT_USER",
            turn(lease)
        );
        self.server.ask(&lock_out).await?;
        let mut belongings = self.end_sessions(name).await?;
        if let Some(statements) = recipe.and_then(|recipe| recipe.revocation.as_ref()) {
            let lease = lease.to_string();
            let values = Values { name, lease: &lease, role, ..Values::default() };
            self.server.ask(&statements.fill(&Sql, &values)).await?;
            belongings = self.end_sessions(name).await?;
        }
        let owned = recipe.map(|recipe| &recipe.owned).unwrap_or(&Owned::Keep);
        if belongings.owns && *owned == Owned::Keep {
            return self.keep(lease, name, role).await;
        }
        let empty = match owned {
            Owned::Reassign(to) => {
                format!("REASSIGN OWNED BY {user} TO {}\n;\nDROP OWNED BY {user}", identifier(to))
            }
            // Of a user that owns nothing, only its privileges are dropped.
            Owned::Keep | Owned::Drop => format!("DROP OWNED BY {user}"),
        };
        for database in &belongings.elsewhere {
            let link = self.server.elsewhere(database).await?;
            link.ask(&empty).await?;
        }
        let last = if belongings.any {
            format!("{empty}\n;\nDROP ROLE {user}")
        } else {
            format!("DROP ROLE {user}")
        };
        self.server.ask(&last).await.map(drop)
    }

    /// Ends a user's sessions, until there are none; gives what hangs on the user then.
    async fn end_sessions(&self, name: &str) -> Result<Belongings, Failure> {
        let name = literal(name);
        let statements = format!(
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE usename = {name}\n;\n\
             SELECT coalesce(d.datname, ''), pg_catalog.bool_or(s.deptype = 'o') \
             FROM pg_catalog.pg_shdepend s LEFT JOIN pg_catalog.pg_database d ON d.oid = s.dbid \
             WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass \
               AND s.refobjid = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = {name}) GROUP BY 1"
        );
        let mut look = SESSION_ENDS;
        loop {
            let answer = self.server.ask(&statements).await?;
            if answer.rows(0).is_empty() {
                let rows = answer.rows(1).iter().filter_map(|row| Some((row.get(0)?, row.get(1)? == "t")));
                return Ok(Belongings::of(rows, &self.server.config.database));
            }
            sleep(look).await;
            look = look.saturating_mul(2).min(LONGEST_LOOK);
        }
    }

    /// Leaves a user that owns something: nobody can log in as it, and its comment says that it has ended.
    async fn keep(&self, lease: LeaseId, name: &str, role: &str) -> Result<(), Failure> {
        let tag = Tag { leasehold: lease.to_string(), role: role.to_owned(), ended: true, ..Tag::default() };
        let statements = format!("{}\n;\nREVOKE {} FROM CURRENT_USER", comment(name, &tag), identifier(name));
        self.server.ask(&statements).await?;
        warn!(%lease, user = name, "a user that ended owns something, so it is kept: it cannot log in any more");
        Ok(())
    }

    async fn exists(&self, name: &str) -> Result<bool, Failure> {
        let statement = format!("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = {}", literal(name));
        Ok(!self.server.ask(&statement).await?.last().is_empty())
    }
}

impl Belongings {
    /// Of rows of a database, empty for what is the whole server's, and whether something there is owned.
    fn of<'r>(rows: impl Iterator<Item = (&'r str, bool)>, ours: &str) -> Self {
        let mut all = Self::default();
        for (database, owns) in rows {
            all.any = true;
            all.owns |= owns;
            if !database.is_empty() && database != ours {
                all.elsewhere.push(database.to_owned());
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_on_a_user_is_told_by_database() {
        let of = |rows: &[(&str, bool)]| Belongings::of(rows.iter().copied(), "app");
        assert_eq!(of(&[]), Belongings::default());
        let privileges = of(&[("app", false), ("", false)]);
        assert_eq!((privileges.any, privileges.owns, privileges.elsewhere.len()), (true, false, 0));
        assert_eq!(
            of(&[("other", true)]),
            Belongings { elsewhere: vec!["other".into()], any: true, owns: true }
        );
    }
}
