//! `[[role]]`: what a lease's user is made of, and what becomes of what it made.

use thiserror::Error;

use crate::{
    config::is_name,
    database::{InvalidStatement, Parameter, Statements},
    sql::{Sql, identifier},
};

/// What a lease's user is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PostgresRole {
    /// The roles of the database that it is a member of.
    pub grants: Vec<String>,
    /// How many connections it may have at once; the server's own limit when absent. Of users that `creation` makes, that
    /// says so itself.
    pub connection_limit: Option<u32>,
    /// The statements that make it, instead of ours.
    pub creation: Vec<String>,
    /// The statements that let it live longer, instead of ours.
    pub renewal: Vec<String>,
    /// Statements that are run when it has been locked out and before it is dropped.
    pub revocation: Vec<String>,
    /// What becomes of what it owns.
    pub owned: Owned,
}

/// What becomes of what a user owns when the user ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Owned {
    /// It stays as it is. The user stays as its owner, and can never log in again.
    #[default]
    Keep,
    /// It becomes this role's.
    Reassign(String),
    /// It is dropped.
    Drop,
}

/// Why a role is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidRole {
    /// A user that is a member of nothing.
    #[error("it has neither `grants` nor `creation`: its users could do nothing")]
    Nothing,
    /// Not a name.
    #[error("`{0}` has what is no role's name of 1 to 63 bytes")]
    Name(&'static str),
    /// Only our own statement knows it.
    #[error("`connection_limit` is for users that the broker makes: say `CONNECTION LIMIT` in `creation`")]
    ConnectionLimit,
    /// No connection at all.
    #[error("`connection_limit` is at least 1")]
    NoConnection,
    /// A statement of a key's.
    #[error("`{0}`: {1}")]
    Statement(&'static str, InvalidStatement),
}

/// A role whose statements were understood.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    pub(crate) creation: Statements,
    pub(crate) renewal: Statements,
    pub(crate) revocation: Option<Statements>,
    pub(crate) grants: Vec<String>,
    pub(crate) owned: Owned,
}

const RENEWAL: [&str; 1] = ["ALTER ROLE {{name}} VALID UNTIL {{expiration}}"];

/// Whoever renews knows no password, and whoever revokes may know no end either.
const OF_RENEWAL: [Parameter; 4] =
    [Parameter::Name, Parameter::Expiration, Parameter::Lease, Parameter::Role];
const OF_REVOCATION: [Parameter; 3] = [Parameter::Name, Parameter::Lease, Parameter::Role];

