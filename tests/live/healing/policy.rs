//! Rules of the host that come before table main appear and disappear: source routing, a VPN's table.

use anyhow::{Result, ensure};
use lab::eventually;

use super::{SOON, Ward};

#[test]
fn rules_before_main_come_and_go() -> Result<()> {
    let ward = Ward::new()?;
    let talk = ward.talk()?;
    // Both tables know nothing of guests, so they send their traffic to the gateway.
    let host = &ward.site.host;
    host.sh("ip route add default via 192.168.77.1 dev eth0 table 100; ip route add 192.168.77.0/24 dev eth0 table 100
        ip -6 route add default via fd77::1 dev eth0 table 100; ip -6 route add fd77::/64 dev eth0 table 100")?;
    for (what, come, go) in [
        ("source routing", "rule add from 192.168.77.11 lookup 100 pref 1000", "rule del pref 1000"),
        ("source routing, IPv6", "-6 rule add from fd77::11 lookup 100 pref 1000", "-6 rule del pref 1000"),
        ("a VPN's table for all", "rule add not fwmark 51820 lookup 100 pref 32000", "rule del pref 32000"),
        (
            "a VPN's table for all, IPv6",
            "-6 rule add not fwmark 51820 lookup 100 pref 32000",
            "-6 rule del pref 32000",
        ),
        ("a rule as early as can be", "rule add lookup 100 pref 1", "rule del pref 1"),
    ] {
        ward.heals(&talk, &format!("{what} comes"), &format!("ip {come}"))?;
        ward.heals(&talk, &format!("{what} goes"), &format!("ip {go}"))?;
    }
    eventually(SOON, || {
        let left = host.sh("ip route show table 77; ip -6 route show table 77; { ip rule; ip -6 rule; } | grep 'lookup 77' || true")?;
        ensure!(left.is_empty(), "left of our own table: {left}");
        Ok(())
    })
}
