//! `leasehold rotation`: when secrets are rotated, how far that has come, and what to do about it.

mod drawing;
mod follow;
mod preview;
mod view;

use clap::{Subcommand, ValueEnum};
use leasehold_client::{Operator, Page, RotationFilter, proto};
use leasehold_core::{SecretPath, path::PathPrefix};

use self::drawing::draw;
pub(crate) use self::{
    follow::{Awaited, follow},
    preview::show_preview,
    view::RotationView,
};
use crate::{
    again::Again,
    complete,
    connection::Connection,
    exit::{About, Failure},
    output::{Format, Output},
};

#[derive(Debug, Subcommand)]
pub(crate) enum RotationCommand {
    /// List the secrets that are rotated: when next, how the last one ended, who still holds old versions, why one is late
    List {
        /// Of the secrets under this prefix, such as `prod/payments/`
        #[arg(long, value_name = "PREFIX")]
        prefix: Option<PathPrefix>,
        /// In this state; may be given several times
        #[arg(long = "state", value_enum, value_name = "STATE")]
        states: Vec<State>,
        /// Only those that have failed, are late or are paused
        #[arg(long)]
        attention: bool,
        /// At most so many
        #[arg(long, value_name = "COUNT")]
        limit: Option<usize>,
        #[command(flatten)]
        again: Again,
    },
    /// Show a secret's rotation: its steps with their times, and who holds the old version
    Show {
        /// The secret's path
        #[arg(value_name = "SECRET", add = complete::secrets())]
        secret: SecretPath,
    },
    /// Follow a rotation that is under way, or wanted, to its end
    Watch {
        /// The secret's path
        #[arg(value_name = "SECRET", add = complete::secrets())]
        secret: SecretPath,
    },
    /// Have nothing done about a secret's rotation until it is resumed
    Pause {
        /// The secret's path
        #[arg(value_name = "SECRET", add = complete::secrets())]
        secret: SecretPath,
        /// A reason for the audit record
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Have a paused rotation go on
    Resume {
        /// The secret's path
        #[arg(value_name = "SECRET", add = complete::secrets())]
        secret: SecretPath,
    },
    /// Make the old version current again while it is draining, or give up a rotation whose new version is not current
    Rollback {
        /// The secret's path
        #[arg(value_name = "SECRET", add = complete::secrets())]
        secret: SecretPath,
        /// A reason for the audit record
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Follow it to its end
        #[arg(long)]
        wait: bool,
    },
}

/// A rotation's state on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum State {
    Idle,
    Creating,
    Created,
    Applied,
    Tested,
    Draining,
    Retiring,
    Closing,
    Discarding,
    Reverting,
}

/// How many rotations one call asks for.
const PAGE: u32 = 500;

pub(crate) async fn run(
    command: RotationCommand,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), Failure> {
    let operator = connection.open().await?.operator();
    match command {
        RotationCommand::List { prefix, states, attention, limit, again } => {
            let states = states.into_iter().map(proto::RotationState::from).collect();
            let filter = RotationFilter { prefix, states, attention };
            let once = async |output: &mut Output| list(&operator, &filter, limit, output).await;
            again.show("rotation list", output, once).await
        }
        RotationCommand::Show { secret } => show(&operator.rotation(&secret).await.about(&secret)?, output),
        RotationCommand::Watch { secret } => {
            let now = operator.rotation(&secret).await.about(&secret)?;
            if now.course.is_none() && now.wanted_time.is_none() {
                return show(&now, output);
            }
            follow(&operator, &secret, Awaited::the_end_of(&now), output).await
        }
        RotationCommand::Pause { secret, reason } => {
            show(&operator.pause_rotation(&secret, reason).await.about(&secret)?, output)
        }
        RotationCommand::Resume { secret } => {
            show(&operator.resume_rotation(&secret).await.about(&secret)?, output)
        }
        RotationCommand::Rollback { secret, reason, wait } => {
            let back = operator.roll_back_rotation(&secret, reason).await.about(&secret)?;
            if wait {
                return follow(&operator, &secret, Awaited::the_way_back(&back), output).await;
            }
            show(&back, output)
        }
    }
}

/// One rotation: its facts and its steps for people, or the whole of it as JSON.
pub(crate) fn show(rotation: &proto::Rotation, output: &mut Output) -> Result<(), Failure> {
    let view = RotationView::of(rotation);
    output.item(&view, &view.parts())?;
    if output.format == Format::Table
        && let Some(course) = &view.course
    {
        for line in draw(&view, course) {
            output.line_of_words(&line)?;
        }
    }
    Ok(())
}

async fn list(
    operator: &Operator,
    filter: &RotationFilter,
    limit: Option<usize>,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut left = limit.unwrap_or(usize::MAX);
    let mut token = None;
    let mut list = output.list();
    while left > 0 {
        let size = u32::try_from(left).unwrap_or(PAGE).min(PAGE);
        let Page { items, next_page_token } = operator.list_rotations(filter, size, token).await?;
        for rotation in items.iter().take(left) {
            list.push(&RotationView::of(rotation))?;
        }
        left = left.saturating_sub(items.len());
        token = next_page_token;
        if token.is_none() {
            break;
        }
    }
    list.finish("no secrets that are rotated and that you may see")
}

impl From<State> for proto::RotationState {
    fn from(state: State) -> Self {
        match state {
            State::Idle => Self::Idle,
            State::Creating => Self::Creating,
            State::Created => Self::Created,
            State::Applied => Self::Applied,
            State::Tested => Self::Tested,
            State::Draining => Self::Draining,
            State::Retiring => Self::Retiring,
            State::Closing => Self::Closing,
            State::Discarding => Self::Discarding,
            State::Reverting => Self::Reverting,
        }
    }
}
