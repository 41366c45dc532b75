//! Bridges whose frames go through iptables, as Docker arranges it.

use crate::doctor::check::{Check, Findings};
use crate::doctor::finding::{Finding, Gap};
use crate::doctor::firewall::packet::{Content, Packet, Path, Tracked};
use crate::doctor::survey::Survey;
use crate::model::Code;
use crate::model::snapshot::LinkKind;

/// The check.
pub(super) const CHECK: Check = Check {
    codes: &[Code::BridgeNf],
    good: "no firewall cuts the ports of a bridge that guests are on",
    find,
};

const SYSCTL: &str = "net.bridge.bridge-nf-call-iptables";

fn find(survey: &Survey) -> Findings {
    if survey.sysctl(SYSCTL).unwrap_or_default() == 0 {
        return Ok(Vec::new());
    }
    let view = survey.view()?;
    let firewall = survey.firewall.as_ref().map_err(Gap::clone)?;
    let mut found = Vec::new();
    for entrance in view.entrances().iter().filter(|entrance| entrance.host.is_ipv4()) {
        let bridge = view.snapshot.link_named(&entrance.parent).filter(|link| link.kind == LinkKind::Bridge);
        let Some(bridge) = bridge.map(|link| link.name.as_str()) else { continue };
        let packet = Packet {
            path: Path::Through,
            input: Some(bridge),
            output: Some(bridge),
            source: entrance.host,
            destination: entrance.guest,
            content: Content::Echo,
            state: Tracked::New,
            is_shim: false,
        };
        let fate = firewall.fate(&packet);
        let Some(stop) = fate.stop() else { continue };
        let sentence =
            format!("the firewall may cut machines behind the ports of {bridge} off from its guests");
        let finding = Finding::new(Code::BridgeNf, sentence)
            .seen([format!("{SYSCTL} is 1, so frames between ports of {bridge} go through FORWARD")])
            .seen([stop.to_string()])
            .cured_by(format!("iptables -I DOCKER-USER -i {bridge} -o {bridge} -j ACCEPT"))
            .cured_by(format!("or, if nothing needs it: sysctl -w {SYSCTL}=0"));
        found.push(finding);
    }
    Ok(found)
}
