//! The meaning of an event for the snapshot.

use nix::libc;

use super::slice::Slice;
use super::state::State;
use crate::kernel::filter;
use crate::kernel::object::{address, link, neighbour, netns, route, rule};
use crate::kernel::socket::channel::Channel;
use crate::kernel::socket::wire::{MalformedError, Message, Messages, link_at};
use crate::model::routing::{RouteKey, Way};
use crate::model::snapshot::{ChildKey, Netns};
use crate::model::{Family, LinkIndex, NetnsId};

const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;
const RTM_NEWMULTICAST: u16 = 56;
const RTM_DELMULTICAST: u16 = 57;

impl State {
    /// Takes in one datagram of events, from the host's namespace or from that of the netns id.
    pub(in crate::kernel) fn take_in(
        &mut self,
        channel: Channel,
        netns: Option<NetnsId>,
        datagram: &[u8],
    ) -> Result<(), MalformedError> {
        for message in Messages(datagram) {
            let message = message?;
            match (channel, netns) {
                (Channel::Filters, _) => self.take_in_filter(&message)?,
                (_, None) => self.take_in_host(&message)?,
                (_, Some(id)) if id != self.own_id => self.take_in_guest(id, &message)?,
                (_, Some(_)) => {}
            }
        }
        Ok(())
    }

    /// Others may write to our table, too.
    fn take_in_filter(&mut self, message: &Message<'_>) -> Result<(), MalformedError> {
        if filter::concerns(message)? {
            self.stale.defer(Slice::Filter, State::FILTER);
            self.filters.heard();
        }
        Ok(())
    }

