//! What an event means for the snapshot.

use nix::libc;

use super::slice::Slice;
use super::source::Source;
use super::state::State;
use super::wire::{Malformed, Message, Messages, u32_at};
use super::{address, filter, link, neighbour, netns, route, rule};
use crate::model::snapshot::{ChildKey, Netns};

const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;
const RTM_NEWMULTICAST: u16 = 56;
const RTM_DELMULTICAST: u16 = 57;

impl State {
    /// Takes in one datagram of events, from the host's namespace or from that of the netns id.
    pub(super) fn take_in(
        &mut self,
        source: Source,
        netns: Option<i32>,
        datagram: &[u8],
    ) -> Result<(), Malformed> {
        for message in Messages(datagram) {
            let message = message?;
            match (source, netns) {
                (Source::Filters, _) => self.take_in_filter(&message)?,
                (_, None) => self.take_in_host(&message)?,
                (_, Some(id)) if id != self.own_id => self.take_in_guest(id, &message)?,
                (_, Some(_)) => {}
            }
        }
        Ok(())
    }

    /// Who writes our table need not be us.
    fn take_in_filter(&mut self, message: &Message<'_>) -> Result<(), Malformed> {
        if filter::concerns(message)? {
            self.marks.defer(Slice::Filter, State::FILTER);
        }
        Ok(())
    }

