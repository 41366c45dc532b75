//! The sysctls of one link that make a shim what it is. `src/reconcile/shims/SYSCTLS.md` has every sysctl of
//! the kernel, with the reason why it is among them or not.

use super::Family;

/// A sysctl that is pinned on a shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    missing_docs,
    reason = "the names are the kernel's; Documentation/networking/ip-sysctl.rst describes them"
)]
pub enum Setting {
    ArpFilter,
    ArpIgnore,
    ArpAccept,
    ArpNotify,
    MediumId,
    ProxyArp,
    ProxyArpPvlan,
    RpFilter,
    AcceptLocal,
    RouteLocalnet,
    BcForwarding,
    AcceptRedirects,
    SendRedirects,
    AcceptSourceRoute,
    PromoteSecondaries,
    Solicit,
    Ipv6Disable,
    Ipv6AddrGenMode,
    Ipv6AcceptRa,
    Ipv6AcceptRedirects,
    Ipv6AcceptUntrackedNa,
    Ipv6NdiscNotify,
    Ipv6Forwarding,
    Ipv6ForceForwarding,
    Ipv6ProxyNdp,
    Ipv6UseOifAddrsOnly,
    Ipv6Seg6Enabled,
    Ipv6RplSegEnabled,
    Ipv6Ioam6Enabled,
    Ipv6ProxyDelay,
    Ipv6Solicit,
}

impl Setting {
    /// All of them, in the order in which they are written.
    pub const ALL: [Setting; 31] = [
        Setting::ArpFilter,
        Setting::ArpIgnore,
        Setting::ArpAccept,
        Setting::ArpNotify,
        Setting::MediumId,
        Setting::ProxyArp,
        Setting::ProxyArpPvlan,
        Setting::RpFilter,
        Setting::AcceptLocal,
        Setting::RouteLocalnet,
        Setting::BcForwarding,
        Setting::AcceptRedirects,
        Setting::SendRedirects,
        Setting::AcceptSourceRoute,
        Setting::PromoteSecondaries,
        Setting::Solicit,
        Setting::Ipv6Disable,
        Setting::Ipv6AddrGenMode,
        Setting::Ipv6AcceptRa,
        Setting::Ipv6AcceptRedirects,
        Setting::Ipv6AcceptUntrackedNa,
        Setting::Ipv6NdiscNotify,
        Setting::Ipv6Forwarding,
        Setting::Ipv6ForceForwarding,
        Setting::Ipv6ProxyNdp,
        Setting::Ipv6UseOifAddrsOnly,
        Setting::Ipv6Seg6Enabled,
        Setting::Ipv6RplSegEnabled,
        Setting::Ipv6Ioam6Enabled,
        Setting::Ipv6ProxyDelay,
        Setting::Ipv6Solicit,
    ];

    /// The family that it belongs to.
    pub fn family(self) -> Family {
        self.sysctl().family
    }

    /// Its path below `/proc/sys/net` for one link.
    pub fn path(self, link: &str) -> String {
        let Sysctl { family, folder, key } = self.sysctl();
        let family = match family {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        };
        format!("{family}/{folder}/{link}/{key}")
    }

    fn sysctl(self) -> Sysctl {
        let sysctl = |family, folder, key| Sysctl { family, folder, key };
        match self {
            Setting::ArpFilter => sysctl(Family::V4, "conf", "arp_filter"),
            Setting::ArpIgnore => sysctl(Family::V4, "conf", "arp_ignore"),
            Setting::ArpAccept => sysctl(Family::V4, "conf", "arp_accept"),
            Setting::ArpNotify => sysctl(Family::V4, "conf", "arp_notify"),
            Setting::MediumId => sysctl(Family::V4, "conf", "medium_id"),
            Setting::ProxyArp => sysctl(Family::V4, "conf", "proxy_arp"),
            Setting::ProxyArpPvlan => sysctl(Family::V4, "conf", "proxy_arp_pvlan"),
            Setting::RpFilter => sysctl(Family::V4, "conf", "rp_filter"),
            Setting::AcceptLocal => sysctl(Family::V4, "conf", "accept_local"),
            Setting::RouteLocalnet => sysctl(Family::V4, "conf", "route_localnet"),
            Setting::BcForwarding => sysctl(Family::V4, "conf", "bc_forwarding"),
            Setting::AcceptRedirects => sysctl(Family::V4, "conf", "accept_redirects"),
            Setting::SendRedirects => sysctl(Family::V4, "conf", "send_redirects"),
            Setting::AcceptSourceRoute => sysctl(Family::V4, "conf", "accept_source_route"),
            Setting::PromoteSecondaries => sysctl(Family::V4, "conf", "promote_secondaries"),
            Setting::Solicit => sysctl(Family::V4, "neigh", "mcast_solicit"),
            Setting::Ipv6Disable => sysctl(Family::V6, "conf", "disable_ipv6"),
            Setting::Ipv6AddrGenMode => sysctl(Family::V6, "conf", "addr_gen_mode"),
            Setting::Ipv6AcceptRa => sysctl(Family::V6, "conf", "accept_ra"),
            Setting::Ipv6AcceptRedirects => sysctl(Family::V6, "conf", "accept_redirects"),
            Setting::Ipv6AcceptUntrackedNa => sysctl(Family::V6, "conf", "accept_untracked_na"),
            Setting::Ipv6NdiscNotify => sysctl(Family::V6, "conf", "ndisc_notify"),
            Setting::Ipv6Forwarding => sysctl(Family::V6, "conf", "forwarding"),
            Setting::Ipv6ForceForwarding => sysctl(Family::V6, "conf", "force_forwarding"),
            Setting::Ipv6ProxyNdp => sysctl(Family::V6, "conf", "proxy_ndp"),
            Setting::Ipv6UseOifAddrsOnly => sysctl(Family::V6, "conf", "use_oif_addrs_only"),
            Setting::Ipv6Seg6Enabled => sysctl(Family::V6, "conf", "seg6_enabled"),
            Setting::Ipv6RplSegEnabled => sysctl(Family::V6, "conf", "rpl_seg_enabled"),
            Setting::Ipv6Ioam6Enabled => sysctl(Family::V6, "conf", "ioam6_enabled"),
            Setting::Ipv6ProxyDelay => sysctl(Family::V6, "neigh", "proxy_delay"),
            Setting::Ipv6Solicit => sysctl(Family::V6, "neigh", "mcast_solicit"),
        }
    }
}

/// The place of a setting below `/proc/sys/net`.
struct Sysctl {
    family: Family,
    /// `conf` or `neigh`.
    folder: &'static str,
    key: &'static str,
}
