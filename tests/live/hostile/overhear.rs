//! Links that listen in. No filter of ours can prevent that, so it must be reported.

use anyhow::{Result, ensure};

use super::{Den, HONEST};

fn told(status: &serde_json::Value) -> Option<(String, String, String)> {
    let problem = status["problems"].as_array()?.iter().find(|problem| problem["code"] == "overhears")?;
    let text = |key: &str| problem[key].as_str().map(str::to_owned);
    Some((text("object")?, text("message")?, text("hint")?))
}

#[test]
fn a_guest_that_overhears_the_host_is_reported_with_a_cure_that_works() -> Result<()> {
    let den = Den::new()?;
    let shim = den.site.host.sh("cat /sys/class/net/mvs-eth0/address")?;
    let gateway = den.site.host.sh("ip neigh show 192.168.77.1 dev eth0 | grep -o 'lladdr [^ ]*'")?;
    let gateway = gateway.trim().trim_start_matches("lladdr ");
    let honest = den.honest.mac("eth0")?;
    for (kind, macs) in [("macvlan", format!("{} {gateway}", shim.trim())), ("macvtap", honest.clone())] {
        den.attack(&format!(
            "ip link add s link eth0 type {kind} mode source; ip link set s up
             ip link set s type {kind} macaddr set {macs}; ip addr add 192.168.77.67/24 dev s"
        ))?;
        let who = if kind == "macvtap" { "lxd:honest eth0" } else { "mvs-eth0" };
        let holds = |status: &_| told(status).is_some_and(|(_, message, _)| message.contains(who));
        let status = den.node.wait("it is reported", holds)?;
        let (object, message, hint) = told(&status).unwrap_or_default();
        ensure!(object == "lxd:hostile" && message.contains("its link s is a"), "{object}: {message}");
        ensure!(kind == "macvtap" || message.contains(gateway), "{message}");
        // Its addresses get no route, and nobody loses anything yet.
        den.nobody_is_harmed()?;
        ensure!(den.loot()? == Vec::<String>::new(), "routed are {:?}", den.loot()?);
        // The cure, exactly as it is printed.
        ensure!(hint == "lxc exec hostile -- ip link delete s", "{hint}");
        den.site.host.sh(&hint)?;
        den.node.wait("nothing is wrong any more", |status| status["problems"] == serde_json::json!([]))?;
    }
    // The cure also gives others back the traffic that it took from them.
    den.attack(&format!(
        "ip link add s link eth0 type macvlan mode source nodst macaddr set {}",
        shim.trim()
    ))?;
    let holds = |status: &_| told(status).is_some_and(|(_, message, _)| message.contains("takes away"));
    let status = den.node.wait("it is reported", holds)?;
    ensure!(!den.site.host.reaches(HONEST, std::time::Duration::from_secs(1)), "nothing was taken");
    den.site.host.sh(&told(&status).unwrap_or_default().2)?;
    den.nobody_is_harmed()?;
    den.is_settled()
}
