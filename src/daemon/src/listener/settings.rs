//! The listener's limits. Every one is explicit.

use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// Limits of connections, handshakes and HTTP/2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many connections may be open, after their handshake.
    pub max_connections: usize,
    /// How many of them one principal may have.
    pub max_connections_per_principal: usize,
    /// How many handshakes may be going on. When there are so many, those that have stalled make room.
    pub max_handshakes: usize,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// How long a connection may be open without a request or a stream.
    pub idle_timeout: Duration,
    /// How long a stopping listener waits for requests to finish.
    pub drain_timeout: Duration,
    /// Requests and streams at a time on one connection.
    pub max_streams: u32,
    /// Bytes of one request's headers, by HTTP/2's count (names, values, and 32 for each field).
    pub max_header_bytes: u32,
    /// Bytes of one HTTP/2 frame: 16 KiB to 16 MiB - 1.
    pub max_frame_bytes: u32,
    /// Bytes of a request that a client may send before they are read.
    pub stream_window_bytes: u32,
    /// The same for all of a connection's requests together.
    pub connection_window_bytes: u32,
    /// Bytes of a response that are buffered before the service is held back.
    pub send_buffer_bytes: usize,
    /// How often a silent connection is pinged.
    pub keepalive_interval: Duration,
    /// How long it may take to answer.
    pub keepalive_timeout: Duration,
    /// Streams that a client may reset before they are looked at; more ends the connection (rapid reset,
    /// CVE-2023-44487).
    pub max_pending_resets: usize,
    /// Resets that a client's errors may provoke from us; more ends the connection (CVE-2025-8671).
    pub max_error_resets: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_connections_per_principal: 10_000,
            max_handshakes: 1_024,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(15 * 60),
            drain_timeout: Duration::from_secs(10),
            max_streams: 512,
            max_header_bytes: 16 << 10,
            max_frame_bytes: 16 << 10,
            stream_window_bytes: 64 << 10,
            connection_window_bytes: 1 << 20,
            send_buffer_bytes: 64 << 10,
            keepalive_interval: Duration::from_secs(60),
            keepalive_timeout: Duration::from_secs(20),
            max_pending_resets: 20,
            max_error_resets: 1_024,
        }
    }
}

impl Settings {
    /// HTTP/2 within these limits.
    pub(crate) fn http2(&self) -> http2::Builder<TokioExecutor> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.max_streams)
            .max_header_list_size(self.max_header_bytes)
            .max_frame_size(self.max_frame_bytes)
            .initial_stream_window_size(self.stream_window_bytes)
            .initial_connection_window_size(self.connection_window_bytes)
            .max_send_buf_size(self.send_buffer_bytes)
            .keep_alive_interval(self.keepalive_interval)
            .keep_alive_timeout(self.keepalive_timeout)
            .max_pending_accept_reset_streams(self.max_pending_resets)
            .max_local_error_reset_streams(self.max_error_resets)
            // gRPC has no use for it.
            .auto_date_header(false);
        builder
    }
}
