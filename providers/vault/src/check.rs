//! Whether Vault lets the broker do what the configuration will ask, for people to read. Nothing is changed.

use std::{collections::BTreeMap, sync::Arc};

use leasehold_core::{
    Timestamp,
    ports::Provider,
    provider::{Demand, ErrorClass, Fetch, Finding},
};
use serde_json::json;

use crate::{
    answer::Reply,
    config::Auth,
    endpoint::Raw,
    error::{Call, Failure, Kind},
    login::{apart, look_up},
    provider::VaultProvider,
    reference::{Engine, Reference, with_rest},
    role::{Method, VaultRole},
    rotation::policy_path,
    server::Ask,
    spare,
    standing::Standing,
};

const REST: &str = "{rest}";

/// One path with what must be allowed there; for a write, either of several names for it.
struct Need {
    path: String,
    capabilities: &'static [&'static str],
}

/// Tries everything, in order, until something makes the rest pointless.
pub(crate) async fn check(
    provider: &VaultProvider,
    standing: &Arc<Standing>,
    demands: &[Demand],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let whole = reach(standing, &mut findings).await && sign_in(standing, &mut findings).await;
    if !whole {
        findings.extend(demands.iter().map(|demand| Finding::not_tried(step(demand), "see above")));
        return findings;
    }
    findings.push(keep(standing).await);
    for demand in demands {
        findings.push(judge(provider, standing, demand).await);
    }
    findings
}

/// Whether the broker may look after its own token.
async fn keep(standing: &Arc<Standing>) -> Finding {
    let need = |path: &str, capabilities| Need { path: path.to_owned(), capabilities };
    let needs = [need("auth/token/lookup-self", &["read"]), need("auth/token/renew-self", &["update"])];
    permitted(standing, "keep the broker's own token", &needs)
        .await
        .unwrap_or_else(|| Finding::passed("keep the broker's own token", ""))
}

/// Whether there is a Vault, unsealed, with our time.
async fn reach(standing: &Standing, findings: &mut Vec<Finding>) -> bool {
    let server = &standing.server;
    let step = format!("reach {}", server.config.address);
    let call = Call { kind: Kind::SignIn, verb: "ask for the health of", on: "Vault" };
    // With these, a standby that forwards requests says 200 as the active node does.
    let query = BTreeMap::from([("standbyok", "true".to_owned()), ("perfstandbyok", "true".to_owned())]);
    let ask = Ask { of_root: true, ..Ask::once(call, None) };
    let date = match server.ask(&Raw::get("sys/health").query(&query), ask).await {
        Ok(Reply { date, .. }) => {
            findings.push(Finding::passed(step, ""));
            date
        }
        Err(Failure::Refused(refusal)) => {
            let (problem, remedy) = match refusal.status {
                501 => ("Vault is not initialised", "initialise and unseal it (`vault operator init`)"),
                503 => ("Vault is sealed", "unseal it (`vault operator unseal`)"),
                429 | 472 | 473 => (
                    "this node is a standby that answers nothing",
                    "set `address` to the active node, or list the others in `cluster`",
                ),
                400 | 404 => (
                    "something answers there, and it is not Vault",
                    "set `address` to scheme, host and port of Vault, without a path",
                ),
                _ => ("Vault answers, and is not well", "its log has the reason"),
            };
            findings.push(Finding::failed(step, format!("{problem} (HTTP {})", refusal.status), remedy));
            return false;
        }
        Err(failure) => {
            let error = failure.into_error(call);
            let remedy = if error.class == ErrorClass::Permanent {
                "set `ca_file` to the certificates that Vault's is signed by, and `address` to a name that it has"
            } else {
                "look at `address`, the name's entry in DNS, and what lies between: is it listening, is a firewall in the way?"
            };
            findings.push(Finding::failed(step, error.to_string(), remedy));
            return false;
        }
    };
    if let Some(date) = date {
        findings.push(skew(server.clock.now(), date));
    }
    true
}

fn skew(ours: Timestamp, theirs: Timestamp) -> Finding {
    let step = "compare clocks";
    match apart(ours, theirs) {
        None => Finding::passed(step, ""),
        Some(problem) => Finding::failed(
            step,
            problem,
            "set both by NTP: leases and tokens end at other times than the broker says",
        ),
    }
}

