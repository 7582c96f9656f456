//! From a peer's certificate to its principal: a pure function, by the X.509-SVID specification (sections 2, 4 and 5).
//!
//! It says who a certificate speaks for. Whether an authority that we trust issued it is `tls::Trust`'s question.

use std::sync::Arc;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use leasehold_core::{
    SpiffeId, Timestamp,
    principal::{InvalidSpiffeId, TrustDomain},
};
use rustls_pki_types::CertificateDer;
use thiserror::Error;
use x509_parser::prelude::{ASN1Time, FromDer, GeneralName, X509Certificate};

/// Who a certificate speaks for, and when.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The principal.
    pub principal: SpiffeId,
    /// SHA-256 of the certificate (DER), in hexadecimal.
    pub fingerprint: Arc<str>,
    /// The first instant of its validity.
    pub not_before: Timestamp,
    /// The last instant of its validity.
    pub not_after: Timestamp,
}

/// Why a certificate speaks for nobody here.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// Not an X.509 certificate, or one with an extension that does not parse.
    #[error("the certificate does not parse: {0}")]
    Malformed(String),
    /// An authority's certificate is no workload's (section 4.1).
    #[error("the certificate is an authority's (CA): a client needs a leaf certificate")]
    Authority,
    /// A leaf may not sign certificates or CRLs, and must be able to sign a handshake (section 4.3).
    #[error("the certificate's key usage must be digitalSignature, without keyCertSign and cRLSign")]
    KeyUsage,
    /// No SPIFFE ID (section 2).
    #[error("the certificate has no URI subject alternative name, so no SPIFFE ID")]
    NoUri,
    /// More than one URI, so more than one identity (section 2).
    #[error("the certificate has {0} URI subject alternative names: an identity is exactly one")]
    SeveralUris(usize),
    /// The URI is not a SPIFFE ID.
    #[error("the certificate's URI {uri:?} is not a workload's SPIFFE ID: {why}")]
    NotSpiffe {
        /// The URI, cut after 100 characters.
        uri: String,
        /// What is wrong with it.
        why: InvalidSpiffeId,
    },
    /// Someone else's workload.
    #[error("{id} is not of the trust domain {expected}")]
    OtherTrustDomain {
        /// The identity in the certificate.
        id: SpiffeId,
        /// The domain that the broker serves.
        expected: TrustDomain,
    },
    /// The broker's own name, under which it writes down what it does by itself.
    #[error("{0} is the broker's own name, and no peer's: issue the certificate to another one")]
    Reserved(SpiffeId),
    /// Too early.
    #[error("the certificate is not valid before {0}")]
    NotYetValid(Timestamp),
    /// Too late.
    #[error("the certificate expired at {0}")]
    Expired(Timestamp),
}

/// As whom the broker itself acts, beside whatever its certificate says: nobody else may.
pub(crate) const BROKER: &str = "/leasehold/broker";
/// As whom it rotates secrets.
pub(crate) const SCHEDULER: &str = "/leasehold/scheduler";
const RESERVED: [&str; 2] = [BROKER, SCHEDULER];

