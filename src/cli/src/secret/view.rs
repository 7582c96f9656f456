//! Secrets as the command line shows them. The names in JSON are stable.

use std::time::Duration;

use leasehold_client::proto::{self, secret::Source};
use serde::Serialize;

use crate::{duration, output::Row, table::Cut};

/// A secret's description.
#[derive(Serialize)]
pub(super) struct SecretView {
    path: String,
    provider: String,
    kind: &'static str,
    /// The back end's own name, or the role of a dynamic secret.
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_ttl_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_ttl_seconds: Option<u64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    mount: String,
    live_leases: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    can: Vec<&'static str>,
}

impl SecretView {
    pub(super) fn of(secret: &proto::Secret) -> Self {
        let (kind, source) = match &secret.source {
            Some(Source::StaticSource(found)) => ("static", found.reference.clone()),
            Some(Source::DynamicSource(found)) => ("dynamic", found.role.clone()),
            None => ("unknown", String::new()),
        };
        let seconds = |duration: &prost_types::Duration| u64::try_from(duration.seconds).ok();
        Self {
            path: secret.path.clone(),
            provider: secret.provider.clone(),
            kind,
            source,
            default_ttl_seconds: secret.default_ttl.as_ref().and_then(seconds),
            max_ttl_seconds: secret.max_ttl.as_ref().and_then(seconds),
            mount: secret.mount.clone(),
            live_leases: secret.live_lease_count,
            description: secret.description.clone(),
            can: secret.capabilities.iter().flat_map(|all| all.supported()).map(capability).collect(),
        }
    }

    /// What a person wants to know of one secret.
    pub(super) fn parts(&self) -> Vec<(&'static str, String)> {
        let mut parts = vec![
            ("secret", self.path.clone()),
            ("description", self.description.clone()),
            ("provider", self.provider.clone()),
            (if self.kind == "dynamic" { "role" } else { "reference" }, self.source.clone()),
            ("mount", self.mount.clone()),
            ("ttl", ttl(self.default_ttl_seconds)),
            ("max ttl", ttl(self.max_ttl_seconds)),
            ("live leases", self.live_leases.to_string()),
            ("back end can", self.can.join(", ")),
        ];
        parts.retain(|(_, text)| !text.is_empty());
        parts
    }
}

impl Row for SecretView {
    const COLUMNS: &'static [&'static str] =
        &["SECRET", "PROVIDER", "KIND", "TTL", "MAX TTL", "LEASES", "DESCRIPTION"];
    const CUTS: &'static [(&'static str, Cut)] = &[("DESCRIPTION", Cut::End)];
    const FIRST_OUT: &'static [&'static str] = &["MAX TTL", "KIND"];
    const LAST_OUT: &'static [&'static str] = &["DESCRIPTION", "PROVIDER", "TTL"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.path.clone(),
            self.provider.clone(),
            self.kind.to_owned(),
            ttl(self.default_ttl_seconds),
            ttl(self.max_ttl_seconds),
            self.live_leases.to_string(),
            self.description.clone(),
        ]
    }
}

fn ttl(seconds: Option<u64>) -> String {
    seconds.map(|seconds| duration::show(Duration::from_secs(seconds))).unwrap_or_default()
}

/// A capability's name, as the status shows it too.
pub(crate) fn capability(capability: proto::ProviderCapability) -> &'static str {
    use proto::ProviderCapability as Can;
    match capability {
        Can::Unspecified => "unknown",
        Can::Read => "read",
        Can::ReadVersions => "read-versions",
        Can::Write => "write",
        Can::Issue => "issue",
        Can::Renew => "renew",
        Can::Revoke => "revoke",
        Can::Stage => "stage",
        Can::Rotate => "rotate",
        Can::Promote => "promote",
        Can::Disable => "disable",
        Can::Enable => "enable",
        Can::Destroy => "destroy",
        Can::Delete => "delete",
        Can::Restore => "restore",
        Can::Purge => "purge",
        Can::Verify => "verify",
        Can::ListIssued => "list-issued",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_fits() {
        crate::snapshot::fits::<SecretView>(
            "secret-list",
            false,
            &[
                &[
                    "prod/payments/db",
                    "local",
                    "static",
                    "15m",
                    "1h",
                    "3",
                    "The password of the orders database",
                ],
                &[
                    "prod/payments/checkout/stripe-webhook",
                    "vault-main",
                    "dynamic",
                    "1h 30m",
                    "12h",
                    "0",
                    "Whom the webhooks of the payments are signed for, by its owners",
                ],
            ],
        );
    }

    #[test]
    fn a_description_for_people_and_programs() {
        let secret = proto::Secret {
            path: "prod/payments/db".into(),
            provider: "local".into(),
            source: Some(Source::StaticSource(proto::StaticSource { reference: "payments-db".into() })),
            default_ttl: Some(prost_types::Duration { seconds: 900, nanos: 0 }),
            capabilities: Some(proto::ProviderCapabilities {
                supported: vec![
                    proto::ProviderCapability::Read.into(),
                    proto::ProviderCapability::Write.into(),
                ],
                ..Default::default()
            }),
            ..Default::default()
        };
        let view = SecretView::of(&secret);
        let whole = proto::Secret {
            source: Some(Source::DynamicSource(proto::DynamicSource { role: "readonly".into() })),
            max_ttl: Some(prost_types::Duration { seconds: 3600, nanos: 0 }),
            mount: "prod/payments/".into(),
            description: "the payments' database".into(),
            live_lease_count: 3,
            ..secret.clone()
        };
        crate::snapshot::documented("secret-list", &[SecretView::of(&secret), SecretView::of(&whole)]);
        assert_eq!(
            serde_json::to_string(&view).unwrap(),
            concat!(
                r#"{"path":"prod/payments/db","provider":"local","kind":"static","source":"payments-db","#,
                r#""default_ttl_seconds":900,"live_leases":0,"can":["read","write"]}"#
            )
        );
        let parts = view.parts();
        assert!(parts.contains(&("ttl", "15m".to_owned())), "{parts:?}");
        assert!(!parts.iter().any(|(name, _)| *name == "mount"), "what is absent is not shown: {parts:?}");
    }
}
