//! Key pairs in PEM (RFC 7468).

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    error::Unspecified,
    rsa::{self, KeySize},
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
        Ed25519KeyPair, KeyPair,
    },
};
use leasehold_core::{
    SecretBytes,
    ports::NoEntropy,
    rotation::{Generated, KeyKind},
};
use pem::{EncodeConfig, LineEnding, Pem};

/// A new pair. RSA takes its time: up to seconds.
pub(crate) fn pair(kind: KeyKind) -> Result<Generated, NoEntropy> {
    let made = match kind {
        KeyKind::Ed25519 => ed25519(),
        KeyKind::P256 => ec(&ECDSA_P256_SHA256_ASN1_SIGNING),
        KeyKind::P384 => ec(&ECDSA_P384_SHA384_ASN1_SIGNING),
        KeyKind::Rsa2048 => rsa(KeySize::Rsa2048),
        KeyKind::Rsa3072 => rsa(KeySize::Rsa3072),
        KeyKind::Rsa4096 => rsa(KeySize::Rsa4096),
    };
    made.map_err(|Unspecified| NoEntropy)
}

fn ed25519() -> Result<Generated, Unspecified> {
    let pair = Ed25519KeyPair::generate()?;
    let private = pair.to_pkcs8v1()?;
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der()?;
    Ok(generated(private.as_ref(), public.as_ref()))
}

fn ec(algorithm: &'static EcdsaSigningAlgorithm) -> Result<Generated, Unspecified> {
    let pair = EcdsaKeyPair::generate(algorithm)?;
    let private = pair.to_pkcs8v1()?;
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der()?;
    Ok(generated(private.as_ref(), public.as_ref()))
}

fn rsa(size: KeySize) -> Result<Generated, Unspecified> {
    let pair = rsa::KeyPair::generate(size)?;
    let private: Pkcs8V1Der<'_> = pair.as_der()?;
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der()?;
    Ok(generated(private.as_ref(), public.as_ref()))
}

fn generated(private: &[u8], public: &[u8]) -> Generated {
    Generated { value: pem("PRIVATE KEY", private), public: Some(pem("PUBLIC KEY", public)) }
}

fn pem(label: &str, der: &[u8]) -> SecretBytes {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    // What is copied on the way is wiped by the allocator of whoever holds secrets.
    pem::encode_config(&Pem::new(label, der), config).into()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
        RSA_PKCS1_SHA256, VerificationAlgorithm,
    };
    use aws_lc_rs::{rand::SystemRandom, rsa::KeyPair as RsaKeyPair};

    use super::*;

    fn der(pem: &SecretBytes, label: &str) -> Vec<u8> {
        let parsed = pem::parse(pem.expose()).unwrap();
        assert_eq!(parsed.tag(), label);
        parsed.into_contents()
    }

    #[test]
    fn what_the_private_key_signs_the_public_one_verifies() {
        let random = SystemRandom::new();
        for kind in [KeyKind::Ed25519, KeyKind::P256, KeyKind::P384, KeyKind::Rsa2048] {
            let made = pair(kind).unwrap();
            let (private, public) =
                (der(&made.value, "PRIVATE KEY"), der(&made.public.unwrap(), "PUBLIC KEY"));
            let ec = |algorithm| {
                let pair = EcdsaKeyPair::from_pkcs8(algorithm, &private).unwrap();
                pair.sign(&random, b"message").unwrap().as_ref().to_vec()
            };
            let (signature, algorithm): (Vec<u8>, &'static dyn VerificationAlgorithm) = match kind {
                KeyKind::Ed25519 => {
                    let pair = Ed25519KeyPair::from_pkcs8(&private).unwrap();
                    (pair.sign(b"message").as_ref().to_vec(), &ED25519)
                }
                KeyKind::P256 => (ec(&ECDSA_P256_SHA256_ASN1_SIGNING), &ECDSA_P256_SHA256_ASN1),
                KeyKind::P384 => (ec(&ECDSA_P384_SHA384_ASN1_SIGNING), &ECDSA_P384_SHA384_ASN1),
                _ => {
                    let pair = RsaKeyPair::from_pkcs8(&private).unwrap();
                    let mut signature = vec![0; pair.public_modulus_len()];
                    pair.sign(&RSA_PKCS1_SHA256, &random, b"message", &mut signature).unwrap();
                    (signature, &RSA_PKCS1_2048_8192_SHA256)
                }
            };
            let public = ParsedPublicKey::new(algorithm, &public).unwrap();
            public.verify_sig(b"message", &signature).unwrap();
            assert!(public.verify_sig(b"another", &signature).is_err(), "{kind}");
        }
    }
}