/// Reads the identity of a leaf certificate. Its time is not judged here: see [`Identity::check_time`].
///
/// A certificate without a key usage extension passes, as it does with other verifiers of SVIDs; one that has the
/// extension must have it right.
///
/// # Errors
/// When the certificate is no X.509-SVID of a workload in `domain`.
pub fn identify(leaf: &CertificateDer<'_>, domain: &TrustDomain) -> Result<Identity, IdentityError> {
    let certificate = parse(leaf)?;
    let malformed = |error: x509_parser::error::X509Error| IdentityError::Malformed(error.to_string());

    if certificate.basic_constraints().map_err(malformed)?.is_some_and(|found| found.value.ca) {
        return Err(IdentityError::Authority);
    }
    if let Some(usage) = certificate.key_usage().map_err(malformed)?.map(|found| found.value)
        && (!usage.digital_signature() || usage.key_cert_sign() || usage.crl_sign())
    {
        return Err(IdentityError::KeyUsage);
    }

    let names = certificate.subject_alternative_name().map_err(malformed)?;
    let names = names.as_ref().map_or(&[][..], |found| &found.value.general_names);
    if names.iter().any(|name| matches!(name, GeneralName::Invalid(..))) {
        return Err(IdentityError::Malformed("a subject alternative name is not one".to_owned()));
    }
    let mut uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let uri = uris.next().ok_or(IdentityError::NoUri)?;
    let more = uris.count();
    if more > 0 {
        return Err(IdentityError::SeveralUris(more.saturating_add(1)));
    }

    let principal: SpiffeId =
        uri.parse().map_err(|why| IdentityError::NotSpiffe { uri: uri.chars().take(100).collect(), why })?;
    if !domain.owns(&principal) {
        return Err(IdentityError::OtherTrustDomain { id: principal, expected: domain.clone() });
    }

    if RESERVED.contains(&principal.path()) {
        return Err(IdentityError::Reserved(principal));
    }

    let validity = certificate.validity();
    Ok(Identity {
        principal,
        fingerprint: fingerprint(leaf),
        not_before: instant(validity.not_before),
        not_after: instant(validity.not_after),
    })
}

/// SHA-256 of a certificate (DER), in hexadecimal.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> Arc<str> {
    HEXLOWER.encode(digest::digest(&digest::SHA256, certificate).as_ref()).into()
}

impl Identity {
    /// Whether the certificate is valid at `now`, both ends included and without tolerance: an authority that wants
    /// some dates its certificates back, as SPIRE does.
    ///
    /// # Errors
    /// [`IdentityError::NotYetValid`] and [`IdentityError::Expired`].
    pub fn check_time(&self, now: Timestamp) -> Result<(), IdentityError> {
        if now.as_second() > self.not_after.as_second() {
            return Err(IdentityError::Expired(self.not_after));
        }
        if now < self.not_before {
            return Err(IdentityError::NotYetValid(self.not_before));
        }
        Ok(())
    }
}

/// A certificate, all of it and nothing behind it.
pub(crate) fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, IdentityError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(IdentityError::Malformed("something follows it".to_owned())),
        Err(error) => Err(IdentityError::Malformed(error.to_string())),
    }
}

