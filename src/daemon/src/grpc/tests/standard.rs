//! Health and reflection, and what is not offered.

use futures::StreamExt;
use http::Request;
use leasehold_proto::v1::ErrorReason;
use tonic::{Code, Status, body::Body};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};
use tower::ServiceExt;

use super::kit::{API, Edge};

#[tokio::test(start_paused = true)]
async fn each_service_tells_its_health() {
    let edge = Edge::new();
    tokio::task::yield_now().await;
    let mut client = HealthClient::new(edge.channel(API));
    for service in ["", "leasehold.v1.LeaseService", "leasehold.v1.OperatorService"] {
        let request = HealthCheckRequest { service: service.into() };
        assert_eq!(client.check(request).await.unwrap().into_inner().status, 1, "{service}");
    }
    let request = HealthCheckRequest { service: "leasehold.v1.Nothing".into() };
    assert_eq!(client.check(request).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test(start_paused = true)]
async fn reflection_knows_every_service() {
    let edge = Edge::new();
    let mut client = ServerReflectionClient::new(edge.channel(API));
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers =
        client.server_reflection_info(futures::stream::iter([request])).await.unwrap().into_inner();
    let answer = answers.next().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    let expected = [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "leasehold.v1.LeaseService",
        "leasehold.v1.OperatorService",
    ];
    assert_eq!(names, expected);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_offered_is_unimplemented() {
    let edge = Edge::new();
    for path in ["/leasehold.v1.LeaseServiceX/IssueLease", "/leasehold.v1.LeaseService/Nothing", "/", "/x"] {
        let request = Request::post(path).body(Body::empty()).unwrap();
        let answer = edge.channel(API).oneshot(request).await.unwrap();
        let status = Status::from_header_map(answer.headers()).unwrap();
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
    }
}

#[test]
fn the_listeners_reasons_are_in_the_contract() {
    for reason in [
        "BROKER_STOPPING",
        "CONNECTION_IDLE",
        "CONNECTION_DISPLACED",
        "IDENTITY_EXPIRED",
        "IDENTITY_REVOKED",
        "IDENTITY_UNTRUSTED",
    ] {
        assert!(ErrorReason::from_reason(reason).is_some(), "{reason}");
    }
}
