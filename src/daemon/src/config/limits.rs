//! `[limits]`: how much of everything. Each limit has a default; none can be switched off.

use std::time::Duration;

use super::{Size, section::Section};

/// How much of everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections that are open at once.
    pub connections: u32,
    /// Of those, one principal's.
    pub connections_per_principal: u32,
    /// TLS handshakes under way at once.
    pub handshakes: u32,
    /// How long a client may take for its handshake.
    pub handshake_timeout: Duration,
    /// How long a connection without a request stays open.
    pub idle_timeout: Duration,
    /// Requests under way at once on one connection.
    pub streams_per_connection: u32,
    /// The longest request message.
    pub message_size: Size,
    /// The longest list of request headers.
    pub header_size: Size,
    /// How often a silent connection is pinged.
    pub keepalive_interval: Duration,
    /// How long it may take to answer.
    pub keepalive_timeout: Duration,
    /// How long requests under way may take to finish when the broker ends.
    pub drain_timeout: Duration,
    /// Requests under way at once, all principals' together.
    pub requests_in_flight: u32,
    /// Of those, requests to the service of operators.
    pub operator_requests_in_flight: u32,
    /// Watches that are open at once, of leases and of secrets.
    pub watches: u32,
    /// Of those, one principal's.
    pub watches_per_principal: u32,
    /// Requests a second of one principal, but for those of operators.
    pub requests_per_principal: u32,
    /// How many of them may come at once after a pause.
    pub request_burst: u32,
    /// Requests a second of one principal to the service of operators.
    pub operator_requests_per_principal: u32,
    /// How many of them may come at once after a pause.
    pub operator_request_burst: u32,
    /// Leases of one principal that are not over.
    pub leases_per_principal: u32,
    /// Leases on one secret that are not over.
    pub leases_per_secret: u32,
    /// Calls under way at once to one provider.
    pub provider_calls: u32,
    /// Calls that wait for their turn at one provider.
    pub provider_queue: u32,
    /// How long one call to a provider may take.
    pub provider_timeout: Duration,
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

const DAY: Duration = secs(86_400);
/// The most that a limit of requests a second can be.
const MOST_REQUESTS: u32 = 1_000_000;
/// The most that a limit of leases can be.
pub(in crate::config) const MOST_LEASES: u32 = 1_000_000_000;

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_principal: 10_000,
            handshakes: 1_024,
            handshake_timeout: secs(10),
            idle_timeout: secs(900),
            streams_per_connection: 512,
            message_size: Size(1 << 20),
            header_size: Size(16 << 10),
            keepalive_interval: secs(60),
            keepalive_timeout: secs(20),
            drain_timeout: secs(10),
            requests_in_flight: 10_000,
            operator_requests_in_flight: 256,
            watches: 16_384,
            watches_per_principal: 2_048,
            requests_per_principal: 200,
            request_burst: 2_000,
            operator_requests_per_principal: 100,
            operator_request_burst: 1_000,
            leases_per_principal: 10_000,
            leases_per_secret: 1_000_000,
            provider_calls: 64,
            provider_queue: 1_024,
            provider_timeout: secs(10),
        }
    }
}

pub(super) fn read(section: Section<'_>) -> Limits {
    let d = Limits::default();
    let count = |key, default, most| section.within::<u32>(key, default, 1..=most);
    let time = |key, default, most| section.within(key, default, secs(1)..=most);
    let limits = Limits {
        connections: count("connections", d.connections, 1_000_000),
        connections_per_principal: count("connections_per_principal", d.connections_per_principal, 1_000_000),
        handshakes: count("handshakes", d.handshakes, 65_536),
        handshake_timeout: time("handshake_timeout", d.handshake_timeout, secs(60)),
        idle_timeout: time("idle_timeout", d.idle_timeout, DAY),
        streams_per_connection: count("streams_per_connection", d.streams_per_connection, 10_000),
        message_size: section.within("message_size", d.message_size, Size(4 << 10)..=Size(16 << 20)),
        header_size: section.within("header_size", d.header_size, Size(4 << 10)..=Size(1 << 20)),
        keepalive_interval: time("keepalive_interval", d.keepalive_interval, DAY),
        keepalive_timeout: time("keepalive_timeout", d.keepalive_timeout, secs(600)),
        drain_timeout: time("drain_timeout", d.drain_timeout, secs(600)),
        watches: count("watches", d.watches, 1_000_000),
        watches_per_principal: count("watches_per_principal", d.watches_per_principal, 1_000_000),
        requests_in_flight: count("requests_in_flight", d.requests_in_flight, 1_000_000),
        operator_requests_in_flight: count(
            "operator_requests_in_flight",
            d.operator_requests_in_flight,
            10_000,
        ),
        requests_per_principal: count("requests_per_principal", d.requests_per_principal, MOST_REQUESTS),
        request_burst: count("request_burst", d.request_burst, MOST_REQUESTS),
        operator_requests_per_principal: count(
            "operator_requests_per_principal",
            d.operator_requests_per_principal,
            MOST_REQUESTS,
        ),
        operator_request_burst: count("operator_request_burst", d.operator_request_burst, MOST_REQUESTS),
        leases_per_principal: count("leases_per_principal", d.leases_per_principal, MOST_LEASES),
        leases_per_secret: count("leases_per_secret", d.leases_per_secret, MOST_LEASES),
        provider_calls: count("provider_calls", d.provider_calls, 10_000),
        provider_queue: count("provider_queue", d.provider_queue, 1_000_000),
        provider_timeout: time("provider_timeout", d.provider_timeout, secs(120)),
    };
    section.finish();
    limits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{faults_of, read_section};

    fn read(section: Section<'_>) -> Option<Limits> {
        Some(super::read(section))
    }

    #[test]
    fn each_has_a_default_within_its_bounds() {
        assert_eq!(read_section("", read).unwrap(), Limits::default());
        assert_eq!(read_section("connections = 5\nidle_timeout = '1h'", read).unwrap().connections, 5);
    }

    #[test]
    fn none_can_be_switched_off() {
        let cases = [
            ("connections = 0", "it must be between 1 and 1000000"),
            ("leases_per_principal = 0", "it must be between 1 and 1000000000"),
            ("request_burst = 0", "it must be between 1 and 1000000"),
            ("idle_timeout = '0s'", "it must be between 1s and 1d"),
            ("message_size = '1GiB'", "it must be between 4KiB and 16MiB"),
            ("handshake_timeout = 5", "must be a duration such as `15m`"),
            ("conections = 5", "did you mean `connections`?"),
        ];
        for (toml, expected) in cases {
            let faults = faults_of(toml, read);
            assert!(faults.contains(expected), "{toml:?} gave\n{faults}");
        }
    }
}