/// A certificate's time as ours. "No end" (99991231235959Z, RFC 5280 section 4.1.2.5) is past what a timestamp holds.
pub(crate) fn instant(time: ASN1Time) -> Timestamp {
    let seconds = time.timestamp();
    let bound = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_second(seconds).unwrap_or(bound)
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyUsagePurpose, SanType};

    use super::*;
    use crate::tls::authority::{Authority, HOUR, Leaf, START, domain, uri};

    fn identify_leaf(leaf: &Leaf) -> Result<Identity, IdentityError> {
        let issued = Authority::new("test").issue(leaf);
        identify(&issued.chain[0], &domain())
    }

    #[test]
    fn an_svid_speaks_for_its_principal() {
        let identity = identify_leaf(&Leaf::spiffe("/prod/payments/api")).unwrap();
        assert_eq!(identity.principal.as_str(), "spiffe://example.org/prod/payments/api");
        assert_eq!(identity.fingerprint.len(), 64);
        assert_eq!(identity.not_before.as_second(), START - HOUR);
    }

    #[test]
    fn other_names_beside_the_uri_are_no_matter() {
        let mut leaf = Leaf::spiffe("/prod/api");
        leaf.sans.push(SanType::DnsName("api.internal".try_into().unwrap()));
        leaf.sans.push(SanType::IpAddress("::1".parse().unwrap()));
        assert_eq!(identify_leaf(&leaf).unwrap().principal.path(), "/prod/api");
        leaf.usages.clear();
        assert!(identify_leaf(&leaf).is_ok(), "an absent key usage restricts nothing");
    }

    #[test]
    fn what_is_no_svid_speaks_for_nobody() {
        let dns = SanType::DnsName("spiffe.example.org".try_into().unwrap());
        let spiffe = |path: &str| uri(&format!("spiffe://example.org{path}"));
        let cases = [
            (vec![], "no URI"),
            (vec![dns], "no URI"),
            (vec![spiffe("/a"), spiffe("/b")], "has 2 URI"),
            (vec![spiffe("/a"), spiffe("/a"), spiffe("/a")], "has 3 URI"),
            (vec![spiffe("/a"), uri("https://example.org/a")], "has 2 URI"),
            (vec![uri("https://example.org/a")], "starts with `spiffe://`"),
            (vec![uri("SPIFFE://example.org/a")], "starts with `spiffe://`"),
            (vec![uri("spiffe://example.org")], "no workload"),
            (vec![uri("spiffe://example.org/")], "segments"),
            (vec![uri("spiffe://example.org/a/../b")], "segments"),
            (vec![uri("spiffe://example.org/a%2Fb")], "segments"),
            (vec![uri("spiffe://example.org:443/a")], "trust domain"),
            (vec![uri("spiffe://example.com/a")], "not of the trust domain example.org"),
            (vec![uri("spiffe://sub.example.org/a")], "not of the trust domain example.org"),
        ];
        for (sans, expected) in cases {
            let error = identify_leaf(&Leaf::new(sans)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
    }

    #[test]
    fn nobody_speaks_for_the_broker_itself() {
        for path in ["/leasehold/broker", "/leasehold/scheduler"] {
            let error = identify_leaf(&Leaf::spiffe(path)).unwrap_err();
            assert!(matches!(&error, IdentityError::Reserved(id) if id.path() == path), "{error}");
        }
        for path in ["/leasehold/broker/x", "/leasehold/sidecar", "/Leasehold/scheduler"] {
            assert!(identify_leaf(&Leaf::spiffe(path)).is_ok(), "{path}");
        }
    }

    #[test]
    fn a_leaf_signs_handshakes_and_nothing_else() {
        use KeyUsagePurpose::{CrlSign, DigitalSignature, KeyCertSign, KeyEncipherment};
        for usages in
            [vec![KeyEncipherment], vec![DigitalSignature, KeyCertSign], vec![DigitalSignature, CrlSign]]
        {
            let leaf = Leaf { usages, ..Leaf::spiffe("/a") };
            assert_eq!(identify_leaf(&leaf).unwrap_err(), IdentityError::KeyUsage);
        }
        let leaf = Leaf { authority: true, ..Leaf::spiffe("/a") };
        assert_eq!(identify_leaf(&leaf).unwrap_err(), IdentityError::Authority);
    }

    #[test]
    fn validity_includes_both_ends_and_nothing_more() {
        let identity = identify_leaf(&Leaf { from: START, to: START + 10, ..Leaf::spiffe("/a") }).unwrap();
        let at = |second| identity.check_time(Timestamp::from_second(second).unwrap());
        assert!(matches!(at(START - 1), Err(IdentityError::NotYetValid(_))));
        assert_eq!(at(START), Ok(()));
        assert_eq!(at(START + 10), Ok(()));
        assert!(matches!(at(START + 11), Err(IdentityError::Expired(_))));
    }

    #[test]
    fn what_is_no_certificate_is_malformed() {
        let mut longer = Authority::new("test").issue(&Leaf::spiffe("/a")).chain[0].to_vec();
        longer.push(0);
        for bytes in [vec![], b"not DER".to_vec(), longer] {
            let error = identify(&CertificateDer::from(bytes), &domain()).unwrap_err();
            assert!(matches!(error, IdentityError::Malformed(_)), "{error}");
        }
    }

    #[test]
    fn a_certificate_without_end_ends_with_time_itself() {
        let never = ASN1Time::from_timestamp(253_402_300_799).unwrap();
        assert_eq!(instant(never), Timestamp::MAX);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = identify(&CertificateDer::from(bytes), &domain());
        }

        #[test]
        fn no_flipped_byte_panics(at in 0_usize..400, by in 1_u8..=255) {
            static GOOD: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
            let good = GOOD.get_or_init(|| {
                Authority::new("test").issue(&Leaf::spiffe("/prod/api")).chain[0].to_vec()
            });
            let mut bytes = good.clone();
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= by;
            }
            if let Ok(identity) = identify(&CertificateDer::from(bytes), &domain()) {
                proptest::prop_assert_eq!(identity.principal.trust_domain(), "example.org");
            }
        }
    }
}