async fn sign_in(standing: &Arc<Standing>, findings: &mut Vec<Finding>) -> bool {
    let auth = &standing.server.config.auth;
    let step = format!("sign in ({})", auth.name());
    let session = match standing.session().await {
        Ok(session) => session,
        Err(error) => {
            let message = error.to_string();
            let remedy = if message.contains("namespace") {
                "set `namespace` to one that there is, or leave it out for the root namespace"
            } else {
                match (error.class, auth) {
                    (ErrorClass::Denied, Auth::Token { .. }) => {
                        "put a token that is alive into `token_file`, made in this `namespace`; it must be allowed `auth/token/lookup-self` (the policy `default` allows it)"
                    }
                    (ErrorClass::Denied, Auth::AppRole { .. }) => {
                        "look at `role_id`, deliver a new secret id, and check the role's `secret_id_bound_cidrs`"
                    }
                    (ErrorClass::Denied, Auth::Certificate { .. }) => {
                        "the certificate must be signed by one of the role's, be within its time, and fit its `allowed_*`; look at `auth_role`"
                    }
                    (ErrorClass::Denied, Auth::Kubernetes { .. } | Auth::Jwt { .. }) => {
                        "look at `auth_role`, at the token's audience and end, and at what the role is bound to"
                    }
                    (ErrorClass::Permanent, _) => {
                        "look at the file, at `auth_mount` and at `namespace`, whichever the problem names"
                    }
                    _ => "try again; Vault's log has more",
                }
            };
            findings.push(Finding::failed(step, message, remedy));
            return false;
        }
    };
    let note = match look_up(&standing.server, &session.token).await {
        Ok(looked) if looked.policies.iter().any(|policy| policy == "root") => {
            findings.push(Finding::failed(
                step,
                "the broker has the policy `root`: whoever takes the broker takes everything",
                "give it a token with a policy that allows only what is asked here (docs/providers/vault.md)",
            ));
            return true;
        }
        Ok(looked) => match looked.ttl {
            0 => format!("policies {}; the token does not end", looked.policies.join(", ")),
            seconds => format!("policies {}; {seconds}s left", looked.policies.join(", ")),
        },
        Err(_) => "the token cannot look itself up".to_owned(),
    };
    findings.push(Finding::passed(step, note));
    true
}

/// Whether one demand can be met.
async fn judge(provider: &VaultProvider, standing: &Arc<Standing>, demand: &Demand) -> Finding {
    let step = step(demand);
    if let Some(why) = not_asked(demand) {
        return Finding::not_tried(step, why);
    }
    let needs = match needs(standing, demand) {
        Ok(needs) => needs,
        Err(problem) => return Finding::failed(step, problem, "correct it in the configuration"),
    };
    if let Some(finding) = permitted(standing, &step, &needs).await {
        return finding;
    }
    match demand {
        Demand::Read { reference } if !reference.contains(REST) => {
            match provider.fetch(Fetch { reference, version: None }).await {
                Ok(fetched) => Finding::passed(step, format!("version {}", fetched.version)),
                Err(error) => Finding::failed(
                    step,
                    error.to_string(),
                    match error.class {
                        ErrorClass::Absent => {
                            "write it, or correct the `ref` (KV version 2: MOUNT/data/PATH, version 1: kv1:MOUNT/PATH)"
                        }
                        ErrorClass::Permanent => "correct the `ref`, or mount a KV engine there",
                        _ => "try again; Vault's log has more",
                    },
                ),
            }
        }
        // A password that is thrown away harms nobody.
        Demand::Generate { policy } => match provider.generate(policy).await {
            Ok(_) => Finding::passed(step, ""),
            Err(error) => {
                let remedy =
                    "write it (`vault write sys/policies/password/NAME policy=@FILE`), or correct its name";
                Finding::failed(step, error.to_string(), remedy)
            }
        },
        Demand::Issue { .. } => Finding::passed(step, "allowed; nothing was made"),
        Demand::Read { .. } | Demand::Write { .. } | Demand::Rotate { .. } => {
            Finding::passed(step, "allowed")
        }
    }
}

