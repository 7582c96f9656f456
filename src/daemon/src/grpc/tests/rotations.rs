//! Rotations, as operators look after them.

use std::{sync::Arc, time::Duration};

use leasehold_core::{
    catalog::{Catalog, Entry, Freshness, Source},
    rotation::{Plan, Strategy},
    ttl::TtlLimits,
};
use leasehold_proto::v1;
use tonic::Code;

use super::kit::{ADMIN, API, Edge, SECRET, reason};

fn edge() -> Edge {
    let edge = Edge::new();
    let entry = |rotation: Option<Plan>| Entry {
        provider: "main".parse().unwrap(),
        source: Source::Static { reference: "db".into() },
        limits: TtlLimits::new(Duration::from_secs(60), Duration::from_secs(600)).unwrap(),
        max_leases: None,
        freshness: Freshness::default(),
        description: None,
        rotation: rotation.map(Arc::new),
    };
    let secrets = [
        (SECRET.parse().unwrap(), entry(Some(Plan::new(Strategy::Generate)))),
        ("prod/payments/fixed".parse().unwrap(), entry(None)),
    ];
    edge.engine.replace_catalog(Catalog::new(secrets, []).unwrap());
    edge
}

#[tokio::test(start_paused = true)]
async fn a_rotation_is_asked_for_shown_listed_paused_and_resumed() {
    let edge = edge();
    let mut client = edge.operators(ADMIN);
    let watch = v1::WatchRotationRequest { path: SECRET.into() };
    let mut watched = client.watch_rotation(watch).await.unwrap().into_inner();
    let first = watched.message().await.unwrap().unwrap().rotation.unwrap();
    assert_eq!((first.state(), first.wanted_time), (v1::RotationState::Idle, None));

    let pause = v1::PauseRotationRequest { path: SECRET.into(), ..Default::default() };
    let paused = client.pause_rotation(pause).await.unwrap().into_inner().rotation.unwrap();
    assert!(paused.pause_time.is_some());
    assert_eq!(watched.message().await.unwrap().unwrap().rotation, Some(paused));

    let rotate = v1::RotateSecretRequest { path: SECRET.into(), ..Default::default() };
    let answer = client.rotate_secret(rotate).await.unwrap().into_inner();
    let wanted = answer.rotation.unwrap();
    assert!(wanted.wanted_time.is_some() && wanted.strategy() == v1::RotationStrategy::Generate);
    let get = v1::GetRotationRequest { path: SECRET.into() };
    let shown = client.get_rotation(get).await.unwrap().into_inner().rotation.unwrap();
    assert_eq!(shown, wanted);

    let filter = Some(v1::RotationFilter { attention: true, ..Default::default() });
    let list = v1::ListRotationsRequest { filter, ..Default::default() };
    let listed = client.list_rotations(list).await.unwrap().into_inner();
    assert_eq!((listed.rotations, listed.next_page_token), (vec![wanted], String::new()));
    let resume = v1::ResumeRotationRequest { path: SECRET.into(), ..Default::default() };
    let resumed = client.resume_rotation(resume).await.unwrap().into_inner().rotation.unwrap();
    assert_eq!(resumed.pause_time, None);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_done_has_its_reason() {
    let edge = edge();
    let mut client = edge.operators(ADMIN);
    let back = v1::RollBackRotationRequest { path: SECRET.into(), reason: "no".into(), ..Default::default() };
    let idle = client.roll_back_rotation(back.clone()).await.unwrap_err();
    assert_eq!((idle.code(), reason(&idle)), (Code::FailedPrecondition, "ROTATION_STATE".to_owned()));
    let unsaid = v1::RollBackRotationRequest { reason: String::new(), ..back };
    assert_eq!(reason(&client.roll_back_rotation(unsaid).await.unwrap_err()), "INVALID_REQUEST");
    let fixed = v1::GetRotationRequest { path: "prod/payments/fixed".into() };
    assert_eq!(reason(&client.get_rotation(fixed).await.unwrap_err()), "NOT_ROTATED");
    let mut workload = edge.operators(API);
    let rotate = v1::RotateSecretRequest { path: SECRET.into(), ..Default::default() };
    assert_eq!(workload.rotate_secret(rotate).await.unwrap_err().code(), Code::PermissionDenied);
    let watch = v1::WatchRotationRequest { path: SECRET.into() };
    assert_eq!(workload.watch_rotation(watch).await.unwrap_err().code(), Code::PermissionDenied);
}
