//! A chain of rules as one packet meets it, whatever program it came from.

use std::fmt;

use super::fit::Fit;
use super::packet::Path;

/// A place in the kernel where chains are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of nft; nft(8) describes them")]
pub enum HookedAt {
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
}

impl HookedAt {
    /// By its name.
    pub fn named(name: &str) -> Option<HookedAt> {
        Some(match name.to_ascii_lowercase().as_str() {
            "prerouting" => HookedAt::Prerouting,
            "input" => HookedAt::Input,
            "forward" => HookedAt::Forward,
            "output" => HookedAt::Output,
            "postrouting" => HookedAt::Postrouting,
            _ => return None,
        })
    }
}

/// The hooks that a packet passes, in their order.
pub(super) fn hooks(path: Path) -> &'static [HookedAt] {
    match path {
        Path::In => &[HookedAt::Prerouting, HookedAt::Input],
        Path::Out => &[HookedAt::Output, HookedAt::Postrouting],
        Path::Through => &[HookedAt::Prerouting, HookedAt::Forward, HookedAt::Postrouting],
    }
}

/// The hook of a chain that the kernel calls.
#[derive(Clone, Debug, PartialEq)]
pub struct Base {
    /// The hook.
    pub hook: HookedAt,
    /// The lowest comes first.
    pub priority: i64,
    /// What reaches its end is dropped.
    pub drops: bool,
    /// Number of packets that reached its end, if it is counted.
    pub packets: Option<u64>,
    /// It translates addresses. Such a chain sees only the first packet of a connection.
    pub translates: bool,
    /// Whether the kernel calls it at all.
    pub is_awake: Fit,
}

/// A chain, as one packet meets it.
#[derive(Clone, Debug, PartialEq)]
pub struct Met {
    /// The program that shows it.
    pub program: RuleProgram,
    /// The family of its table, as nft spells it.
    pub family: String,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Where the kernel calls it; `None` if only other chains do.
    pub hooked: Option<Base>,
    /// Its rules in their order.
    pub rules: Vec<MetRule>,
}

/// The programs that make rules, by their syntax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleProgram {
    /// `nft`.
    Nft,
    /// `iptables`.
    Iptables,
    /// `ip6tables`.
    Ip6tables,
}

/// A rule, as one packet meets it.
#[derive(Clone, Debug, PartialEq)]
pub struct MetRule {
    /// What it does, each with whether the packet fits. The first that fits counts.
    pub branches: Vec<(Fit, Then)>,
    /// It, as people write it.
    pub text: String,
    /// Number of packets that it has met, if it is counted.
    pub packets: Option<u64>,
}

/// What a rule does with a packet.
#[derive(Clone, Debug, PartialEq)]
pub enum Then {
    /// Passes it.
    Accept,
    /// Drops or rejects it.
    Drop,
    /// Leaves the chain.
    Return,
    /// Goes through another chain, and comes back.
    Jump(String),
    /// Goes through another chain instead of the rest of this one.
    Goto(String),
    /// Changes its source address.
    Translate,
    /// Nothing that decides about it.
    Go,
}

impl Then {
    /// The chain that it leads into.
    pub fn target(&self) -> Option<&str> {
        match self {
            Then::Jump(chain) | Then::Goto(chain) => Some(chain),
            _ => None,
        }
    }
}

/// The place where a packet is dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct Stop {
    /// The program that shows it.
    pub program: RuleProgram,
    /// The family of the table.
    pub family: String,
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
    /// The chain that the kernel called on the way there, where a rule that comes first has to be.
    pub base: String,
    /// The hook of that chain.
    pub hook: HookedAt,
    /// The rule; `None` if it is the policy of the chain.
    pub rule: Option<String>,
    /// Number of packets that it has met, if it is counted.
    pub packets: Option<u64>,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stop { program, family, table, chain, rule, packets, .. } = self;
        match program {
            RuleProgram::Nft => write!(f, "table {family} {table}, chain {chain}: ")?,
            RuleProgram::Iptables => write!(f, "iptables, table {table}, chain {chain}: ")?,
            RuleProgram::Ip6tables => write!(f, "ip6tables, table {table}, chain {chain}: ")?,
        }
        match rule {
            Some(rule) => f.write_str(rule)?,
            None => f.write_str("its policy is drop, and no rule before accepts them")?,
        }
        match packets {
            // The rule itself may show it.
            Some(packets) if !rule.as_ref().is_some_and(|rule| rule.contains("packets")) => {
                write!(f, " ({packets} packets so far)")
            }
            _ => Ok(()),
        }
    }
}
