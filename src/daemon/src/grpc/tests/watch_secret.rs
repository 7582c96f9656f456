//! Watching one secret, over the wire.

use std::time::Duration;

use futures::StreamExt;
use leasehold_proto::v1::{self, watch_secret_response::Event};
use tonic::{Code, Streaming};
use tonic_types::StatusExt;

use super::kit::{ADMIN, API, Edge, OTHER, SECRET, reason, told};
use crate::grpc::Settings;

fn of(secret: &str, resume_token: &str) -> v1::WatchSecretRequest {
    v1::WatchSecretRequest { secret: secret.into(), resume_token: resume_token.into() }
}

async fn next(watch: &mut Streaming<v1::WatchSecretResponse>) -> (String, Event) {
    let response = watch.next().await.unwrap().unwrap();
    (response.resume_token, response.event.unwrap())
}

async fn write(edge: &Edge) {
    let value = v1::SecretValue {
        fields: [("value".to_owned(), b"another".to_vec())].into(),
        content_type: String::new(),
    };
    let request = v1::WriteSecretRequest { path: SECRET.into(), value: Some(value), ..Default::default() };
    edge.operators(ADMIN).write_secret(request).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn all_who_watch_a_secret_are_told_and_can_go_on_where_they_were() {
    let edge = Edge::new();
    let mut client = edge.leases(API);
    let mut watches = Vec::new();
    for _ in 0..10 {
        let mut watch = client.watch_secret(of(SECRET, "")).await.unwrap().into_inner();
        let (_, event) = next(&mut watch).await;
        assert_eq!(event, Event::Standing(v1::SecretStanding::default()));
        watches.push(watch);
    }
    write(&edge).await;
    for watch in &mut watches {
        let (_, event) = next(watch).await;
        let Event::Rotated(rotated) = event else { panic!("{event:?}") };
        assert_eq!(rotated.version, "v2");
    }
    let mut late = client.watch_secret(of(SECRET, "")).await.unwrap().into_inner();
    let (place, event) = next(&mut late).await;
    let Event::Standing(standing) = event else { panic!("{event:?}") };
    assert_eq!((standing.current_version.as_str(), standing.draining_version.as_str()), ("v2", ""));

    let mut again = client.watch_secret(of(SECRET, &place)).await.unwrap().into_inner();
    let nothing = tokio::time::timeout(Duration::from_secs(1), again.next()).await;
    assert!(nothing.is_err(), "it was told already: {nothing:?}");
}

#[tokio::test(start_paused = true)]
async fn who_may_not_watch_a_secret_learns_nothing_of_it() {
    let edge = Edge::new();
    let denied = edge.leases(OTHER).watch_secret(of(SECRET, "")).await.unwrap_err();
    let absent = edge.leases(API).watch_secret(of("prod/payments/nothing", "")).await.unwrap_err();
    assert_eq!((denied.code(), reason(&denied).as_str()), (Code::PermissionDenied, "DENIED_OR_NOT_FOUND"));
    assert_eq!(told(&denied), told(&absent));
    let refused = edge.leases(API).watch_secret(of("prod", "7")).await.unwrap_err();
    let fields = refused.get_details_bad_request().unwrap().field_violations;
    let fields: Vec<_> = fields.iter().map(|one| one.field.as_str()).collect();
    assert_eq!(fields, ["secret", "resume_token"]);
}

#[tokio::test(start_paused = true)]
async fn both_kinds_of_watch_share_their_places() {
    let edge = Edge::with(Settings { max_watches_per_principal: 1, ..Settings::default() });
    let mut client = edge.leases(API);
    let held = client.watch_secret(of(SECRET, "")).await.unwrap();
    let refused = client.watch_leases(v1::WatchLeasesRequest::default()).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::ResourceExhausted, "TOO_MANY_STREAMS"));
    drop(held);
    client.watch_secret(of(SECRET, "")).await.unwrap();
}
