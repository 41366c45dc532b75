//! The profiles that the packages install, loaded as their heads say.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use lab::{Kind, eventually};

use crate::node::{Node, PATIENCE};

on_lxd_and_incus!(each_profile_is_loaded_and_its_guest_is_reached);

const FOLDER: &str = "/usr/share/macvlan-shim/profiles";

/// A profile, an address for its guest and the host's own on the same parent.
const PROFILES: [(&str, &str, &str); 3] = [
    ("macvlan", "192.168.77.101/24", "192.168.77.11"),
    ("macvlan-vlan", "192.168.78.102/24", "192.168.78.11"),
    ("macvlan-network", "192.168.77.103/24", "192.168.77.11"),
];

fn each_profile_is_loaded_and_its_guest_is_reached(kind: Kind) -> Result<()> {
    let mut node = Node::new(Some(kind))?;
    node.install()?;
    let server = node.host.server(kind)?;
    // A kernel may lack VLANs. The server takes any link of that name for the VLAN that it would make.
    node.plug("eth0.100")?;
    node.host.sh("ip link set eth0.100 up; ip addr add 192.168.78.11/24 dev eth0.100")?;
    let client = kind.client();
    node.host.sh(&format!("{client} network create lan --type=macvlan parent=eth0 </dev/null"))?;
    for (profile, address, host) in PROFILES {
        node.host.sh(&format!(
            "cd {FOLDER}; {client} profile create {profile} && {client} profile edit {profile} < {profile}.yaml"
        ))?;
        let by_itself = ["-c", "environment.LAB_DHCP=none", "-c", "environment.LAB_RA=none"];
        let guest = server.launch(profile, &[&["-p", "default", "-p", profile], &by_itself[..]].concat())?;
        guest.sh(&format!("ip addr add {address} dev eth0"))?;
        let address: IpAddr = address.trim_end_matches("/24").parse()?;
        let host: IpAddr = host.parse()?;
        eventually(PATIENCE, || {
            ensure!(node.host.pings(address) && guest.pings(host), "{profile}: {}", node.picture());
            Ok(())
        })?;
    }
    Ok(())
}
