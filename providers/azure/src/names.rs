//! What the names of Azure's things look like.

use azure_core::http::Url;

/// Whether `text` can be a directory: its id or one of its domains.
pub(crate) fn is_tenant(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
        && !text.starts_with('.')
        && !text.contains("..")
}

/// Whether `text` is of the form `11111111-2222-3333-4444-555555555555`.
pub(crate) fn is_guid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// A vault's name: letters, digits and single hyphens, a letter first, no hyphen last.
///
/// Source: <https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsoftkeyvault>
pub(crate) fn is_vault_name(text: &str) -> bool {
    (3..=24).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && !text.ends_with('-')
        && !text.contains("--")
}

/// A domain in lower case.
pub(crate) fn is_domain(text: &str) -> bool {
    (3..=200).contains(&text.len())
        && text.contains('.')
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        })
}

/// `https://` and a host, without a path, a user or a query.
pub(crate) fn is_bare_https(text: &str) -> bool {
    let bare = |url: &Url| {
        url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    };
    text.starts_with("https://") && Url::parse(text).is_ok_and(|url| url.host().is_some() && bare(&url))
}

/// A scope that applications ask for: everything that was granted on one resource (`RESOURCE/.default`).
pub(crate) fn is_scope(text: &str) -> bool {
    let Some(resource) = text.strip_suffix("/.default") else { return false };
    let named = resource.strip_prefix("https://").or_else(|| resource.strip_prefix("api://"));
    text.len() <= 300
        && (is_guid(resource) || named.is_some_and(|name| !name.is_empty()))
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:/-".contains(&b))
}
