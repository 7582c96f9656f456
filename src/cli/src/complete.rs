//! What a shell is offered for the word that is being typed: secrets, leases and names as the broker has them just now.
//!
//! It asks with the identity that the command itself would use, has one and a half seconds for it, and says nothing when
//! the broker does not answer: a shell is no place for messages. No value is ever asked for.

use std::{ffi::OsStr, future::Future, time::Duration};

use clap::FromArgMatches;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate as Candidate};
use leasehold_client::{Client, LeaseFilter, LeaseState, RotationFilter};

use crate::{
    args,
    connection::Connection,
    settings::{Options, Settings, file},
};

/// So long may a shell wait.
const PATIENCE: Duration = Duration::from_millis(1500);
/// More than that nobody reads.
const MOST: u32 = 200;

/// Paths of secrets: those that policy lets one see, and those that one holds.
pub(crate) fn secrets() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let Some(typed) = current.to_str() else { return Vec::new() };
        ask(|client| secrets_from(client, typed.to_owned()))
    })
}

/// Ids of leases that are not over: one's own, and those that policy lets one see.
pub(crate) fn leases() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let Some(typed) = current.to_str() else { return Vec::new() };
        ask(|client| leases_from(client, typed.to_owned()))
    })
}

/// Names of back ends.
pub(crate) fn providers() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let Some(typed) = current.to_str() else { return Vec::new() };
        ask(|client| providers_from(client, typed.to_owned()))
    })
}

/// Ids of revocations of the last day.
pub(crate) fn revocations() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let Some(typed) = current.to_str() else { return Vec::new() };
        ask(|client| revocations_from(client, typed.to_owned()))
    })
}

/// Names of contexts, from the configuration file.
pub(crate) fn contexts() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let Some(typed) = current.to_str() else { return Vec::new() };
        let file = file::path().and_then(|path| file::File::read(&path).ok()).unwrap_or_default();
        let known = file.context.into_iter().filter(|(name, _)| name.as_str().starts_with(typed));
        known
            .map(|(name, context)| {
                offer(name.as_str(), context.addr.map(|addr| addr.to_string()).unwrap_or_default())
            })
            .collect()
    })
}

/// What a question comes to within the time that there is; nothing when anything is wrong.
fn ask<F>(question: impl FnOnce(Client) -> F) -> Vec<Candidate>
where
    F: Future<Output = Vec<Candidate>>,
{
    let Some(connection) = connection() else { return Vec::new() };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    runtime.block_on(async {
        let answered = tokio::time::timeout(PATIENCE, async {
            match connection.try_open().await {
                Ok(client) => question(client).await,
                Err(_) => Vec::new(),
            }
        });
        answered.await.unwrap_or_default()
    })
}

/// As the words that were typed so far, the environment and the file say.
fn connection() -> Option<Connection> {
    let words = std::env::args_os().skip_while(|word| word != "--").skip(1);
    let matches = args::command().ignore_errors(true).try_get_matches_from(words).ok()?;
    let options = Options::from_arg_matches(&matches).ok()?;
    let mut connection = Settings::resolve(&options, &matches).ok()?.connection();
    connection.timeout = connection.timeout.min(PATIENCE);
    Some(connection)
}

fn offer(word: &str, about: impl Into<String>) -> Candidate {
    let about = about.into();
    Candidate::new(word).help((!about.is_empty()).then(|| about.into()))
}

/// The whole segments of what is typed, as a prefix that the broker takes.
fn prefix(typed: &str) -> Option<leasehold_core::path::PathPrefix> {
    let (segments, _) = typed.rsplit_once('/')?;
    format!("{segments}/").parse().ok()
}

async fn secrets_from(client: Client, typed: String) -> Vec<Candidate> {
    let prefix = prefix(&typed);
    let mut found = std::collections::BTreeMap::new();
    let (operator, states) = (client.operator(), [LeaseState::Active]);
    let rotated = RotationFilter { prefix: prefix.clone(), states: Vec::new(), attention: false };
    let (secrets, rotations, own) = tokio::join!(
        operator.list_secrets(prefix.as_ref(), MOST, None),
        operator.list_rotations(&rotated, MOST, None),
        client.list_leases(&states, MOST, None),
    );
    found.extend(
        own.into_iter().flat_map(|page| page.items).map(|lease| (lease.secret.to_string(), String::new())),
    );
    found.extend(
        rotations.into_iter().flat_map(|page| page.items).map(|rotation| (rotation.secret, String::new())),
    );
    found.extend(
        secrets.into_iter().flat_map(|page| page.items).map(|secret| (secret.path, secret.description)),
    );
    let fits = found.into_iter().filter(|(path, _)| path.starts_with(&typed));
    fits.map(|(path, about)| offer(&path, about)).collect()
}

async fn leases_from(client: Client, typed: String) -> Vec<Candidate> {
    let states = [LeaseState::Active, LeaseState::Revoking, LeaseState::Quarantined];
    let filter = LeaseFilter { states: states.to_vec(), ..LeaseFilter::default() };
    let operator = client.operator();
    let (own, all) =
        tokio::join!(client.list_leases(&states, MOST, None), operator.list_leases(filter, MOST, None));
    let mut found = std::collections::BTreeMap::new();
    for page in [own, all].into_iter().flatten() {
        let leases = page.items.into_iter();
        found.extend(leases.map(|lease| (lease.id.to_string(), lease.secret.to_string())));
    }
    let fits = found.into_iter().filter(|(id, _)| id.starts_with(&typed));
    fits.map(|(id, secret)| offer(&id, secret)).collect()
}

async fn providers_from(client: Client, typed: String) -> Vec<Candidate> {
    let operator = client.operator();
    let (status, secrets) = tokio::join!(operator.status(), operator.list_secrets(None, MOST, None));
    let mut found = std::collections::BTreeSet::new();
    found.extend(status.into_iter().flat_map(|status| status.providers).map(|provider| provider.name));
    found.extend(secrets.into_iter().flat_map(|page| page.items).map(|secret| secret.provider));
    found.into_iter().filter(|name| name.starts_with(&typed)).map(|name| offer(&name, "")).collect()
}

async fn revocations_from(client: Client, typed: String) -> Vec<Candidate> {
    let Ok(page) = client.operator().revocations(MOST, None).await else { return Vec::new() };
    let fits = page.items.into_iter().filter(|revocation| revocation.id.starts_with(&typed));
    fits.map(|revocation| offer(&revocation.id, revocation.reason)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_segments_are_a_prefix() {
        assert_eq!(prefix("prod/pay").unwrap().to_string(), "prod/");
        assert_eq!(prefix("prod/payments/").unwrap().to_string(), "prod/payments/");
        assert!(prefix("pro").is_none() && prefix("/x").is_none());
    }
}
