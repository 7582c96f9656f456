//! Bytes on a connection.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Request;

/// Reads one request; `None` when the connection ended before its head. What was read of the next one stays in `unread`.
pub(super) async fn read_request(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    unread: &mut Vec<u8>,
) -> io::Result<Option<Request>> {
    let Some(head) = take_until(stream, unread, b"\r\n\r\n").await? else { return Ok(None) };
    let mut request = Request { head: String::from_utf8_lossy(&head).into_owned(), body: Vec::new() };
    if request.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
        write(stream, "HTTP/1.1 100 Continue\r\n\r\n", b"").await?;
    }
    if request.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        // RFC 9112, section 7.1, without trailers.
        loop {
            let Some(line) = take_until(stream, unread, b"\r\n").await? else { return Ok(None) };
            let line = String::from_utf8_lossy(&line).into_owned();
            let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16);
            let size = size.map_err(io::Error::other)?;
            request.body.extend(take(stream, unread, size).await?);
            take(stream, unread, 2).await?;
            if size == 0 {
                return Ok(Some(request));
            }
        }
    }
    let length = request.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    request.body = take(stream, unread, length).await?;
    Ok(Some(request))
}

/// Writes an answer, or the beginning of one.
pub(super) async fn write(stream: &mut (impl AsyncWrite + Unpin), head: &str, body: &[u8]) -> io::Result<()> {
    stream.write_all(&[head.as_bytes(), body].concat()).await?;
    stream.flush().await
}

/// What comes up to and with `end`; `None` when the connection ends before.
async fn take_until(
    stream: &mut (impl AsyncRead + Unpin),
    unread: &mut Vec<u8>,
    end: &[u8],
) -> io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(at) = unread.windows(end.len()).position(|window| window == end) {
            let rest = unread.split_off(at.saturating_add(end.len()));
            return Ok(Some(std::mem::replace(unread, rest)));
        }
        if stream.read_buf(unread).await? == 0 {
            return Ok(None);
        }
    }
}

/// The next bytes, this many.
async fn take(
    stream: &mut (impl AsyncRead + Unpin),
    unread: &mut Vec<u8>,
    count: usize,
) -> io::Result<Vec<u8>> {
    while unread.len() < count {
        if stream.read_buf(unread).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let rest = unread.split_off(count);
    Ok(std::mem::replace(unread, rest))
}
