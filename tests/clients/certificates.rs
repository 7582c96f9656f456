//! Identities that are replaced while the client is at work.

use std::time::Duration;

use leasehold_client::{Client, Error};
use leasehold_tests::{
    authority::{Authority, Leaf},
    certificates,
    daemon::Daemon,
    site::{Plan, Site, WORKLOAD},
    wait::until,
};

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_the_certificate_is_rotated_every_second_for_a_minute() {
    let outcome = certificates::through(Duration::from_secs(60)).await;
    assert_eq!(outcome.failed, Vec::<String>::new(), "of {} calls", outcome.calls);
    assert!(outcome.certificates >= 60 && outcome.calls > 1_000, "{outcome:?}");
    // A certificate is good for a few seconds, and each was used or nearly: the connection was replaced again and again.
    assert!(outcome.used > 30, "{outcome:?}");
}

async fn asks(client: &Client) -> Result<(), Error> {
    client.list_leases(&[], 1, None).await.map(drop)
}

#[tokio::test]
async fn a_new_identity_that_is_broken_or_refused_keeps_the_old_one_and_is_told() {
    let site = Site::new(Plan::default());
    let broker = Daemon::start(&site).await;
    let client = site.client("workload");
    let client = client
        .identity_files(site.path("tls/workload.pem"), site.path("tls/workload.key"))
        .connect()
        .await
        .unwrap();
    assert!(client.identity_fault().is_none());
    let first = client.identity().unwrap();
    assert_eq!(first.id.as_ref().map(ToString::to_string).as_deref(), Some(WORKLOAD));

    site.write("tls/workload.pem", "half a certificate");
    until("it is told", async || client.identity_fault().is_some()).await;
    let told = client.identity_fault().unwrap().to_string();
    assert!(told.contains("workload.pem") && told.contains("CERTIFICATE"), "{told}");
    asks(&client).await.unwrap();

    // Of an authority that the broker does not know.
    site.install("workload", &Authority::new("others").sign(&Leaf::client(WORKLOAD)));
    let refused = "is not signed by an authority that the broker trusts";
    until("it is told", async || {
        client.identity_fault().is_some_and(|fault| fault.to_string().contains(refused))
    })
    .await;
    asks(&client).await.unwrap();
    assert_eq!(client.identity().unwrap(), first);

    site.install("workload", &site.authority.sign(&Leaf { until: 3_600, ..Leaf::client(WORKLOAD) }));
    until("it is used", async || client.identity_fault().is_none()).await;
    assert!(client.identity().unwrap().not_after < first.not_after, "that is another one");
    asks(&client).await.unwrap();

    // A new one while no broker can be asked is used for the next connection.
    let before = client.identity().unwrap();
    broker.stop().await;
    site.install("workload", &site.authority.sign(&Leaf { until: 1_800, ..Leaf::client(WORKLOAD) }));
    until("it is taken up", async || client.identity().unwrap().not_after < before.not_after).await;
    let broker = Daemon::start(&site).await;
    until("it is used", async || client.identity_fault().is_none()).await;
    asks(&client).await.unwrap();
    broker.stop().await;
}
