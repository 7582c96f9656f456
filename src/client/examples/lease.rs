//! From nothing to a leased secret: where the broker is and who this program is come from the environment
//! (`LEASEHOLD_ADDR`, `LEASEHOLD_IDENTITY`, ...).
//!
//! ```sh
//! cargo run -p leasehold-client --example lease -- prod/payments/db
//! ```
//!
//! It says what it holds and what becomes of it, until its standard input ends; then it gives the lease back.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

use std::{error::Error, process::ExitCode};

use leasehold_client::{Change, Client, Holding};
use tokio::io::AsyncReadExt;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let secret = std::env::args().nth(1).ok_or("usage: lease SECRET")?;
    let client = Client::from_env().await?;
    let held = client.lease(&secret).await?;
    show("held", &held.current());

    let mut changes = held.changes();
    let (mut input, mut line) = (tokio::io::stdin(), [0]);
    loop {
        let change = tokio::select! {
            change = changes.next() => change,
            _ = input.read(&mut line) => break,
        };
        match change {
            Some(Change::Replaced(new)) => {
                show("replaced", &new);
                // From here on nothing of this program uses the old value: its lease can go back.
                held.switched(&new);
            }
            Some(Change::Failing { error, until }) => println!("failing: {error}; good until {until}"),
            Some(Change::Ended { why }) => println!("ended: {why:?}"),
            Some(other) => println!("{other:?}"),
            None => break,
        }
    }
    held.close().await?;
    println!("given back");
    Ok(())
}

/// What there is, without the value itself.
fn show(what: &str, holding: &Holding) {
    let fields: Vec<_> = holding.value().fields.keys().map(ToString::to_string).collect();
    let version = holding.lease.version.as_ref().map(ToString::to_string).unwrap_or_default();
    println!("{what}: {version} ({}) until {}", fields.join(", "), holding.lease.expires_at);
}
