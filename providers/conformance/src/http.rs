//! The least HTTP client that a test needs to set a peer up, and to look behind the provider's back.
//!
//! One call a connection, in HTTP/1.0, so that an answer ends where its connection ends.

use std::{fmt::Write as _, io, sync::Arc};

use rustls::{ClientConfig, pki_types::ServerName};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::authority::{Authority, Identity};

/// One request, until it is sent.
#[must_use]
pub struct Call {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    tls: Option<Arc<ClientConfig>>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// The headers, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Call {
    /// A request without headers of its own and without a body. The URL is of the form `http://127.0.0.1:8200/v1/x`.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self { method: method.into(), url: url.into(), headers: Vec::new(), body: Vec::new(), tls: None }
    }

    /// With one more header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With a body.
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("content-type", content_type)
    }

    /// With a body of JSON.
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// Over TLS to a server of this authority, showing an identity if there is one.
    ///
    /// # Errors
    /// When the identity cannot be used.
    pub fn trusting(mut self, authority: &Authority, identity: Option<&Identity>) -> io::Result<Self> {
        self.tls = Some(authority.trusting(identity)?);
        Ok(self)
    }

    pub(crate) fn over(mut self, tls: Option<Arc<ClientConfig>>) -> Self {
        self.tls = tls;
        self
    }

    /// Sends it and waits for the whole answer.
    ///
    /// # Errors
    /// When there is no answer, or what comes is none.
    pub async fn send(self) -> io::Result<Answered> {
        let odd = || io::Error::other(format!("`{}` is no URL", self.url));
        let (scheme, rest) = self.url.split_once("://").ok_or_else(odd)?;
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let path = if path.is_empty() { "/" } else { path };
        let mut head = format!("{} {path} HTTP/1.0\r\nhost: {host}\r\n", self.method);
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let _ = write!(head, "content-length: {}\r\n\r\n", self.body.len());
        let message = [head.as_bytes(), &self.body].concat();
        let stream = TcpStream::connect(host).await?;
        let answer = match (scheme, &self.tls) {
            ("http", _) => exchange(stream, &message).await?,
            ("https", Some(tls)) => {
                let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_owned();
                let name = ServerName::try_from(name).map_err(io::Error::other)?;
                exchange(TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?, &message).await?
            }
            _ => return Err(odd()),
        };
        Answered::parse(&answer).ok_or_else(|| io::Error::other("the answer is not HTTP"))
    }
}

impl Answered {
    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The first header of this name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = std::str::from_utf8(bytes.get(..end)?).ok()?;
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Some(Self { status, headers, body: bytes.get(end.checked_add(4)?..)?.to_vec() })
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, message: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(message).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer).await {
        // A server that closes without a TLS goodbye has still answered.
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
        _ => Ok(answer),
    }
}