    fn take_in_host(&mut self, message: &Message<'_>) -> Result<(), MalformedError> {
        match message.kind {
            libc::RTM_NEWLINK | libc::RTM_DELLINK => self.link_event(message),
            libc::RTM_NEWADDR | libc::RTM_DELADDR => self.address_event(message),
            libc::RTM_NEWROUTE | libc::RTM_DELROUTE => self.route_event(message),
            libc::RTM_NEWRULE | libc::RTM_DELRULE => self.rule_event(message),
            libc::RTM_NEWNEIGH | libc::RTM_DELNEIGH => self.neighbour_event(message),
            libc::RTM_NEWNSID | libc::RTM_DELNSID => self.netns_event(message),
            libc::RTM_NEWNETCONF | libc::RTM_DELNETCONF => {
                self.stale.add(Slice::Settings);
                Ok(())
            }
            RTM_NEWNEXTHOP | RTM_DELNEXTHOP => {
                self.stale.defer(Slice::Routes, State::GATEWAYS);
                Ok(())
            }
            // A proxy entry comes and goes without an event, but its link joins and leaves a multicast group
            // for it.
            RTM_NEWMULTICAST | RTM_DELMULTICAST => {
                let shim = link_at(message.payload, 4)?;
                if self.snapshot.links.get(&shim).is_some_and(|link| link.shim_parent().is_some()) {
                    self.stale.add(Slice::Proxies);
                    // It also leaves groups when IPv6 is switched off on it, which sends no other event.
                    if message.kind == RTM_DELMULTICAST {
                        self.stale.add(Slice::Settings);
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn link_event(&mut self, message: &Message<'_>) -> Result<(), MalformedError> {
        let Some(seen) = link::read(message)? else { return Ok(()) };
        self.stale.touched(Slice::Links);
        if message.kind == libc::RTM_NEWLINK {
            self.put_link(seen);
            return Ok(());
        }
        if let Some(id) = seen.moved_to.filter(|id| *id >= NetnsId::FIRST && *id != self.own_id) {
            self.stale.add(Slice::Namespace(id));
        }
        self.drop_link(seen.index);
        Ok(())
    }

    fn address_event(&mut self, message: &Message<'_>) -> Result<(), MalformedError> {
        let Some(seen) = address::read(message)? else { return Ok(()) };
        self.shows_address_protocol |= seen.protocol.is_some();
        if !self.keeps(&seen) {
            return Ok(());
        }
        self.stale.touched(Slice::Addresses);
        if seen.is_made_by_kernel() {
            // With our settings the kernel would not have made it.
            self.stale.add(Slice::Settings);
        }
        match message.kind {
            libc::RTM_NEWADDR => self.put_address(seen),
            _ => self.drop_address(seen.key),
        }
        Ok(())
    }

    fn route_event(&mut self, message: &Message<'_>) -> Result<(), MalformedError> {
        let Some(seen) = route::read(message)? else { return Ok(()) };
        self.stale.touched(Slice::Routes);
        let gone = message.kind == libc::RTM_DELROUTE;
        if !gone && self.is_stranger(seen.key.link) {
            self.stale.add(Slice::Routes);
            return Ok(());
        }
        let replaces = message.flags & libc::NLM_F_REPLACE as u16 != 0;
        if replaces && !gone {
            self.replaced(&seen);
        }
        if seen.is_kept() || (replaces && seen.is_foreign()) {
            let new = (!gone && seen.is_kept()).then_some(seen.value);
            let old = match new {
                Some(value) => self.snapshot.routes.insert(seen.key, value),
                None => self.snapshot.routes.remove(&seen.key),
            };
            self.changes.route(&seen.key, old.as_ref(), new.as_ref());
        }
        if seen.is_foreign() {
            self.foreign_route(seen, gone, replaces);
        }
        Ok(())
    }

    /// Whether a link is not known (any more). Its events and those of the objects on it come on different
    /// sockets, so only a dump tells which of two events is older.
    fn is_stranger(&self, link: LinkIndex) -> bool {
        link != LinkIndex::NONE && !self.snapshot.links.contains_key(&link)
    }

    /// A route has replaced another, and the event does not say which. A host route of ours can only have
    /// replaced a known one.
    fn replaced(&mut self, seen: &route::Seen) {
        let place = |link| RouteKey { link, ..seen.key };
        let mut there = self.snapshot.routes.range(place(LinkIndex::NONE)..=place(LinkIndex::LAST));
        if there.any(|(other, _)| *other != seen.key) {
            self.stale.add(Slice::Routes);
        }
        if seen.value.ours && self.places(&seen.key).next().is_some() {
            self.stale.add(Slice::Routes);
        }
    }

    /// A route of the host's own has come or gone, or has replaced others. If several routes are in its
    /// place, the event may not tell everything, and they are read again.
    fn foreign_route(&mut self, seen: route::Seen, gone: bool, replaces: bool) {
        let route::Seen { key, mut way, next_hop, .. } = seen;
        if let Some(id) = next_hop {
            match self.next_hops.way(id) {
                Some(known) => way = known,
                None => return self.stale.add(Slice::Routes),
            }
        }
        let there: Vec<RouteKey> = self.places(&key).collect();
        let is_known = self.snapshot.routing.get(&key) == Some(&way);
        let alone = there.is_empty() || there == [key];
        let sure = if gone || !replaces { is_known || (!gone && there.is_empty()) } else { alone };
        let mut direct = way.direct().next().is_some();
        for other in there.into_iter().filter(|other| if gone { *other == key } else { replaces }) {
            direct |= self.lead(other, None);
        }
        if !gone {
            direct |= self.lead(key, Some(way));
        }
        match sure {
            true => {}
            false if direct => self.stale.add(Slice::Routes),
            false => self.stale.defer(Slice::Routes, State::GATEWAYS),
        }
    }

    /// Puts or removes a route. Returns whether the old one had no gateway.
    fn lead(&mut self, key: RouteKey, way: Option<Way>) -> bool {
        let routing = &mut self.snapshot.routing;
        let new = way.clone();
        let old = match way {
            Some(way) => routing.put(key, way),
            None => routing.take(&key),
        };
        self.changes.way(&key, old.as_deref(), new.as_ref());
        old.is_some_and(|old| old.direct().next().is_some())
    }

    /// The host's own routes in the place of that one, on any link.
    fn places(&self, key: &RouteKey) -> impl Iterator<Item = RouteKey> + use<'_> {
        let (table, destination, metric) = (key.table, key.destination, key.metric);
        let all = self.snapshot.routing.at(table, destination).map(|(key, _)| *key);
        all.filter(move |key| key.metric == metric)
    }

    fn rule_event(&mut self, message: &Message<'_>) -> Result<(), MalformedError> {
        let Some(rule) = rule::read(message)? else { return Ok(()) };
        self.stale.touched(Slice::Rules);
        let mut rules = self.snapshot.rules.iter();
        let crowded = rules.any(|other| (other.family, other.priority) == (rule.family, rule.priority));
        if message.kind == libc::RTM_NEWRULE && !crowded {
            self.changes.all |= self.snapshot.rules.insert(rule);
        } else {
            // Two rules may look the same to us, and only the list shows the order of rules with one
            // priority.
            self.stale.add(Slice::Rules);
        }
        Ok(())
    }

    fn neighbour_event(&mut self, message: &Message<'_>) -> Result<(), MalformedError> {
        let Some(seen) = neighbour::read(message)? else { return Ok(()) };
        if seen.proxy {
            self.stale.add(Slice::Proxies);
            return Ok(());
        }
        self.stale.touched(Slice::Neighbours);
        if message.kind == libc::RTM_NEWNEIGH && self.is_stranger(seen.link) {
            self.stale.add(Slice::Neighbours);
            return Ok(());
        }
        let (key, neighbours) = ((seen.address, seen.link), &mut self.snapshot.neighbours);
        let new = (message.kind == libc::RTM_NEWNEIGH).then_some(seen.value);
        let old = match new {
            Some(value) => neighbours.insert(key, value),
            None => neighbours.remove(&key),
        };
        self.changes.neighbour(seen.address, old.as_ref(), new.as_ref());
        Ok(())
    }

    fn netns_event(&mut self, message: &Message<'_>) -> Result<(), MalformedError> {
        let Some(id) = netns::read(message)?.filter(|id| *id >= NetnsId::FIRST && *id != self.own_id) else {
            return Ok(());
        };
        self.stale.touched(Slice::Namespaces);
        if !self.wanted_homes.is_empty() {
            self.stale.add(Slice::Homes);
        }
        if message.kind == libc::RTM_DELNSID {
            self.drop_namespace(id);
        }
        // An id is free before its end is reported, so a new namespace may have it already (FACTS 65).
        self.stale.add(Slice::Namespace(id));
        Ok(())
    }

    /// A namespace is gone. From now on another may have its id.
    pub(in crate::kernel) fn drop_namespace(&mut self, id: NetnsId) {
        self.stale.forget(id);
        self.shortfalls.remove(&Netns::Id(id));
        self.put_namespace(id, Default::default());
    }

    fn take_in_guest(&mut self, id: NetnsId, message: &Message<'_>) -> Result<(), MalformedError> {
        let known = |index| self.snapshot.children.contains_key(&ChildKey { netns: Netns::Id(id), index });
        match message.kind {
            libc::RTM_NEWLINK | libc::RTM_DELLINK => {
                let Some(seen) = link::read(message)? else { return Ok(()) };
                let own = (seen.is_macvlan() || known(seen.index)).then_some(seen.index);
                for index in own.into_iter().chain(self.ports_of(id, seen.index)) {
                    self.stale.add(Slice::Child(id, index));
                }
            }
            libc::RTM_NEWADDR | libc::RTM_DELADDR => {
                let Some(seen) = address::read(message)?.filter(address::Seen::is_kept) else {
                    return Ok(());
                };
                let (link, family) = (seen.key.link, Family::of(seen.key.address));
                let own = known(link).then_some(link);
                for index in own.into_iter().chain(self.ports_of(id, link)) {
                    self.stale.add(Slice::ChildAddresses(id, index, family));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn event(kind: u16, id: NetnsId) -> Vec<u8> {
        const NETNSA_NSID: u16 = 1;
        let mut datagram = Vec::new();
        datagram.extend(28_u32.to_ne_bytes());
        datagram.extend(kind.to_ne_bytes());
        datagram.extend([0; 14]); // flags, sequence, port, family
        datagram.extend(8_u16.to_ne_bytes());
        datagram.extend(NETNSA_NSID.to_ne_bytes());
        datagram.extend(id.0.to_ne_bytes());
        datagram
    }

    #[test]
    fn an_id_that_was_taken_over_before_its_end_was_reported_is_read() {
        let (mut state, id) = (State::new(NetnsId(0), Instant::now()), NetnsId(3));
        for kind in [libc::RTM_NEWNSID, libc::RTM_DELNSID] {
            state.take_in(Channel::Here, None, &event(kind, id)).unwrap();
        }
        assert_eq!(state.stale.take(), Some(Slice::Namespace(id)));
    }
}
