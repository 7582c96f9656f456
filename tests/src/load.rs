//! A lean gRPC load generator on `h2`: tonic's client is the bottleneck before the server is.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use hdrhistogram::Histogram;
use http::{HeaderMap, Method, Request, Uri, header};
use prost::Message;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{net::TcpStream, task::JoinSet, time::Instant};
use tokio_rustls::TlsConnector;

/// Something that went wrong with a call.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection.
    #[error("connecting: {0}")]
    Connect(#[from] std::io::Error),
    /// HTTP/2 broke.
    #[error("http/2: {0}")]
    H2(#[from] h2::Error),
    /// The server answered with another status than OK.
    #[error("grpc-status {0}")]
    Status(i32),
}

/// One connection; clones share it.
#[derive(Clone)]
pub struct Connection {
    send: SendRequest<Bytes>,
}

/// One unary call, ready to be sent again and again.
#[derive(Clone)]
pub struct Call {
    uri: Uri,
    body: Bytes,
}

/// The messages of a stream, until it ends.
pub struct Messages {
    body: h2::RecvStream,
    rest: BytesMut,
}

/// What a closed-loop run came to.
#[derive(Clone, Copy, Debug)]
pub struct Throughput {
    /// Calls answered with OK.
    pub calls: u64,
    /// How long it took.
    pub elapsed: Duration,
}

impl Throughput {
    /// Calls a second.
    pub fn per_second(&self) -> f64 {
        self.calls as f64 / self.elapsed.as_secs_f64()
    }
}

impl Call {
    /// A call of `method` (such as `leasehold.v1.LeaseService/IssueLease`) with this message.
    pub fn new(method: &str, message: &impl Message) -> Self {
        let mut body = BytesMut::with_capacity(message.encoded_len() + 5);
        body.put_u8(0);
        body.put_u32(u32::try_from(message.encoded_len()).expect("a message is short"));
        message.encode(&mut body).expect("a BytesMut grows");
        let uri = format!("http://localhost/{method}").parse().expect("a method is a path");
        Self { uri, body: body.freeze() }
    }
}

impl Connection {
    /// Connects with TLS and HTTP/2.
    ///
    /// # Errors
    /// When either fails.
    pub async fn open(address: SocketAddr, tls: Arc<ClientConfig>) -> Result<Self, CallError> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").expect("a host name");
        let stream = TlsConnector::from(tls).connect(name, tcp).await?;
        let (send, connection) = h2::client::Builder::new()
            .initial_window_size(1 << 20)
            .initial_connection_window_size(16 << 20)
            .max_concurrent_streams(1000)
            .handshake(stream)
            .await?;
        tokio::spawn(async move {
            // The calls on it report what is wrong with the connection.
            let _ = connection.await;
        });
        Ok(Self { send })
    }

    /// Makes one call and returns the message's bytes.
    ///
    /// # Errors
    /// When the connection breaks or the status is not OK.
    pub async fn call(&mut self, call: &Call) -> Result<Bytes, CallError> {
        let mut body = self.begin(call).await?;
        let mut message = BytesMut::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk?;
            let _ = body.flow_control().release_capacity(chunk.len());
            message.extend_from_slice(&chunk);
        }
        match body.trailers().await?.as_ref().and_then(status) {
            Some(0) => Ok(message.split_off(message.len().min(5)).freeze()),
            Some(other) => Err(CallError::Status(other)),
            None => Err(CallError::Status(-1)),
        }
    }

    /// Makes one call whose answer is a stream.
    ///
    /// # Errors
    /// When the connection breaks or the status is not OK.
    pub async fn watch(&mut self, call: &Call) -> Result<Messages, CallError> {
        Ok(Messages { body: self.begin(call).await?, rest: BytesMut::new() })
    }

    async fn begin(&mut self, call: &Call) -> Result<h2::RecvStream, CallError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(call.uri.clone())
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .body(())
            .expect("the parts are valid");
        let mut send = self.send.clone().ready().await?;
        let (response, mut stream) = send.send_request(request, false)?;
        stream.send_data(call.body.clone(), true)?;
        let response = response.await?;
        if let Some(status) = status(response.headers())
            && status != 0
        {
            return Err(CallError::Status(status));
        }
        Ok(response.into_body())
    }
}

impl Messages {
    /// The next message's bytes; `None` when the stream has ended with OK.
    ///
    /// # Errors
    /// When the connection breaks or the status is not OK.
    pub async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        loop {
            if let Some((prefix, rest)) = self.rest.split_first_chunk::<5>() {
                let [_, length @ ..] = *prefix;
                let length = u32::from_be_bytes(length) as usize;
                if rest.len() >= length {
                    return Ok(Some(self.rest.split_to(5 + length).freeze().slice(5..)));
                }
            }
            match self.body.data().await {
                Some(chunk) => {
                    let chunk = chunk?;
                    let _ = self.body.flow_control().release_capacity(chunk.len());
                    self.rest.extend_from_slice(&chunk);
                }
                None => {
                    return match self.body.trailers().await?.as_ref().and_then(status) {
                        Some(0) => Ok(None),
                        other => Err(CallError::Status(other.unwrap_or(-1))),
                    };
                }
            }
        }
    }
}

/// Keeps `in_flight` calls going over `connections` for `span`, one of `calls` after the other: how fast the server is when
/// it is never idle.
///
/// # Errors
/// The first call that fails.
pub async fn closed_loop(
    connections: &[Connection],
    calls: &Arc<[Call]>,
    in_flight: usize,
    span: Duration,
) -> Result<Throughput, CallError> {
    let start = Instant::now();
    let end = start + span;
    let mut tasks = JoinSet::new();
    for n in 0..in_flight {
        let (mut connection, calls) = (connections[n % connections.len()].clone(), calls.clone());
        tasks.spawn(async move {
            let mut made = 0;
            while Instant::now() < end {
                connection.call(&calls[(n + made) % calls.len()]).await?;
                made += 1;
            }
            Ok::<u64, CallError>(made as u64)
        });
    }
    let mut calls = 0;
    while let Some(done) = tasks.join_next().await {
        calls += done.expect("a load task does not panic")?;
    }
    Ok(Throughput { calls, elapsed: start.elapsed() })
}

/// Sends `rate` calls a second for `span`, whatever the answers do, and measures each from the moment when it was due:
/// so a slow answer is not hidden by the calls that it held up.
///
/// # Errors
/// The first call that fails.
pub async fn open_loop(
    connections: &[Connection],
    calls: &Arc<[Call]>,
    rate: f64,
    span: Duration,
) -> Result<Histogram<u64>, CallError> {
    let start = Instant::now();
    let total = (rate * span.as_secs_f64()) as u32;
    let mut tasks = JoinSet::new();
    let mut histogram = Histogram::<u64>::new(3).expect("three digits are valid");
    for n in 0..total {
        let due = start + Duration::from_secs_f64(f64::from(n) / rate);
        if due > Instant::now() {
            tokio::time::sleep_until(due).await;
        }
        let (mut connection, calls) = (connections[n as usize % connections.len()].clone(), calls.clone());
        tasks.spawn(async move {
            connection.call(&calls[n as usize % calls.len()]).await?;
            Ok::<Duration, CallError>(due.elapsed())
        });
        while let Some(done) = tasks.try_join_next() {
            record(&mut histogram, done.expect("a load task does not panic")?);
        }
    }
    while let Some(done) = tasks.join_next().await {
        record(&mut histogram, done.expect("a load task does not panic")?);
    }
    Ok(histogram)
}

fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
    histogram.record(micros).expect("the histogram grows");
}

fn status(headers: &HeaderMap) -> Option<i32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}
