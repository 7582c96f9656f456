//! A server that answers as a test says: errors, delays and cuts that no real back end shows on demand.
//!
//! HTTP/1.1 on loopback, one request a connection, and no more of the protocol than that.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// A server, until it is dropped.
pub struct ScriptedServer {
    address: SocketAddr,
    calls: Arc<AtomicU64>,
    requests: Arc<Mutex<Vec<Request>>>,
    serving: JoinHandle<()>,
}

/// What was asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// The request line and the headers, as they came.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// An answer.
    Answer(Answer),
    /// The connection is closed instead.
    Cut,
    /// The connection is closed in the middle of the answer's body.
    CutInBody(Answer),
    /// Nothing, for ever.
    Silence,
    /// Half of the answer's body, then nothing, for ever.
    StallInBody(Answer),
}

/// An HTTP answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, without `content-length` and `connection`.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl ScriptedServer {
    /// Starts on a free port. The script gets each request and how many came before it.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start(script: impl Fn(&Request, u64) -> Reply + Send + Sync + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let calls = Arc::new(AtomicU64::new(0));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (script, counter, log) = (Arc::new(script), Arc::clone(&calls), Arc::clone(&requests));
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (script, counter, log) = (Arc::clone(&script), Arc::clone(&counter), Arc::clone(&log));
                connections.spawn(async move {
                    // A client that goes away early is no fault of the script's.
                    let _ = serve(stream, &*script, &counter, &log).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, calls, requests, serving })
    }

    /// Where it is, such as `http://127.0.0.1:4567`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests came.
    pub fn calls(&self) -> &AtomicU64 {
        &self.calls
    }

    /// The requests that came.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Answer {
    /// An answer of JSON, with the media type of AWS's protocol.
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type", "application/x-amz-json-1.1".to_owned())];
        Self { status, headers, body: body.into() }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn head(&self) -> String {
        let mut head = format!("HTTP/1.1 {} Scripted\r\nconnection: close\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", self.body.len()));
        head
    }

    fn half(&self) -> &[u8] {
        self.body.get(..self.body.len().div_ceil(2)).unwrap_or_default()
    }
}

async fn serve(
    mut stream: TcpStream,
    script: &(dyn Fn(&Request, u64) -> Reply + Send + Sync),
    counter: &AtomicU64,
    log: &Mutex<Vec<Request>>,
) -> io::Result<()> {
    let Some(request) = read_request(&mut stream).await? else { return Ok(()) };
    let before = counter.fetch_add(1, Ordering::SeqCst);
    let reply = script(&request, before);
    log.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    match reply {
        Reply::Cut => Ok(()),
        Reply::Silence => std::future::pending().await,
        Reply::Answer(answer) => {
            stream.write_all(answer.head().as_bytes()).await?;
            stream.write_all(&answer.body).await?;
            stream.shutdown().await
        }
        Reply::CutInBody(answer) => {
            stream.write_all(answer.head().as_bytes()).await?;
            stream.write_all(answer.half()).await?;
            stream.shutdown().await
        }
        Reply::StallInBody(answer) => {
            stream.write_all(answer.head().as_bytes()).await?;
            stream.write_all(answer.half()).await?;
            std::future::pending().await
        }
    }
}

/// Reads one request with a `content-length`; `None` when the connection ended before its head.
async fn read_request(stream: &mut TcpStream) -> io::Result<Option<Request>> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let mut body = bytes.split_off(end.saturating_add(4));
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    while body.len() < length.unwrap_or(0) {
        if stream.read_buf(&mut body).await? == 0 {
            break;
        }
    }
    Ok(Some(Request { head, body }))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(url: &str, request: &str) -> String {
        let mut stream = TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn it_answers_by_script_and_remembers() {
        let server = ScriptedServer::start(|request, before| match before {
            0 => Reply::Answer(Answer::json(418, request.body.clone()).header("x-y", "z")),
            1 => Reply::CutInBody(Answer::json(200, "abcd")),
            _ => Reply::Cut,
        })
        .await
        .unwrap();
        let post = "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";
        let answer = ask(&server.url(), post).await;
        assert!(answer.starts_with("HTTP/1.1 418") && answer.contains("x-y: z"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
        assert!(ask(&server.url(), post).await.ends_with("content-length: 4\r\n\r\nab"));
        assert_eq!(ask(&server.url(), post).await, "");
        assert_eq!(server.calls().load(Ordering::SeqCst), 3);
        assert_eq!(server.requests().first().unwrap().body, b"hello");
    }
}
