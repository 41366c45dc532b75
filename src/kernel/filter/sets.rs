//! The sets of a shim's filter: their names, and their elements as `nft` takes and shows them.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;
use serde_json::{Value, json};

use crate::model::{LinkIndex, Mac};

/// The name of the set of the MACs that pass.
pub(in crate::kernel) fn guests(link: LinkIndex) -> String {
    format!("guests-{link}")
}

/// The name of the set of the IPv4 addresses that guests may ask for.
pub(in crate::kernel) fn answers(link: LinkIndex) -> String {
    format!("answers-{link}")
}

/// The elements of a set of MACs, as `nft` takes them.
pub(in crate::kernel) fn mac_elements(macs: &BTreeSet<Mac>) -> Vec<Value> {
    macs.iter().map(|mac| json!(mac.to_string())).collect()
}

/// The elements of a set of addresses, as `nft` takes them.
pub(in crate::kernel) fn address_elements(ranges: &BTreeSet<Ipv4Net>) -> Vec<Value> {
    ranges.iter().map(address_element).collect()
}

fn address_element(range: &Ipv4Net) -> Value {
    match range.prefix_len() {
        32 => json!(range.addr().to_string()),
        length => json!({ "prefix": { "addr": range.addr().to_string(), "len": length } }),
    }
}

/// Reads an element of a set of addresses. `None` if we would not make such an element.
pub(in crate::kernel) fn address_of(element: &Value) -> Option<Ipv4Net> {
    if let Some(address) = element.as_str() {
        return Some(Ipv4Net::from(address.parse::<std::net::Ipv4Addr>().ok()?));
    }
    let prefix = element.get("prefix")?;
    let length = prefix.get("len")?.as_u64()?.try_into().ok()?;
    Ipv4Net::new(prefix.get("addr")?.as_str()?.parse().ok()?, length).ok()
}
