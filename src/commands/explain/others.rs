//! Instances that the daemon does not know, because they have no macvlan NIC. The servers are asked, read-only.

use std::net::IpAddr;
use std::path::Path;

use futures_util::future::join_all;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

use crate::commands::{Failure, block_on};
use crate::config::Config;
use crate::model::address::is_global_unicast;
use crate::model::explanation::{Explanation, Sought};
use crate::model::inventory::Power;
use crate::model::{GuestKey, ServerId, text};
use crate::servers::{self, AnyInstance, AnyNic};

/// The outcome of asking all servers.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) explanations: Vec<Explanation>,
    /// A known name that may have been meant.
    pub(super) similar: Option<String>,
    /// Why servers could not be asked, a sentence each.
    pub(super) unread: Vec<String>,
}

/// Asks all servers of this host for the instances that somebody asks about.
pub(super) fn find(config_file: Option<&Path>, sought: &Sought) -> Result<Found, Failure> {
    let config = Config::load(config_file)?.config;
    let targets = servers::targets(&config.sockets(), |name| std::env::var_os(name));
    let answers = join_all(targets.iter().map(async |target| (&target.id, servers::instances(target).await)));
    let mut found = Found::default();
    let mut known: Vec<AnyInstance> = Vec::new();
    for (server, answer) in block_on(answers)? {
        match answer {
            Ok(instances) => {
                found.explanations.extend(instances.iter().flat_map(|it| explained(server, it, sought)));
                known.extend(instances);
            }
            Err(why) => found.unread.push(format!("{server}: {why}")),
        }
    }
    if let Sought::Name(name) = sought {
        let names: Vec<&str> = known.iter().map(|instance| instance.name.as_str()).collect();
        found.similar = text::closest(name, &names).map(str::to_owned);
    }
    Ok(found)
}

/// Explains an instance if it is sought.
fn explained(server: &ServerId, instance: &AnyInstance, sought: &Sought) -> Vec<Explanation> {
    let AnyInstance { project, name, nics, .. } = instance;
    let key = GuestKey::new(server.clone(), project.clone(), name.clone());
    let of = |nic: &AnyNic| verdict(&key, instance, nic, &host_addresses);
    let verdicts = match sought {
        Sought::Name(name) if GuestKey::is_called(&key.to_string(), name) => match nics.as_slice() {
            [] => vec![format!("{key} has no NIC")],
            nics => nics.iter().map(of).collect(),
        },
        Sought::Mac(mac) => nics.iter().filter(|nic| nic.mac == Some(*mac)).map(of).collect(),
        Sought::Name(_) | Sought::Address(_) => Vec::new(),
    };
    let explanation = |verdict| Explanation {
        subject: key.to_string(),
        guest: Some(key.clone()),
        verdict,
        ..Explanation::default()
    };
    verdicts.into_iter().map(explanation).collect()
}

/// The place of a NIC that is not ours. `addresses` has this host's addresses on a link.
fn verdict(
    key: &GuestKey,
    AnyInstance { power, elsewhere, .. }: &AnyInstance,
    AnyNic { name, kind, upon, .. }: &AnyNic,
    addresses: &dyn Fn(&str) -> Vec<IpAddr>,
) -> String {
    let upon = upon.as_deref().unwrap_or("nothing");
    if let Some(member) = elsewhere {
        return format!("{key} is on the cluster member {member}, not on this host");
    }
    let place = match kind.as_deref() {
        Some(kind) => format!("its NIC {name} is {kind} on {upon}"),
        None => format!("its NIC {name} is on the network {upon}"),
    };
    if kind.as_deref() == Some("macvlan") {
        return format!("{key}: {place}, and the daemon has not read that yet");
    }
    if *power == Power::Stopped {
        return format!("{key} is stopped; {place}, so macvlan-shim would not serve it");
    }
    match addresses(upon).as_slice() {
        [] => format!("{key}: {place}, so macvlan-shim does not serve it"),
        addresses => {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            format!("{key}: {place}; it reaches this host at {} without macvlan-shim", addresses.join(", "))
        }
    }
}

/// This host's addresses on a link, those of IPv4 first.
fn host_addresses(link: &str) -> Vec<IpAddr> {
    let ip = |address: SockaddrStorage| {
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::from(address.ip())))
    };
    let all = getifaddrs().into_iter().flatten().filter(|entry| entry.interface_name == link);
    let mut addresses: Vec<IpAddr> =
        all.filter_map(|entry| ip(entry.address?)).filter(|address| is_global_unicast(*address)).collect();
    addresses.sort();
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::inventory::GuestKind;

    fn instance(power: Power, elsewhere: Option<&str>) -> AnyInstance {
        AnyInstance {
            project: "default".into(),
            name: "br1".into(),
            kind: GuestKind::Container,
            power,
            elsewhere: elsewhere.map(Into::into),
            nics: Vec::new(),
        }
    }

    #[test]
    fn a_nic_that_is_not_ours_is_told_with_its_way_to_the_host() {
        let key = GuestKey::new(ServerId("lxd".into()), "default".into(), "br1".into());
        let nic = |kind: Option<&str>, upon: &str| AnyNic {
            name: "eth0".into(),
            kind: kind.map(Into::into),
            upon: Some(upon.into()),
            mac: None,
        };
        let addresses =
            |link: &str| if link == "lxdbr0" { vec!["10.9.9.1".parse().unwrap()] } else { vec![] };
        let running = || instance(Power::Running, None);
        for (instance, nic, expected) in [
            (
                running(),
                nic(Some("bridged"), "lxdbr0"),
                "lxd:br1: its NIC eth0 is bridged on lxdbr0; it reaches this host at 10.9.9.1 without macvlan-shim",
            ),
            (
                running(),
                nic(None, "ovn0"),
                "lxd:br1: its NIC eth0 is on the network ovn0, so macvlan-shim does not serve it",
            ),
            (
                instance(Power::Stopped, None),
                nic(Some("bridged"), "lxdbr0"),
                "lxd:br1 is stopped; its NIC eth0 is bridged on lxdbr0, so macvlan-shim would not serve it",
            ),
            (
                instance(Power::Running, Some("lxd3")),
                nic(Some("macvlan"), "eth0"),
                "lxd:br1 is on the cluster member lxd3, not on this host",
            ),
        ] {
            assert_eq!(verdict(&key, &instance, &nic, &addresses), expected);
        }
    }
}
