//! Everything that can happen to a lease, tried: not samples of it, but every order of issue, lost answers, crashes,
//! renewals, ends, retries and forgetting, over small bounds, and of two leases together.
//!
//! [`Lease::step`] itself is run; around it stand a back end and a broker that are as bad as they may be (`world`). Time is
//! counted in ticks from now on, so that there are finitely many states, and all of them are visited.

mod world;

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

use self::world::{Kind, Move, World};

/// Where the moves from one state of one lease lead, by number.
struct Node {
    /// Moves that concern this lease alone.
    alone: Vec<usize>,
    /// What a crash may leave.
    crash: Vec<usize>,
    /// A tick, when nothing must happen before it.
    tick: Option<usize>,
}

/// More states than one lease can have.
const MOST: usize = 200_000;

/// Every state that can be reached, breadth first.
fn reach<S: Clone, K: Hash + Eq>(
    start: S,
    key: impl Fn(&S) -> K,
    mut next: impl FnMut(&S) -> Vec<S>,
    mut edges: impl FnMut(usize, Vec<usize>),
) -> Vec<S> {
    let mut numbers = HashMap::from([(key(&start), 0)]);
    let (mut states, mut queue) = (vec![start], VecDeque::from([0_usize]));
    while let Some(number) = queue.pop_front() {
        let state = states[number].clone();
        let mut to = Vec::new();
        for successor in next(&state) {
            let fresh = states.len();
            let known = *numbers.entry(key(&successor)).or_insert(fresh);
            if known == fresh {
                assert!(fresh < MOST, "there is no end of states");
                states.push(successor);
                queue.push_back(known);
            }
            to.push(known);
        }
        edges(number, to);
    }
    states
}

/// The whole life of one lease of this kind, with every promise checked in every state and on every move.
fn life(kind: Kind) -> Vec<Node> {
    let mut labels: Vec<Vec<Move>> = Vec::new();
    let mut edges: Vec<Vec<usize>> = Vec::new();
    let states = reach(
        World::new(kind),
        World::key,
        |world| {
            world.check();
            let moves = world.moves();
            labels.push(moves.iter().map(|(label, _)| *label).collect());
            moves.into_iter().map(|(_, next)| next).collect()
        },
        |_, to| edges.push(to),
    );
    for world in &states {
        world.clone().heal();
    }
    let to = |number: usize, wanted: fn(Move) -> bool| -> Vec<usize> {
        let moves = labels[number].iter().zip(&edges[number]);
        moves.filter(|(label, _)| wanted(**label)).map(|(_, to)| *to).collect()
    };
    let node = |number: usize| Node {
        alone: to(number, |label| !matches!(label, Move::Crash | Move::Tick)),
        crash: to(number, |label| label == Move::Crash),
        tick: to(number, |label| label == Move::Tick).first().copied(),
    };
    (0..states.len()).map(node).collect()
}

#[test]
fn whatever_happens_to_a_lease_its_credential_does_not_outlive_it() {
    let mut sum = 0;
    for kind in Kind::ALL {
        let states = life(kind).len();
        eprintln!("{kind:?}: {states} states");
        sum += states;
    }
    assert!(sum > 3_500, "{sum} states are not all that there are");
}

#[test]
fn two_leases_share_a_crash_and_the_time_and_never_wait_for_each_other() {
    let lives = Kind::ALL.map(life);
    let mut sum = 0_usize;
    for (n, first) in lives.iter().enumerate() {
        for second in &lives[n..] {
            sum += together(first, second);
        }
    }
    eprintln!("{sum} states of two leases");
    assert!(sum > 5_000_000, "{sum} states are not all that there are");
}

/// Visits every state of two leases whose broker crashes as one and for whom time passes together; how many there are.
fn together(first: &[Node], second: &[Node]) -> usize {
    let wide = second.len();
    let mut visited = vec![false; first.len() * wide];
    let (mut queue, mut count) = (vec![(0, 0)], 1);
    visited[0] = true;
    while let Some((a, b)) = queue.pop() {
        let (one, other) = (&first[a], &second[b]);
        let time_passes = one.tick.is_some() && other.tick.is_some();
        let somebody_moves = !one.alone.is_empty() || !other.alone.is_empty();
        assert!(time_passes || somebody_moves, "neither can go on, and time cannot pass");
        let before = queue.len();
        let mut go = |a: usize, b: usize| {
            if !std::mem::replace(&mut visited[a * wide + b], true) {
                queue.push((a, b));
            }
        };
        one.alone.iter().for_each(|to| go(*to, b));
        other.alone.iter().for_each(|to| go(a, *to));
        if let (Some(one), Some(other)) = (one.tick, other.tick) {
            go(one, other);
        }
        for one in &one.crash {
            other.crash.iter().for_each(|other| go(*one, *other));
        }
        count += queue.len() - before;
    }
    count
}
