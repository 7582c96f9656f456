//! What happens to a request between HTTP/2 and the service: the peer is checked and named, the stream is counted.

use std::{
    convert::Infallible,
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use leasehold_core::ports::Clock;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tower::{Service, ServiceExt};

use super::{
    connection::{Connection, Stream},
    refusal,
};

/// What can be served: an HTTP service that never fails, such as `tonic::service::Routes`. Implemented for all that fit.
pub trait Answers:
    Service<Request<Incoming>, Response = Response<Self::Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
    /// The body of its responses.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>
        + Default
        + Unpin
        + Send
        + 'static;
}

impl<S, B> Answers for S
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Default + Unpin + Send + 'static,
{
    type Body = B;
}

/// A response's body that keeps its stream counted, and that ends when the connection is being ended and the service
/// has nothing more to say just then: a watch does not outlive its peer's standing, nor hold up a stop.
pub(crate) struct Tracked<B> {
    inner: B,
    state: State,
}

enum State {
    /// Answering.
    Open(Stream),
    /// The service made the client wait: from here on the connection's end is waited for, too.
    Waiting(Stream, Pin<Box<WaitForCancellationFutureOwned>>),
    /// Over, by us; or never counted.
    Done,
}

/// Answers one request.
pub(crate) async fn answer<S: Answers>(
    connection: Arc<Connection>,
    clock: Arc<dyn Clock>,
    service: S,
    mut request: Request<Incoming>,
) -> Result<Response<Tracked<S::Body>>, Infallible> {
    let stream = match connection.begin(clock.now()) {
        Ok(stream) => stream,
        Err(why) => {
            let response = refusal::distrusted::<S::Body>(&why);
            return Ok(response.map(|inner| Tracked { inner, state: State::Done }));
        }
    };
    request.extensions_mut().insert(Arc::clone(connection.peer()));
    let response = service.oneshot(request).await?;
    Ok(response.map(|inner| Tracked { inner, state: State::Open(stream) }))
}

impl<B: Body<Data = Bytes> + Unpin> Body for Tracked<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        if matches!(this.state, State::Done) {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        // Only streams come here, so only they pay for the second wait.
        this.state = match std::mem::replace(&mut this.state, State::Done) {
            State::Open(stream) => {
                let ended = Box::pin(stream.ended());
                State::Waiting(stream, ended)
            }
            other => other,
        };
        let State::Waiting(stream, ended) = &mut this.state else {
            return Poll::Ready(None);
        };
        if ended.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let trailers = stream.connection().ending().map(refusal::Ending::trailers).unwrap_or_default();
        this.state = State::Done;
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Done) || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
