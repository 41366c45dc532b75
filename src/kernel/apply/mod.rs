//! An operation of a plan as orders to the kernel.

mod failure;
mod orders;

use std::collections::BTreeMap;

use nix::errno::Errno;

use self::failure::WriteError;
pub(in crate::kernel) use self::failure::explain;
use self::orders::{
    add_address, add_rule, ask, create, delete_neighbour, delete_shim, gone, keep_neighbours, name_taken,
    only_ours, release, set_neighbour, set_route,
};
use crate::kernel::error::OpError;
use crate::kernel::filter::{NftCommand, WantedFilter};
use crate::kernel::object::{address, link, neighbour, route, rule, sysctl};
use crate::kernel::socket::request::Requests;
use crate::kernel::view::slice::Slice;
use crate::kernel::view::state::State;
use crate::model::plan::Progress;
use crate::model::{Code, LinkIndex, LinkRef, Op};
use smol_str::SmolStr;

/// The memory of writes until the next reading.
#[derive(Debug, Default)]
pub(in crate::kernel) struct Writer {
    /// The shims that were made since the last reading, which are not in the snapshot yet, by name.
    made: BTreeMap<SmolStr, LinkIndex>,
}

impl Writer {
    /// The snapshot is about to be read again. From now on it has the shims that were made.
    pub(in crate::kernel) fn forget_made_shims(&mut self) {
        self.made.clear();
    }

    /// Does one write, or begins it if it needs `nft`. Its change is in the snapshot after the next reading.
    /// After a failure the whole host is read again, because the op was decided on facts that no longer hold,
    /// and not all changes send events.
    pub(in crate::kernel) fn begin(
        &mut self,
        requests: &mut Requests,
        state: &mut State,
        op: &Op,
    ) -> Result<Progress, OpError> {
        let result = match self.filter_command(requests, state, op) {
            Ok(Some(command)) => {
                state.filters.begin(op, command);
                Ok(Progress::Begun)
            }
            Ok(None) => self.perform(requests, state, op).map(|()| Progress::Done),
            Err(error) => Err(error),
        };
        result.map_err(|error| {
            state.stale.add_host();
            let is_gone = error.may_mean_no_link() && link_is_gone(requests, op);
            explain(op, if is_gone { WriteError::LinkGone } else { error })
        })
    }

    /// The command for an op that changes a filter.
    fn filter_command(
        &mut self,
        requests: &mut Requests,
        state: &State,
        op: &Op,
    ) -> Result<Option<NftCommand>, WriteError> {
        Ok(Some(match op {
            Op::SetFilter { shim, macs, answers } => {
                let link = index(requests, &mut self.made, shim)?;
                let (device, macs, answers) = (shim.name.clone(), macs.clone(), answers.clone());
                let standing = state.snapshot.filter.shims.get(&link).cloned();
                NftCommand::Set { wanted: WantedFilter { link, device, macs, answers }, standing }
            }
            Op::DeleteFilter { link, last } => NftCommand::Delete { link: standing(link)?, last: *last },
            _ => return Ok(None),
        }))
    }