    fn take_in_host(&mut self, message: &Message<'_>) -> Result<(), Malformed> {
        match message.kind {
            libc::RTM_NEWLINK | libc::RTM_DELLINK => self.link_event(message),
            libc::RTM_NEWADDR | libc::RTM_DELADDR => self.address_event(message),
            libc::RTM_NEWROUTE | libc::RTM_DELROUTE => self.route_event(message),
            libc::RTM_NEWRULE | libc::RTM_DELRULE => self.rule_event(message),
            libc::RTM_NEWNEIGH | libc::RTM_DELNEIGH => self.neighbour_event(message),
            libc::RTM_NEWNSID | libc::RTM_DELNSID => self.netns_event(message),
            libc::RTM_NEWNETCONF | libc::RTM_DELNETCONF => {
                self.marks.mark(Slice::Settings);
                Ok(())
            }
            RTM_NEWNEXTHOP | RTM_DELNEXTHOP => {
                self.marks.defer(Slice::Routes, State::GATEWAYS);
                Ok(())
            }
            // A proxy entry comes and goes without a word, but its link joins and leaves a group for it.
            RTM_NEWMULTICAST | RTM_DELMULTICAST => {
                let shim = u32_at(message.payload, 4)?;
                if self.snapshot.links.get(&shim).is_some_and(|link| link.shim_parent().is_some()) {
                    self.marks.mark(Slice::Proxies);
                    // So it does when IPv6 is switched off on it, of which there is no other word.
                    if message.kind == RTM_DELMULTICAST {
                        self.marks.mark(Slice::Settings);
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn link_event(&mut self, message: &Message<'_>) -> Result<(), Malformed> {
        let Some(seen) = link::read(message)? else { return Ok(()) };
        self.marks.touched(Slice::Links);
        if message.kind == libc::RTM_NEWLINK {
            self.put_link(seen);
            return Ok(());
        }
        if let Some(id) = seen.moved_to.filter(|id| *id >= 0 && *id != self.own_id) {
            self.marks.mark(Slice::Namespace(id));
        }
        self.drop_link(seen.index);
        Ok(())
    }

    fn address_event(&mut self, message: &Message<'_>) -> Result<(), Malformed> {
        let Some(seen) = address::read(message)? else { return Ok(()) };
        self.shows_address_protocol |= seen.protocol.is_some();
        if !self.keeps(&seen) {
            return Ok(());
        }
        self.marks.touched(Slice::Addresses);
        if seen.is_made_by_kernel() {
            // With our settings it would not have made it.
            self.marks.mark(Slice::Settings);
        }
        match message.kind {
            libc::RTM_NEWADDR => self.put_address(seen),
            _ => self.drop_address(seen.key),
        }
        Ok(())
    }

    fn route_event(&mut self, message: &Message<'_>) -> Result<(), Malformed> {
        let Some(seen) = route::read(message)? else { return Ok(()) };
        self.marks.touched(Slice::Routes);
        if message.kind == libc::RTM_DELROUTE {
            if seen.is_kept() {
                let old = self.snapshot.routes.remove(&seen.key);
                self.changes.route(&seen.key, old.as_ref(), None);
            }
            // Another route may have the same key, or the same gateway.
            if !seen.value.ours {
                self.marks.defer(Slice::Routes, State::GATEWAYS);
            }
            return Ok(());
        }
        if self.is_stranger(seen.key.link) {
            self.marks.mark(Slice::Routes);
            return Ok(());
        }
        if message.flags & libc::NLM_F_REPLACE as u16 != 0 {
            self.replaced(&seen);
        }
        let routes = &mut self.snapshot.routes;
        let new = seen.is_kept().then_some(seen.value);
        let old = match new {
            Some(value) => routes.insert(seen.key, value),
            None => routes.remove(&seen.key),
        };
        self.changes.route(&seen.key, old.as_ref(), new.as_ref());
        for gateway in seen.gateways {
            self.changes.all |= self.snapshot.next_hops.insert(gateway);
        }
        Ok(())
    }

    /// A link that is not known (any more): its events come on another socket than those of what hangs on
    /// it, so only a dump tells which of the two is the older.
    fn is_stranger(&self, link: u32) -> bool {
        link != 0 && !self.snapshot.links.contains_key(&link)
    }

    /// The event does not say what was replaced. A host route of ours can only have taken the place of
    /// one that is known; with any other, a gateway may have gone.
    fn replaced(&mut self, seen: &route::Seen) {
        let route::Seen { key, value, .. } = seen;
        let place = |other: &crate::model::snapshot::RouteKey| {
            (other.table, other.destination, other.metric) == (key.table, key.destination, key.metric)
        };
        if self.snapshot.routes.keys().any(|other| place(other) && other != key) {
            self.marks.mark(Slice::Routes);
        } else if !value.ours || self.snapshot.routes.get(key).is_some_and(|old| old.gateway) {
            self.marks.defer(Slice::Routes, State::GATEWAYS);
        }
    }

    fn rule_event(&mut self, message: &Message<'_>) -> Result<(), Malformed> {
        let Some(rule) = rule::read(message)? else { return Ok(()) };
        self.marks.touched(Slice::Rules);
        if message.kind == libc::RTM_NEWRULE {
            self.changes.all |= self.snapshot.rules.insert(rule);
        } else {
            // Two rules may look the same to us.
            self.marks.mark(Slice::Rules);
        }
        Ok(())
    }

    fn neighbour_event(&mut self, message: &Message<'_>) -> Result<(), Malformed> {
        let Some(seen) = neighbour::read(message)? else { return Ok(()) };
        if seen.proxy {
            self.marks.mark(Slice::Proxies);
            return Ok(());
        }
        self.marks.touched(Slice::Neighbours);
        if message.kind == libc::RTM_NEWNEIGH && self.is_stranger(seen.link) {
            self.marks.mark(Slice::Neighbours);
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

    fn netns_event(&mut self, message: &Message<'_>) -> Result<(), Malformed> {
        let Some(id) = netns::read(message)?.filter(|id| *id >= 0 && *id != self.own_id) else {
            return Ok(());
        };
        self.marks.touched(Slice::Namespaces);
        if !self.wanted_inits.is_empty() {
            self.marks.mark(Slice::Inits);
        }
        if message.kind == libc::RTM_NEWNSID {
            self.marks.mark(Slice::Namespace(id));
        } else {
            self.drop_namespace(id);
        }
        Ok(())
    }

    /// A namespace is gone; its id may be another's from now on.
    pub(super) fn drop_namespace(&mut self, id: i32) {
        self.marks.forget(id);
        self.shortfalls.remove(&Netns::Id(id));
        self.put_namespace(id, Default::default());
    }

    fn take_in_guest(&mut self, id: i32, message: &Message<'_>) -> Result<(), Malformed> {
        let known = |index| self.snapshot.children.contains_key(&ChildKey { netns: Netns::Id(id), index });
        match message.kind {
            libc::RTM_NEWLINK | libc::RTM_DELLINK => {
                let Some(seen) = link::read(message)? else { return Ok(()) };
                let own = (seen.is_macvlan() || known(seen.index)).then_some(seen.index);
                for index in own.into_iter().chain(self.ports_of(id, seen.index)) {
                    self.marks.mark(Slice::Child(id, index));
                }
            }
            libc::RTM_NEWADDR | libc::RTM_DELADDR => {
                let Some(seen) = address::read(message)?.filter(address::Seen::is_kept) else {
                    return Ok(());
                };
                let (link, ipv6) = (seen.key.link, seen.key.address.addr().is_ipv6());
                let own = known(link).then_some(link);
                for index in own.into_iter().chain(self.ports_of(id, link)) {
                    self.marks.mark(Slice::ChildAddresses(id, index, ipv6));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
