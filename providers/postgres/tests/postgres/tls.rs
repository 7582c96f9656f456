//! TLS to the server: verified, and said apart when it is not.

use leasehold_core::{ports::Provider, provider::ErrorClass};
use leasehold_provider_conformance::{
    authority::Authority,
    peers::{Postgres, or_skip},
};
use leasehold_provider_postgres::{PostgresConfig, Tls};

use crate::kit::{World, make, provider};

#[tokio::test]
async fn only_a_trusted_certificate_with_the_right_name_is_talked_to() {
    let (authority, stranger) = (Authority::new("ours").unwrap(), Authority::new("theirs").unwrap());
    let Some(postgres) = or_skip(Postgres::start_tls(&authority).await).unwrap() else { return };
    let world = World::of(postgres).await.unwrap();
    let home = &world.home;
    let port = world.postgres.address().port();
    let (ca, foreign) = (home.put("ca.pem", &authority.pem()), home.put("foreign.pem", &stranger.pem()));
    let empty = home.put("empty.pem", "nothing");
    let (named, unnamed) = (format!("localhost:{port}"), format!("127.0.0.2:{port}"));
    for (address, tls, ca, problem) in [
        (&named, Tls::VerifyFull, Some(&ca), None),
        (&named, Tls::VerifyCa, Some(&ca), None),
        (&unnamed, Tls::VerifyCa, Some(&ca), None),
        (&unnamed, Tls::VerifyFull, Some(&ca), Some("is not trusted")),
        (&named, Tls::VerifyFull, Some(&foreign), Some("is not trusted")),
        (&named, Tls::VerifyCa, Some(&foreign), Some("is not trusted")),
        (&named, Tls::VerifyFull, None, Some("")),
        (&named, Tls::VerifyFull, Some(&empty), Some("has no certificate")),
    ] {
        let config = PostgresConfig { tls, ca_file: ca.cloned(), ..home.config(address) };
        let provider = provider(config);
        let made = make(provider.issuer().unwrap(), "payments-read").await;
        match problem {
            None => {
                let made = made.unwrap();
                let seen = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                            WHERE ssl AND version = 'TLSv1.3' AND usename = 'leasehold'";
                assert_ne!(world.postgres.run(seen).await.unwrap(), [["0"]], "{address} {tls:?}");
                made.end(provider.issuer().unwrap()).await.unwrap();
            }
            Some(words) => {
                let error = made.unwrap_err();
                assert_eq!(error.class, ErrorClass::Permanent, "{address} {tls:?}: {error}");
                assert!(error.to_string().contains(words), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn a_server_without_tls_is_not_talked_to_in_clear() {
    let Some(world) = World::start().await else { return };
    let authority = Authority::new("ours").unwrap();
    let config = PostgresConfig {
        tls: Tls::VerifyFull,
        ca_file: Some(world.home.put("ca.pem", &authority.pem())),
        ..world.home.config(world.postgres.address())
    };
    let error = make(provider(config).issuer().unwrap(), "payments-read").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Permanent);
    assert!(error.to_string().contains("speaks no TLS"), "{error}");
}
