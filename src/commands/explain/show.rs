//! The look on a terminal: the verdict, the steps with the first that fails marked, and the cure.

use std::time::SystemTime;

use crate::commands::output::Look;
use crate::commands::table::grid::{Cell, Tone, printable, wrap};
use crate::commands::table::{lasting, roughly};
use crate::model::explanation::{
    ChainStep, Cure, ExplainedAddress, Explanation, Explanations, RuleAnswer, StepName, StepState,
};
use crate::model::history::StateChange;

/// Number of columns before the sentence of a step.
const LEFT: usize = 16;

/// Everything. `in_full`: every step of every address, and all rules.
pub(super) fn render(explained: &Explanations, in_full: bool, look: Look) -> String {
    let parts = explained.explanations.iter().map(|explanation| one(explanation, in_full, look));
    let mut text = parts.collect::<Vec<_>>().join("\n");
    if explained.more > 0 {
        text += &format!(
            "\n{} {} more NICs have that name: give its server and project\n",
            look.dots(),
            explained.more
        );
    }
    if !explained.daemon {
        let note = "No daemon runs, so nothing follows changes. This was found out just now.";
        text = format!("{}\n\n{text}", wrapped(note, 0, look));
    }
    text
}

fn one(explanation: &Explanation, in_full: bool, look: Look) -> String {
    let Explanation { verdict, steps, addresses, .. } = explanation;
    let mut text = wrapped(verdict, 0, look) + "\n";
    if steps.is_empty() && addresses.is_empty() {
        return text + &history(explanation, look);
    }
    text += "\n";
    text += &of_steps(steps, in_full, look);
    let are_many = addresses.len() > 1;
    let fits_a_line = |address: &&ExplainedAddress| are_many && !in_full && address.reached != Some(false);
    let (short, long): (Vec<_>, Vec<_>) = addresses.iter().partition(fits_a_line);
    text += &short.into_iter().map(|address| in_a_line(address, look)).collect::<String>();
    for address in long {
        if are_many {
            text += &format!("\n  {}\n", address.address);
        }
        text += &of_steps(&address.steps, in_full, look);
    }
    text += &cures(explanation, look);
    text += &history(explanation, look);
    text
}

/// The last changes.
fn history(Explanation { history, .. }: &Explanation, look: Look) -> String {
    let now = SystemTime::now().into();
    let line = |change: &StateChange| {
        let ago = format!("{} ago", roughly(change.time.age(now)));
        let left = LEFT - 2;
        let lines = lines(&change.to_string(), left, look);
        format!("  {ago:<11} {}\n", lines.join(&format!("\n{}", " ".repeat(left))))
    };
    let lines: String = history.iter().map(line).collect();
    if lines.is_empty() { lines } else { format!("\nHistory\n{lines}") }
}

/// The steps. Several in a row that depend on the same one take one line.
fn of_steps(steps: &[ChainStep], in_full: bool, look: Look) -> String {
    let mut text = String::new();
    let is_alike = |a: &ChainStep, b: &ChainStep| {
        !in_full && (a.state, &a.sentence) == (StepState::Skipped, &b.sentence)
    };
    for alike in steps.chunk_by(is_alike) {
        match alike {
            [first, _, ..] => {
                let names: Vec<&str> = alike.iter().map(|step| step.name.as_str()).collect();
                let (symbol, tone) = mark(StepState::Skipped, look);
                let symbol = Cell::toned(symbol, tone).painted(look);
                let line =
                    format!("{} {}", names.join(", "), first.sentence.replacen("depends", "depend", 1));
                let lines = lines(&line, 6, look);
                let lines: Vec<String> =
                    lines.iter().map(|line| Cell::toned(line, Tone::Faint).painted(look)).collect();
                text += &format!("{:>3} {symbol} {}\n", first.name.number(), lines.join("\n      "));
            }
            alike => text += &alike.iter().map(|step| of_step(step, in_full, look)).collect::<String>(),
        }
    }
    text
}

/// A step: its number, its mark, its name, and the sentence with its evidence below.
fn of_step(step: &ChainStep, in_full: bool, look: Look) -> String {
    let (symbol, tone) = mark(step.state, look);
    let tone_of_text = if step.state == StepState::Skipped { Tone::Faint } else { Tone::Plain };
    let name = Cell::toned(&format!("{:<9}", step.name.as_str()), tone_of_text).painted(look);
    let lines = lines(&sentence(step), LEFT, look);
    let lines: Vec<String> = lines.iter().map(|line| Cell::toned(line, tone_of_text).painted(look)).collect();
    let symbol = Cell::toned(symbol, tone).painted(look);
    let (left, number) = (" ".repeat(LEFT), step.name.number());
    let mut text = format!("{number:>3} {symbol} {name} {}\n", lines.join(&format!("\n{left}")));
    for line in &step.evidence {
        text += &format!("{left}{}\n", self::lines(line, LEFT, look).join(&format!("\n{left}")));
    }
    if in_full {
        text += &step.rules.iter().map(|rule| of_rule(rule, look)).collect::<String>();
    }
    text
}

