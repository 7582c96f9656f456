//! One message in, one message or a stream of rendered ones out, without tonic's machinery for streams.
//!
//! For every call tonic makes a stream of the request and one of the response, each with a buffer of 8 KiB that is wiped
//! when it is freed. For `IssueLease`, the call of which there are so many, that is as much work as all the rest of the
//! edge; and a watch, of which ten thousand are open, would have such a buffer for as long as it lasts. What goes over the
//! wire is the same.
//!
//! Source: gRPC over HTTP/2 (github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md): a message is a flag for compression, its length
//! in four bytes, and itself; a response ends with trailers that hold its status.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, Bytes, BytesMut};
use futures::StreamExt;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use prost::Message;
use tonic::{Status, codegen::StdError};

use super::watches::Frames;

/// What is before a message: the flag, and the length.
const PREFIX: usize = 5;

/// A response's body: one message and the status OK, messages as they come and the status, or whatever tonic made.
pub struct Reply(State);

enum State {
    /// The message with its prefix; wiped when it is sent, as all that is freed.
    Message(Bytes),
    /// Messages with their prefixes. They are asked for as the client's flow control allows.
    Messages(Frames),
    /// The status is still to be told.
    Trailers,
    Done,
    Other(tonic::body::Body),
}

/// Reads the one message of a request.
///
/// # Errors
/// When there is none or more than one, or when it is compressed, too long or malformed: with the codes that tonic has for it.
pub(super) async fn read<M, B>(headers: &HeaderMap, body: B, limit: usize) -> Result<M, Status>
where
    M: Message + Default,
    B: Body<Data = Bytes> + Send,
    B::Error: Into<StdError>,
{
    if headers.get("grpc-encoding").is_some_and(|encoding| encoding != "identity") {
        let mut status = Status::unimplemented("compressed requests are not understood");
        status
            .metadata_mut()
            .insert("grpc-accept-encoding", tonic::metadata::MetadataValue::from_static("identity"));
        return Err(status);
    }
    let bytes = collect(body, limit).await?;
    let (prefix, message) =
        bytes.split_first_chunk::<PREFIX>().ok_or_else(|| Status::internal("there is no message"))?;
    let [flag, length @ ..] = *prefix;
    if flag != 0 {
        return Err(Status::internal("the message is compressed, and no encoding was named"));
    }
    if usize::try_from(u32::from_be_bytes(length)) != Ok(message.len()) {
        return Err(Status::internal("the request is not one whole message"));
    }
    M::decode(message).map_err(|error| Status::internal(error.to_string()))
}

/// The answer OK with `message`.
///
/// # Errors
/// When it is too long.
pub(super) fn reply(message: &impl Message, limit: usize) -> Result<Response<Reply>, Status> {
    Ok(begin(State::Message(framed(message, limit)?)))
}

/// The answer with these messages, and their status at the end.
pub(super) fn stream(messages: Frames) -> Response<Reply> {
    begin(State::Messages(messages))
}

