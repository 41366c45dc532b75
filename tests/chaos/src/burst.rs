//! A burst: operations one after the other with random gaps, some at the same time.

use std::time::Duration;

use crate::dice::Dice;
use crate::intent::Intent;
use crate::operation::{self, Drawn, Operation, Subject};

/// What happens before the next quiet moment.
#[derive(Debug)]
pub(crate) struct Burst {
    pub(crate) stages: Vec<Stage>,
}

/// Operations that are performed at once, on a thread each.
#[derive(Debug)]
pub(crate) struct Stage {
    /// To wait before it.
    pub(crate) gap: Duration,
    pub(crate) acts: Vec<Act>,
}

/// An operation, with what is meant once it has been entered.
#[derive(Debug)]
pub(crate) struct Act {
    pub(crate) operation: Box<dyn Operation>,
    pub(crate) intent: Intent,
}

const GAPS: [u64; 7] = [0, 0, 5, 30, 100, 300, 1000];

/// Draws a burst, and enters it.
pub(crate) fn draw(dice: &mut Dice, drawn: &mut Drawn, intent: &mut Intent) -> Burst {
    let mut burst = Burst { stages: Vec::new() };
    for _ in 0..1 + dice.roll(8) {
        let operation = operation::draw(dice, drawn, intent);
        burst.add(dice, Act { operation, intent: intent.clone() }, 35);
    }
    for (operation, intent) in operation::mend(dice, drawn, intent) {
        burst.add(dice, Act { operation, intent }, 0);
    }
    burst
}

impl Burst {
    /// `together`: the chance in percent that it happens at the same time as the one before.
    fn add(&mut self, dice: &mut Dice, act: Act, together: usize) {
        let gap = Duration::from_millis(GAPS[dice.roll(GAPS.len())]);
        let at_once = dice.chance(together);
        let subject = act.operation.subject();
        match self.stages.last_mut() {
            Some(stage) if at_once && !stage.concerns(subject) => stage.acts.push(act),
            _ => self.stages.push(Stage { gap, acts: vec![act] }),
        }
    }

    /// All that happens.
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
            let bursts = (0..200).map(|_| draw(&mut dice, &mut drawn, &mut intent));
            bursts.map(|burst| format!("{:?}", burst.stages)).collect::<Vec<_>>()
        };
        assert_eq!(draw_all(), draw_all());
    }
}