impl PostgresRole {
    /// A role whose users are members of these.
    pub fn granting(grants: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { grants: grants.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Everything that is wrong with it.
    pub fn faults(&self) -> Vec<InvalidRole> {
        self.recipe().err().unwrap_or_default()
    }

    /// The role, ready to be used.
    pub(crate) fn recipe(&self) -> Result<Recipe, Vec<InvalidRole>> {
        let mut faults = Vec::new();
        if self.grants.is_empty() && self.creation.is_empty() {
            faults.push(InvalidRole::Nothing);
        }
        if !self.grants.iter().all(|name| is_name(name)) {
            faults.push(InvalidRole::Name("grants"));
        }
        if matches!(&self.owned, Owned::Reassign(to) if !is_name(to)) {
            faults.push(InvalidRole::Name("reassign_to"));
        }
        match self.connection_limit {
            Some(0) => faults.push(InvalidRole::NoConnection),
            Some(_) if !self.creation.is_empty() => faults.push(InvalidRole::ConnectionLimit),
            _ => {}
        }
        let mut understood = |key, statements: &[String], known: &[_], needed: &[_]| {
            let parsed = Statements::parse(&Sql, statements, known).and_then(|parsed| {
                let lacking = parsed.lacking(needed);
                if lacking.is_empty() { Ok(parsed) } else { Err(lacking) }
            });
            parsed.map_err(|wrong| {
                faults.extend(wrong.into_iter().map(|fault| InvalidRole::Statement(key, fault)));
            })
        };
        let creation =
            if self.creation.is_empty() { vec![self.own_creation()] } else { self.creation.clone() };
        let needed = [Parameter::Name, Parameter::PasswordVerifier, Parameter::Expiration];
        let creation = understood("creation", &creation, &Parameter::ALL, &needed);
        let renewal =
            if self.renewal.is_empty() { RENEWAL.map(str::to_owned).to_vec() } else { self.renewal.clone() };
        let needed = [Parameter::Name, Parameter::Expiration];
        let renewal = understood("renewal", &renewal, &OF_RENEWAL, &needed);
        let revocation = match &*self.revocation {
            [] => Ok(None),
            statements => understood("revocation", statements, &OF_REVOCATION, &[Parameter::Name]).map(Some),
        };
        match (creation, renewal, revocation) {
            (Ok(creation), Ok(renewal), Ok(revocation)) if faults.is_empty() => Ok(Recipe {
                creation,
                renewal,
                revocation,
                grants: self.grants.clone(),
                owned: self.owned.clone(),
            }),
            _ => Err(faults),
        }
    }

    fn own_creation(&self) -> String {
        let limit =
            self.connection_limit.map(|limit| format!(" CONNECTION LIMIT {limit}")).unwrap_or_default();
        format!(
            "CREATE ROLE {{{{name}}}} LOGIN{limit} PASSWORD {{{{password_verifier}}}} VALID UNTIL {{{{expiration}}}}"
        )
    }
}

impl Recipe {
    /// The statement that makes a user a member of what it is to be; `None` when that is nothing.
    pub(crate) fn granting(&self, user: &str) -> Option<String> {
        if self.grants.is_empty() {
            return None;
        }
        let grants: Vec<_> = self.grants.iter().map(|name| identifier(name)).collect();
        Some(format!("GRANT {} TO {}", grants.join(", "), identifier(user)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Values;

    #[test]
    fn the_least_is_a_member_with_a_password_that_ends() {
        let role = PostgresRole { connection_limit: Some(5), ..PostgresRole::granting(["read\"only", "b"]) };
        let recipe = role.recipe().unwrap();
        let values = Values {
            name: "u",
            password_verifier: "v",
            expiration: "2030-01-01T00:00:00Z",
            ..Values::default()
        };
        assert_eq!(
            recipe.creation.fill(&Sql, &values),
            "CREATE ROLE  \"u\"  LOGIN CONNECTION LIMIT 5 PASSWORD  'v'  VALID UNTIL  '2030-01-01T00:00:00Z' "
        );
        assert_eq!(recipe.granting("u").unwrap(), "GRANT \"read\"\"only\", \"b\" TO \"u\"");
        assert_eq!(
            recipe.renewal.fill(&Sql, &values),
            "ALTER ROLE  \"u\"  VALID UNTIL  '2030-01-01T00:00:00Z' "
        );
        assert!(recipe.revocation.is_none());
    }

    #[test]
    fn every_fault_is_said_at_once() {
        let role = PostgresRole {
            grants: vec![String::new()],
            connection_limit: Some(0),
            creation: vec!["CREATE ROLE '{{name}}'".into(), "SELECT {{x}}".into()],
            renewal: vec!["ALTER ROLE {{name}} PASSWORD {{password_verifier}}".into()],
            revocation: vec!["SELECT 1".into()],
            owned: Owned::Reassign("x\0".into()),
        };
        let faults: Vec<_> = role.faults().iter().map(ToString::to_string).collect();
        let expected = [
            "`grants` has what is no role's name",
            "`reassign_to` has what is no role's name",
            "`connection_limit` is at least 1",
            "`creation`: `{{name}}` stands within quotation marks",
            "`creation`: `{{x}}` is not a parameter",
            "`renewal`: `{{password_verifier}}` is not a parameter",
            "`revocation`: no statement has `{{name}}`",
        ];
        assert_eq!(faults.len(), expected.len(), "{faults:#?}");
        for (fault, expected) in faults.iter().zip(expected) {
            assert!(fault.starts_with(expected), "{fault}");
        }
        assert_eq!(PostgresRole::default().faults(), [InvalidRole::Nothing]);
    }
}
