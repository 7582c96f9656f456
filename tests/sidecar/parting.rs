//! What becomes of leases that nobody has used when the sidecar ends.

use std::net::SocketAddr;

use leasehold_tests::wait::until;
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::watch,
};

use crate::{
    kit::{Sidecar, live},
    reload::{broker, check, config},
};

const FILES: [(&str, &str); 1] = [("db", "{{ secrets.db.value }}")];

/// A way to the broker on which answers can be held up, while requests go through.
struct Way {
    address: SocketAddr,
    is_open: watch::Sender<bool>,
}

impl Way {
    async fn to(broker: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (is_open, open) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (from_client, to_client) = client.into_split();
                let (from_broker, to_broker) = TcpStream::connect(broker).await.unwrap().into_split();
                let (_, always) = watch::channel(true);
                tokio::spawn(carry(from_client, to_broker, always));
                tokio::spawn(carry(from_broker, to_client, open.clone()));
            }
        });
        Self { address, is_open }
    }
}

/// What comes while it is not open is carried on when it is again.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut open: watch::Receiver<bool>) {
    let mut bytes = vec![0; 16_384];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        if !*open.borrow() && open.wait_for(|open| *open).await.is_err() {
            return;
        }
        if to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_whose_answer_comes_after_the_word_to_end_is_given_back() {
    let (site, daemon) = broker("10m").await;
    let way = Way::to(site.address).await;
    let configure = |secrets: &[&str]| Sidecar::configure_by(&site, way.address, &config(secrets, &FILES));
    configure(&["db"]);
    let mut sidecar = Sidecar::spawn(&site, Sidecar::command(&site, "run"));
    until("it is ready", async || check(&site).0 == 0).await;

    way.is_open.send_replace(false);
    configure(&["db", "key"]);
    sidecar.signal(Signal::HUP);
    until("the broker has lent it", async || live(&site).await == ["prod/payments/db", "prod/payments/key"])
        .await;
    sidecar.signal(Signal::TERM);
    sidecar.says("ending").await;
    way.is_open.send_replace(true);
    assert!(sidecar.ended().await.success());
    assert_eq!(live(&site).await, ["prod/payments/db"], "what files were made of stays");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_that_no_file_was_made_of_are_given_back() {
    let (site, daemon) = broker("10m").await;
    let denied = "[[secret]]\nname = \"x\"\npath = \"prod/orders/x\"\n";
    let mut sidecar = Sidecar::start(&site, &format!("{}{denied}", config(&["db"], &FILES)));
    until("one is held", async || live(&site).await == ["prod/payments/db"]).await;
    sidecar.says("cannot be leased, and is tried again").await;
    assert!(sidecar.log().contains("\"call\":\"call-"), "{}", sidecar.log());
    assert!(sidecar.stop().await.success());
    assert!(live(&site).await.is_empty(), "{:?}", live(&site).await);
    daemon.stop().await;
}
