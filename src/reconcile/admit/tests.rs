use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Case, Claimant, Others, RULES, Verdict, admit, findings};
use crate::config::Config;
use crate::model::code::Topic;
use crate::model::inventory::Mode;
use crate::model::snapshot::{Child, GuestAddress, Link, Neighbour, NeighbourState, Sources};
use crate::model::{Code, LinkIndex, Mac, Snapshot};
use crate::reconcile::facts::{Facts, HostFacts, Trust};

const PARENT: LinkIndex = LinkIndex(2);
const MAC: Mac = Mac([0, 0x16, 0x3e, 0, 0, 1]);
const MACHINE: Mac = Mac([2, 0, 0, 0, 0, 9]);

fn parent() -> Link {
    Link {
        index: PARENT,
        name: "eth0".into(),
        mtu: 1500,
        up: true,
        multicast: true,
        arp: true,
        ..Link::default()
    }
}

fn child() -> Child {
    Child {
        parent: PARENT,
        mac: MAC,
        mode: Mode::Bridge,
        name: "eth0".into(),
        tap: false,
        up: false,
        master: None,
        sources: Sources::default(),
        addresses: BTreeMap::new(),
    }
}

/// The codes of all rules that refuse an address, and the verdict, on a host without any network.
fn refused_by(config: &Config, snapshot: &Snapshot, address: &str, others: Others) -> (Vec<Code>, Verdict) {
    let (host, trust) = (HostFacts::default(), Trust::default());
    let facts = Facts { snapshot, config, host: &host, trust: &trust };
    let claimant = Claimant { known_as: vec![MAC], reached_at: vec![MAC], distrusted: false };
    let (parent, child) = (parent(), child());
    let address = address.parse().unwrap();
    let mut case = Case::new(&facts, &parent, &child, &claimant, address, GuestAddress::Settled);
    case.others = others;
    let codes = findings(&case).filter_map(|(_, refusal)| Some(refusal?.code)).collect();
    (codes, admit(&case))
}

#[test]
fn the_first_rule_that_refuses_gives_the_verdict_and_all_are_listed() {
    let address = IpAddr::from([192, 0, 2, 5]);
    let entry = Neighbour { mac: Some(MACHINE), state: NeighbourState::Reachable, ours: false };
    let snapshot = Snapshot { neighbours: [((address, PARENT), entry)].into(), ..Snapshot::default() };
    let (codes, verdict) = refused_by(&Config::default(), &snapshot, "192.0.2.5/24", Others::Leave);
    assert_eq!(codes, [Code::OffLink, Code::HeldOnLan, Code::NoSource, Code::LinkDown]);
    assert_eq!(verdict.code(), Some(Code::OffLink));
}

#[test]
fn an_address_that_cannot_be_routed_at_all_is_refused_as_such() {
    let (codes, verdict) = refused_by(&Config::default(), &Snapshot::default(), "127.0.0.1/8", Others::Leave);
    assert_eq!((codes.first(), verdict.code()), (Some(&Code::NotGlobal), Some(Code::NotGlobal)));
}

#[test]
fn an_address_beyond_the_limit_is_not_asked_about() {
    let mut config = Config::default();
    config.policy.probe = crate::config::Probe::Strict;
    config.policy.allow = vec!["192.0.2.0/24".parse().unwrap()];
    let strict = |others| refused_by(&config, &Snapshot::default(), "192.0.2.5/24", others).1.code();
    assert_eq!(strict(Others::Leave), Some(Code::Asking));
    assert_eq!(strict(Others::FillTheNic), Some(Code::Limit));
}

#[test]
fn another_nic_counts_only_for_an_address_that_is_otherwise_admitted() {
    let others = Others::Hold { holder: "lxd:web/eth0".to_owned() };
    let (codes, verdict) = refused_by(&Config::default(), &Snapshot::default(), "192.0.2.5/24", others);
    assert_eq!((codes.last(), verdict.code()), (Some(&Code::Held), Some(Code::OffLink)));
}

#[test]
fn every_code_of_a_refusal_has_a_rule_and_every_rule_such_a_code() {
    let refusals = Code::ALL.iter().copied().filter(|code| code.topic() == Topic::Refused);
    for code in refusals {
        assert!(RULES.iter().any(|rule| rule.code == code), "no rule refuses with {code}");
    }
    for rule in RULES {
        assert_eq!(rule.code.topic(), Topic::Refused, "{rule:?}");
    }
}
