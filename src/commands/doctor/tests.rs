use std::time::Duration;

use super::*;
use crate::config::Config;
use crate::doctor::finding::{Finding, Gap};
use crate::doctor::firewall::Firewall;
use crate::doctor::survey::{DaemonState, Machine, Networkd, Survey};
use crate::model::{Code, Inventory};

fn survey() -> Survey {
    Survey {
        time: Default::default(),
        name: "lxd2".to_owned(),
        system: "Debian GNU/Linux 12 (bookworm)".to_owned(),
        release: "6.1.0-56".to_owned(),
        config: Config::default(),
        config_fault: None,
        daemon: DaemonState::Absent("no daemon answers".to_owned()),
        kernel: Err(Gap::for_root("the kernel cannot be read")),
        inventory: Inventory::default(),
        firewall: Ok(Firewall::default()),
        machine: Machine::default(),
        unit: Err(Gap::new("there is no systemctl")),
        networkd: Networkd::default(),
        network_manager: Ok(None),
        programs: Default::default(),
        boot_files: Vec::new(),
        sysctls: Default::default(),
        sockets: Vec::new(),
        ages: Default::default(),
    }
}

fn outcome(code: Code, found: Result<Vec<Finding>, Gap>) -> Examined {
    Examined { code, good: "all is well", found }
}

fn outcomes() -> Vec<Examined> {
    let recipe = Finding::new(Code::RecipeLink, "mynet does by hand what macvlan-shim does")
        .seen(["mynet@eth0".to_owned(), "192.168.100.253/32 dev mynet".to_owned()])
        .cured_by("ip link delete mynet");
    let firewall = Finding::new(
        Code::FirewallDropsShim,
        "the firewall drops what guests on eth0 and this host send each other over IPv4",
    )
    .seen(["table inet fw, chain in: its policy is drop, and no rule before accepts them".to_owned()])
    .cured_by("nft insert rule inet fw in iifname \"mvs-*\" accept");
    vec![
        outcome(Code::RecipeLink, Ok(vec![recipe])),
        outcome(Code::FirewallDropsShim, Ok(vec![firewall])),
        outcome(Code::ParentDown, Ok(vec![])),
        outcome(Code::CloudMac, Ok(vec![])),
    ]
}

const NARROW: Look = Look { colour: false, width: Some(80), height: None, symbols: true };

#[test]
fn the_gravest_is_first_and_every_line_fits() {
    let text = shown::rendered(&survey(), &outcomes(), Duration::from_millis(120), false, NARROW);
    let expected = "\
Looking at lxd2 (Debian GNU/Linux 12 (bookworm), Linux 6.1.0-56), 4 checks in
  0.1 s

✗ firewall-drops-shim     the firewall drops what guests on eth0 and this host
                          send each other over IPv4
    evidence   table inet fw, chain in: its policy is drop, and no rule before
               accepts them
    cure       nft insert rule inet fw in iifname \"mvs-*\" accept
! recipe-link             mynet does by hand what macvlan-shim does
    evidence   mynet@eth0
               192.168.100.253/32 dev mynet
    cure       ip link delete mynet
● 2 checks are good: --all shows them

1 fault, 1 warning, 0 notes.
For scripts: --json; for a bug report: --report FILE
";
    assert_eq!(text, expected);
    let too_long: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
    assert_eq!(too_long, Vec::<&str>::new());
}

#[test]
fn everything_is_shown_if_asked_for_and_in_ascii_if_need_be() {
    let ascii = Look { symbols: false, ..NARROW };
    let text = shown::rendered(&survey(), &outcomes(), Duration::ZERO, true, ascii);
    assert!(text.is_ascii() && text.contains("* parent-down             all is well\n"), "{text}");
    let coloured = Look { colour: true, ..NARROW };
    assert!(
        shown::rendered(&survey(), &outcomes(), Duration::ZERO, true, coloured).contains("\x1b[31m✗\x1b[0m")
    );
}

#[test]
fn a_check_that_was_not_made_is_not_good() {
    let mut all = outcomes();
    all.push(outcome(Code::ForeignChild, Err(Gap::for_root("the kernel cannot be read"))));
    all.push(outcome(Code::PolicyRules, Err(Gap::for_root("the kernel cannot be read"))));
    all.push(outcome(Code::NetworkdForeignRoutes, Err(Gap::new("nobody tells"))));
    let text = shown::rendered(&survey(), &all, Duration::ZERO, false, NARROW);
    let expected = "\
● 2 checks are good: --all shows them
? 3 checks are not made:
    the kernel cannot be read
    nobody tells
    Root can read more: sudo macvlan-shim doctor
";
    assert!(text.contains(expected), "{text}");
    let text = shown::rendered(&survey(), &all, Duration::ZERO, true, NARROW);
    assert!(text.contains("? policy-rules            not made: the kernel cannot be read\n"), "{text}");
}

#[test]
fn the_exit_status_tells_faults_and_missing_rights_from_warnings() {
    let all = outcomes();
    assert_eq!(verdict(&all), FAILED);
    assert_eq!(verdict(&all[..1]), GOOD, "a warning is no fault");
    assert_eq!(verdict(&all[2..]), GOOD);
    assert_eq!(verdict(&[outcome(Code::PolicyRules, Err(Gap::new("nobody tells")))]), GOOD);
    assert_eq!(verdict(&[outcome(Code::PolicyRules, Err(Gap::for_root("no rights")))]), FAILED);
}

#[test]
fn programs_get_every_check() {
    let mut all = outcomes();
    all.push(outcome(Code::PolicyRules, Err(Gap::new("nobody tells"))));
    let view: serde_json::Value = serde_json::from_str(&json::rendered(&survey(), &all).unwrap()).unwrap();
    assert_eq!((&view["faults"], &view["warnings"], &view["notes"]), (&1.into(), &1.into(), &0.into()));
    let checks = view["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 5);
    assert_eq!(checks[0]["findings"][0]["code"], Code::RecipeLink.as_str());
    assert_eq!(checks[0]["findings"][0]["severity"], "warning");
    assert_eq!((&checks[2]["good"], &checks[4]["good"]), (&true.into(), &false.into()));
    assert_eq!(checks[4]["not_made"], "nobody tells");
}

#[test]
fn text_of_others_cannot_control_the_terminal() {
    let evil = Finding::new(Code::RecipeLink, "a\x1b[2Jb").seen(["c\rd".to_owned()]).cured_by("e\nf");
    let text = shown::rendered(
        &survey(),
        &[outcome(Code::RecipeLink, Ok(vec![evil]))],
        Duration::ZERO,
        false,
        NARROW,
    );
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
}
