//! NAT and forwarding rules that name the uplink. What goes to guests leaves through the shim.

use std::net::IpAddr;

use crate::doctor::check::{Check, Findings};
use crate::doctor::finding::{Finding, Gap};
use crate::doctor::firewall::fit::Fit;
use crate::doctor::firewall::packet::{Content, Packet, Path, Tracked};
use crate::doctor::survey::Survey;
use crate::model::Code;
use crate::model::snapshot::is_host;

/// The check.
pub(super) const CHECK: Check = Check {
    codes: &[Code::NatNamesUplink],
    good: "no rule of NAT names an uplink and forgets the shim on it",
    find,
};

fn find(survey: &Survey) -> Findings {
    // A host that forwards nothing translates nothing of others.
    if survey.sysctl("net.ipv4.ip_forward").unwrap_or_default() == 0 {
        return Ok(Vec::new());
    }
    let view = survey.view()?;
    let firewall = survey.firewall.as_ref().map_err(Gap::clone)?;
    let mut found = Vec::new();
    for entrance in view.entrances().iter().filter(|entrance| entrance.host.is_ipv4()) {
        for (key, address) in &view.snapshot.addresses {
            let network = key.network(address);
            let Some(link) = view.snapshot.links.get(&key.link) else { continue };
            let is_behind = !is_host(&network) && !network.addr().is_loopback() && network.addr().is_ipv4();
            if !is_behind || link.name == *entrance.parent || network.contains(&entrance.guest) {
                continue;
            }
            let packet = |output| Packet {
                path: Path::Through,
                input: Some(&link.name),
                output: Some(output),
                source: another(key.address.addr()),
                destination: entrance.guest,
                content: Content::Echo,
                state: Tracked::New,
                is_shim: false,
            };
            let (uplink, shim) = (packet(&entrance.parent), packet(&entrance.shim));
            if (firewall.translates(&uplink), firewall.translates(&shim)) != (Fit::Yes, Fit::No) {
                continue;
            }
            let (from, parent) = (&link.name, &entrance.parent);
            let sentence = format!(
                "what {from} ({network}) sends to guests on {parent} keeps its source address, so their answers \
                 do not come back"
            );
            let finding = Finding::new(Code::NatNamesUplink, sentence)
                .seen([format!(
                    "it is masqueraded if it leaves through {parent}, and not through {}",
                    entrance.shim
                )])
                .cured_by(format!("iptables -t nat -A POSTROUTING -s {network} -o mvs-+ -j MASQUERADE"))
                .cured_by("or the same rule of nft, with oifname \"mvs-*\"");
            found.push(finding);
        }
    }
    Ok(found)
}

/// An address beside that of the host.
fn another(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => std::net::Ipv4Addr::from_bits(address.to_bits() ^ 2).into(),
        IpAddr::V6(address) => std::net::Ipv6Addr::from_bits(address.to_bits() ^ 2).into(),
    }
}
