//! The logs of what this crate is built on. In a process of its own: a subscriber sees everything only where no other
//! test runs beside it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

#[path = "postgres/kit.rs"]
#[expect(dead_code, reason = "the other tests need more of it")]
mod kit;

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use leasehold_core::ports::Provider;

use crate::kit::{OWN_PASSWORD, World, make};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn not_even_a_trace_holds_a_password() {
    let Some(world) = World::start().await else { return };
    // From here on: the setup above is the test's own, and sets a password in clear.
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_env_filter("trace").with_writer(move || writer.clone()).init();
    let made = make(world.users(), "payments-read").await.unwrap();
    made.renew(world.users(), made.credential.expires_at.unwrap()).await.unwrap();
    world.users().look_up(made.handle()).await.unwrap();
    made.end(world.users()).await.unwrap();
    let shown = format!("{made:?}").replace(&made.password, "");
    assert!(!shown.contains(OWN_PASSWORD));
    world.home.put("password", "canary-wrong-password");
    let other = kit::provider(leasehold_provider_postgres::PostgresConfig {
        administrator: leasehold_provider_postgres::Administrator::File {
            user: "nobody".into(),
            password_file: world.home.put("other", "canary-other-password"),
        },
        ..world.home.config(world.postgres.address())
    });
    assert!(make(other.issuer().unwrap(), "payments-read").await.is_err());
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("signing in to PostgreSQL failed"), "the log sees us");
    for secret in [&*made.password, OWN_PASSWORD, "canary-"] {
        assert!(!text.contains(secret), "the log has `{secret}`");
    }
}
