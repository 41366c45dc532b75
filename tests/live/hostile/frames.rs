//! Frames that root of a guest puts on the wire.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::forge::{self, Arp, BROADCAST, Mac};
use lab::{Machine, Share};

use super::{Den, GATEWAY, HONEST, HOST_IP, HOST_IP6, HOSTILE, HOSTILE_V6, PEER, PEER_V6};

/// The number of neighbours that the kernel knows on a link.
fn neighbours(host: &Machine, link: &str) -> Result<usize> {
    let entries =
        host.sh(&format!("ip neigh show dev {link} nud all; ip -6 neigh show dev {link} nud all"))?;
    Ok(entries.lines().count())
}

/// Everything that shows where the host's traffic goes.
fn ways(host: &Machine) -> Result<String> {
    host.sh(
        "{ ip -4 route show table all; ip -6 route show table all | grep -v 'dev lo'; ip -4 route show cache
           ip -6 route show cache; ip addr show | grep inet; } | sed 's/ expires [0-9]*sec//; /valid_lft/d' | sort",
    )
}

#[test]
fn forged_questions_do_not_fill_the_hosts_neighbour_table() -> Result<()> {
    let den = Den::with(Share::Half)?;
    let forge = den.hostile.forge("eth0")?;
    let (own, shim) = (forge.mac(), den.shim_mac()?);
    let before = neighbours(&den.site.host, "mvs-eth0")?;
    // Nobody has these addresses. Lies among guests are between them, with a shim and without.
    let address = |n: u32| Ipv4Addr::from(u32::from(Ipv4Addr::new(192, 168, 77, 128)) + n % 120);
    let address6 =
        |n: u32| Ipv6Addr::from(u128::from(Ipv6Addr::new(0xfd77, 0, 0, 0, 0x66, 0, 0, 0)) + u128::from(n));
    let mac = |n: u32| [0x02, 0x66, 0, (n >> 16) as u8, (n >> 8) as u8, n as u8];
    let (second, began) = (Duration::from_secs(2), Instant::now());
    let asked = forge.flood(second, |n| forge::arp(Arp::Request, BROADCAST, own, address(n), HOST_IP))?;
    let other = forge.flood(second, |n| forge::arp(Arp::Request, BROADCAST, mac(n), address(n), HOST_IP))?;
    let told = forge.flood(second, |n| forge::arp(Arp::Reply, shim, own, address(n), HOST_IP))?;
    let solicited = forge.flood(second, |n| forge::solicitation(shim, own, address6(n), HOST_IP6))?;
    let strange = forge.flood(second, |n| forge::solicitation(shim, mac(n), address6(n), HOST_IP6))?;
    for n in 0..3000 {
        let question = forge::solicitation(shim, own, address6(0x1_0000 + n), HOST_IP6);
        in_two_tags(&forge, &question)?;
        forge.send(&forge::router_solicitation(shim, own, address6(0x2_0000 + n), HOST_IP6))?;
    }
    let after = neighbours(&den.site.host, "mvs-eth0")?;
    println!("ARP {asked} + {other} + {told}, NS {solicited} + {strange}: {before} entries, then {after}");
    ensure!(asked > 1000 && solicited > 1000, "this is no flood");
    // Five solicitations a second from each MAC are let through, and twenty at first. The others leave only a
    // few entries at a time.
    let most = before + 100 + 5 * began.elapsed().as_secs() as usize;
    ensure!(after < most, "the host has {after} neighbours, and {most} are enough");
    den.nobody_is_harmed()
}

