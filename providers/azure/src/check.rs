//! Whether the vault lets the broker do what the configuration will ask, for people to read. Nothing is changed.

use leasehold_core::ports::Provider as _;
use leasehold_core::provider::{Demand, ErrorClass, Fetch, Finding, ProviderError};

use crate::{answer::Party, failure::Failure, provider::AzureProvider, reference::Reference, sign_in::end};

/// What stands for anything in a mount's name, and a name that nobody gives.
const REST: &str = "{rest}";
const PROBE: &str = "leasehold-check";
/// A clock that is further off makes tokens fail.
const CLOCKS_AGREE: i64 = 60;

impl AzureProvider {
    pub(crate) async fn check_demands(&self, demands: &[Demand]) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut open = true;
        if let Some(vault) = self.config.vault_name() {
            let step = format!("sign in as {}", self.config.identity.kind());
            findings.push(match self.signed_in.token().await {
                Ok(token) => Finding::passed(step, format!("the token ends at {}", end(&token))),
                Err(failure) => {
                    open = false;
                    failed(step, &failure)
                }
            });
            if open {
                let reached = self.reach(&vault).await;
                open = !reached.iter().any(Finding::is_failed);
                findings.extend(reached);
            }
        }
        for demand in demands {
            findings.push(match demand {
                Demand::Issue { role } => self.check_role(role).await,
                Demand::Rotate { reference } => Finding::not_native(reference),
                Demand::Generate { policy } => Finding::no_rules(policy),
                Demand::Read { reference } if !open => {
                    Finding::not_tried(format!("read `{reference}`"), SEE_ABOVE)
                }
                Demand::Write { reference } if !open => {
                    Finding::not_tried(format!("write `{reference}`"), SEE_ABOVE)
                }
                Demand::Read { reference } => self.check_read(reference).await,
                Demand::Write { reference } => self.check_write(reference).await,
            });
        }
        findings
    }

    /// Whether the vault is there and believes the broker, whatever it lets it do.
    async fn reach(&self, name: &str) -> Vec<Finding> {
        let step = format!("reach the vault `{name}`");
        let Ok(vault) = self.vault() else { return Vec::new() };
        let answered = self.attempts.run(|| vault.read(PROBE, None)).await;
        let mut findings = vec![match answered {
            Err(failure) if !is_from_behind_the_door(&failure) => failed(step, &failure),
            _ => Finding::passed(step, ""),
        }];
        let ahead = self.wire.vault_ahead();
        if ahead.abs() > CLOCKS_AGREE {
            let which = if ahead > 0 { "behind" } else { "ahead of" };
            findings.push(Finding::failed(
                "compare the clocks",
                format!("this machine's clock is {} s {which} the vault's", ahead.abs()),
                "synchronise it (NTP): tokens and certificates are judged by it",
            ));
        }
        findings
    }

    async fn check_read(&self, reference: &str) -> Finding {
        let step = format!("read `{reference}`");
        let probe = reference.replace(REST, PROBE);
        let mounted = probe != reference;
        match self.fetch(Fetch { reference: &probe, version: None }).await {
            Ok(fetched) => Finding::passed(step, format!("the version {}", fetched.version)),
            Err(error) if mounted && error.class == ErrorClass::Absent => Finding::passed(step, "allowed"),
            Err(error) => self.refused(step, reference, &error, READER),
        }
    }

    async fn check_write(&self, reference: &str) -> Finding {
        let step = format!("write `{reference}`");
        if !self.config.writable {
            let problem = "the configuration does not let the broker write";
            return Finding::failed(step, problem, "say `writable = true` at the provider");
        }
        if Reference::parse(reference).is_ok_and(|parsed| parsed.pinned.is_some()) {
            return Finding::not_tried(
                step,
                "its `ref` is pinned to a version, so that nothing is written there",
            );
        }
        match self.versions(&reference.replace(REST, PROBE)).await {
            Err(error) if error.class != ErrorClass::Absent => self.refused(step, reference, &error, WRITER),
            _ => Finding::not_tried(
                step,
                "its versions can be listed, as each write does first; that they can be written shows only when they are",
            ),
        }
    }

    async fn check_role(&self, name: &str) -> Finding {
        let step = format!("take a token of the role `{name}`");
        let Some(role) = self.config.roles.get(name) else {
            return Finding::failed(
                step,
                "there is no such role",
                "add a `[[role]]` with this name and provider",
            );
        };
        match self.token_of(role).await {
            Ok(token) => {
                Finding::passed(step, format!("it ends at {}, and cannot be ended before", end(&token)))
            }
            Err(failure) => failed(step, &failure),
        }
    }

    fn refused(&self, step: String, reference: &str, error: &ProviderError, grant: Grant) -> Finding {
        let remedy = match error.class {
            ErrorClass::Denied => {
                "grant the role to the broker's identity; it takes some minutes to be known everywhere"
            }
            ErrorClass::Absent => "write it, enable it or restore it, or correct its `ref`",
            ErrorClass::Invalid => "correct its `ref`",
            ErrorClass::Transient | ErrorClass::Throttled => "try again",
            ErrorClass::Permanent => "see docs/providers/azure.md",
        };
        let finding = Finding::failed(step, error.to_string(), remedy);
        let firewall = error.to_string().contains("firewall");
        match (error.class, self.config.vault_name()) {
            (ErrorClass::Denied, Some(vault)) if firewall => finding.granted_by(format!(
                "az keyvault network-rule add --name {vault} --ip-address THIS_MACHINES_PUBLIC_ADDRESS"
            )),
            (ErrorClass::Denied, Some(vault)) => finding.granted_by(self.grant(&vault, reference, grant)),
            _ => finding,
        }
    }

    /// The lines that allow it: in Azure's roles, and in access policies where a vault still has those. Roles know no
    /// patterns of names: a mount needs the whole vault.
    fn grant(&self, vault: &str, reference: &str, grant: Grant) -> String {
        let name =
            Reference::parse(reference).ok().filter(|_| !reference.contains(REST)).map(|parsed| parsed.name);
        let below = name.map(|name| format!("/secrets/{name}")).unwrap_or_default();
        let client = self.config.identity.client();
        let who = client.unwrap_or("BROKERS_OBJECT_ID");
        let by = if client.is_some() { "--spn" } else { "--object-id" };
        format!(
            "az role assignment create --assignee {who} --role \"{role}\" \
             --scope \"$(az keyvault show --name {vault} --query id --output tsv){below}\"\n\
             # where the vault has access policies:\n\
             az keyvault set-policy --name {vault} {by} {who} --secret-permissions {permissions}",
            role = grant.role,
            permissions = grant.permissions,
        )
    }
}

