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
        self.place().0
    }

    /// Its path below `/proc/sys/net` for one link.
    pub fn path(self, link: &str) -> String {
        let (family, folder, key) = self.place();
        let family = match family {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        };
        format!("{family}/{folder}/{link}/{key}")
    }

    fn place(self) -> (Family, &'static str, &'static str) {
        match self {
            Setting::ArpFilter => (Family::V4, "conf", "arp_filter"),
            Setting::ArpIgnore => (Family::V4, "conf", "arp_ignore"),
            Setting::ArpAccept => (Family::V4, "conf", "arp_accept"),
            Setting::ArpNotify => (Family::V4, "conf", "arp_notify"),
            Setting::MediumId => (Family::V4, "conf", "medium_id"),
            Setting::ProxyArp => (Family::V4, "conf", "proxy_arp"),
            Setting::ProxyArpPvlan => (Family::V4, "conf", "proxy_arp_pvlan"),
            Setting::RpFilter => (Family::V4, "conf", "rp_filter"),
            Setting::AcceptLocal => (Family::V4, "conf", "accept_local"),
            Setting::RouteLocalnet => (Family::V4, "conf", "route_localnet"),
            Setting::BcForwarding => (Family::V4, "conf", "bc_forwarding"),
            Setting::AcceptRedirects => (Family::V4, "conf", "accept_redirects"),
            Setting::SendRedirects => (Family::V4, "conf", "send_redirects"),
            Setting::AcceptSourceRoute => (Family::V4, "conf", "accept_source_route"),
            Setting::PromoteSecondaries => (Family::V4, "conf", "promote_secondaries"),
            Setting::Solicit => (Family::V4, "neigh", "mcast_solicit"),
            Setting::Ipv6Disable => (Family::V6, "conf", "disable_ipv6"),
            Setting::Ipv6AddrGenMode => (Family::V6, "conf", "addr_gen_mode"),
            Setting::Ipv6AcceptRa => (Family::V6, "conf", "accept_ra"),
            Setting::Ipv6AcceptRedirects => (Family::V6, "conf", "accept_redirects"),
            Setting::Ipv6AcceptUntrackedNa => (Family::V6, "conf", "accept_untracked_na"),
            Setting::Ipv6NdiscNotify => (Family::V6, "conf", "ndisc_notify"),
            Setting::Ipv6Forwarding => (Family::V6, "conf", "forwarding"),
            Setting::Ipv6ForceForwarding => (Family::V6, "conf", "force_forwarding"),
            Setting::Ipv6ProxyNdp => (Family::V6, "conf", "proxy_ndp"),
            Setting::Ipv6UseOifAddrsOnly => (Family::V6, "conf", "use_oif_addrs_only"),
            Setting::Ipv6Seg6Enabled => (Family::V6, "conf", "seg6_enabled"),
            Setting::Ipv6RplSegEnabled => (Family::V6, "conf", "rpl_seg_enabled"),
            Setting::Ipv6Ioam6Enabled => (Family::V6, "conf", "ioam6_enabled"),
            Setting::Ipv6ProxyDelay => (Family::V6, "neigh", "proxy_delay"),
            Setting::Ipv6Solicit => (Family::V6, "neigh", "mcast_solicit"),
        }
    }
}
