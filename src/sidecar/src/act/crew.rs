//! Who is told of changes, each in a task of its own.

use std::{collections::BTreeSet, sync::Arc};

use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{By, Inbox, Standing, ToDo, reaction::Reaction};
use crate::{config::OnChange, name::Name};

/// All of them. Their tasks end with it.
#[derive(Debug)]
pub(super) struct Crew {
    members: Vec<Member>,
    /// The next one's number: none is given twice.
    next: usize,
    tasks: JoinSet<()>,
    turn: Arc<Semaphore>,
    done: mpsc::Sender<(usize, u64)>,
    standing: watch::Sender<Standing>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) number: usize,
    pub(super) only_for: BTreeSet<Name>,
    pub(super) on_start: bool,
    pub(super) inbox: Arc<Inbox>,
    /// As the configuration has it; absent for the program of `exec`.
    setting: Option<OnChange>,
    dismissed: CancellationToken,
}

/// Who is not told any more.
#[derive(Debug, Default)]
pub(super) struct Dismissed {
    pub(super) numbers: Vec<usize>,
    /// What they were to be told and have not been with success: whoever is new and minds it is.
    pub(super) owed: BTreeSet<Name>,
    /// The numbers from here on are of those who are new.
    pub(super) new_from: usize,
}

impl Crew {
    /// Nobody yet. Whoever has done something says so through `done`, by number and generation.
    pub(super) fn new(done: mpsc::Sender<(usize, u64)>, standing: watch::Sender<Standing>) -> Self {
        let turn = Arc::new(Semaphore::new(1));
        Self { members: Vec::new(), next: 0, tasks: JoinSet::new(), turn, done, standing }
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.iter()
    }

    pub(super) fn hire(&mut self, all: impl IntoIterator<Item = ToDo>) {
        for to_do in all {
            let number = self.next;
            self.next = number.saturating_add(1);
            let inbox = Arc::new(Inbox::default());
            let (only_for, on_start) = (to_do.only_for.clone(), to_do.on_start);
            let dismissed = CancellationToken::new();
            let setting = match &to_do.by {
                By::Setting(setting) => Some(setting.clone()),
                By::Program(_) | By::Nobody => None,
            };
            let reaction = Reaction {
                number,
                to_do,
                turn: self.turn.clone(),
                done: self.done.clone(),
                standing: self.standing.clone(),
                dismissed: dismissed.clone(),
            };
            self.tasks.spawn(reaction.run(inbox.clone()));
            self.members.push(Member { number, only_for, on_start, inbox, setting, dismissed });
        }
    }

    /// As the configuration has it now: who is still in it goes on. The others end what they are just doing, and begin
    /// nothing more.
    pub(super) fn follow(&mut self, settings: &[OnChange]) -> Dismissed {
        while self.tasks.try_join_next().is_some() {}
        let mut new: Vec<_> = settings.iter().collect();
        let mut gone = Vec::new();
        let members = std::mem::take(&mut self.members);
        for member in members {
            let Some(setting) = &member.setting else {
                self.members.push(member);
                continue;
            };
            match new.iter().position(|new| *new == setting) {
                Some(index) => {
                    new.remove(index);
                    self.members.push(member);
                }
                None => gone.push(member),
            }
        }
        let mut dismissed = Dismissed { new_from: self.next, ..Dismissed::default() };
        for member in gone {
            member.dismissed.cancel();
            dismissed.owed.append(&mut member.inbox.hand_over());
            dismissed.numbers.push(member.number);
        }
        self.standing.send_modify(|standing| {
            standing.given_up.retain(|number, _| !dismissed.numbers.contains(number));
        });
        self.hire(new.into_iter().cloned().map(ToDo::from));
        dismissed
    }
}