const SEE_ABOVE: &str = "see above";

/// What allows something.
#[derive(Clone, Copy)]
struct Grant {
    role: &'static str,
    permissions: &'static str,
}

const READER: Grant = Grant { role: "Key Vault Secrets User", permissions: "get list" };
/// The custom role of `config/examples/azure/secret-writer.role.json`.
const WRITER: Grant = Grant { role: "Leasehold Secret Writer", permissions: "get list set delete recover" };

/// Whether the vault itself has judged the request: it knows who asks.
fn is_from_behind_the_door(failure: &Failure) -> bool {
    matches!(failure, Failure::Answered(answer)
        if answer.party == Party::Vault && matches!(answer.status, 403 | 404))
}

fn failed(step: String, failure: &Failure) -> Finding {
    let remedy = match failure {
        Failure::Unknown(Party::Vault) => {
            "correct `vault` and `cloud`, or the name resolution; with a private endpoint, its private DNS zone or `private_endpoint`"
        }
        Failure::Unknown(_) => "correct `cloud` or `authority_host`, or the name resolution",
        Failure::Unreachable(Party::Machine) | Failure::Late(Party::Machine) => {
            "a managed identity works on an Azure machine only: say another `identity`, or assign one to this machine"
        }
        Failure::Unreachable(_) | Failure::Late(_) | Failure::Cut(_) => {
            "let this machine reach it on port 443: firewall, route, proxy (HTTPS_PROXY)"
        }
        Failure::Untrusted(..) => {
            "a proxy that opens TLS, or a private cloud, needs its authority in `ca_file`"
        }
        Failure::Challenge => {
            "correct `cloud`, `authority_host` and `vault_domain`; do not go on if they are right"
        }
        Failure::OtherTenant => "take `tenant_id` from `az keyvault show --query properties.tenantId`",
        Failure::File(_) => "correct the file",
        Failure::Unconfigured(_) => "set the key or the variable",
        Failure::Answered(answer) if answer.is_of_clocks() => {
            "synchronise this machine's clock, and look at the token's times"
        }
        Failure::Answered(answer) => match answer.party {
            Party::Vault => "see docs/providers/azure.md",
            Party::Login => {
                "correct `tenant_id`, `client_id` and the credential; see docs/providers/azure.md"
            }
            Party::Machine => {
                "assign the identity to this machine (`az vm identity assign`), correct `client_id`, or say another `identity`"
            }
        },
        _ => "see docs/providers/azure.md",
    };
    Finding::failed(step, failure.to_string(), remedy)
}