/// What is missing for a step, as a finding with the lines that allow it; `None` when nothing is.
async fn permitted(standing: &Arc<Standing>, step: &str, needs: &[Need]) -> Option<Finding> {
    match missing(standing, needs).await {
        Ok(missing) if missing.is_empty() => None,
        Ok(missing) => {
            let paths: Vec<_> = missing.iter().map(|need| format!("`{}`", need.shown())).collect();
            let lines: Vec<_> = missing.iter().map(|need| need.grant()).collect();
            let problem = format!("the broker's policies do not allow {}", paths.join(", "));
            let remedy = "add these lines to the broker's policy (in its namespace)";
            Some(Finding::failed(step, problem, remedy).granted_by(lines.join("\n")))
        }
        Err(problem) => {
            let remedy = "the broker must be allowed to ask what it may";
            let line = "path \"sys/capabilities-self\" { capabilities = [\"update\"] }";
            Some(Finding::failed(step, problem, remedy).granted_by(line))
        }
    }
}

fn step(demand: &Demand) -> String {
    match demand {
        Demand::Read { reference } => format!("read `{reference}`"),
        Demand::Write { reference } => format!("write `{reference}`"),
        Demand::Rotate { reference } => format!("rotate `{reference}`"),
        Demand::Generate { policy } => format!("make a value by `{policy}`"),
        Demand::Issue { role } => format!("make credentials of the role `{role}`"),
    }
}

/// Why there is nothing to try, when there is not.
fn not_asked(demand: &Demand) -> Option<&'static str> {
    let engine = |reference| with_rest(reference, |reference, _| reference.engine).ok();
    match demand {
        Demand::Read { reference } if engine(reference) == Some(Engine::Root) => {
            Some("it is a database engine's own user, whose password nobody reads")
        }
        Demand::Write { reference }
            if matches!(engine(reference), Some(Engine::StaticRole | Engine::Root)) =>
        {
            Some("Vault alone makes its passwords")
        }
        _ => None,
    }
}

fn needs(standing: &Standing, demand: &Demand) -> Result<Vec<Need>, String> {
    const READ: &[&str] = &["read"];
    const UPDATE: &[&str] = &["update"];
    let need = |path: String, capabilities| Need { path, capabilities };
    let config = &standing.server.config;
    match demand {
        Demand::Read { reference } => {
            with_reference(reference, |reference, path| vec![need(path(&reference.data_path()), READ)])
        }
        Demand::Write { reference } => with_reference(reference, |reference, path| match reference.engine {
            Engine::Kv1 => {
                vec![need(path(&reference.data_path()), &["create", "read", "update"])]
            }
            Engine::Kv2 => vec![
                need(path(&reference.data_path()), &["create", "read", "update"]),
                need(path(&reference.beside("metadata")), &["read", "delete"]),
                need(path(&reference.beside("delete")), UPDATE),
                need(path(&reference.beside("undelete")), UPDATE),
                need(path(&reference.beside("destroy")), UPDATE),
            ],
            Engine::StaticRole | Engine::Root => Vec::new(),
        }),
        Demand::Rotate { reference } => {
            let needs = with_reference(reference, |reference, path| {
                reference.rotation_path().map(|rotation| need(path(&rotation), UPDATE)).into_iter().collect()
            })?;
            match needs.is_empty() {
                true => Err("KV rotates nothing by itself: choose another `strategy`".to_owned()),
                false => Ok(needs),
            }
        }
        Demand::Generate { policy } => Ok(vec![need(policy_path(policy), READ)]),
        Demand::Issue { role: name } => {
            let role = config.roles.get(&**name);
            let role = role.ok_or_else(|| format!("there is no [[role]] `{name}` for this provider"))?;
            Ok(role_needs(role, config.token_role.as_deref()))
        }
    }
}

