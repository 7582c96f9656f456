//! Who is told of changes, each in a task of its own.

use std::{collections::BTreeSet, sync::Arc};

use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::{AbortHandle, JoinSet},
};

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
    what: String,
    task: AbortHandle,
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
            let (only_for, on_start, what) = (to_do.only_for.clone(), to_do.on_start, to_do.what());
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
            };
            let task = self.tasks.spawn(reaction.run(inbox.clone()));
            self.members.push(Member { number, only_for, on_start, inbox, setting, what, task });
        }
    }

    /// As the configuration has it now: who is still in it goes on, the others end. The numbers of those.
    pub(super) fn follow(&mut self, settings: &[OnChange]) -> Vec<usize> {
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
        for member in &gone {
            member.task.abort();
            self.standing
                .send_modify(|standing| standing.given_up.retain(|text| !text.starts_with(&*member.what)));
        }
        self.hire(new.into_iter().cloned().map(ToDo::from));
        gone.iter().map(|member| member.number).collect()
    }
}
