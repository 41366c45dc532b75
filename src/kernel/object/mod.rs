//! One file for each kind of kernel object: how messages show it, how it is listed, and how it is written.
//!
//! Nothing is remembered here, and nothing is decided.

pub(in crate::kernel) mod address;
pub(in crate::kernel) mod link;
pub(in crate::kernel) mod neighbour;
pub(in crate::kernel) mod netns;
pub(in crate::kernel) mod next_hop;
pub(in crate::kernel) mod question;
pub(in crate::kernel) mod route;
pub(in crate::kernel) mod rule;
pub(in crate::kernel) mod sysctl;
pub(in crate::kernel) mod table;
pub(in crate::kernel) mod way;

#[cfg(test)]
mod tests {
    use netlink_packet_route::AddressFamily;

    use nix::errno::Errno;

    use super::{address, link};
    use crate::kernel::socket::error::RequestError;
    use crate::kernel::socket::request::Requests;
    use crate::model::{LinkIndex, NetnsId};

    #[test]
    fn a_dump_that_the_kernel_refuses_is_an_error_and_no_empty_list() {
        let mut requests = Requests::open().unwrap();
        // There is no such namespace. Without privileges there is no answer either.
        let links = link::of_guest(&mut requests, NetnsId(1_000_000)).unwrap_err();
        let addresses =
            address::of_child(&mut requests, NetnsId(1_000_000), LinkIndex(1), AddressFamily::Unspec, 1)
                .unwrap_err();
        assert!(matches!(links, RequestError::Refused { .. }), "{links}");
        assert!(matches!(addresses, RequestError::Refused { .. }), "{addresses}");
        let none = address::of_link(&mut requests, LinkIndex(1_000_000)).unwrap_err();
        assert_eq!(none.errno(), Some(Errno::ENODEV));
        // The socket still works.
        assert!(link::dump(&mut requests).unwrap().iter().any(|seen| seen.name == "lo"));
    }
}
