//! The standard health service (`grpc.health.v1`): serving while the ledger takes commits and the broker does not end.
//! The empty name is the broker as a whole; every service has its own name too.

use leasehold_ledger::LedgerHealth;
use leasehold_proto::v1::{
    lease_service_server::SERVICE_NAME as LEASES, operator_service_server::SERVICE_NAME as OPERATORS,
};
use tokio::sync::watch;
use tonic_health::{ServingStatus, server::HealthReporter};

/// Everything whose health is told.
const NAMES: [&str; 3] = ["", LEASES, OPERATORS];

/// Tells the health as it changes, until the broker ends.
pub(super) async fn report(
    reporter: HealthReporter,
    mut ledger: watch::Receiver<LedgerHealth>,
    mut stop: watch::Receiver<bool>,
) {
    let mut told = None;
    loop {
        let ok = matches!(*ledger.borrow_and_update(), LedgerHealth::Ok);
        let stopping = *stop.borrow_and_update();
        let status = if ok && !stopping { ServingStatus::Serving } else { ServingStatus::NotServing };
        if told != Some(status) {
            told = Some(status);
            for name in NAMES {
                reporter.set_service_status(name, status).await;
            }
        }
        if stopping {
            return;
        }
        let changed = tokio::select! {
            changed = ledger.changed() => changed,
            changed = stop.changed() => changed,
        };
        // Whoever owned them is gone, and so is the broker.
        if changed.is_err() {
            for name in NAMES {
                reporter.set_service_status(name, ServingStatus::NotServing).await;
            }
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic_health::{pb::HealthCheckRequest, pb::health_server::Health, server::HealthService};

    use super::*;

    async fn status(service: &HealthService, name: &str) -> i32 {
        let request = tonic::Request::new(HealthCheckRequest { service: name.to_owned() });
        service.check(request).await.unwrap().into_inner().status
    }

    #[tokio::test]
    async fn health_follows_the_ledger_and_the_end() {
        const SERVING: i32 = 1;
        const NOT_SERVING: i32 = 2;
        let reporter = HealthReporter::new();
        let service = HealthService::from_health_reporter(reporter.clone());
        let (ledger, seen) = watch::channel(LedgerHealth::Ok);
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(report(reporter, seen, stopped));
        tokio::task::yield_now().await;
        for name in NAMES {
            assert_eq!(status(&service, name).await, SERVING, "{name}");
        }
        ledger.send_replace(LedgerHealth::Full("no room".into()));
        tokio::task::yield_now().await;
        assert_eq!(status(&service, LEASES).await, NOT_SERVING);
        ledger.send_replace(LedgerHealth::Ok);
        tokio::task::yield_now().await;
        assert_eq!(status(&service, OPERATORS).await, SERVING);
        stop.send_replace(true);
        task.await.unwrap();
        for name in NAMES {
            assert_eq!(status(&service, name).await, NOT_SERVING, "{name}");
        }
    }
}
