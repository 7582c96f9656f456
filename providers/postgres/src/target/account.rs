//! One user as the server has it, and what keeps the broker from changing its password.

use leasehold_core::provider::ErrorClass;

use crate::{
    config::PostgresConfig,
    database::UserNames,
    error::Failure,
    server::Server,
    sql::{identifier, literal},
    tag::Tag,
};

/// A user, and what the broker's own may do with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    superuser: bool,
    pub(super) logs_in: bool,
    expired: bool,
    replicates: bool,
    /// Whether it is the broker's own.
    pub(super) is_ours: bool,
    /// Whether its comment says that it is a lease's.
    tagged: bool,
    broker: Broker,
}

/// What the broker's own user may do with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Broker {
    name: String,
    superuser: bool,
    makes_roles: bool,
    /// Whether making roles is not enough: PostgreSQL 16 and newer.
    needs_admin_option: bool,
    has_admin_option: bool,
    /// Whether it may do what the user may.
    has_its_privileges: bool,
    ends_sessions: bool,
}

/// Why the password stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    class: ErrorClass,
    pub(super) problem: &'static str,
    pub(super) remedy: &'static str,
    /// The line that would allow it.
    pub(super) grant: Option<String>,
}

impl Account {
    /// `None` when there is no such user.
    pub(super) async fn of(server: &Server, user: &str) -> Result<Option<Self>, Failure> {
        let statement = format!(
            "SELECT r.rolsuper, r.rolcanlogin, coalesce(r.rolvaliduntil <= pg_catalog.clock_timestamp(), false), \
                    r.rolreplication, r.rolname = current_user, \
                    coalesce(pg_catalog.shobj_description(r.oid, 'pg_authid'), ''), \
                    current_user, me.rolsuper, me.rolcreaterole, \
                    pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= 160000, \
                    pg_catalog.pg_has_role(r.oid, 'MEMBER WITH ADMIN OPTION'), \
                    pg_catalog.pg_has_role(r.oid, 'USAGE'), \
                    pg_catalog.pg_has_role('pg_signal_backend', 'USAGE') \
             FROM pg_catalog.pg_roles r CROSS JOIN pg_catalog.pg_roles me \
             WHERE me.rolname = current_user AND r.rolname = {}",
            literal(user)
        );
        let answer = server.ask(&statement).await?;
        let Some(row) = answer.last().first() else { return Ok(None) };
        let says = |column| row.get(column) == Some("t");
        Ok(Some(Self {
            superuser: says(0),
            logs_in: says(1),
            expired: says(2),
            replicates: says(3),
            is_ours: says(4),
            tagged: row.get(5).and_then(Tag::of).is_some(),
            broker: Broker {
                name: row.get(6).unwrap_or_default().to_owned(),
                superuser: says(7),
                makes_roles: says(8),
                needs_admin_option: says(9),
                has_admin_option: says(10),
                has_its_privileges: says(11),
                ends_sessions: says(12),
            },
        }))
    }

    /// Why its password is none that the broker changes, if so.
    pub(super) fn refusal(&self, user: &str, names: &UserNames, config: &PostgresConfig) -> Option<Refusal> {
        if self.tagged || names.lease(user).is_some() {
            return Some(Refusal {
                class: ErrorClass::Permanent,
                problem: "it is a lease's own user, which ends with its lease and is never rotated",
                remedy: "name a user that was made for the application",
                grant: None,
            });
        }
        if self.superuser && !self.is_ours && !config.rotate_superusers {
            return Some(Refusal {
                class: ErrorClass::Permanent,
                problem: "it is a superuser, which the broker leaves alone",
                remedy: "set `rotate_superusers = true` at the provider, if that is meant",
                grant: None,
            });
        }
        self.lacking(user)
    }

    /// What the broker may not do with it.
    fn lacking(&self, user: &str) -> Option<Refusal> {
        let broker = &self.broker;
        let denied = |problem, grant: Option<String>| {
            let remedy = "run this line as somebody who may";
            Some(Refusal { class: ErrorClass::Denied, problem, remedy, grant })
        };
        let own = identifier(&broker.name);
        if self.is_ours || broker.superuser {
            None
        } else if self.superuser {
            denied("only a superuser may change a superuser's password", None)
        } else if !broker.makes_roles {
            denied(
                "the broker's user may change no other's password",
                Some(format!("ALTER ROLE {own} CREATEROLE;")),
            )
        } else if broker.needs_admin_option && !broker.has_admin_option {
            let line =
                format!("GRANT {} TO {own} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;", identifier(user));
            denied("the broker's user has no ADMIN OPTION on it", Some(line))
        } else if self.replicates && !broker.needs_admin_option {
            let line = format!("ALTER ROLE {} NOREPLICATION;", identifier(user));
            denied(
                "before PostgreSQL 16, only a superuser may change the password of a user that replicates",
                Some(line),
            )
        } else {
            None
        }
    }

    /// Why it gets in with no password at all, if so.
    pub(super) fn closed(&self, user: &str) -> Option<Refusal> {
        let closed = |problem, line| {
            let remedy = "let it in, as the broker leaves that as it is";
            Some(Refusal { class: ErrorClass::Permanent, problem, remedy, grant: Some(line) })
        };
        let name = identifier(user);
        if !self.logs_in {
            closed("it may not log in", format!("ALTER ROLE {name} LOGIN;"))
        } else if self.expired {
            closed(
                "its password has an end (VALID UNTIL), which has come",
                format!("ALTER ROLE {name} VALID UNTIL 'infinity';"),
            )
        } else {
            None
        }
    }