    fn perform(&mut self, requests: &mut Requests, state: &mut State, op: &Op) -> Result<(), WriteError> {
        let made = &mut self.made;
        match op {
            Op::CreateShim { shim, parent, mac, mtu } => {
                made.remove(&shim.name);
                create(requests, &shim.name, standing(parent)?, *mac, *mtu)
            }
            Op::Rename { link, name } => {
                let index = standing(link)?;
                only_ours(requests, index, &link.name)?;
                Ok(link::rename(requests, index, name)?)
            }
            Op::Mark { shim, mac } => {
                let link = index(requests, made, shim)?;
                Ok(link::mark(requests, link, *mac)?)
            }
            Op::SetMac { shim, mac } => {
                let link = index(requests, made, shim)?;
                keep_neighbours(requests, link, |requests| link::set_mac(requests, link, *mac))
            }
            Op::SetMtu { shim, mtu } => {
                let link = index(requests, made, shim)?;
                Ok(link::set_mtu(requests, link, *mtu)?)
            }
            Op::SetFlags { shim, protodown } => {
                let link = index(requests, made, shim)?;
                let set = |requests: &mut Requests| link::set_flags(requests, link, *protodown);
                match shim.index {
                    Some(_) => keep_neighbours(requests, link, set),
                    None => Ok(set(requests)?),
                }
            }
            Op::SetUp { shim } => {
                let link = index(requests, made, shim)?;
                Ok(link::set_up(requests, link)?)
            }
            Op::Set { shim, setting, value } => {
                state.stale.add(Slice::Settings);
                // The plan itself or another program may just have renamed it.
                let name = match shim.index {
                    Some(index) => link::with_index(requests, None, index)?.name,
                    None => shim.name.clone(),
                };
                if sysctl::write(&name, *setting, *value).map_err(WriteError::File)? {
                    state.written(Slice::Settings);
                }
                Ok(())
            }
            Op::AddAddress { shim, address } => {
                let link = index(requests, made, shim)?;
                add_address(requests, link, *address, state.shows_address_protocol)
            }
            Op::AddProxy { shim, address } => {
                state.stale.add(Slice::Proxies);
                let link = index(requests, made, shim)?;
                if neighbour::find(requests, link, (*address).into(), true)?.is_none() {
                    neighbour::add_proxy(requests, link, *address)?;
                    state.written(Slice::Proxies);
                }
                Ok(())
            }
            Op::SetNeighbour { shim, address, mac } => {
                let link = index(requests, made, shim)?;
                set_neighbour(requests, link, *address, *mac)
            }
            Op::SetRoute { shim, destination, source, table, replace } => {
                let link = index(requests, made, shim)?;
                let wanted =
                    route::WantedRoute { link, destination: *destination, source: *source, table: *table };
                set_route(requests, wanted, *replace)
            }
            Op::AddRule { family, priority } => add_rule(requests, *family, *priority),
            Op::Ask { link, address, disputed } => {
                let link = standing(link)?;
                if ask(requests, link, *address, *disputed)? {
                    state.asked(link, *address);
                }
                Ok(())
            }
            Op::DeleteRule { family, priority } => gone(rule::delete(requests, *family, *priority)),
            Op::DeleteRoute { link, destination, table, metric } => {
                gone(route::delete(requests, standing(link)?, *destination, *table, *metric))
            }
            Op::DeleteNeighbour { link, address } => {
                delete_neighbour(requests, standing(link)?, *address, false)
            }
            Op::ReleaseNeighbour { link, address } => release(requests, standing(link)?, *address),
            Op::DeleteProxy { link, address } => {
                state.stale.add(Slice::Proxies);
                delete_neighbour(requests, standing(link)?, (*address).into(), true)?;
                state.written(Slice::Proxies);
                Ok(())
            }
            Op::DeleteAddress { link, address } => gone(address::delete(requests, standing(link)?, *address)),
            Op::DeleteShim { link } => delete_shim(requests, standing(link)?, &link.name),
            // Begun elsewhere ([`Writer::begin`]).
            Op::SetFilter { .. } | Op::DeleteFilter { .. } => Ok(()),
        }
    }
}

/// Whether the link that an op changes does not exist any more.
fn link_is_gone(requests: &mut Requests, op: &Op) -> bool {
    let is_made_by_it = matches!(op, Op::CreateShim { .. });
    let Some(link) = op.link().filter(|_| !is_made_by_it) else { return false };
    let seen = match link.index {
        Some(index) => link::with_index(requests, None, index),
        None => link::with_name(requests, &link.name),
    };
    seen.is_err_and(|error| error.errno() == Some(Errno::ENODEV))
}

/// The ifindex of an existing link.
fn standing(link: &LinkRef) -> Result<LinkIndex, WriteError> {
    link.index.ok_or_else(|| WriteError::InTheWay(Code::KernelRefused, format!("{link} does not exist")))
}

/// The ifindex of a shim, including one that the running plan has just made. `made` saves the thousand ops
/// that follow from asking.
fn index(
    requests: &mut Requests,
    made: &mut BTreeMap<SmolStr, LinkIndex>,
    shim: &LinkRef,
) -> Result<LinkIndex, WriteError> {
    if let Some(index) = shim.index.or_else(|| made.get(&shim.name).copied()) {
        return Ok(index);
    }
    let seen = link::with_name(requests, &shim.name)?;
    if !seen.is_shim() {
        return Err(name_taken(&shim.name));
    }
    made.insert(shim.name.clone(), seen.index);
    Ok(seen.index)
}
