//! Names, as a request or a certificate brings them: SPIFFE IDs, paths, fields, versions and ids. A text is one or is none,
//! and one that is prints itself.

#![no_main]

use std::{fmt::Display, str::FromStr};

use leasehold_core::{
    LeaseId, RequestId, RevocationId, SecretPath, SpiffeId,
    path::PathPrefix,
    principal::TrustDomain,
    provider::ProviderName,
    secret::{FieldName, VersionId},
};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(text) = str::from_utf8(data) else { return Corpus::Reject };
    if let Some(id) = itself::<SpiffeId>(text) {
        assert_eq!(format!("spiffe://{}{}", id.trust_domain(), id.path()), text);
        let domain: TrustDomain = id.trust_domain().parse().expect("a SPIFFE ID's trust domain is one");
        assert_eq!(SpiffeId::new(&domain, id.path()).as_ref(), Ok(&id));
        assert!(id.segments().all(|segment| !matches!(segment, "" | "." | "..")), "{id}");
        assert!(text.len() <= 2048);
    }
    if let Some(path) = itself::<SecretPath>(text) {
        assert!(path.ancestors().all(|ancestor| text.starts_with(ancestor)), "{path}");
        assert_eq!(path.ancestors().next(), Some(path.environment()));
    }
    itself::<PathPrefix>(text);
    itself::<TrustDomain>(text);
    itself::<ProviderName>(text);
    itself::<FieldName>(text);
    itself::<VersionId>(text);
    itself::<RequestId>(text);
    itself::<LeaseId>(text);
    itself::<RevocationId>(text);
    Corpus::Keep
});

fn itself<T: FromStr + Display>(text: &str) -> Option<T> {
    let parsed: T = text.parse().ok()?;
    assert_eq!(parsed.to_string(), text);
    Some(parsed)
}