    /// What must be granted to the broker's user before it may end sessions of this one, if anything: as statements that
    /// come before and after.
    pub(super) fn to_end_sessions(&self, user: &str) -> Option<(String, String)> {
        let broker = &self.broker;
        let signals = broker.ends_sessions && !self.superuser;
        if self.is_ours || broker.superuser || broker.has_its_privileges || signals {
            return None;
        }
        let name = identifier(user);
        let inherit = if broker.needs_admin_option { " WITH INHERIT TRUE" } else { "" };
        Some((format!("GRANT {name} TO CURRENT_USER{inherit}"), format!("REVOKE {name} FROM CURRENT_USER")))
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let Refusal { class, problem, remedy, grant } = refusal;
        let line = grant.map(|line| format!(" ({line})")).unwrap_or_default();
        Self::ours(class, format!("{problem}: {remedy}{line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::LONGEST_NAME;

    fn user() -> Account {
        Account { logs_in: true, broker: broker(), ..Account::default() }
    }

    fn broker() -> Broker {
        Broker { name: "lease\"hold".into(), makes_roles: true, ..Broker::default() }
    }

    fn refusal(account: &Account, name: &str, config: &PostgresConfig) -> String {
        let names = UserNames::new("lh", LONGEST_NAME).unwrap();
        account
            .refusal(name, &names, config)
            .map(|refusal| Failure::from(refusal).to_string())
            .unwrap_or_default()
    }

    #[test]
    fn whom_the_broker_leaves_alone_is_said_with_the_way_out() {
        let config = PostgresConfig::new("db", "leasehold", "password");
        let lease = leasehold_core::LeaseId::from_bits([7; 16]);
        let of_lease = UserNames::new("lh", LONGEST_NAME).unwrap().of("app", lease);
        assert_eq!(refusal(&user(), "app", &config), "");
        assert!(refusal(&user(), &of_lease, &config).contains("a lease's own user"));
        let tagged = Account { tagged: true, ..user() };
        assert!(refusal(&tagged, "app", &config).contains("a lease's own user"));

        let superuser = Account { superuser: true, broker: Broker { superuser: true, ..broker() }, ..user() };
        assert!(refusal(&superuser, "dba", &config).contains("`rotate_superusers = true`"));
        let daring = PostgresConfig { rotate_superusers: true, ..config.clone() };
        assert_eq!(refusal(&superuser, "dba", &daring), "");
        let beyond = Account { broker: broker(), ..superuser.clone() };
        assert!(refusal(&beyond, "dba", &daring).contains("only a superuser"));
        assert_eq!(refusal(&Account { is_ours: true, ..superuser }, "postgres", &config), "");
    }

    #[test]
    fn what_is_needed_is_what_this_version_needs() {
        let config = PostgresConfig::new("db", "leasehold", "password");
        let of = |change: &dyn Fn(&mut Broker)| {
            let mut account = user();
            change(&mut account.broker);
            refusal(&account, "app", &config)
        };
        assert!(
            of(&|broker| broker.makes_roles = false).contains("(ALTER ROLE \"lease\"\"hold\" CREATEROLE;)")
        );
        let newer = of(&|broker| broker.needs_admin_option = true);
        assert!(newer.contains("(GRANT \"app\" TO \"lease\"\"hold\" WITH ADMIN TRUE"), "{newer}");
        assert_eq!(of(&|broker| (broker.needs_admin_option, broker.has_admin_option) = (true, true)), "");
        let replica = Account { replicates: true, ..user() };
        assert!(refusal(&replica, "app", &config).contains("NOREPLICATION"));
        // Its own password everybody may change.
        let own = Account { is_ours: true, broker: Broker::default(), ..user() };
        assert_eq!(refusal(&own, "app", &config), "");
    }

    #[test]
    fn who_gets_in_with_no_password_is_told_before_anything_changes() {
        assert_eq!(user().closed("app"), None);
        let told = |account: Account| Failure::from(account.closed("app").unwrap()).to_string();
        assert!(told(Account { logs_in: false, ..user() }).contains("ALTER ROLE \"app\" LOGIN;"));
        assert!(told(Account { expired: true, ..user() }).contains("VALID UNTIL 'infinity';"));
    }

    #[test]
    fn nobody_is_made_a_member_who_may_end_sessions_anyway() {
        let of = |broker: Broker| Account { broker, ..user() }.to_end_sessions("app").map(|(grant, _)| grant);
        assert_eq!(of(broker()).unwrap(), "GRANT \"app\" TO CURRENT_USER");
        assert_eq!(
            of(Broker { needs_admin_option: true, ..broker() }).unwrap(),
            "GRANT \"app\" TO CURRENT_USER WITH INHERIT TRUE"
        );
        for may in [
            Broker { superuser: true, ..broker() },
            Broker { has_its_privileges: true, ..broker() },
            Broker { ends_sessions: true, ..broker() },
        ] {
            assert_eq!(of(may), None);
        }
    }
}
