//! One check a file, and the table of all of them.

mod addresses;
mod arp;
mod bridge_nf;
mod cloud_mac;
mod config_rejected;
mod config_unused;
mod dnsmasq;
mod filter;
mod firewall;
mod firewall_closed;
mod foreign_child;
mod hypervisor_mac;
mod ipvlan;
mod keepalived;
mod mac_duplicate;
mod mode;
mod nat;
mod neighbour_table;
mod network_manager;
mod networkd;
mod no_address;
mod no_server;
mod not_running;
mod off_link;
mod others;
mod parent_absent;
mod parent_busy;
mod parent_down;
mod parent_wifi;
mod policy_rules;
mod recipe;
mod server_denied;
mod server_silent;
mod vm;

use super::check::Check;

/// Every check, those first whose faults people meet most often. The last one has what no other has taken.
pub(super) const ALL: &[Check] = &[
    config_rejected::CHECK,
    not_running::CHECK,
    hypervisor_mac::CHECK,
    no_address::CHECK,
    parent_busy::CHECK,
    ipvlan::CHECK,
    firewall::CHECK,
    parent_down::CHECK,
    parent_wifi::CHECK,
    networkd::CHECK,
    server_denied::CHECK,
    bridge_nf::CHECK,
    cloud_mac::CHECK,
    recipe::CHECK,
    foreign_child::CHECK,
    off_link::CHECK,
    parent_absent::CHECK,
    network_manager::CHECK,
    addresses::CHECK,
    policy_rules::CHECK,
    arp::CHECK,
    neighbour_table::CHECK,
    filter::CHECK,
    no_server::CHECK,
    vm::CHECK,
    mac_duplicate::CHECK,
    mode::CHECK,
    server_silent::CHECK,
    config_unused::CHECK,
    firewall_closed::CHECK,
    nat::CHECK,
    dnsmasq::CHECK,
    keepalived::CHECK,
    others::CHECK,
];

#[cfg(test)]
mod tests;
