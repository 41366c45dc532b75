//! The daemon, its unit, its configuration and its servers.

use super::*;

#[test]
fn a_faulty_configuration_is_shown_in_full() {
    let world =
        World::surveyed(|survey| survey.config_fault = Some("line 2: no such key\n  2 | x".to_owned()));
    assert_eq!(world.finds(Code::ConfigRejected).evidence, ["line 2: no such key", "2 | x"]);
}

#[test]
fn the_unit_says_why_the_daemon_ended() {
    let world = World {
        runs: false,
        ..World::surveyed(|survey| {
            survey.unit = Ok(UnitState {
                exists: true,
                active: "failed".to_owned(),
                result: "exit-code".to_owned(),
                log: vec!["the last word".to_owned()],
                ..UnitState::default()
            });
        })
    };
    let finding = world.finds(Code::NotRunning);
    assert_eq!(finding.evidence[2..], ["its unit is failed, because of exit-code", "the last word"]);
    assert_eq!(finding.cure, ["systemctl start macvlan-shimd"]);
}

#[test]
fn a_socket_that_is_closed_to_the_unit_is_found_by_root_too() {
    let with = |group: &str, groups: &str| {
        let (group, groups) = (group.to_owned(), groups.to_owned());
        World::surveyed(move |survey| {
            let path = "/var/lib/lxd/unix.socket".to_owned();
            survey.sockets =
                vec![SocketRights { path, group, is_open_to_group: true, is_open_to_all: false }];
            let groups = vec!["macvlan-shim".to_owned(), groups];
            survey.unit = Ok(UnitState { exists: true, groups, ..UnitState::default() });
        })
    };
    let finding = with("sudo", "lxd").finds(Code::ServerFailed);
    assert!(finding.cure[0].contains("SupplementaryGroups=sudo"), "{finding:#?}");
    with("lxd", "lxd").shows_nothing();
}

#[test]
fn a_daemon_that_knows_other_guests_than_the_server_is_told() {
    let world = World::surveyed(|survey| {
        if let DaemonState::Answers(status) = &mut survey.daemon {
            status.guests.clear();
        }
    });
    assert_eq!(world.finds(Code::ServerSilent).evidence, ["different: default/web"]);
    let last_read = |ago: u64| {
        World::surveyed(move |survey| {
            let DaemonState::Answers(status) = &mut survey.daemon else { return };
            status.servers[0].last_read = Some(Timestamp::default());
            survey.time = (std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(ago)).into();
        })
    };
    let finding = last_read(16 * 60).finds(Code::ServerSilent);
    assert_eq!(finding.sentence, "lxd was last read 16 min ago");
    last_read(6 * 60).shows_nothing();
}

#[test]
fn parts_of_the_configuration_that_match_nothing_are_noted() {
    let with = |text: &str| World::with(|world| world.config = config(text));
    with("[select]\nprofiles = ['mv', 'macvlna']\n").finds(Code::ConfigUnused);
    with("[select]\nprojects = ['default', 'shop']\n").finds(Code::ConfigUnused);
    with("[select]\nprofiles = ['mv']\nprojects = ['default']\n[[parent]]\nname = 'eth0'\n").shows_nothing();
    let idle = |keep: &str| {
        World::with(|world| {
            world.snapshot.links.insert(LinkIndex(10), link(LinkIndex(10), "eth1", LinkKind::default()));
            world.config = config(&format!("[[parent]]\nname = 'eth1'\n{keep}"));
        })
    };
    idle("").finds(Code::ConfigUnused);
    idle("keep = true\n").shows_nothing();
    let nothing = with("[select]\nprofiles = ['macvlna']\n").found();
    assert!(nothing.iter().any(|finding| finding.code == Code::SelectMatchesNothing), "{nothing:#?}");
}
