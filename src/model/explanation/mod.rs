//! The contract of `explain --json`: why something is reached, or why not. Keys may be added, never renamed.

mod sought;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

pub use self::sought::Sought;
use super::history::StateChange;
use super::{GuestKey, Timestamp};

/// The answer to `GET /1.0/explain`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Explanations {
    /// The version of the program that made it.
    pub version: String,
    /// The subject that was asked about.
    pub subject: String,
    /// Whether a running daemon made it. The command makes it from scratch if none runs.
    pub daemon: bool,
    /// One for each NIC that has the name, the MAC or the address. Empty if nothing is known by that name or
    /// MAC.
    pub explanations: Vec<Explanation>,
    /// Number of further NICs with that name, which are too many to explain at once.
    #[serde(default)]
    pub more: usize,
    /// A known name that may have been meant, if nothing has this one.
    pub similar: Option<String>,
}

/// Why one NIC and the host reach each other, or why not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Explanation {
    /// The NIC, such as `lxd:web eth0`, with the address if only one is explained; else the thing itself.
    pub subject: String,
    /// The guest, if it is one.
    #[serde(default)]
    pub guest: Option<GuestKey>,
    /// The name of the NIC, if it is one.
    #[serde(default)]
    pub nic: Option<SmolStr>,
    /// The address, if only one is explained.
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// The verdict in a sentence.
    pub verdict: String,
    /// Whether it is reached at every address that it should be. `None` if it should not be reached through a
    /// shim.
    pub reached: Option<bool>,
    /// The steps that all its addresses share, in their order.
    pub steps: Vec<ChainStep>,
    /// The further steps, for each address.
    pub addresses: Vec<ExplainedAddress>,
    /// The last changes of its state, the oldest first. The daemon remembers them while it runs.
    #[serde(default)]
    pub history: Vec<StateChange>,
}

/// The part of the chain that is about one address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExplainedAddress {
    /// The address.
    pub address: IpAddr,
    /// Whether it is reached. `None` if it should not be.
    pub reached: Option<bool>,
    /// Whether it should be reached: it is not refused for a reason that is nobody's fault.
    pub wanted: bool,
    /// The shim, and the source that its route should have.
    pub way: Option<ShimWay>,
    /// The steps.
    pub steps: Vec<ChainStep>,
}

/// The way that packets to an address should take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ShimWay {
    /// The name of the shim.
    pub shim: SmolStr,
    /// The name of its parent.
    pub parent: SmolStr,
    /// The host's address that they come from.
    pub source: IpAddr,
}

/// One step of the chain from the server to the guest's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ChainStep {
    /// Its place in the chain.
    pub name: StepName,
    /// Its state.
    pub state: StepState,
    /// A stable code, if something is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when it is so, if a daemon has seen it begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The finding.
    pub sentence: String,
    /// The facts behind it, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    /// The cure, if one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cure: Option<Cure>,
    /// Every rule of admission with its answer, in their order. Only the step about the address has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleAnswer>,
}

/// The steps in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum StepName {
    /// A server says that the guest exists and runs.
    Server,
    /// The server lists the NIC as macvlan.
    Nic,
    /// Nothing leaves the guest out.
    Selected,
    /// The parent exists, carries frames and has a shim.
    Parent,
    /// The kernel shows the NIC as a child of the parent.
    Child,
    /// The address is admitted.
    Address,
    /// There is a route to it, and packets take it.
    Route,
    /// The neighbour entry names the guest's MAC.
    Neighbour,
    /// Neither the shim's filter nor the host's own firewall drops the packets.
    Firewall,
    /// The guest answers.
    Guest,
}

/// The state of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum StepState {
    /// It is as it should be.
    Good,
    /// It keeps the guest from being reached.
    Bad,
    /// It explains why the guest is not served, or deserves a look.
    Warning,
    /// It was not looked at, because an earlier step decides.
    Skipped,
    /// It could not be found out.
    Unknown,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Cure {
    /// An instruction.
    pub sentence: String,
    /// The commands that do it, to be copied.
    pub commands: Vec<String>,
}

