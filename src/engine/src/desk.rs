//! Where watchers wait. One task reads the ledger's changes for all of them; it runs while somebody watches.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{StreamExt, stream::BoxStream};
use leasehold_core::{
    ports::Ledger,
    state::{Change, KeyRange, LedgerError},
};

/// After so many changes, those who watch no more are forgotten.
const SWEEP: u32 = 1024;

/// All who watch for the same kind of thing.
pub(crate) trait Audience: Default + Send + 'static {
    /// What a change may be to them.
    type News: Send;

    /// Where they look for changes.
    fn range() -> KeyRange;

    /// What a change is to them; `None` when it is nothing.
    fn news(ledger: &dyn Ledger, change: Change) -> impl Future<Output = Option<Self::News>> + Send;

    /// Tells it to those whom it concerns.
    fn tell(&mut self, news: Self::News);

    /// Forgets those who have left.
    fn sweep(&mut self);

    /// Whether nobody is known to be left.
    fn is_empty(&self) -> bool;
}

/// An audience, and whether somebody reads changes for it.
#[derive(Default)]
pub(crate) struct Desk<A>(Arc<Mutex<Staffing<A>>>);

#[derive(Default)]
struct Staffing<A> {
    audience: A,
    staffed: bool,
}

impl<A: Audience> Desk<A> {
    /// Lets somebody take a seat, who is told every change from now on.
    pub(crate) fn listen<T>(&self, ledger: &Arc<dyn Ledger>, sit_down: impl FnOnce(&mut A) -> T) -> T {
        let mut staffing = lock(&self.0);
        let seat = sit_down(&mut staffing.audience);
        if !staffing.staffed {
            staffing.staffed = true;
            tokio::spawn(hand_out(self.0.clone(), ledger.clone(), ledger.watch(A::range())));
        }
        seat
    }
}

/// Hands changes out until nobody listens, or until it falls behind itself: then every watcher is cut off and starts again.
async fn hand_out<A: Audience>(
    desk: Arc<Mutex<Staffing<A>>>,
    ledger: Arc<dyn Ledger>,
    mut changes: BoxStream<'static, Result<Change, LedgerError>>,
) {
    let mut since_sweep = 0_u32;
    while let Some(Ok(change)) = changes.next().await {
        let news = A::news(&*ledger, change).await;
        let mut staffing = lock(&desk);
        if let Some(news) = news {
            staffing.audience.tell(news);
        }
        since_sweep = since_sweep.saturating_add(1);
        if since_sweep >= SWEEP {
            since_sweep = 0;
            staffing.audience.sweep();
        }
        if staffing.audience.is_empty() {
            staffing.staffed = false;
            return;
        }
    }
    *lock(&desk) = Staffing::default();
}

fn lock<A>(desk: &Mutex<Staffing<A>>) -> MutexGuard<'_, Staffing<A>> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}
