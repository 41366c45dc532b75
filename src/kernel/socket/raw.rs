//! Questions that `netlink-packet-route` does not have.

use netlink_packet_core::NetlinkSerializable;

/// A question as its bytes.
#[derive(Clone, Debug)]
pub(in crate::kernel) struct Raw {
    /// The type of the message.
    pub(in crate::kernel) kind: u16,
    /// Everything after `struct nlmsghdr`.
    pub(in crate::kernel) body: Vec<u8>,
}

impl NetlinkSerializable for Raw {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.body.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer[..self.body.len()].copy_from_slice(&self.body);
    }
}
