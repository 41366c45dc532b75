//! The catalogue itself. A row: the variant, the code as users see it, the topic, the severity, the meaning,
//! the cure.

use super::{Entry, Severity, Topic};

/// Makes the enum and its data from the rows, so that no code can lack a part.
macro_rules! catalogue {
    ($($variant:ident $name:literal $topic:ident $severity:ident $meaning:literal $cure:literal;)*) => {
        /// A reason, an obstacle, a failure or a problem. The order is that of the documents.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $variant,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Code] = &[$(Code::$variant),*];

            /// The row of a code.
            pub(super) const fn entry(self) -> &'static Entry {
                match self {
                    $(Code::$variant => &Entry {
                        name: $name,
                        topic: Topic::$topic,
                        severity: Severity::$severity,
                        meaning: $meaning,
                        cure: $cure,
                    },)*
                }
            }
        }
    };
}

catalogue! {
    // Why a NIC is left out.
    OptedOut "opted-out" Unselected Note
        "`user.macvlan-shim.enabled` is false for this guest, in its own configuration or in a profile"
        "unset the key if the guest should be served";
    Project "project" Unselected Note
        "its project is not in `[select] projects`"
        "add the project";
    Profile "profile" Unselected Note
        "it has none of the profiles in `[select] profiles`"
        "add one of them to the guest, or one of the guest's to the list";
    HostIsSibling "host-is-sibling" Unselected Note
        "its parent is itself a macvlan NIC in mode bridge, as in a container or VM on a macvlan network. So \
         the guest and this host reach each other without a shim"
        "nothing";

    // Why a NIC cannot be served.
    Vm "vm" Unsupported Note
        "it is a virtual machine. The kernel does not know the addresses of a VM"
        "use a bridged NIC, or a container";
    Mode "mode" Unsupported Warning
        "its macvlan is in mode private, vepa, passthru or source. Only children in mode bridge talk to \
         each other"
        "set the NIC to mode bridge";

    // Why a NIC waits.
    NotSeen "not-seen" Waiting Warning
        "the server says that the guest runs, and the kernel shows no macvlan link of it. Either its parent \
         does not exist on this host, or the guest is just starting"
        "if it stays so, compare the parent that `status` names with `ip link`";
    NoAddress "no-address" Waiting Warning
        "the kernel shows the NIC, and the NIC has no address beyond its own link"
        "look in the guest (`ip address`): most often its DHCP client has no answer";

    // Why an address is refused.
    OffLink "off-link" Refused Warning
        "the host's own routing does not lead onto the link of the parent, so this address is in none of \
         its networks"
        "if it should be reached there, admit its range with `[policy] allow`";
    NoFamily "no-family" Refused Note
        "the host has no IPv6 network on the parent, so it does not talk IPv6 there"
        "give the parent an IPv6 address if guests should be reached by IPv6. Otherwise nothing";
    OtherUplink "other-uplink" Refused Note
        "the parent has no network of this family, and another link of the host has the one of the address: \
         the host's own way to the guest is that link and the LAN"
        "nothing, if both links are on one LAN";
    RoutedElsewhere "routed-elsewhere" Refused Warning
        "a route or rule of the host leads elsewhere, for example to a bridge or a VPN"
        "`[policy] allow` admits it, by a range that is at least as long as that route's prefix";
    NextHop "next-hop" Refused Warning
        "it is the gateway of a route of the host, and that route does not lead through our own shim"
        "if the guest is meant to be that gateway, admit it with `[policy] allow`";
    HostAddress "host-address" Refused Warning
        "it is an address of this host"
        "give the guest another address";
    ClusterMember "cluster-member" Refused Warning
        "it is the address of another member of the server's cluster"
        "give the guest another address";
    NetworkAddress "network-address" Refused Warning
        "it is the first address of a network, which no machine can have"
        "give the guest another address";
    BroadcastAddress "broadcast-address" Refused Warning
        "it is the last address of an IPv4 network, which no machine can have"
        "give the guest another address";
    NotGlobal "not-global" Refused Note
        "it is loopback, multicast, link-local or reserved"
        "nothing: no such address can be routed";
    Held "held" Refused Warning
        "another guest has it, or lost it less than 60 s ago while this guest claimed it too"
        "give one of them another address; see `address-conflict`";
    HeldOnLan "held-on-lan" Refused Warning
        "another machine on the LAN has it"
        "give the guest another address";
    Asking "asking" Refused Note
        "the LAN has to be asked first who has it: because `[policy] probe` is `\"strict\"`, because \
         another address of this guest turned out to be another machine's, or because the LAN could not be \
         asked"
        "wait three seconds. If the sentence says why the LAN cannot be asked, cure that";
    Tentative "tentative" Refused Note
        "the guest itself is still finding out whether the address is free"
        "wait: this takes a second or two";
    Duplicate "duplicate" Refused Warning
        "the guest itself found another machine with this address"
        "give the guest another address";
    Limit "limit" Refused Warning
        "the NIC has as many routed addresses as its limit. Routes that wait to be deleted count, and so \
         do addresses that the LAN is being asked about"
        "raise `[policy] max_addresses` if the guest needs more";
    Denied "denied" Refused Note
        "it is in a range of `[policy] deny`"
        "change the range if it is wrong";
    Ipv6Off "ipv6-off" Refused Note
        "`[shim] ipv6` is false, or the kernel has IPv6 switched off"
        "switch IPv6 on if the guest should be reached by it";
    NoSource "no-source" Refused Warning
        "the host has no address of this family to talk from"
        "give the host an address on the parent, or the shim one with `addresses`";
    RouteTaken "route-taken" Refused Error
        "a route that is not ours leads to this very address"
        "if nothing needs that route, the hint has the command that deletes it";
    LinkDown "link-down" Refused Warning
        "in the guest the NIC is down, so another guest could have its MAC by now"
        "set it up in the guest. If the kernel says that the address is in use, another guest has its MAC";
    MasterMac "master-mac" Refused Warning
        "in the guest the NIC is a port of a bridge or bond with another MAC, so no answer can come back"
        "give the bridge or bond the NIC's MAC: `ip link set br0 address MAC`";

    // Why an admitted address is not routed.
    Pending "pending" Failed Note
        "the route is about to be made"
        "nothing: it takes milliseconds";
    Filtered "filtered" Failed Error
        "the filter of the shim does not let the guest's MAC pass, because `nft` failed or was removed"
        "the sentence has the words of `nft`";
    ParentDown "parent-down" Failed Error
        "the parent is down, so no frame passes it, and none passes between its guests and the host"
        "set it up: `ip link set PARENT up`";
    NoCarrier "no-carrier" Failed Error
        "the parent is up and has no carrier, so no frame passes it, and none passes between its guests and \
         the host"
        "look at the cable and the switch. A bridge has a carrier if one of its ports has one";

    // Problems of servers, the kernel and the configuration.
    ServerFailed "server-failed" Problem Error
        "a server does not answer, or refuses us. Existing routes stay in place"
        "the sentence says what failed. \"No permission\" names the group that the daemon has to be in";
    NoServer "no-server" Problem Warning
        "no LXD and no Incus was found on this host, so nobody tells which guests there are, and no \
         `[[parent]]` has `routes` to reach others"
        "if there is one, name its socket: `[[server]] socket = \"/path/unix.socket\"`";
    ServerAbsent "server-absent" Problem Warning
        "the configuration names a server, and nothing listens at its socket"
        "start the server, or correct `socket` in `[[server]]`. It is followed as soon as it is there";
    SelectMatchesNothing "select-matches-nothing" Problem Warning
        "guests have macvlan NICs, and `[select]` leaves out all of them"
        "correct `[select]`: most often the name of a profile or project is misspelt";
    ServerIncomplete "server-incomplete" Problem Warning
        "a server has more guests (16,384) than are served, or described some in a way that cannot be read"
        "look at the named guests and networks. All others are served";
    ConfigRejected "config-rejected" Problem Error
        "the configuration file is faulty, so the daemon keeps the one that it runs with"
        "`macvlan-shim config check` shows every fault; then reload";
    InvalidOptOut "invalid-opt-out" Problem Warning
        "`user.macvlan-shim.enabled` of a guest is neither true nor false. The guest is served"
        "set it to true or false, or unset it";
    AddressConflict "address-conflict" Problem Error
        "two guests have had one address for longer than a second. The sentence names both, and which one \
         the host reaches"
        "give one of them another address";
    Overhears "overhears" Problem Error
        "a guest has a macvlan in mode `source`, which gets frames that are meant for others"
        "the hint has the command that deletes the link or resets its mode";
    NeighbourTableFull "neighbour-table-full" Problem Error
        "the kernel's neighbour table, which all namespaces share, is full or nearly so. The host then \
         cannot reach machines that are new to it"
        "raise `net.ipv4.neigh.default.gc_thresh3`, or that of IPv6";
    UndoneByOthers "undone-by-others" Problem Warning
        "another program keeps undoing the daemon's changes"
        "`ip monitor` shows it happen. Make that program leave `mvs-*` interfaces and protocol 77 alone";
    KernelUnread "kernel-unread" Problem Warning
        "a part of the kernel's state cannot be read just now. Existing routes stay in place"
        "nothing: it is read again within seconds";
    LinkUnreadable "link-unreadable" Problem Warning
        "one link of the host cannot be read, because it is too large or makes no sense"
        "delete it if a guest left it behind; otherwise take away some of its alternative names or MACs";
    GuestLeftOut "guest-left-out" Problem Warning
        "a guest has more links (512), macvlan links (256) or addresses (1,024) than are looked at"
        "take away objects that the guest does not need, or stop it. All others are served";
    FilterMissing "filter-missing" Problem Warning
        "there is no `nft`, or the kernel has no nf_tables"
        "`apt install nftables`";
    FilterPartial "filter-partial" Problem Warning
        "the kernel lacks something that the filter needs"
        "use a newer kernel, or load the module that the sentence names";
    FilterForeign "filter-foreign" Problem Warning
        "a chain of somebody else is hooked in at a shim, and can drop traffic between guests and host"
        "remove that chain if nothing needs it; the hint has the command";
    SysctlsUnavailable "sysctls-unavailable" Problem Error
        "`/proc/sys/net` is hidden or read-only, so a new shim cannot be completed"
        "make it writable for the daemon; the hint says how";
    ArpIgnore "arp-ignore" Problem Error
        "`net.ipv4.conf.all.arp_ignore` is 1, 2 or 8, so the host does not answer its guests over IPv4"
        "set it on the links that need it, instead of on `all`. Where it must stay, give the shim an \
         address of its own";
    RouteLocalnet "route-localnet" Problem Warning
        "`all.route_localnet` is 1 and there is no filter: guests reach services that listen on 127.0.0.1 \
         of the host"
        "install nftables, or set it on the links that need it";
    ProxyArp "proxy-arp" Problem Warning
        "`all.proxy_arp_pvlan` is 1 and there is no filter: the host answers for guests, and their traffic \
         goes through it"
        "install nftables, or set it on the links that need it";
    RpFilter "rp-filter" Problem Warning
        "`all.rp_filter` is 2, a shim has an address of its own and there is no filter: guests can send \
         from foreign addresses"
        "install nftables, or set 2 on the links that need it";
    ParentAbsent "parent-absent" Problem Warning
        "the configuration has a `[[parent]]` that does not exist"
        "correct the name, or wait: the interface is taken up when it appears";
    MoreFailures "more-failures" Problem Error
        "more than 20 operations fail; only the first 20 are shown"
        "cure those that are shown: most likely they have one cause";

    // Why no shim can stand on a parent.
    ParentWifi "parent-wifi" Parent Error
        "it is a Wi-Fi interface: access points drop frames from any MAC but its own"
        "use a wired parent, or a bridged network";
    ParentIsPort "parent-is-port" Parent Error
        "it is a port of a bridge, and a bridge port cannot carry a macvlan"
        "make the bridge the parent of these NICs";
    ParentNotEthernet "parent-not-ethernet" Parent Error
        "it has no Ethernet address"
        "use an Ethernet interface, bond, bridge or VLAN";
    ParentPassthru "parent-passthru" Parent Error
        "it belongs to one guest alone, which has a macvlan in mode passthru"
        "set that guest's NIC to mode bridge";
    NameTaken "name-taken" Parent Error
        "an interface that is not ours has the shim's name"
        "delete or rename that interface";

    // Why the kernel refused an operation.
    Permission "permission" Operation Error
        "a capability is missing, or `/proc/sys` is read-only"
        "run it as root, or with `CAP_NET_ADMIN`";
    MacTaken "mac-taken" Operation Warning
        "another child of the parent has the shim's MAC"
        "nothing for a new shim, which takes another MAC. For an existing shim, find out which guest took \
         its MAC";
    ParentBusy "parent-busy" Operation Error
        "the parent takes no child in mode bridge: it is a bridge port, carries ipvlan, or has a child in \
         passthru"
        "the hint says which it may be";
    Exists "exists" Operation Error
        "a foreign object is in the place of ours"
        "rename or remove it if nothing needs it";
    LinkGone "link-gone" Operation Warning
        "the link was deleted while the daemon worked on it"
        "nothing: it is made again if it is still wanted";
    KernelRefused "kernel-refused" Operation Error
        "anything else; the sentence has the kernel's words"
        "the hint has the cure, if it is known";

    // What only `doctor` finds.
    NotRunning "not-running" Doctor Error
        "the daemon does not run. Existing routes stay in place, and no guest's change is followed"
        "`systemctl start macvlan-shimd`";
    HypervisorMac "hypervisor-mac" Doctor Warning
        "this host is a virtual machine, and its virtual switch may drop frames of MACs that it does not know"
        "tell the hypervisor to let them pass; the finding says how";
    NoIpv4 "no-ipv4" Doctor Warning
        "a guest has IPv6 addresses only, on a parent where the host has IPv4"
        "look at its DHCP client, or give it a static address. Nothing, if it should have none";
    IpvlanBeside "ipvlan-beside" Doctor Error
        "an ipvlan is on a parent, so the parent can carry no macvlan"
        "give one of the two another parent";
    FirewallDropsShim "firewall-drops-shim" Doctor Error
        "the host's firewall drops what guests send through the shim, and passes the same from the LAN"
        "the finding has the rule to add";
    FirewallClosed "firewall-closed" Doctor Note
        "the host's firewall drops pings and new connections from everybody, guests included"
        "nothing, if it is meant so; else a rule for what should come in";
    NetworkdForeignRoutes "networkd-foreign-routes" Doctor Warning
        "systemd-networkd deletes routes or rules that it has not made when it starts"
        "the files of the package tell it not to; the finding says which keys are missing";
    BridgeNf "bridge-nf" Doctor Warning
        "frames between the ports of a bridge go through iptables, which drops them, as Docker arranges it"
        "accept them in DOCKER-USER, or set `net.bridge.bridge-nf-call-iptables` to 0";
    CloudMac "cloud-mac" Doctor Warning
        "this is a machine of a cloud that delivers no frames for MACs of guests"
        "use a routed NIC, or what the provider offers";
    RecipeLink "recipe-link" Doctor Warning
        "a macvlan of the host that was made by hand leads to guests"
        "delete it, and take it out of whatever makes it at boot";
    ForeignChild "foreign-child" Doctor Note
        "a macvlan in another namespace belongs to no guest of LXD or Incus, so it is not reached"
        "give its range in `[[parent]] routes` if it should be reached";
    NetworkmanagerManages "networkmanager-manages" Doctor Warning
        "a shim is managed by NetworkManager"
        "use the file of the package in `/usr/lib/NetworkManager/conf.d`";
    PolicyRules "policy-rules" Doctor Note
        "the host has policy rules that come before table main, so our routes are in a table of their own"
        "nothing";
    MacDuplicate "mac-duplicate" Doctor Error
        "two machines have one MAC, so frames go to either"
        "give one of them another MAC; a copied machine needs a machine-id of its own";
    ServerSilent "server-silent" Doctor Warning
        "the daemon does not know the same guests as their server does"
        "look again; if it stays so, reload the daemon and report it";
    ConfigUnused "config-unused" Doctor Note
        "a part of the configuration matches nothing"
        "correct the name, or take it out";
    NatNamesUplink "nat-names-uplink" Doctor Warning
        "a rule of NAT holds for what leaves through an uplink, and not for what leaves through the shim on it"
        "the same rule for `mvs-+`";
    DnsmasqNamesUplink "dnsmasq-names-uplink" Doctor Warning
        "dnsmasq answers on an uplink, and not on the shim on it"
        "`interface=mvs-*` in its configuration";
    KeepalivedNamesUplink "keepalived-names-uplink" Doctor Note
        "keepalived speaks on an uplink, where guests of this host do not hear it"
        "`interface mvs-…` with `unicast_peer`, if its peer is a guest of this host";
}