/// The sentence, with the code if something is wrong, and for how long it has been so.
fn sentence(ChainStep { sentence, reason, since, .. }: &ChainStep) -> String {
    let lasting = lasting(*since, SystemTime::now().into());
    match (reason, lasting.trim_start_matches(", ")) {
        (Some(code), _) => format!("{sentence} ({code}{lasting})"),
        (None, "") => sentence.clone(),
        (None, lasting) => format!("{sentence} ({lasting})"),
    }
}

/// An address that needs nobody, in one line.
fn in_a_line(address: &ExplainedAddress, look: Look) -> String {
    let name = if address.wanted { StepName::Guest } else { StepName::Address };
    let Some(step) = address.step(name) else { return String::new() };
    let (symbol, tone) = mark(step.state, look);
    let sentence = match address.wanted {
        true => format!("{}: {}", address.address, step.sentence),
        false => sentence(step),
    };
    let left = " ".repeat(6);
    let symbol = Cell::toned(symbol, tone).painted(look);
    format!("    {symbol} {}\n", lines(&sentence, 6, look).join(&format!("\n{left}")))
}

/// A rule of admission and its answer.
fn of_rule(RuleAnswer { code, refusal }: &RuleAnswer, look: Look) -> String {
    let state = if refusal.is_some() { StepState::Bad } else { StepState::Good };
    let (symbol, tone) = mark(state, look);
    let symbol = Cell::toned(symbol, tone).painted(look);
    let left = LEFT + 20;
    let refusal = refusal.as_deref().unwrap_or("does not refuse it");
    let refusal = lines(refusal, left, look).join(&format!("\n{}", " ".repeat(left)));
    format!("{}{symbol} {code:<17} {refusal}\n", " ".repeat(LEFT))
}

fn mark(state: StepState, look: Look) -> (&'static str, Tone) {
    match (state, look.symbols) {
        (StepState::Good, true) => ("✓", Tone::Good),
        (StepState::Good, false) => ("+", Tone::Good),
        (StepState::Bad, true) => ("✗", Tone::Bad),
        (StepState::Bad, false) => ("x", Tone::Bad),
        (StepState::Warning, _) => ("!", Tone::Waiting),
        (StepState::Skipped, true) => ("─", Tone::Faint),
        (StepState::Skipped, false) => ("-", Tone::Faint),
        (StepState::Unknown, _) => ("?", Tone::Faint),
    }
}

/// The cures of the first step that fails, for the NIC or for each address, and of everything about the NIC
/// that deserves a look. If nothing fails, those of whatever explains that an address is not reached.
fn cures(Explanation { steps, addresses, .. }: &Explanation, look: Look) -> String {
    let of = |steps: &[ChainStep], state| {
        steps.iter().find(|step| step.state == state).and_then(|step| step.cure.clone())
    };
    let of_addresses = |state| addresses.iter().filter_map(move |address| of(&address.steps, state));
    let mut cures: Vec<Cure> = match of(steps, StepState::Bad) {
        Some(cure) => vec![cure],
        None => of_addresses(StepState::Bad).collect(),
    };
    let noted = steps.iter().filter(|step| step.state == StepState::Warning);
    cures.extend(noted.filter_map(|step| step.cure.clone()));
    if cures.is_empty() {
        cures = of_addresses(StepState::Warning).collect();
    }
    cures.dedup();
    let shown = cures.iter().map(|Cure { sentence, commands }| {
        let commands: String = commands.iter().map(|command| format!("  {}\n", printable(command))).collect();
        format!("\n{}\n{commands}", wrapped(&format!("Cure: {sentence}"), 0, look))
    });
    shown.collect()
}

/// A text in lines that fit behind that many columns.
fn lines(text: &str, left: usize, look: Look) -> Vec<String> {
    wrap(&printable(text), look.width.map(|width| width.saturating_sub(left)), 0)
}

fn wrapped(text: &str, left: usize, look: Look) -> String {
    lines(text, left, look).join("\n")
}
