//! Problems of the filters that no operation of ours can cure.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use super::shim::DesiredShim;
use crate::model::snapshot::{Filter, ForeignChain};
use crate::model::status::Problem;
use crate::model::{Code, LinkIndex};

/// The problems of these shims.
pub(in crate::reconcile) fn problems(
    filter: &Filter,
    shims: &BTreeMap<LinkIndex, DesiredShim>,
) -> Vec<Problem> {
    let lacks = filter.lacks.as_ref().filter(|_| !shims.is_empty());
    let lacks = lacks.map(|lacks| without_filter(lacks, filter.usable));
    let foreign = filter.foreign.iter().flat_map(|chain| foreign_chain(chain, shims));
    lacks.into_iter().chain(foreign).collect()
}

fn without_filter(lacks: &str, usable: bool) -> Problem {
    let (code, lost, hint) = if usable {
        (Code::FilterPartial, "", "a newer kernel, or the module that is named, brings the rest")
    } else {
        let lost = "; so the LAN can see the shim and reach the host through it around firewall rules for its uplink, \
                    guests can send to the host from foreign addresses and ask it for those that the uplink is silent \
                    about, and guests that are not served find the host's IPv6 addresses at the shim, where nobody \
                    answers them";
        (Code::FilterMissing, lost, "apt install nftables; the kernel needs nf_tables")
    };
    Problem::new(code, "nftables", format!("{lacks}{lost}"), hint.to_owned())
}

/// A foreign chain that can drop frames of our shims. It is not ours to delete.
fn foreign_chain(chain: &ForeignChain, shims: &BTreeMap<LinkIndex, DesiredShim>) -> Vec<Problem> {
    let ForeignChain { table, name, devices } = chain;
    let here = shims.values().map(|shim| &shim.link.name).filter(|shim| devices.contains(shim.as_str()));
    let problem = |shim: &SmolStr| {
        Problem::new(
            Code::FilterForeign,
            shim.to_string(),
            format!(
                "the chain {name} of the nftables table netdev {table} is at a hook of {shim} and can take frames away: \
             then guests and host do not reach each other"
            ),
            format!(
                "nft list table netdev {table} shows its rules; if nobody needs it: nft delete chain netdev {table} {name}"
            ),
        )
    };
    here.map(problem).collect()
}
