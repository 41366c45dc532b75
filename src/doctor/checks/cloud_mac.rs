//! Clouds that deliver no frames for MACs that they have not given out.

use crate::doctor::check::{Check, Findings};
use crate::doctor::finding::Finding;
use crate::doctor::survey::{Machine, Survey};
use crate::model::Code;

/// The check.
pub(super) const CHECK: Check = Check {
    codes: &[Code::CloudMac],
    good: "this is no machine of a cloud that knows only its own MACs, as far as can be seen",
    find,
};

/// The clouds: how DMI and cloud-init call them, their name, and what serves there instead.
const CLOUDS: &[(&[&str], &[&str], &str, &str)] = &[
    (&["Amazon EC2"], &["ec2", "aws"], "AWS", "a routed NIC, with prefix delegation or secondary addresses"),
    (&["Google"], &["gce"], "Google Cloud", "a routed NIC, with alias IP ranges"),
    (
        &["Hetzner"],
        &["hetzner"],
        "Hetzner",
        "a routed NIC, a vSwitch, or MACs that Hetzner gives for extra addresses",
    ),
    (&["DigitalOcean"], &["digitalocean"], "DigitalOcean", "a routed NIC"),
    (&["OVHcloud", "OVH"], &["ovh"], "OVHcloud", "a routed NIC, or virtual MACs of the provider"),
    (&["Scaleway"], &["scaleway"], "Scaleway", "a routed NIC, or MACs of the provider"),
    (&["Akamai", "Linode"], &["akamai"], "Akamai (Linode)", "a routed NIC, or a VLAN of the provider"),
    (&["OpenStack Foundation"], &["openstack"], "OpenStack", "port security off, or allowed address pairs"),
];

/// The asset tag of every machine of Azure.
const AZURE: &str = "7783-7084-3265-9085-8269-3286-77";

fn find(survey: &Survey) -> Findings {
    let Machine { dmi, cloud, .. } = &survey.machine;
    let dmi = |field: &str| dmi.get(field).map_or("", String::as_str);
    let is_azure = dmi("chassis_asset_tag") == AZURE || cloud.as_deref() == Some("azure");
    let known = CLOUDS.iter().find(|(vendors, sources, ..)| {
        let is_vendor =
            |vendor: &&str| dmi("sys_vendor").starts_with(*vendor) || dmi("bios_vendor").starts_with(*vendor);
        vendors.iter().any(is_vendor) || cloud.as_deref().is_some_and(|cloud| sources.contains(&cloud))
    });
    let (name, instead) = match (is_azure, known) {
        (true, _) => ("Azure", "a routed NIC"),
        (false, Some((_, _, name, instead))) => (*name, *instead),
        (false, None) => return Ok(Vec::new()),
    };
    let sentence = format!("this is a machine of {name}, which delivers no frames for MACs of guests");
    let finding = Finding::new(Code::CloudMac, sentence);
    let seen = ["sys_vendor", "bios_vendor", "chassis_asset_tag"].map(|field| (field, dmi(field)));
    let seen = seen.into_iter().filter(|(_, value)| !value.is_empty());
    let finding = finding.seen(seen.map(|(field, value)| format!("/sys/class/dmi/id/{field}: {value}")));
    let finding = finding.seen(cloud.iter().map(|cloud| format!("cloud-init: {cloud}")));
    Ok(vec![finding.cured_by(format!("use {instead} instead of macvlan"))])
}
