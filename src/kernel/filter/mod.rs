//! The filters of our shims: the nftables table `netdev macvlan_shim`, which is ours by its name. It is read
//! and written through the JSON interface of `nft`. A call takes some milliseconds, and seconds if it hangs.
//! So a thread of its own runs `nft`, and nobody waits for it ([`Worker`]).
//!
//! | file | contents |
//! | --- | --- |
//! | `worker` | the thread: commands in, answers out |
//! | `table` | how the table is listed and changed |
//! | `rules` | a filter as `nft` takes it, and the comparison with a listing |
//! | `packets` | the packets that it drops |
//! | `sets` | its sets of MACs and addresses |
//! | `abilities` | what this kernel and this `nft` can do |
//! | `nft` | the program: how it is run, and the meaning of its words |

mod abilities;
mod nft;
mod packets;
mod rules;
mod sets;
mod table;
mod worker;

use crate::kernel::socket::wire::{Attributes, MalformedError, Message, u8_at};
use crate::model::names::FILTER_TABLE;
pub(in crate::kernel) use nft::NftError;
pub(in crate::kernel) use table::{FilterListing, WantedFilter};
pub(in crate::kernel) use worker::{NftAnswer, NftCommand, Worker};

/// Whether an event of nftables is about our table, or about a chain or rule that may be at a shim.
pub(in crate::kernel) fn concerns(message: &Message<'_>) -> Result<bool, MalformedError> {
    /// `struct nfgenmsg`; its first byte is the family.
    const HEADER: usize = 4;
    const NFPROTO_NETDEV: u8 = 5;
    /// `NFTA_TABLE_NAME`, `NFTA_CHAIN_TABLE`, `NFTA_RULE_TABLE`, `NFTA_SET_TABLE`,
    /// `NFTA_SET_ELEM_LIST_TABLE`.
    const TABLE: u16 = 1;
    const NFNL_SUBSYS_NFTABLES: u16 = 10;
    /// The last of the messages about tables, chains and rules. Those about sets follow.
    const NFT_MSG_DELRULE: u16 = 8;
    if message.kind >> 8 != NFNL_SUBSYS_NFTABLES || u8_at(message.payload, 0)? != NFPROTO_NETDEV {
        return Ok(false);
    }
    if message.kind & 0xff <= NFT_MSG_DELRULE {
        return Ok(true);
    }
    for attribute in Attributes::after(message.payload, HEADER) {
        let (kind, value) = attribute?;
        if kind == TABLE {
            return Ok(value.strip_suffix(&[0]).unwrap_or(value) == FILTER_TABLE.as_bytes());
        }
    }
    Ok(false)
}
