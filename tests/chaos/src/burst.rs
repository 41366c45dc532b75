//! A burst: operations one after the other with random gaps, some at the same time.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::dice::Dice;
use crate::intent::Intent;
use crate::operation::{self, Drawn, Operation, Subject};

/// The events before the next quiet moment.
#[derive(Debug)]
pub(crate) struct Burst {
    pace: Pace,
    pub(crate) stages: Vec<Stage>,
}

/// Operations that are performed at once, each on its own thread.
#[derive(Debug)]
pub(crate) struct Stage {
    /// The pause before it.
    pub(crate) gap: Duration,
    pub(crate) acts: Vec<Act>,
}

/// An operation, with the intent once it has been entered.
#[derive(Debug)]
pub(crate) struct Act {
    pub(crate) operation: Box<dyn Operation>,
    pub(crate) intent: Intent,
}

/// In milliseconds. Operations after this time are left out.
const GAPS: [u64; 7] = [0, 0, 5, 30, 100, 300, 1000];
const SHORT_GAPS: usize = 4;

/// How much happens in a burst, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// At a pace that one can follow, with pauses.
    Steady,
    /// Many operations at once, with hardly a pause.
    Hurry,
}

/// Draws a burst, and enters it.
pub(crate) fn draw(pace: Pace, dice: &mut Dice, drawn: &mut Drawn, intent: &mut Intent) -> Burst {
    let mut burst = Burst { pace, stages: Vec::new() };
    let (least, together) = if pace == Pace::Steady { (1, 35) } else { (8, 70) };
    for _ in 0..least + dice.roll(8) {
        let operation = operation::draw(pace, dice, drawn, intent);
        burst.add(dice, Act { operation, intent: intent.clone() }, together);
    }
    for (operation, intent) in operation::mend(dice, drawn, intent) {
        burst.add(dice, Act { operation, intent }, 0);
    }
    burst
}

/// All kinds of operations that can be drawn.
pub(crate) fn kinds() -> BTreeSet<&'static str> {
    let (mut dice, mut drawn, mut intent) = (Dice::new(0), Drawn::new(), Intent::default());
    for _ in 0..500 {
        draw(Pace::Steady, &mut dice, &mut drawn, &mut intent);
    }
    drawn.into_keys().collect()
}

/// Seeds with which this many bursts draw each of these kinds of operations, and all other kinds but at most
/// this many. They are tried from 0 up, so that nobody has to look for another one when a new kind changes
/// the draw.
pub fn seeds_of(bursts: usize, pace: Pace, wanted: &[&str], missing: usize) -> impl Iterator<Item = u64> {
    let all = kinds();
    (0..10_000).filter(move |seed| {
        let (mut dice, mut drawn, mut intent) = (Dice::new(*seed), Drawn::new(), Intent::default());
        let bursts = (0..bursts).map(|_| draw(pace, &mut dice, &mut drawn, &mut intent)).collect::<Vec<_>>();
        let acts = bursts.iter().flat_map(Burst::acts);
        let kinds: BTreeSet<&str> = acts.map(|act| act.operation.kind()).collect();
        wanted.iter().all(|kind| kinds.contains(kind)) && all.difference(&kinds).count() <= missing
    })
}

impl Burst {
    /// Nothing happens.
    pub(crate) fn none() -> Burst {
        Burst { pace: Pace::Steady, stages: Vec::new() }
    }

    /// `together`: the chance in percent that it happens at the same time as the one before.
    fn add(&mut self, dice: &mut Dice, act: Act, together: usize) {
        let gaps = if self.pace == Pace::Steady { GAPS.len() } else { SHORT_GAPS };
        let gap = Duration::from_millis(GAPS[dice.roll(gaps)]);
        let at_once = dice.chance(together);
        let subject = act.operation.subject();
        match self.stages.last_mut() {
            Some(stage) if at_once && !stage.concerns(subject) => stage.acts.push(act),
            _ => self.stages.push(Stage { gap, acts: vec![act] }),
        }
    }

    /// Every operation of the burst.
    pub(crate) fn acts(&self) -> impl Iterator<Item = &Act> {
        self.stages.iter().flat_map(|stage| &stage.acts)
    }
}

impl Stage {
    fn concerns(&self, subject: Subject) -> bool {
        self.acts.iter().any(|act| act.operation.subject().concerns(subject))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_draws_the_same_bursts() {
        let draw_all = || {
            let (mut dice, mut drawn, mut intent) = (Dice::new(5), Drawn::new(), Intent::default());
            let bursts = (0..200).map(|_| draw(Pace::Hurry, &mut dice, &mut drawn, &mut intent));
            bursts.map(|burst| format!("{:?}", burst.stages)).collect::<Vec<_>>()
        };
        assert_eq!(draw_all(), draw_all());
    }
}
