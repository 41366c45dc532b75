//! Every value of an enum has a series, and the number of series is bounded.

use super::guests::{ADDRESS_STATES, MOST, NIC_STATES};
use super::*;
use crate::model::code::Topic;
use crate::model::inventory::{GuestKind, ServerState};
use crate::model::status::{AddressState, GuestStatus, NicState, NicStatus, ServerStatus, Status};
use crate::model::{Code, GuestKey, ServerId, Severity};
use crate::report::Figures;

fn text(report: &Report) -> String {
    exposition(report).unwrap()
}

/// The lines with values of a family.
fn values<'a>(text: &'a str, family: &str) -> Vec<&'a str> {
    let is_its = |line: &&str| line.strip_prefix(family).is_some_and(|rest| rest.starts_with(['{', ' ']));
    text.lines().filter(is_its).collect()
}

fn server(id: &str, state: ServerState, version: Option<&str>) -> ServerStatus {
    ServerStatus {
        id: id.into(),
        kind: None,
        socket: "/s".to_owned(),
        version: version.map(str::to_owned),
        name: None,
        state,
        message: None,
        since: None,
        last_read: None,
    }
}

fn guest(number: usize) -> GuestStatus {
    let nic = NicStatus {
        name: "eth0".into(),
        parent: "eth0".into(),
        mac: None,
        state: NicState::Waiting,
        reason: None,
        message: None,
        since: None,
        addresses: Vec::new(),
    };
    let name = format!("g{number}").into();
    GuestStatus {
        server: "lxd".into(),
        project: "default".into(),
        name,
        kind: GuestKind::Container,
        nics: vec![nic],
    }
}

fn crowd(count: usize, figures: Figures) -> Report {
    Report { status: Status { guests: (0..count).map(guest).collect(), ..Status::default() }, figures }
}

#[test]
fn every_state_is_on_the_list_under_its_name_in_status() {
    // A new state has to be added here and to the list.
    let place = |state| match state {
        NicState::Reachable => 0,
        NicState::Waiting => 1,
        NicState::Refused => 2,
        NicState::Failed => 3,
        NicState::Stopped => 4,
        NicState::Unselected => 5,
        NicState::Unsupported => 6,
    };
    for (at, state) in NIC_STATES.into_iter().enumerate() {
        assert_eq!((place(state), serde_json::to_value(state).unwrap()), (at, state.as_str().into()));
    }
    let place = |state| match state {
        AddressState::Routed => 0,
        AddressState::Refused => 1,
        AddressState::Failed => 2,
    };
    for (at, state) in ADDRESS_STATES.into_iter().enumerate() {
        assert_eq!((place(state), serde_json::to_value(state).unwrap()), (at, state.as_str().into()));
    }
}

#[test]
fn every_value_of_an_enum_has_a_series_from_the_start() {
    let status = Status { servers: vec![server("lxd", ServerState::Connecting, None)], ..Status::default() };
    let text = text(&Report { status, ..Report::default() });
    let of = |topic| Code::ALL.iter().filter(|code| code.topic() == topic).count();
    let problems = Code::ALL.iter().filter(|code| code.severity() > Severity::Note);
    let problems = problems.filter(|code| code.topic() != Topic::Doctor).count();
    for (family, count) in [
        ("macvlan_shim_nics", 7),
        ("macvlan_shim_addresses", 3 * 2),
        ("macvlan_shim_addresses_refused", of(Topic::Refused)),
        ("macvlan_shim_problems", problems),
        ("macvlan_shim_operations_total", 17 * 2),
        ("macvlan_shim_repairs_total", 8),
        ("macvlan_shim_address_conflicts_total", 5),
        ("macvlan_shim_lan_probes_total", 4),
        ("macvlan_shim_resyncs_total", 2),
        ("macvlan_shim_reaction_seconds_bucket", 13),
    ] {
        let values = values(&text, family);
        assert_eq!(values.len(), count, "{values:#?}");
        assert!(values.iter().all(|line| line.ends_with(" 0")), "{values:#?}");
    }
}

#[test]
fn a_place_where_no_server_ever_was_has_no_series() {
    let servers = vec![
        server("incus", ServerState::Absent, None),
        server("lxd", ServerState::Absent, Some("5.0.2")),
        server("lxd-snap", ServerState::Connected, Some("6.1")),
    ];
    let status = Status { servers, ..Status::default() };
    let mut report = Report { status, ..Report::default() };
    let up = "macvlan_shim_server_up";
    let gone = format!("{up}{{server=\"lxd\",kind=\"\"}} 0");
    let there = format!("{up}{{server=\"lxd-snap\",kind=\"\"}} 1");
    assert_eq!(values(&text(&report), up), [gone.as_str(), &there]);
    report.figures.servers_are_named = true;
    let absent = format!("{up}{{server=\"incus\",kind=\"\"}} 0");
    assert_eq!(values(&text(&report), up), [absent.as_str(), &gone, &there]);
}

#[test]
fn only_so_many_nics_have_a_series_of_their_own() {
    let figures = || Figures { per_guest: true, ..Figures::default() };
    for (report, shown, left_out) in [
        (crowd(3, figures()), 3, 0),
        (crowd(MOST + 5, figures()), MOST, 5),
        (crowd(3, Figures::default()), 0, 3),
    ] {
        let text = text(&report);
        assert_eq!(values(&text, "macvlan_shim_nic_reachable").len(), shown);
        let expected = format!("macvlan_shim_nic_reachable_left_out {left_out}");
        assert_eq!(values(&text, "macvlan_shim_nic_reachable_left_out"), [expected]);
    }
}

/// Its NICs are called what the guest calls its links, so it could make series without end.
#[test]
fn a_guest_that_names_its_own_nics_has_no_series() {
    let key = GuestKey::new(ServerId("lxd".into()), "default".into(), "g1".into());
    let text = text(&crowd(3, Figures { per_guest: true, self_named: [key].into(), ..Figures::default() }));
    let shown = values(&text, "macvlan_shim_nic_reachable");
    assert!(shown.len() == 2 && shown.iter().all(|line| !line.contains("\"g1\"")), "{shown:?}");
    assert_eq!(
        values(&text, "macvlan_shim_nic_reachable_left_out"),
        ["macvlan_shim_nic_reachable_left_out 1"]
    );
}

#[test]
fn a_nic_that_need_not_be_reached_has_no_series() {
    let mut report = crowd(2, Figures { per_guest: true, ..Figures::default() });
    report.status.guests[0].nics[0].state = NicState::Stopped;
    report.status.guests[1].nics[0].state = NicState::Reachable;
    let text = text(&report);
    let only = r#"macvlan_shim_nic_reachable{server="lxd",project="default",name="g1",device="eth0",parent="eth0"} 1"#;
    assert_eq!(values(&text, "macvlan_shim_nic_reachable"), [only]);
}

#[test]
fn no_two_families_have_one_name_and_names_follow_the_conventions() {
    let mut names: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), FAMILIES.len());
    for family in FAMILIES {
        assert_eq!(family.name.ends_with("_total"), family.kind.as_str() == "counter", "{family:?}");
        assert!(family.help.ends_with('.'), "{family:?}");
    }
}
