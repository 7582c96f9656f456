//! Standing in for a program as long as it lives.

use std::{future::pending, io, time::Duration};

use rustix::process::Signal;
use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, sleep_until},
};
use tracing::{info, warn};

use crate::{
    Child, End, Group, Pace, SignalName,
    course::{Act, Course, Event, Terms},
    signals::{Forwarded, TYPED},
};

/// A program that is stood in for.
#[derive(Debug)]
pub struct Program<L> {
    /// Starts it, each time with what it is to have then.
    pub launch: L,
    /// The group in which it is started.
    pub group: Group,
    /// What tells it to end.
    pub stop: SignalName,
    /// What was told to end has this long before it is killed.
    pub grace: Duration,
    /// How fast it may be restarted.
    pub pace: Pace,
}

/// How it all ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How the program did.
    pub end: End,
    /// It was ended by [`Controls::stop`].
    pub stopped: bool,
}

/// What the program is told by those who know what it needs.
#[derive(Clone, Debug)]
pub struct Controls(mpsc::Sender<Order>);

/// The program is over, or will not be started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the program has ended")]
pub struct Gone;

#[derive(Debug)]
enum Order {
    Signal(Signal, oneshot::Sender<()>),
    Restart(oneshot::Sender<()>),
    Stop,
}

/// Orders on their way to [`supervise`].
#[derive(Debug)]
pub struct Orders(mpsc::Receiver<Order>);

/// Whether somebody of a group is left is looked at so often.
const LOOK: Duration = Duration::from_millis(20);

impl Controls {
    /// The controls of a program, and what goes to [`supervise`].
    pub fn new() -> (Self, Orders) {
        let (sender, receiver) = mpsc::channel(8);
        (Self(sender), Orders(receiver))
    }

    /// Sends the program a signal.
    ///
    /// # Errors
    /// When there is no program any more.
    pub async fn signal(&self, signal: SignalName) -> Result<(), Gone> {
        let (done, told) = oneshot::channel();
        self.0.send(Order::Signal(signal.signal(), done)).await.map_err(|_| Gone)?;
        told.await.map_err(|_| Gone)
    }

    /// Has the program end and start again, as soon as its pace allows, and returns when it has started. When many ask, one
    /// restart may do for all of them.
    ///
    /// # Errors
    /// When there is no program any more.
    pub async fn restart(&self) -> Result<(), Gone> {
        let (done, started) = oneshot::channel();
        self.0.send(Order::Restart(done)).await.map_err(|_| Gone)?;
        started.await.map_err(|_| Gone)
    }

    /// Has the program end for good.
    pub async fn stop(&self) {
        // One that is over has stopped.
        let _ = self.0.send(Order::Stop).await;
    }
}

/// Starts a program and returns when it is over. Meanwhile what signals this process gets go to the program; those that
/// tell it to end give it the time of grace. What a program leaves running in its group is ended before the next start, and
/// at the end.
///
/// # Errors
/// When the program cannot be started, or the system does not tell how it fares.
pub async fn supervise<L, E>(program: Program<L>, orders: Orders) -> Result<Outcome, E>
where
    L: FnMut() -> Result<Child, E>,
    E: From<io::Error>,
{
    let Program { mut launch, group, stop, grace, pace } = program;
    let Orders(mut orders) = orders;
    let mut signals = Forwarded::listen()?;
    let mut course = Course::new(Terms { stop: stop.signal(), grace, pace });
    let mut child = launch()?;
    let mut running = true;
    let mut stopped = false;
    // Those who wait for a restart.
    let mut waiting: Vec<oneshot::Sender<()>> = Vec::new();
    let mut controlled = true;
    loop {
        let event = tokio::select! {
            ended = child.wait(), if running => {
                running = false;
                Event::Ended { end: ended?, left: child.has_left_somebody() }
            }
            signal = signals.next() => {
                if group == Group::Shared && TYPED.contains(&signal) {
                    continue;
                }
                Event::Told(signal)
            }
            order = orders.recv(), if controlled => match order {
                None => {
                    controlled = false;
                    continue;
                }
                Some(Order::Signal(signal, done)) => {
                    // What it has not got a moment before its end it does not need.
                    child.signal(signal);
                    let _ = done.send(());
                    continue;
                }
                Some(Order::Restart(done)) => {
                    waiting.push(done);
                    Event::Restart
                }
                Some(Order::Stop) => {
                    stopped = true;
                    Event::Stop
                }
            },
            () = sleep(LOOK), if course.clears() => {
                if child.has_left_somebody() {
                    continue;
                }
                Event::Alone
            }
            () = at(course.deadline()) => Event::Time,
        };
        let put_off = course.put_off();
        match course.handle(event, Instant::now()) {
            None => {
                if let Some(until) = course.put_off()
                    && put_off.is_none()
                {
                    let delay = until.saturating_duration_since(Instant::now());
                    warn!(?delay, "the program was restarted a moment ago: the next restart waits");
                }
            }
            Some(Act::Send(signal)) => child.signal(signal),
            Some(Act::SendAll(signal)) => {
                if signal == Signal::KILL {
                    warn!(
                        ?grace,
                        "the program, or what it left running, did not end in its time and is killed"
                    );
                }
                child.signal_all(signal);
            }
            Some(Act::Start) => {
                child.let_go();
                child = launch()?;
                running = true;
                info!(pid = child.pid(), "the program was restarted");
                for done in waiting.drain(..) {
                    let _ = done.send(());
                }
            }
            Some(Act::Leave(end)) => return Ok(Outcome { end, stopped }),
        }
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}
