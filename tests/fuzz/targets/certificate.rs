//! Certificates: whom one speaks for, by the broker's reading of its DER, and what an SDK makes of a PEM file.

#![no_main]

use std::sync::LazyLock;

use leasehold_client::{Identity, TrustBundle};
use leasehold_core::{SpiffeId, principal::TrustDomain};
use leaseholdd::identity::identify;
use libfuzzer_sys::fuzz_target;
use rustls_pki_types::CertificateDer;

static DOMAIN: LazyLock<TrustDomain> = LazyLock::new(|| "example.org".parse().expect("a trust domain"));

fuzz_target!(|data: &[u8]| {
    match identify(&CertificateDer::from(data), &DOMAIN) {
        Ok(identity) => {
            let id = &identity.principal;
            assert!(DOMAIN.owns(id), "{id} is somebody else's");
            assert_eq!(id.as_str().parse::<SpiffeId>().as_ref(), Ok(id));
            assert!(!id.as_str().ends_with("/leasehold/broker"), "{id} is the broker's own");
            assert!(has(data, id.as_str().as_bytes()), "{id} is not in the certificate");
            if identity.not_before <= identity.not_after {
                assert_eq!(identity.check_time(identity.not_before), Ok(()));
                assert_eq!(identity.check_time(identity.not_after), Ok(()));
            }
        }
        Err(error) => assert!(error.to_string().len() < 4096, "it says too much"),
    }
    // Files that a client reads: a certificate and a key in one, and a bundle.
    if let Ok(identity) = Identity::from_pem(data, data) {
        assert!(!format!("{identity:?}").contains("PRIVATE"), "a key is printed");
    }
    drop(TrustBundle::from_pem(data));
});

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