/// The answer of one rule of admission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RuleAnswer {
    /// The code that the rule refuses with.
    pub code: String,
    /// Why it refuses the address, if it does.
    pub refusal: Option<String>,
}

impl StepName {
    /// All, in their order.
    pub const ALL: [StepName; 10] = [
        StepName::Server,
        StepName::Nic,
        StepName::Selected,
        StepName::Parent,
        StepName::Child,
        StepName::Address,
        StepName::Route,
        StepName::Neighbour,
        StepName::Firewall,
        StepName::Guest,
    ];

    /// The word that people see.
    pub fn as_str(self) -> &'static str {
        match self {
            StepName::Server => "server",
            StepName::Nic => "NIC",
            StepName::Selected => "selected",
            StepName::Parent => "parent",
            StepName::Child => "child",
            StepName::Address => "address",
            StepName::Route => "route",
            StepName::Neighbour => "neighbour",
            StepName::Firewall => "firewall",
            StepName::Guest => "guest",
        }
    }

    /// Its number in the chain, from 1.
    pub fn number(self) -> usize {
        StepName::ALL.iter().position(|name| *name == self).map_or(0, |place| place + 1)
    }
}

impl Cure {
    /// An instruction without a command.
    pub fn of(sentence: impl Into<String>) -> Cure {
        Cure { sentence: sentence.into(), commands: Vec::new() }
    }

    /// The same with one more command.
    pub fn by(mut self, command: impl Into<String>) -> Cure {
        self.commands.push(command.into());
        self
    }
}

impl ChainStep {
    /// A step in a state.
    pub fn new(name: StepName, state: StepState, sentence: impl Into<String>) -> ChainStep {
        let (sentence, evidence, rules) = (sentence.into(), Vec::new(), Vec::new());
        ChainStep { name, state, reason: None, since: None, sentence, evidence, cure: None, rules }
    }

    /// A step that is as it should be.
    pub fn good(name: StepName, sentence: impl Into<String>) -> ChainStep {
        ChainStep::new(name, StepState::Good, sentence)
    }

    /// A step that does not matter, because an earlier one decides.
    pub fn skipped(name: StepName, because: StepName) -> ChainStep {
        let sentence = format!("depends on {} ({})", because.number(), because.as_str());
        ChainStep::new(name, StepState::Skipped, sentence)
    }

    /// The same step with a line of evidence.
    pub fn evidence(mut self, line: impl Into<String>) -> ChainStep {
        self.evidence.push(line.into());
        self
    }

    /// The same step with a cure.
    pub fn cure(mut self, cure: Cure) -> ChainStep {
        self.cure = Some(cure);
        self
    }

    /// The same step with the code of its reason.
    pub fn reason(mut self, code: super::Code) -> ChainStep {
        self.reason = Some(code.to_string());
        self
    }

    /// Whether it keeps the guest from being reached.
    pub fn is_bad(&self) -> bool {
        self.state == StepState::Bad
    }
}

impl ExplainedAddress {
    /// A step of it.
    pub fn step(&self, name: StepName) -> Option<&ChainStep> {
        self.steps.iter().find(|step| step.name == name)
    }

    /// Puts a step in the place of the one with its name.
    pub fn put(&mut self, step: ChainStep) {
        if let Some(old) = self.steps.iter_mut().find(|old| old.name == step.name) {
            *old = step;
        }
    }

    /// The steps that depend on a bad one say nothing.
    pub fn skip_after_bad(&mut self) {
        let Some(bad) = self.steps.iter().find(|step| step.is_bad()).map(|step| step.name) else { return };
        for step in self.steps.iter_mut().filter(|step| step.name > bad) {
            if matches!(step.state, StepState::Unknown | StepState::Skipped) {
                *step = ChainStep::skipped(step.name, bad);
            }
        }
    }

    fn answers(&self) -> bool {
        self.step(StepName::Guest).is_some_and(|step| step.state == StepState::Good)
    }
}

