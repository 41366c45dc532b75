//! The sysctls of one link that make a shim what it is. `src/reconcile/SYSCTLS.md` says of every sysctl of the kernel
//! why it is among them or not.

use super::Family;

/// A sysctl that is pinned on a shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
        self.place().family
    }

    /// Its path below `/proc/sys/net` for one link.
    pub fn path(self, link: &str) -> String {
        let Place { family, folder, key } = self.place();
        let family = match family {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        };
        format!("{family}/{folder}/{link}/{key}")
    }

    fn place(self) -> Place {
        let place = |family, folder, key| Place { family, folder, key };
        match self {
            Setting::ArpFilter => place(Family::V4, "conf", "arp_filter"),
            Setting::ArpIgnore => place(Family::V4, "conf", "arp_ignore"),
            Setting::ArpAccept => place(Family::V4, "conf", "arp_accept"),
            Setting::ArpNotify => place(Family::V4, "conf", "arp_notify"),
            Setting::MediumId => place(Family::V4, "conf", "medium_id"),
            Setting::ProxyArp => place(Family::V4, "conf", "proxy_arp"),
            Setting::ProxyArpPvlan => place(Family::V4, "conf", "proxy_arp_pvlan"),
            Setting::RpFilter => place(Family::V4, "conf", "rp_filter"),
            Setting::AcceptLocal => place(Family::V4, "conf", "accept_local"),
            Setting::RouteLocalnet => place(Family::V4, "conf", "route_localnet"),
            Setting::BcForwarding => place(Family::V4, "conf", "bc_forwarding"),
            Setting::AcceptRedirects => place(Family::V4, "conf", "accept_redirects"),
            Setting::SendRedirects => place(Family::V4, "conf", "send_redirects"),
            Setting::AcceptSourceRoute => place(Family::V4, "conf", "accept_source_route"),
            Setting::PromoteSecondaries => place(Family::V4, "conf", "promote_secondaries"),
            Setting::Solicit => place(Family::V4, "neigh", "mcast_solicit"),
            Setting::Ipv6Disable => place(Family::V6, "conf", "disable_ipv6"),
            Setting::Ipv6AddrGenMode => place(Family::V6, "conf", "addr_gen_mode"),
            Setting::Ipv6AcceptRa => place(Family::V6, "conf", "accept_ra"),
            Setting::Ipv6AcceptRedirects => place(Family::V6, "conf", "accept_redirects"),
            Setting::Ipv6AcceptUntrackedNa => place(Family::V6, "conf", "accept_untracked_na"),
            Setting::Ipv6NdiscNotify => place(Family::V6, "conf", "ndisc_notify"),
            Setting::Ipv6Forwarding => place(Family::V6, "conf", "forwarding"),
            Setting::Ipv6ForceForwarding => place(Family::V6, "conf", "force_forwarding"),
            Setting::Ipv6ProxyNdp => place(Family::V6, "conf", "proxy_ndp"),
            Setting::Ipv6UseOifAddrsOnly => place(Family::V6, "conf", "use_oif_addrs_only"),
            Setting::Ipv6Seg6Enabled => place(Family::V6, "conf", "seg6_enabled"),
            Setting::Ipv6RplSegEnabled => place(Family::V6, "conf", "rpl_seg_enabled"),
            Setting::Ipv6Ioam6Enabled => place(Family::V6, "conf", "ioam6_enabled"),
            Setting::Ipv6ProxyDelay => place(Family::V6, "neigh", "proxy_delay"),
            Setting::Ipv6Solicit => place(Family::V6, "neigh", "mcast_solicit"),
        }
    }
}

/// Where a setting lies below `/proc/sys/net`.
struct Place {
    family: Family,
    /// `conf` or `neigh`.
    folder: &'static str,
    key: &'static str,
}
