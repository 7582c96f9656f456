//! A development authority: an X.509 CA that lives for the length of one call and signs a few identities.

use leasehold_core::{SpiffeId, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use zeroize::Zeroizing;

use crate::exit::{Exit, Failure};

/// The authority.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    now: Timestamp,
}

/// A certificate with its key, as PEM.
pub(super) struct Issued {
    pub(super) certificate: String,
    pub(super) key: Zeroizing<String>,
}

/// How long identities are valid. Their days are whole ones, so that no clock's seconds matter.
const DAYS: i64 = 30;

impl Authority {
    /// A new authority with a key of its own, from yesterday on.
    pub(super) fn new(now: Timestamp) -> Result<Self, Failure> {
        let mut params = dated(now)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = named("Leasehold quickstart authority");
        let issuer = CertifiedIssuer::self_signed(params, new_key()?).map_err(failed)?;
        Ok(Self { issuer, now })
    }

    /// Its certificate, as PEM.
    pub(super) fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// An X.509-SVID for `id`; with `hosts`, it can be a server's too.
    pub(super) fn issue(&self, id: &SpiffeId, hosts: &[SanType]) -> Result<Issued, Failure> {
        let key = new_key()?;
        let mut params = dated(self.now)?;
        params.distinguished_name = named(id.path());
        let uri = id.as_str().try_into().map_err(failed)?;
        params.subject_alt_names = std::iter::once(SanType::URI(uri)).chain(hosts.iter().cloned()).collect();
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !hosts.is_empty() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?.pem();
        Ok(Issued { certificate, key: Zeroizing::new(key.serialize_pem()) })
    }
}

fn new_key() -> Result<KeyPair, Failure> {
    KeyPair::generate().map_err(failed)
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// From the start of yesterday to that of a day in a month.
fn dated(now: Timestamp) -> Result<CertificateParams, Failure> {
    let day = |offset: i64| {
        let day = now.to_zoned(jiff::tz::TimeZone::UTC).date().saturating_add(jiff::Span::new().days(offset));
        let part = |number: i8| u8::try_from(number).unwrap_or(1);
        date_time_ymd(day.year().into(), part(day.month()), part(day.day()))
    };
    let mut params = CertificateParams::new(Vec::<String>::new()).map_err(failed)?;
    params.not_before = day(-1);
    params.not_after = day(DAYS);
    Ok(params)
}

fn failed(why: rcgen::Error) -> Failure {
    Failure::new(Exit::Failed, format!("the development authority: {why}"))
}

#[cfg(test)]
mod tests {
    use leasehold_client::{Identity, TrustBundle};

    use super::*;

    #[test]
    fn identities_are_what_they_should_be() {
        let now = Timestamp::from_second(1_795_000_000).unwrap();
        let authority = Authority::new(now).unwrap();
        assert!(TrustBundle::from_pem(authority.certificate().as_bytes()).is_ok());
        let id: SpiffeId = "spiffe://quickstart.test/prod/payments/api".parse().unwrap();
        let issued = authority.issue(&id, &[]).unwrap();
        let identity = Identity::from_pem(issued.certificate.as_bytes(), issued.key.as_bytes()).unwrap();
        assert_eq!(identity.id(), Some(&id));
        let end = identity.not_after().unwrap();
        let days = end.duration_since(now).as_hours().div_euclid(24);
        assert!((28..=30).contains(&days), "{end}");
        assert_eq!(end.as_second().rem_euclid(86_400), 0, "whole days: {end}");
    }
}