fn begin(state: State) -> Response<Reply> {
    let mut response = Response::new(Reply(state));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// A message with its prefix.
///
/// # Errors
/// When it is too long.
pub(super) fn framed(message: &impl Message, limit: usize) -> Result<Bytes, Status> {
    let length = message.encoded_len();
    let announced = u32::try_from(length).ok().filter(|_| length <= limit);
    let announced = announced.ok_or_else(|| {
        Status::out_of_range(format!("the response has {length} bytes, the limit is {limit}"))
    })?;
    // Exactly as large as needed: whatever is freed is wiped first.
    let mut bytes = BytesMut::with_capacity(length.saturating_add(PREFIX));
    bytes.put_u8(0);
    bytes.put_u32(announced);
    message.encode_raw(&mut bytes);
    Ok(bytes.freeze())
}

/// The whole body; mostly it comes in one piece, which is not copied.
async fn collect<B>(body: B, limit: usize) -> Result<Bytes, Status>
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<StdError>,
{
    let mut body = std::pin::pin!(body);
    let (mut first, mut whole) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Status::from_error(error.into()))?;
        // Trailers of a request mean nothing.
        let Ok(piece) = frame.into_data() else { continue };
        let length = first.len().max(whole.len()).saturating_add(piece.len());
        if length > limit.saturating_add(PREFIX) {
            return Err(Status::out_of_range(format!(
                "the request is longer than the limit of {limit} bytes"
            )));
        }
        if first.is_empty() {
            first = piece;
            continue;
        }
        if whole.is_empty() {
            whole.extend_from_slice(&first);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

impl From<tonic::body::Body> for Reply {
    fn from(body: tonic::body::Body) -> Self {
        Self(State::Other(body))
    }
}

impl Default for Reply {
    fn default() -> Self {
        tonic::body::Body::default().into()
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let State::Other(body) = &mut self.0 {
            return Pin::new(body).poll_frame(cx);
        }
        if let State::Messages(messages) = &mut self.0 {
            let status = match ready!(messages.poll_next_unpin(cx)) {
                Some(Ok(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Some(Err(status)) => status,
                None => Status::ok(""),
            };
            // What it held is given back at once, and not when the client has read the end.
            self.0 = State::Done;
            let mut trailers = HeaderMap::new();
            status.add_header(&mut trailers)?;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        let (frame, next) = match std::mem::replace(&mut self.0, State::Done) {
            State::Message(bytes) => (Some(Frame::data(bytes)), State::Trailers),
            State::Trailers => {
                let status = (Status::GRPC_STATUS, HeaderValue::from_static("0"));
                (Some(Frame::trailers(HeaderMap::from_iter([status]))), State::Done)
            }
            rest => (None, rest),
        };
        self.0 = next;
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            State::Done => true,
            State::Other(body) => body.is_end_stream(),
            State::Message(_) | State::Messages(_) | State::Trailers => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            // A length that is known would be sent as a header, of which gRPC makes no use.
            State::Message(_) | State::Messages(_) => SizeHint::default(),
            State::Trailers | State::Done => SizeHint::with_exact(0),
            State::Other(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http_body_util::StreamBody;
    use leasehold_proto::v1::IssueLeaseRequest;
    use tonic::Code;

    use super::*;

    fn request(secret: &str) -> Vec<u8> {
        let message = IssueLeaseRequest { secret: secret.to_owned(), ..IssueLeaseRequest::default() };
        let mut bytes = vec![0];
        bytes.put_u32(u32::try_from(message.encoded_len()).unwrap());
        message.encode(&mut bytes).unwrap();
        bytes
    }

    /// Reads a body that comes in pieces of so many bytes.
    async fn read_in_pieces(body: &[u8], piece: usize, limit: usize) -> Result<String, Code> {
        let frames: Vec<_> = body
            .chunks(piece)
            .map(|chunk| Ok::<_, Status>(Frame::data(Bytes::copy_from_slice(chunk))))
            .collect();
        let body = StreamBody::new(stream::iter(frames));
        let read = read::<IssueLeaseRequest, _>(&HeaderMap::new(), body, limit).await;
        read.map(|message| message.secret).map_err(|status| status.code())
    }

    #[tokio::test]
    async fn a_message_is_read_however_it_comes() {
        let whole = request("prod/payments/db");
        for piece in [1, 4, 5, 6, whole.len()] {
            assert_eq!(read_in_pieces(&whole, piece, 100).await.as_deref(), Ok("prod/payments/db"));
        }
    }

    #[tokio::test]
    async fn what_is_not_one_message_is_refused() {
        let whole = request("prod/payments/db");
        let twice = [whole.clone(), whole.clone()].concat();
        let compressed = [&[1], &whole[1..]].concat();
        let malformed = [0, 0, 0, 0, 1, 0xff];
        for bad in [&[][..], &whole[..4], &whole[..8], &twice, &compressed, &malformed] {
            assert_eq!(read_in_pieces(bad, 1000, 1000).await, Err(Code::Internal), "{bad:?}");
        }
        for piece in [1, 1000] {
            assert_eq!(read_in_pieces(&whole, piece, 10).await, Err(Code::OutOfRange));
        }
        let headers =
            HeaderMap::from_iter([("grpc-encoding".parse().unwrap(), HeaderValue::from_static("gzip"))]);
        let body = http_body_util::Full::new(Bytes::from(whole));
        let refused = read::<IssueLeaseRequest, _>(&headers, body, 1000).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unimplemented);
    }

    #[tokio::test]
    async fn a_stream_is_its_messages_and_then_how_it_ended() {
        let one = Bytes::from(request("prod/payments/db"));
        for (end, code) in [(None, "0"), (Some(Err(Status::aborted("lagged"))), "10")] {
            let messages = stream::iter([Ok(one.clone()), Ok(one.clone())].into_iter().chain(end));
            let response = super::stream(messages.boxed());
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/grpc");
            let body = response.into_body().collect().await.unwrap();
            assert_eq!(body.trailers().unwrap()["grpc-status"], code);
            assert_eq!(body.to_bytes(), [&one[..], &one[..]].concat());
        }
    }

    #[tokio::test]
    async fn a_reply_is_the_message_and_then_the_status() {
        let message =
            IssueLeaseRequest { secret: "prod/payments/db".to_owned(), ..IssueLeaseRequest::default() };
        assert_eq!(reply(&message, 5).err().unwrap().code(), Code::OutOfRange);
        let response = reply(&message, 100).unwrap();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/grpc");
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(body.to_bytes(), request("prod/payments/db"));
    }
}
