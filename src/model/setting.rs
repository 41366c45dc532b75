//! The sysctls of one link that make a shim what it is. `src/reconcile/SYSCTLS.md` says of every sysctl of the kernel
//! why it is among them or not.

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

    /// Belongs to IPv6.
    pub fn is_ipv6(self) -> bool {
        self.place().0 == "ipv6"
    }

    /// Its path below `/proc/sys/net` for one link.
    pub fn path(self, link: &str) -> String {
        let (family, folder, key) = self.place();
        format!("{family}/{folder}/{link}/{key}")
    }

    fn place(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Setting::ArpFilter => ("ipv4", "conf", "arp_filter"),
            Setting::ArpIgnore => ("ipv4", "conf", "arp_ignore"),
            Setting::ArpAccept => ("ipv4", "conf", "arp_accept"),
            Setting::ArpNotify => ("ipv4", "conf", "arp_notify"),
            Setting::MediumId => ("ipv4", "conf", "medium_id"),
            Setting::ProxyArp => ("ipv4", "conf", "proxy_arp"),
            Setting::ProxyArpPvlan => ("ipv4", "conf", "proxy_arp_pvlan"),
            Setting::RpFilter => ("ipv4", "conf", "rp_filter"),
            Setting::AcceptLocal => ("ipv4", "conf", "accept_local"),
            Setting::RouteLocalnet => ("ipv4", "conf", "route_localnet"),
            Setting::BcForwarding => ("ipv4", "conf", "bc_forwarding"),
            Setting::AcceptRedirects => ("ipv4", "conf", "accept_redirects"),
            Setting::SendRedirects => ("ipv4", "conf", "send_redirects"),
            Setting::AcceptSourceRoute => ("ipv4", "conf", "accept_source_route"),
            Setting::PromoteSecondaries => ("ipv4", "conf", "promote_secondaries"),
            Setting::Solicit => ("ipv4", "neigh", "mcast_solicit"),
            Setting::Ipv6Disable => ("ipv6", "conf", "disable_ipv6"),
            Setting::Ipv6AddrGenMode => ("ipv6", "conf", "addr_gen_mode"),
            Setting::Ipv6AcceptRa => ("ipv6", "conf", "accept_ra"),
            Setting::Ipv6AcceptRedirects => ("ipv6", "conf", "accept_redirects"),
            Setting::Ipv6AcceptUntrackedNa => ("ipv6", "conf", "accept_untracked_na"),
            Setting::Ipv6NdiscNotify => ("ipv6", "conf", "ndisc_notify"),
            Setting::Ipv6Forwarding => ("ipv6", "conf", "forwarding"),
            Setting::Ipv6ForceForwarding => ("ipv6", "conf", "force_forwarding"),
            Setting::Ipv6ProxyNdp => ("ipv6", "conf", "proxy_ndp"),
            Setting::Ipv6UseOifAddrsOnly => ("ipv6", "conf", "use_oif_addrs_only"),
            Setting::Ipv6Seg6Enabled => ("ipv6", "conf", "seg6_enabled"),
            Setting::Ipv6RplSegEnabled => ("ipv6", "conf", "rpl_seg_enabled"),
            Setting::Ipv6Ioam6Enabled => ("ipv6", "conf", "ioam6_enabled"),
            Setting::Ipv6ProxyDelay => ("ipv6", "neigh", "proxy_delay"),
            Setting::Ipv6Solicit => ("ipv6", "neigh", "mcast_solicit"),
        }
    }
}
