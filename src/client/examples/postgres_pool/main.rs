//! A pool of PostgreSQL connections on leased credentials, which no rotation interrupts.
//!
//! ```sh
//! cargo run -p leasehold-client --example postgres_pool -- prod/payments/db localhost:5432 payments
//! ```
//!
//! It queries over several connections at once until its standard input ends, and then says how many queries there were,
//! as how many users, and how many of them failed.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

mod pool;

use std::{
    collections::BTreeSet,
    error::Error,
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use leasehold_client::Client;
use tokio::{io::AsyncReadExt, task::JoinSet};

use self::pool::LeasedPool;

const AT_ONCE: usize = 4;

#[derive(Default)]
struct Count {
    over: AtomicBool,
    queries: Mutex<Vec<Result<(), String>>>,
    users: Mutex<BTreeSet<String>>,
}

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
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| {
        arguments.next().ok_or(format!("usage: postgres_pool SECRET HOST:PORT DATABASE ({what})"))
    };
    let (secret, address, database) = (next("SECRET")?, next("HOST:PORT")?, next("DATABASE")?);
    let (host, port) = address.rsplit_once(':').ok_or("the server is written HOST:PORT")?;
    let mut server = tokio_postgres::Config::new();
    server.host(host).port(port.parse()?).dbname(database);

    let client = Client::from_env().await?;
    let held = client.lease(&secret).await?;
    let pool = LeasedPool::new(held, server, AT_ONCE)?;
    println!("ready");

    let count = Arc::new(Count::default());
    let mut workers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (pool, count) = (pool.clone(), Arc::clone(&count));
        workers.spawn(async move {
            while !count.over.load(Relaxed) {
                let done = query(&pool, &count).await.map_err(|error| error.to_string());
                count.queries.lock().unwrap_or_else(PoisonError::into_inner).push(done);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
    }
    let _ = tokio::io::stdin().read(&mut [0]).await;
    count.over.store(true, Relaxed);
    while workers.join_next().await.is_some() {}

    let queries = count.queries.lock().unwrap_or_else(PoisonError::into_inner);
    let failed: Vec<_> = queries.iter().filter_map(|query| query.as_ref().err()).collect();
    for why in failed.iter().take(5) {
        println!("failed: {why}");
    }
    let users = count.users.lock().unwrap_or_else(PoisonError::into_inner).len();
    println!("{} queries as {users} users, {} failed", queries.len(), failed.len());
    Ok(())
}

/// Work that takes a while on one connection.
async fn query(pool: &LeasedPool, count: &Count) -> Result<(), Box<dyn Error + Send + Sync>> {
    let connection = pool.get().await?;
    let row = connection.query_one("SELECT session_user::text, pg_sleep(0.005)::text", &[]).await?;
    count.users.lock().unwrap_or_else(PoisonError::into_inner).insert(row.try_get(0)?);
    Ok(())
}
