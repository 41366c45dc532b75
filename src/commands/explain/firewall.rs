//! The host's own firewall.

use std::cell::OnceCell;
use std::net::IpAddr;

use crate::commands::doctor;
use crate::doctor::finding::Gap;
use crate::doctor::firewall::entrance::{Blocked, Entrance, list, places};
use crate::doctor::firewall::{Fate, Firewall};
use crate::model::explanation::{ChainStep, Cure, ShimWay, StepName, StepState};

/// The host's own firewall, which is read when the first address needs it.
#[derive(Default)]
pub(super) struct HostFirewall(OnceCell<Result<Firewall, Gap>>);

impl HostFirewall {
    /// The judgement about packets between a guest's address and this host, through a shim.
    pub(super) fn judge(&self, way: &ShimWay, guest: IpAddr) -> ChainStep {
        let entrance =
            Entrance { shim: way.shim.to_string(), parent: way.parent.to_string(), guest, host: way.source };
        match self.0.get_or_init(doctor::firewall) {
            Ok(firewall) => judge(firewall, &entrance),
            Err(gap) => {
                let step = ChainStep::new(StepName::Firewall, StepState::Unknown, gap.why.clone());
                step.evidence(format!("it must accept what comes in through {} from {guest}", way.shim))
            }
        }
    }
}

fn judge(firewall: &Firewall, entrance: &Entrance) -> ChainStep {
    let name = StepName::Firewall;
    let blocked = firewall.blocked(entrance);
    let is_sure = |one: &Blocked| matches!(one.fate, Fate::Dropped(_));
    let Some(worst) = blocked.first() else {
        return ChainStep::good(name, "this host's own firewall treats it no worse than the LAN");
    };
    let all_echo = |one: &Blocked| is_sure(one) && one.is_question_or_echo();
    let state = if blocked.iter().any(all_echo) { StepState::Bad } else { StepState::Warning };
    let verb = if is_sure(worst) { "drops" } else { "may drop" };
    let (blocked_kinds, parent) = (list(&blocked), &entrance.parent);
    let sentence =
        format!("this host's own firewall {verb} {blocked_kinds}, and lets the same in from {parent}");
    let step = places(&blocked).into_iter().fold(ChainStep::new(name, state, sentence), ChainStep::evidence);
    let cure = Cure::of("let it in, as it is let in from the LAN");
    step.cure(firewall.cure(entrance, &blocked).into_iter().fold(cure, Cure::by))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Family;

    fn entrance() -> Entrance {
        let (guest, host) = ("192.168.77.101".parse().unwrap(), "192.168.77.11".parse().unwrap());
        Entrance { shim: "mvs-eth0".to_owned(), parent: "eth0".to_owned(), guest, host }
    }

    fn iptables(rules: &str) -> Firewall {
        let save = format!(
            "*filter\n:INPUT DROP [3:180]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n{rules}COMMIT\n"
        );
        Firewall::read("", "", vec![(Family::V4, save)]).unwrap()
    }

    #[test]
    fn a_firewall_that_knows_the_uplink_alone_is_the_fault() {
        let step = judge(&iptables("[0:0] -A INPUT -i eth0 -j ACCEPT\n"), &entrance());
        assert_eq!(step.state, StepState::Bad, "{step:?}");
        assert!(step.sentence.starts_with("this host's own firewall drops "), "{step:?}");
        assert!(step.evidence.iter().any(|line| line.contains("INPUT")), "{step:?}");
        let commands = step.cure.unwrap().commands;
        assert!(commands.iter().any(|line| line.contains("mvs-")), "{commands:?}");
    }

    #[test]
    fn a_firewall_that_treats_all_alike_is_no_fault() {
        for rules in ["[0:0] -A INPUT -j ACCEPT\n", "[0:0] -A INPUT -i mvs-+ -j ACCEPT\n"] {
            assert_eq!(judge(&iptables(rules), &entrance()).state, StepState::Good, "{rules}");
        }
    }
}
