//! What PostgreSQL keeps of a password: a SCRAM-SHA-256 verifier (RFC 5802, RFC 7677). It is made here, so that the
//! server never sees the password, and neither does its log.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use data_encoding::BASE64;
use zeroize::Zeroizing;

/// The least that RFC 7677 allows. More would protect passwords that can be guessed, and these cannot.
pub(crate) const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).unwrap();

/// The verifier as `pg_authid` has it: `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.
///
/// The password must be ASCII: to any other, SASLprep (RFC 4013) would have to be applied first.
pub(crate) fn verifier(password: &str, salt: &[u8], iterations: NonZeroU32) -> String {
    let mut salted = Zeroizing::new([0; digest::SHA256_OUTPUT_LEN]);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password.as_bytes(), &mut *salted);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &*salted);
    let client_key = hmac::sign(&key, b"Client Key");
    let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
    let server_key = hmac::sign(&key, b"Server Key");
    format!(
        "SCRAM-SHA-256${iterations}:{}${}:{}",
        BASE64.encode(salt),
        BASE64.encode(stored_key.as_ref()),
        BASE64.encode(server_key.as_ref())
    )
}

/// The verifier of a password that may be anything: what is not ASCII is prepared by the protocol's own crate, which knows
/// SASLprep and draws a salt of its own.
pub(crate) fn verifier_of_any(password: &[u8], salt: &[u8], iterations: NonZeroU32) -> String {
    match str::from_utf8(password) {
        Ok(text) if text.is_ascii() => verifier(text, salt, iterations),
        _ => postgres_protocol::password::scram_sha_256(password),
    }
}

#[cfg(test)]
mod tests {
    use leasehold_provider_conformance::peers::{Postgres, or_skip};

    use super::*;

    /// The exchange of RFC 7677, section 3.
    #[test]
    fn it_is_the_rfcs() {
        let salt = BASE64.decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = verifier("pencil", &salt, ITERATIONS);
        let (head, keys) = verifier.rsplit_once('$').unwrap();
        assert_eq!(head, "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==");
        let (stored, server) = keys.split_once(':').unwrap();
        let decode = |text: &str| BASE64.decode(text.as_bytes()).unwrap();
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let message = format!(
            "n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}"
        );
        let sign = |key: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes());
        let signature = sign(&decode(server));
        assert_eq!(BASE64.encode(signature.as_ref()), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        // The client's proof is its key, masked: unmasked and digested it is the stored key.
        let mut proof = decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let stored = decode(stored);
        proof.iter_mut().zip(sign(&stored).as_ref()).for_each(|(byte, mask)| *byte ^= mask);
        assert_eq!(digest::digest(&digest::SHA256, &proof).as_ref(), stored);
    }

    /// PostgreSQL's own, of a password that it is told in clear.
    #[tokio::test]
    async fn it_is_postgres_own() {
        let Some(postgres) = or_skip(Postgres::start().await).unwrap() else { return };
        postgres.run("CREATE ROLE app LOGIN PASSWORD 'correct horse battery staple'").await.unwrap();
        let rows = postgres.run("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'").await.unwrap();
        let theirs = rows.first().unwrap().first().unwrap();
        let salt = theirs.split(['$', ':']).nth(2).unwrap();
        let salt = BASE64.decode(salt.as_bytes()).unwrap();
        assert_eq!(&verifier("correct horse battery staple", &salt, ITERATIONS), theirs);
    }
}
