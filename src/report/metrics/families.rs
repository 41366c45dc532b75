//! The table of all families. A row: the constant, the name, the type, the labels, the meaning.
//!
//! Names and labels are part of the contract, because dashboards and alerts rely on them.
//! `packaging/docs/monitoring.md` has the same rows, and a test compares them. Guests have the labels that
//! the metrics of LXD and Incus have (`project`, `name`, `device`), so that the two can be joined.

/// A family.
#[derive(Debug, PartialEq)]
pub struct About {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// Its meaning, in a sentence.
    pub help: &'static str,
}

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A value that goes up and down.
    Gauge,
    /// A number that only grows, until the daemon starts again.
    Counter,
    /// Numbers of times, by their length.
    Histogram,
}

impl Kind {
    /// Its name in the text format.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        }
    }
}

/// A family with as many labels as its type says, so that each of its values has all of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spec<const N: usize> {
    pub(super) about: &'static About,
}

/// Makes a constant for each row, and the list of all.
macro_rules! families {
    ($($constant:ident $name:literal $kind:ident [$($label:literal),*] $help:literal;)+) => {
        $(pub(super) const $constant: Spec<{ <[&str]>::len(&[$($label),*]) }> = Spec {
            about: &About {
                name: concat!("macvlan_shim_", $name),
                kind: Kind::$kind,
                labels: &[$($label),*],
                help: $help,
            },
        };)+

        /// Every family, in the order of the text.
        pub const FAMILIES: &[&About] = &[$($constant.about),+];
    };
}

families! {
    // The daemon, its configuration and its servers.
    BUILD_INFO "build_info" Gauge ["version", "revision"]
        "Always 1; version and revision of the running daemon.";
    START "start_timestamp_seconds" Gauge []
        "When the daemon started. Counters begin at 0 then.";
    READY "ready" Gauge []
        "Whether every present server was read and the plan applied.";
    LAST_PASS "last_pass_timestamp_seconds" Gauge []
        "When the loop last finished a pass. In quiet times there is one about every 30 seconds.";
    CONFIG_GOOD "config_last_reload_successful" Gauge []
        "Whether the last load of the configuration succeeded.";
    CONFIG_LOADED "config_last_reload_success_timestamp_seconds" Gauge []
        "When the configuration in force was loaded.";
    PROBLEMS "problems" Gauge ["code", "severity"]
        "Problems that status shows, by code and severity.";
    SERVER_UP "server_up" Gauge ["server", "kind"]
        "Whether the server's events are heard and its guests are known. A server has series if it was ever read or the configuration names it.";
    SERVER_INFO "server_info" Gauge ["server", "kind", "version", "member"]
        "Always 1; version and member name of a server.";
    SERVER_READ "server_last_success_timestamp_seconds" Gauge ["server"]
        "When the server was last read. A quiet one is read every five minutes.";
    SERVER_EVENTS "server_events_total" Counter ["server"]
        "Events heard from the server.";
    SERVER_DISCONNECTS "server_disconnects_total" Counter ["server"]
        "Times that the event stream of the server ended after it was read.";

    // The host.
    PARENT_UP "parent_up" Gauge ["parent"]
        "Whether the parent is up and has carrier.";
    SHIM_UP "shim_up" Gauge ["shim", "parent"]
        "Whether the shim is complete, up and has carrier.";
    FILTER_ACTIVE "filter_active" Gauge ["shim"]
        "Whether the nftables filter of the shim is complete.";
    FILTER_DROPPED "filter_dropped_packets_total" Counter ["shim", "direction", "rule"]
        "Packets that the filter of the shim dropped since it was made, as of the last reading, which may be five minutes old.";
    UNCLAIMED "addresses_unclaimed" Gauge ["shim"]
        "Routed addresses that no answering server vouches for.";
    TABLE_ENTRIES "neighbour_table_entries" Gauge ["family"]
        "Entries of the kernel's neighbour tables that count towards their limit. All network namespaces share these tables.";
    TABLE_LIMIT "neighbour_table_limit_entries" Gauge ["family"]
        "Entries at which the kernel makes no more (gc_thresh3).";

    // Guests.
    GUESTS_WANTED "guests_wanted" Gauge []
        "Running guests that should be reached through a shim.";
    GUESTS_REACHED "guests_reached" Gauge []
        "Those of them that are reached at one address or more.";
    NICS "nics" Gauge ["server", "state"]
        "NICs of guests by server and state.";
    NIC_REACHABLE "nic_reachable" Gauge ["server", "project", "name", "device", "parent"]
        "Whether one NIC that should be reached through a shim is reached at one address or more.";
    NICS_LEFT_OUT "nic_reachable_left_out" Gauge []
        "NICs that should be reached and have no series of their own in nic_reachable.";
    ADDRESSES "addresses" Gauge ["state", "family"]
        "Addresses of guests by state and family.";
    REFUSED "addresses_refused" Gauge ["reason"]
        "Addresses that are refused now, by reason.";

    // The numbers that are counted.
    OPERATIONS "operations_total" Counter ["object", "action", "result"]
        "Changes that the daemon made in the kernel, or failed to make.";
    REPAIRS "repairs_total" Counter ["object"]
        "Changes that had to be made again because something other than the daemon had undone them.";
    CONFLICTS "address_conflicts_total" Counter ["reason"]
        "Claims of guests to addresses that belong to somebody else, counted when they begin.";
    PROBES "lan_probes_total" Counter ["result"]
        "Questions to the LAN who has an address, by answer.";
    REACTION "reaction_seconds" Histogram []
        "From the reading of a guest's change to the kernel's acceptance of the route to its address.";
    RESYNCS "resyncs_total" Counter ["trigger"]
        "Readings of the host's whole state, by what led to them.";
    NETLINK_EVENTS "netlink_events_total" Counter []
        "Event messages heard from the kernel.";
    NETLINK_OVERRUNS "netlink_overruns_total" Counter []
        "Times that the kernel began to drop events because the daemon was too slow.";
}
