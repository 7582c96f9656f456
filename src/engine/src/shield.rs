//! Use cases that a caller can leave but not stop: a client that hangs up must not leave a commit or a call to a back end
//! half done.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    thread,
};

use futures::future::BoxFuture;
use tokio::runtime::Handle;

use crate::{engine::Engine, error::EngineError};

/// A future that is polled where it is awaited, and moves to a task of its own when it is dropped before its end: the
/// common case pays for no task.
pub(crate) struct Shielded<T: Send + 'static> {
    work: Option<BoxFuture<'static, T>>,
    begun: bool,
}

/// Shields `work`. What was never begun is not begun by being dropped.
pub(crate) fn shield<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Shielded<T> {
    Shielded { work: Some(Box::pin(work)), begun: false }
}

/// A use case of the engine: an `async fn` of it and of a request, both borrowed.
pub(crate) trait UseCase<'a, R: 'a, T>:
    Fn(&'a Arc<Engine>, &'a R) -> <Self as UseCase<'a, R, T>>::Work
{
    /// It under way.
    type Work: Future<Output = Result<T, EngineError>> + Send + 'a;
}

impl<'a, R: 'a, T, W, F> UseCase<'a, R, T> for F
where
    F: Fn(&'a Arc<Engine>, &'a R) -> W,
    W: Future<Output = Result<T, EngineError>> + Send + 'a,
{
    type Work = W;
}

impl Engine {
    /// Shields a use case. When the state changed while it was being decided, it is decided anew, once.
    pub(crate) fn shielded<R, T>(
        self: &Arc<Self>,
        request: R,
        use_case: impl for<'a> UseCase<'a, R, T> + Send + Sync + 'static,
    ) -> Shielded<Result<T, EngineError>>
    where
        R: Send + Sync + 'static,
        T: Send + 'static,
    {
        let engine = self.clone();
        shield(async move {
            match use_case(&engine, &request).await {
                // Boxed: the common case should not carry the room for the rare one.
                Err(EngineError::Conflict) => Box::pin(use_case(&engine, &request)).await,
                result => result,
            }
        })
    }
}

impl<T: Send + 'static> Future for Shielded<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.begun = true;
        let Some(work) = &mut self.work else { return Poll::Pending };
        let polled = work.as_mut().poll(cx);
        if polled.is_ready() {
            self.work = None;
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Shielded<T> {
    fn drop(&mut self) {
        // Work that panicked cannot go on.
        if !self.begun || thread::panicking() {
            return;
        }
        if let (Some(work), Ok(runtime)) = (self.work.take(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    /// Work that waits for a word and then says that it ended.
    fn work() -> (impl Future<Output = ()> + Send + 'static, oneshot::Sender<()>, oneshot::Receiver<()>) {
        let ((go, wait), (tell, ended)) = (oneshot::channel::<()>(), oneshot::channel());
        let work = async move {
            let _ = wait.await;
            let _ = tell.send(());
        };
        (work, go, ended)
    }

    #[tokio::test]
    async fn what_was_begun_ends_without_its_caller() {
        let (work, go, ended) = work();
        let mut shielded = shield(work);
        assert!(futures::poll!(&mut shielded).is_pending());
        drop(shielded);
        go.send(()).unwrap();
        assert_eq!(ended.await, Ok(()));
    }

    #[tokio::test]
    async fn what_was_not_begun_is_not() {
        let (work, go, ended) = work();
        drop(shield(work));
        assert!(go.send(()).is_err());
        assert!(ended.await.is_err());
    }
}
