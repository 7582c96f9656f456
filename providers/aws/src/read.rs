//! Reading secrets and parameters, and listing their versions.

use leasehold_core::{
    provider::{ErrorClass, Fetched, ProviderError, VersionFacts, VersionState},
    secret::VersionId,
};

use crate::{
    client::{Cloud, Which},
    reference::{ParameterReference, SecretReference, is_parameter_version, is_version},
    value::{Body, decode},
};

pub(crate) async fn read_secret(
    cloud: &Cloud,
    reference: SecretReference<'_>,
    version: Option<&VersionId>,
) -> Result<Fetched, ProviderError> {
    let which = match version {
        None => Which::Stage(reference.stage),
        Some(version) => Which::Id(checked(version)?),
    };
    let secrets = cloud.secrets(reference.region)?;
    let found = secrets.read(reference.secret, which).await?;
    let body = found.body.ok_or_else(|| odd(reference.secret, "a value"))?;
    Ok(Fetched {
        value: decode(body, reference.format),
        version: found
            .id
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| odd(reference.secret, "a version id"))?,
        created_at: found.created_at,
    })
}

pub(crate) async fn read_parameter(
    cloud: &Cloud,
    reference: ParameterReference<'_>,
    version: Option<&VersionId>,
) -> Result<Fetched, ProviderError> {
    let version = version.map(VersionId::as_str);
    if let Some(version) = version.filter(|version| !is_parameter_version(version)) {
        return Err(no_version(version));
    }
    let parameters = cloud.parameters(reference.region)?;
    let found = parameters.read(&reference.named(version)).await?;
    let found = found.ok_or_else(|| odd(reference.parameter, "a parameter"))?;
    let value = found.value.ok_or_else(|| odd(reference.parameter, "a value"))?;
    Ok(Fetched {
        value: decode(Body::Text(value), reference.format),
        version: numbered(reference.parameter, found.version)?,
        created_at: found.created_at,
    })
}

/// Deprecated versions, which have no label, can be read until AWS removes them.
pub(crate) async fn secret_versions(
    cloud: &Cloud,
    reference: SecretReference<'_>,
) -> Result<Vec<VersionFacts>, ProviderError> {
    let secrets = cloud.secrets(reference.region)?;
    let described = secrets.describe(reference.secret).await?;
    let listed = secrets.versions(reference.secret).await?;
    let state = match described.deleted_at {
        Some(_) => VersionState::Deleted,
        None => VersionState::Enabled,
    };
    let facts = listed.into_iter().map(|version| {
        Ok(VersionFacts {
            version: version.id.parse().map_err(|_| odd(reference.secret, "a good version id"))?,
            created_at: version.created_at,
            state,
            current: version.labels.iter().any(|label| label == reference.stage),
            labels: version.labels.into_iter().map(Into::into).collect(),
        })
    });
    let mut facts: Vec<_> = facts.collect::<Result<_, ProviderError>>()?;
    // Among those of the same second, the current one is the newest.
    facts.sort_by_key(|version| std::cmp::Reverse((version.created_at, version.current)));
    Ok(facts)
}

pub(crate) async fn parameter_versions(
    cloud: &Cloud,
    reference: ParameterReference<'_>,
) -> Result<Vec<VersionFacts>, ProviderError> {
    let parameters = cloud.parameters(reference.region)?;
    let mut listed = parameters.versions(reference.parameter).await?;
    listed.sort_by_key(|version| std::cmp::Reverse(version.version));
    let newest = listed.first().map(|version| version.version.to_string());
    let current = reference.selector.map(str::to_owned).or(newest);
    let facts = listed.into_iter().map(|version| {
        let number = version.version.to_string();
        Ok(VersionFacts {
            version: numbered(reference.parameter, version.version)?,
            created_at: version.created_at,
            state: VersionState::Enabled,
            current: current.as_ref().is_some_and(|is| *is == number || version.labels.contains(is)),
            labels: version.labels.into_iter().map(Into::into).collect(),
        })
    });
    facts.collect()
}
/// A version's id, when it can be one of AWS's.
pub(crate) fn checked(version: &VersionId) -> Result<&str, ProviderError> {
    let text = version.as_str();
    if is_version(text) { Ok(text) } else { Err(no_version(text)) }
}

fn no_version(text: &str) -> ProviderError {
    ProviderError::new(ErrorClass::Invalid, format!("`{text}` is not the id of an AWS version"))
}

fn numbered(name: &str, version: i64) -> Result<VersionId, ProviderError> {
    let text = version.to_string();
    let id = if is_parameter_version(&text) { text.parse().ok() } else { None };
    id.ok_or_else(|| odd(name, "a good version"))
}

fn odd(name: &str, what: &str) -> ProviderError {
    ProviderError::new(ErrorClass::Permanent, format!("AWS answered `{name}` without {what}"))
}
