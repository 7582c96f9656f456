//! Every state of a secret's rotations that can be reached, and what holds in all of them.
//!
//! [`Rotation::step`](super::Rotation::step) itself is run; around it stand a back end, a target, a broker, a person and a
//! stranger (`world`). The broker's tasks are done as the engine does them: each looks at what there is, and does the one
//! thing that is missing.
#![expect(clippy::arithmetic_side_effects, reason = "a test that meets one of these has failed")]

mod tasks;
mod world;

use std::collections::{HashSet, VecDeque};

use self::world::{Kind, May, World};

/// More states than there can be.
const MOST: usize = 2_000_000;

/// Every state that can be reached, breadth first; how many.
fn reach(start: World) -> usize {
    let mut known = HashSet::from([start.key()]);
    let mut queue = VecDeque::from([start]);
    while let Some(world) = queue.pop_front() {
        world.check();
        world.clone().heal();
        for next in world.moves() {
            if known.insert(next.key()) {
                assert!(known.len() < MOST, "there is no end of states");
                queue.push_back(next);
            }
        }
    }
    known.len()
}

/// All that goes wrong together would be too many states: two of three at a time.
const MAY: [May; 3] = [
    May { people: 1, strangers: 0, crashes: 1, rotations: 2 },
    May { people: 0, strangers: 1, crashes: 1, rotations: 2 },
    May { people: 1, strangers: 1, crashes: 0, rotations: 1 },
];

fn explore(kind: Kind) {
    let mut sum = 0;
    for staged in [true, false] {
        for may in MAY {
            let states = reach(World::new(kind, staged, may));
            eprintln!("staged {staged}, {may:?}: {states} states");
            sum += states;
        }
    }
    assert!(sum > 10_000, "{sum} states are not all that there are");
}

#[test]
fn a_random_value_is_read_until_it_is_retired_whatever_happens() {
    explore(Kind::Generate);
}

#[test]
fn the_only_copy_of_one_users_password_is_never_lost_whatever_happens() {
    explore(Kind::Single);
}

#[test]
fn of_two_users_the_one_that_is_lent_can_log_in_whatever_happens() {
    explore(Kind::Alternating);
}
