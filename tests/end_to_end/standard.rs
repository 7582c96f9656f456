//! The standard services: health for each service, and reflection; both for authenticated callers only.

use futures::stream;
use leasehold_tests::{
    daemon::{self, Daemon},
    site::{Plan, STRANGER, Site},
};
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

const SERVICES: [&str; 2] = ["leasehold.v1.LeaseService", "leasehold.v1.OperatorService"];

#[tokio::test]
async fn each_service_tells_its_health_until_the_end() {
    let site = Site::new(Plan::default());
    let daemon = Daemon::start(&site).await;
    let mut health = HealthClient::new(daemon::workload(&site).await.channel());
    for service in SERVICES.into_iter().chain([""]) {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }
    let unknown = HealthCheckRequest { service: "leasehold.v1.Nothing".to_owned() };
    assert_eq!(health.check(unknown).await.unwrap_err().code(), Code::NotFound);

    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    assert!(daemon.stop().await.success());
    // It is told, unless the connection went first.
    let last = watch.message().await;
    assert!(!matches!(&last, Ok(Some(told)) if told.status() == ServingStatus::Serving), "{last:?}");
}

#[tokio::test]
async fn reflection_describes_every_service() {
    let site = Site::new(Plan::default());
    let _daemon = Daemon::start(&site).await;
    // Whoever is authenticated may ask, whatever policy says of them.
    let stranger = site.client("stranger").connect().await.unwrap();
    let mut reflection = ServerReflectionClient::new(stranger.channel());
    let ask = |message_request| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(message_request),
    };
    let symbols = SERVICES.map(|service| ask(MessageRequest::FileContainingSymbol(service.to_owned())));
    let questions: Vec<_> =
        [ask(MessageRequest::ListServices(String::new()))].into_iter().chain(symbols).collect();
    let mut answers = reflection.server_reflection_info(stream::iter(questions)).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) =
        answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("no list")
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    for service in SERVICES.into_iter().chain(["grpc.health.v1.Health"]) {
        assert!(names.contains(&service), "{names:?}");
    }
    for service in SERVICES {
        let answer = answers.message().await.unwrap().unwrap().message_response;
        let Some(MessageResponse::FileDescriptorResponse(files)) = answer else {
            panic!("{service}: {answer:?}")
        };
        let name = service.rsplit('.').next().unwrap().as_bytes();
        assert!(files.file_descriptor_proto.iter().any(|file| file.windows(name.len()).any(|at| at == name)));
    }
    assert!(stranger.operator().status().await.is_err(), "{STRANGER} may not see more than that");
}
