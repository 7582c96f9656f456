//! A token for one of the configured identities, made anew by the SDK. What is in files is read for each.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use azure_core::{
    cloud::CustomConfiguration,
    credentials::{AccessToken, Secret, TokenCredential},
    error::{Error as SdkError, ErrorKind},
    http::{ClientMethodOptions, ClientOptions},
};
use azure_identity::{
    ClientAssertion, ClientAssertionCredential, ClientAssertionCredentialOptions, ClientSecretCredential,
    ClientSecretCredentialOptions, ManagedIdentityCredential, ManagedIdentityCredentialOptions,
    UserAssignedId,
};
use leasehold_secret_file::{Readers, SecretFile};
use tokio::task::spawn_blocking;

use crate::{
    answer::Party,
    config::Identity,
    failure::Failure,
    names::{is_guid, is_tenant},
    wire::Wire,
};

/// Asks for a new token. Not one that the SDK kept: a credential of it lives for one call.
pub(crate) async fn mint(
    identity: &Identity,
    scope: &str,
    authority: &str,
    wire: &Arc<Wire>,
) -> Result<AccessToken, Failure> {
    let options = options(authority, wire);
    let made: Result<Arc<dyn TokenCredential>, SdkError> = match identity {
        Identity::Managed { client_id } => {
            ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
                user_assigned_id: client_id.clone().map(UserAssignedId::ClientId),
                client_options: options,
            }))
            .map(|credential| credential as _)
        }
        Identity::Workload { tenant_id, client_id, token_file } => {
            let tenant = said(tenant_id.clone(), "AZURE_TENANT_ID", "tenant_id", is_tenant)?;
            let client = said(client_id.clone(), "AZURE_CLIENT_ID", "client_id", is_guid)?;
            let file = token_file.as_ref().map(|path| path.display().to_string());
            let file = said(file, "AZURE_FEDERATED_TOKEN_FILE", "federated_token_file", |_| true)?;
            let options = ClientAssertionCredentialOptions { client_options: options };
            ClientAssertionCredential::new(tenant, client, TokenFile(file.into()), Some(options))
                .map(|credential| credential as _)
        }
        Identity::ClientSecret { tenant_id, client_id, secret_file } => {
            let secret = Secret::new(read_word(secret_file, Readers::Group).await?);
            let options = ClientSecretCredentialOptions { client_options: options };
            ClientSecretCredential::new(tenant_id, client_id.clone(), secret, Some(options))
                .map(|credential| credential as _)
        }
    };
    let party = if matches!(identity, Identity::Managed { .. }) { Party::Machine } else { Party::Login };
    let said = |error: &SdkError| match Failure::of(error, wire.now()) {
        Failure::Unreadable(_) => Failure::Unreadable(party),
        failure => failure,
    };
    let made = made.map_err(|error| match (identity, said(&error)) {
        (Identity::Managed { .. }, Failure::Unmade(_)) => Failure::Unconfigured(OTHER_MACHINES.to_owned()),
        (_, failure) => failure,
    });
    let token = made?.get_token(&[scope], None).await.map_err(|error| said(&error))?;
    if token.token.secret().is_empty() { Err(Failure::Unreadable(party)) } else { Ok(token) }
}

/// Those whose identity services the SDK knows by their variables and does not speak to.
const OTHER_MACHINES: &str = "managed identities of Azure Arc, Service Fabric, Azure ML and Cloud Shell are not possible: say another `identity`";

fn options(authority: &str, wire: &Arc<Wire>) -> ClientOptions {
    let mut cloud = CustomConfiguration::default();
    cloud.authority_host = authority.to_owned();
    ClientOptions { cloud: Some(Arc::new(cloud.into())), ..wire.options() }
}

/// What the configuration says, or the environment where it does not.
fn said(
    configured: Option<String>,
    variable: &str,
    key: &str,
    is_good: impl Fn(&str) -> bool,
) -> Result<String, Failure> {
    let text = configured.or_else(|| std::env::var(variable).ok()).filter(|text| !text.is_empty());
    text.filter(|text| is_good(text)).ok_or_else(|| {
        Failure::Unconfigured(format!(
            "a workload identity needs `{key}`, or the variable {variable} with a good one"
        ))
    })
}

/// The one word in a file. Reading blocks, so it is done where others need not wait.
async fn read_word(path: &Path, readers: Readers) -> Result<String, Failure> {
    let path = path.to_owned();
    let read = spawn_blocking(move || SecretFile::read(&path, readers)?.word().map(str::to_owned));
    match read.await {
        Ok(word) => word.map_err(|fault| Failure::File(fault.to_string())),
        Err(_) => Err(Failure::File("the broker is stopping".to_owned())),
    }
}

/// A federated token that is read when it is wanted: its issuer replaces it long before it ends.
struct TokenFile(PathBuf);

#[async_trait]
impl ClientAssertion for TokenFile {
    async fn secret(&self, _options: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        let word = read_word(&self.0, Readers::Anybody).await;
        word.map_err(|failure| SdkError::new(ErrorKind::Credential, failure))
    }
}

impl fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenFile").field(&self.0).finish()
    }
}