#[test]
fn lies_about_others_are_not_believed() -> Result<()> {
    let den = Den::new()?;
    let forge = den.hostile.forge("eth0")?;
    let (own, shim) = (forge.mac(), den.shim_mac()?);
    let link_local = den.hostile.sh("ip -6 addr show dev eth0 scope link")?;
    let link_local: Ipv6Addr = link_local
        .split_whitespace()
        .find_map(|word| word.strip_suffix("/64"))
        .context("the guest has no link-local address")?
        .parse()?;
    let before = ways(&den.site.host)?;
    let gateway6 = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
    let (router, all) =
        (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));
    let all_mac: Mac = [0x33, 0x33, 0, 0, 0, 1];
    let prefix = Ipv6Addr::new(0xfd66, 0, 0, 0, 0, 0, 0, 0);
    let beyond = lab::Lan::BEYOND_V4;
    for _ in 0..20 {
        for victim in [GATEWAY, PEER, HONEST, HOST_IP] {
            forge.send(&forge::arp(Arp::Request, BROADCAST, own, victim, victim))?;
            forge.send(&forge::arp(Arp::Reply, BROADCAST, own, victim, victim))?;
            forge.send(&forge::arp(Arp::Reply, shim, own, victim, HOST_IP))?;
        }
        for victim in [gateway6, PEER_V6, super::HONEST_V6, HOST_IP6, router] {
            forge.send(&forge::advertisement(shim, own, victim, HOST_IP6))?;
            forge.send(&forge::advertisement(all_mac, own, victim, all))?;
        }
        for source in [link_local, router] {
            forge.send(&forge::router_advertisement(all_mac, own, source, all, prefix))?;
            forge.send(&forge::router_advertisement(shim, own, source, HOST_IP6, prefix))?;
            forge.send(&forge::redirect6(shim, own, source, HOST_IP6, PEER_V6, link_local))?;
        }
        for source in [GATEWAY, HOSTILE, HONEST] {
            forge.send(&forge::redirect(shim, own, source, HOST_IP, beyond, HOSTILE))?;
            forge.send(&forge::redirect(shim, own, source, HOST_IP, PEER, HOSTILE))?;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let after = ways(&den.site.host)?;
    ensure!(before == after, "before\n{before}\nafter\n{after}");
    let entries = den.site.host.sh("ip neigh show; ip -6 neigh show")?;
    let mac = den.hostile.mac("eth0")?;
    let believed: Vec<&str> = entries.lines().filter(|entry| entry.contains(&mac)).collect();
    let own = |entry: &str| {
        ["192.168.77.66 ", "fd77::66 ", &format!("{link_local} ")].iter().any(|own| entry.starts_with(own))
    };
    ensure!(believed.iter().all(|entry| own(entry)), "the host believes {believed:#?}");
    // Lies that others believe are between them and the liar, with a shim and without.
    den.honest.sh("ip neigh flush dev eth0; ip -6 neigh flush dev eth0")?;
    den.site.peer.sh("ip neigh flush dev eth0; ip -6 neigh flush dev eth0")?;
    den.site.lan.sh("ip neigh flush dev br0; ip -6 neigh flush dev br0")?;
    ensure!(den.site.host.pings(beyond), "the host lost the way out");
    den.nobody_is_harmed()
}

/// The kernel unwraps the second tag, and the third, after the filter has seen the frame.
fn in_two_tags(forge: &forge::Forge, frame: &[u8]) -> Result<()> {
    for tags in [&[0x8100, 0x8100][..], &[0x88a8, 0x8100], &[0x8100, 0x8100, 0x8100]] {
        forge.send(&forge::tagged(frame, tags))?;
    }
    Ok(())
}

#[test]
fn frames_from_foreign_addresses_do_not_reach_the_host() -> Result<()> {
    let den = Den::new()?;
    let forge = den.hostile.forge("eth0")?;
    let (own, shim) = (forge.mac(), den.shim_mac()?);
    // Worst case: only the filter is in the way.
    den.site.host.sh("for f in all eth0; do echo 0 > /proc/sys/net/ipv4/conf/$f/rp_filter; done")?;
    let (service, service6) = den.site.host.within(|| {
        let service = UdpSocket::bind((HOST_IP, 5000))?;
        let service6 = UdpSocket::bind((HOST_IP6, 5000))?;
        for socket in [&service, &service6] {
            socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        }
        Ok((service, service6))
    })?;
    let gateway6 = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
    for _ in 0..3 {
        for source in [PEER, GATEWAY, HOST_IP, lab::Lan::BEYOND_V4, Ipv4Addr::LOCALHOST, HOSTILE] {
            let data = source.to_string();
            let frame = forge::udp(shim, own, source, (HOST_IP, 5000), data.as_bytes());
            forge.send(&frame)?;
            in_two_tags(&forge, &frame)?;
        }
        let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
        let sources = [PEER_V6, gateway6, HOST_IP6, lab::Lan::BEYOND_V6, Ipv6Addr::LOCALHOST, router];
        for source in sources.into_iter().chain([HOSTILE_V6]) {
            let data = source.to_string();
            let frame = forge::udp6(shim, own, source, (HOST_IP6, 5000), data.as_bytes());
            forge.send(&frame)?;
            in_two_tags(&forge, &frame)?;
            forge.send(&forge::behind(&frame, &[43]))?;
        }
        // With the MAC of a guest that the host does not know it gets nowhere at all.
        let unknown = [2, 0x66, 0, 0, 0, 1];
        forge.send(&forge::udp(shim, unknown, HOSTILE, (HOST_IP, 5000), b"a stranger"))?;
        forge.send(&forge::udp6(shim, unknown, HOSTILE_V6, (HOST_IP6, 5000), b"a stranger"))?;
    }
    for (socket, honest) in [(service, IpAddr::from(HOSTILE)), (service6, HOSTILE_V6.into())] {
        let mut came = Vec::new();
        let mut buffer = [0; 64];
        while let Ok(length) = socket.recv(&mut buffer) {
            came.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        ensure!(came == vec![honest.to_string(); 3], "the host got datagrams from {came:?}");
    }
    den.nobody_is_harmed()
}

#[test]
fn nothing_is_forwarded_from_a_shim_to_networks_of_the_host() -> Result<()> {
    let den = Den::new()?;
    den.site
        .host
        .sh("echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")?;
    let bridge = ["network", "create", "lxdbr0", "ipv4.address=10.99.0.1/24", "ipv4.nat=true"];
    den.site.server.cli(&[&bridge[..], &["ipv6.address=fd99::1/64", "ipv6.nat=true"]].concat())?;
    let inner = den.site.server.launch("inner", &["-n", "lxdbr0"])?;
    let (v4, v6) = (inner.ipv4("eth0")?, inner.ipv6("eth0")?);
    ensure!(
        den.site.host.reaches(v4, super::SOON) && den.site.host.reaches(v6, super::SOON),
        "no inner guest"
    );
    let capture = den.site.host.capture("lxdbr0", "src 192.168.77.66 or src fd77::66")?;
    den.attack("ip route add 10.99.0.0/24 via 192.168.77.11; ip -6 route add fd99::/64 via fd77::11")?;
    ensure!(!den.hostile.pings(v4), "{v4} is reached through the shim");
    ensure!(!den.hostile.pings(v6), "{v6} is reached through the shim");
    // It does not reach the LAN, and the networks beyond, through the host either.
    den.attack("ip route add 203.0.113.1 via 192.168.77.11; ip -6 route add 2001:db8::1 via fd77::11")?;
    ensure!(!den.hostile.pings(lab::Lan::BEYOND_V4), "the host forwards to the gateway");
    ensure!(!den.hostile.pings(lab::Lan::BEYOND_V6), "the host forwards to the gateway over IPv6");
    // Nor does anything that does not look like IP at first.
    let (forge, shim) = (den.hostile.forge("eth0")?, den.shim_mac()?);
    for _ in 0..9 {
        in_two_tags(&forge, &forge::udp(shim, forge.mac(), HOSTILE, (v4, 5000), b"in"))?;
        in_two_tags(&forge, &forge::udp6(shim, forge.mac(), HOSTILE_V6, (v6, 5000), b"in"))?;
    }
    let seen = capture.stop()?;
    ensure!(seen.is_empty(), "the inner network saw {seen:#?}");
    den.nobody_is_harmed()
}

/// The statement of `.github/SECURITY.md` about firewalls.
#[test]
fn a_rule_for_the_uplink_needs_a_twin_for_the_shims() -> Result<()> {
    let den = Den::new()?;
    let service = den.site.host.within(|| Ok(UdpSocket::bind((HOST_IP, 5000))?))?;
    let gets_through = |from: &lab::Guest, within: Duration| -> Result<bool> {
        service.set_read_timeout(Some(within))?;
        let sender = from.within(|| Ok(UdpSocket::bind(("0.0.0.0", 0))?))?;
        sender.send_to(b"knock", (HOST_IP, 5000))?;
        Ok(service.recv(&mut [0; 8]).is_ok())
    };
    den.site.host.sh(
        "nft add table inet filter; nft 'add chain inet filter input { type filter hook input priority 0; }'
         nft add rule inet filter input iifname eth0 udp dport 5000 drop",
    )?;
    ensure!(
        gets_through(&den.honest, super::SOON)?,
        "the rule for the uplink holds for guests: say so in SECURITY.md"
    );
    den.site.host.sh("nft 'insert rule inet filter input iifname \"mvs-*\" udp dport 5000 drop'")?;
    ensure!(!gets_through(&den.honest, Duration::from_millis(500))?, "the rule for the shims does not hold");
    den.nobody_is_harmed()
}