impl Explanation {
    /// Brings the verdict up to date with the steps. A thing without addresses keeps the verdict that it has.
    pub fn conclude(&mut self) {
        let shared = self.steps.iter().any(ChainStep::is_bad);
        for address in &mut self.addresses {
            let is_bad = shared || address.steps.iter().any(ChainStep::is_bad);
            address.reached = address.wanted.then_some(!is_bad);
        }
        let wanted: Vec<&ExplainedAddress> = self.addresses.iter().filter(|address| address.wanted).collect();
        let reached: Vec<&&ExplainedAddress> =
            wanted.iter().filter(|address| address.reached == Some(true)).collect();
        if self.addresses.is_empty() {
            return;
        }
        let (subject, all, number) = (&self.subject, wanted.len(), reached.len());
        let reach = match reached.iter().all(|address| address.answers()) {
            true => format!("{subject} and this host reach each other"),
            false => format!("{subject} is routed"),
        };
        self.reached = (all > 0).then_some(number == all);
        self.verdict = match (number, all) {
            (_, 0) => format!("{subject} is not reached, which is nobody's fault"),
            (0, _) => format!("{subject} and this host do NOT reach each other"),
            (1, 1) => reach,
            (number, all) if number == all => format!("{reach} at all {all} addresses"),
            (number, all) => format!("{reach} at {number} of {all} addresses"),
        };
    }

    /// All its steps, those of the NIC first.
    pub fn all_steps(&self) -> impl Iterator<Item = &ChainStep> {
        self.steps.iter().chain(self.addresses.iter().flat_map(|address| &address.steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use StepName::{Address, Guest, Route, Server};

    fn address(address: &str, wanted: bool, steps: Vec<ChainStep>) -> ExplainedAddress {
        ExplainedAddress { address: address.parse().unwrap(), reached: None, wanted, way: None, steps }
    }

    fn explanation(addresses: Vec<ExplainedAddress>) -> Explanation {
        let steps = vec![ChainStep::good(Server, "it runs")];
        let subject = "lxd:web eth0".to_owned();
        let mut explanation = Explanation { subject, steps, addresses, ..Explanation::default() };
        explanation.conclude();
        explanation
    }

    #[test]
    fn the_verdict_follows_from_the_steps() {
        let good = || vec![ChainStep::good(Address, "admitted"), ChainStep::good(Guest, "it answers")];
        let silent = || vec![ChainStep::good(Address, ""), ChainStep::new(Guest, StepState::Unknown, "")];
        let bad = || vec![ChainStep::new(Address, StepState::Bad, "refused")];
        for (addresses, reached, verdict) in [
            (vec![address("::1", true, good())], Some(true), "lxd:web eth0 and this host reach each other"),
            (vec![address("::1", true, silent())], Some(true), "lxd:web eth0 is routed"),
            (
                vec![address("::1", true, good()), address("::2", true, bad())],
                Some(false),
                "lxd:web eth0 and this host reach each other at 1 of 2 addresses",
            ),
            (
                vec![address("::1", true, good()), address("::2", false, bad())],
                Some(true),
                "lxd:web eth0 and this host reach each other",
            ),
            (
                vec![address("::1", true, bad())],
                Some(false),
                "lxd:web eth0 and this host do NOT reach each other",
            ),
            (
                vec![address("::1", false, bad())],
                None,
                "lxd:web eth0 is not reached, which is nobody's fault",
            ),
        ] {
            let explanation = explanation(addresses);
            assert_eq!((explanation.reached, explanation.verdict.as_str()), (reached, verdict));
        }
    }

    #[test]
    fn steps_behind_a_bad_one_depend_on_it() {
        let unknown = |name| ChainStep::new(name, StepState::Unknown, "not looked at");
        let steps = vec![ChainStep::new(Address, StepState::Bad, "refused"), unknown(Route), unknown(Guest)];
        let mut address = address("::1", true, steps);
        address.skip_after_bad();
        assert_eq!(address.step(Route).unwrap().sentence, "depends on 6 (address)");
        assert_eq!(address.step(Guest).unwrap().state, StepState::Skipped);
    }

    #[test]
    fn the_order_of_the_names_is_their_number() {
        let numbers: Vec<usize> = StepName::ALL.iter().map(|name| name.number()).collect();
        assert_eq!(numbers, (1..=10).collect::<Vec<_>>());
        assert!(StepName::ALL.is_sorted());
    }
}
