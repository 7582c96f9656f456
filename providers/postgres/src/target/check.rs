//! Whether the broker may rotate the users of a secret, for people to read. It changes nothing.

use std::collections::BTreeSet;

use leasehold_core::{
    ports::Target,
    provider::{Finding, Trial, Turn},
};

use super::{Accounts, account::Account};

const PG_HBA: &str = "look at `pg_hba.conf`: the user must be let in from here with scram-sha-256";

/// Tries every user that the turn's values name, and the old value.
pub(super) async fn check(accounts: &Accounts, turn: Turn<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut users = BTreeSet::new();
    for value in turn.old.into_iter().chain([turn.new]) {
        match accounts.user(turn, value) {
            Ok(user) => drop(users.insert(user)),
            Err(error) => {
                let remedy = "give the secret a field with the user's name, or say `user_field`";
                findings.push(Finding::failed("find the user", error.to_string(), remedy));
            }
        }
    }
    for user in users {
        findings.push(judge(accounts, user).await);
    }
    if let Some(old) = turn.old
        && let Ok(credential) = accounts.credential(turn, old)
    {
        let step = format!("log in as `{}`", credential.user);
        findings.push(match accounts.test(turn, old).await {
            Ok(Trial::Accepted) => Finding::passed(step, ""),
            Ok(Trial::Refused) => {
                Finding::passed(step, "the password that the secret has is refused; a rotation sets another")
            }
            Err(error) => Finding::failed(step, error.to_string(), PG_HBA),
        });
    }
    findings
}

async fn judge(accounts: &Accounts, user: &str) -> Finding {
    let step = format!("change the password of `{user}`");
    let config = &accounts.server.config;
    let found = match Account::of(&accounts.server, user).await {
        Ok(found) => found,
        Err(failure) => {
            return Finding::failed(step, failure.to_string(), "see `leasehold provider check`");
        }
    };
    let Some(account) = found else {
        let line = format!("CREATE ROLE {} LOGIN;", crate::sql::identifier(user));
        let remedy = "make it: the broker makes no users for a rotation";
        return Finding::failed(step, "there is no such user", remedy).granted_by(line);
    };
    match account.refusal(user, &accounts.names, config).or_else(|| account.closed(user)) {
        None => Finding::passed(step, "allowed"),
        Some(refusal) => {
            let finding = Finding::failed(step, refusal.problem, refusal.remedy);
            match refusal.grant {
                Some(line) => finding.granted_by(line),
                None => finding,
            }
        }
    }
}