fn role_needs(role: &VaultRole, token_role: Option<&str>) -> Vec<Need> {
    let method: &[&str] = match role.method {
        Method::Get => &["read"],
        Method::Post | Method::Put => &["update"],
    };
    let mut needs = vec![Need { path: role.path.clone(), capabilities: method }];
    let mut update = |path: String| needs.push(Need { path, capabilities: &["update"] });
    if role.leased {
        update(spare::path(token_role));
        for path in [
            "auth/token/renew-accessor",
            "auth/token/revoke-accessor",
            "auth/token/revoke-self",
            "sys/leases/renew",
            "sys/leases/revoke",
            "sys/leases/lookup",
        ] {
            update(path.to_owned());
        }
    }
    if let Some(path) = &role.revoke_path {
        update(path.clone());
    }
    needs
}

fn with_reference(
    text: &str,
    needs: impl FnOnce(&Reference<'_>, &dyn Fn(&str) -> String) -> Vec<Need>,
) -> Result<Vec<Need>, String> {
    with_rest(text, |reference, rest| needs(reference, &|path| path.replace(rest, REST)))
        .map_err(|error| error.to_string())
}

impl Need {
    /// As a policy names it.
    fn shown(&self) -> String {
        match self.path.split_once(REST) {
            None => self.path.clone(),
            Some((before, "")) => format!("{before}*"),
            // `*` stands only at the end, and `+` for one segment.
            Some((before, after)) => format!("{before}+{after}"),
        }
    }

    fn grant(&self) -> String {
        let capabilities: Vec<_> = self.capabilities.iter().map(|name| format!("\"{name}\"")).collect();
        format!("path \"{}\" {{ capabilities = [{}] }}", self.shown(), capabilities.join(", "))
    }

    /// Paths that stand for all that the need is about: under a mount, one of one segment and one of two.
    fn probes(&self) -> Vec<String> {
        let deep = self.path.ends_with(REST);
        let rests: &[&str] =
            if deep { &["leasehold-check", "leasehold-check/x"] } else { &["leasehold-check"] };
        if self.path.contains(REST) {
            rests.iter().map(|rest| self.path.replace(REST, rest)).collect()
        } else {
            vec![self.path.clone()]
        }
    }
}

/// The needs that the broker's token does not meet.
async fn missing<'n>(standing: &Arc<Standing>, needs: &'n [Need]) -> Result<Vec<&'n Need>, String> {
    let call = Call { kind: Kind::Secret, verb: "ask for", on: "what the broker may" };
    let paths: Vec<_> = needs.iter().flat_map(Need::probes).collect();
    let request = Raw::post("sys/capabilities-self", &json!({ "paths": paths }));
    let reply = standing.ask(&request, Ask::repeatable(call, None)).await;
    let reply = reply.map_err(|failure| failure.into_error(call).to_string())?;
    let answered: BTreeMap<String, Vec<String>> =
        reply.data().ok_or_else(|| "Vault does not say what the broker may".to_owned())?;
    let allows = |path: &str, wanted: &str| {
        answered.get(path).is_some_and(|has| has.iter().any(|have| have == wanted || have == "root"))
    };
    Ok(needs
        .iter()
        .filter(|need| {
            !need.probes().iter().all(|path| need.capabilities.iter().all(|wanted| allows(path, wanted)))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_granted_as_a_whole() {
        let need = |path: &str| Need { path: path.into(), capabilities: &["read"] };
        assert_eq!(
            need("kv/data/shared/{rest}").grant(),
            "path \"kv/data/shared/*\" { capabilities = [\"read\"] }"
        );
        assert_eq!(need("kv/data/{rest}/db").shown(), "kv/data/+/db");
        assert_eq!(need("kv/data/a").probes(), ["kv/data/a"]);
        assert_eq!(need("kv/data/{rest}").probes(), ["kv/data/leasehold-check", "kv/data/leasehold-check/x"]);
    }

    #[test]
    fn clocks_that_differ_are_told_with_the_direction() {
        let at = |text: &str| text.parse().unwrap();
        let (early, late) = (at("2026-11-22T11:00:00Z"), at("2026-11-22T11:02:00Z"));
        assert!(!skew(early, at("2026-11-22T11:00:20Z")).is_failed());
        assert!(format!("{:?}", skew(early, late)).contains("120s behind"));
        assert!(format!("{:?}", skew(late, early)).contains("120s ahead of"));
    }
}
