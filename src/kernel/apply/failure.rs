//! Why an operation failed, in words for people.

use std::io::ErrorKind;

use nix::errno::Errno;

use crate::kernel::error::{ErrorCode, OpError};
use crate::kernel::socket::error::RequestError;
use crate::model::{Family, Op};

/// Why an operation was not done.
pub(in crate::kernel) enum WriteError {
    /// The kernel said no.
    Kernel(RequestError),
    /// A sysctl could not be read or written.
    File(std::io::Error),
    /// Something stands in our way, or what we need is not there; in words.
    InTheWay(ErrorCode, String),
}

impl From<RequestError> for WriteError {
    fn from(error: RequestError) -> WriteError {
        WriteError::Kernel(error)
    }
}

/// The same as an error that says what was to be done, and what to do now.
pub(in crate::kernel) fn explain(op: &Op, error: WriteError) -> OpError {
    let (code, hint, why) = match error {
        WriteError::Kernel(error) => {
            let (code, hint) = error.errno().map_or((ErrorCode::Other, None), |errno| meaning(op, errno));
            (code, hint, error.to_string())
        }
        WriteError::File(error) => {
            let (code, hint) = match error.kind() {
                ErrorKind::NotFound => {
                    (ErrorCode::Other, Some("the link is gone, or /proc/sys/net is not there"))
                }
                ErrorKind::ReadOnlyFilesystem => (ErrorCode::Permission, Some("/proc/sys must be writable")),
                ErrorKind::PermissionDenied => (ErrorCode::Permission, Some(CAPABILITY)),
                _ => (ErrorCode::Other, None),
            };
            (code, hint, error.to_string())
        }
        WriteError::InTheWay(code, why) => {
            (code, Some("rename or remove it, or leave it and do without"), why)
        }
    };
    OpError { message: format!("could not {op}: {why}"), hint: hint.map(str::to_owned), code }
}

const CAPABILITY: &str = "run it as root, or with CAP_NET_ADMIN";

fn table_full(family: Family) -> &'static str {
    match family {
        Family::V4 => {
            "the kernel's neighbour table is full, or it has no memory; if it is the table: \
             sysctl -w net.ipv4.neigh.default.gc_thresh3=8192"
        }
        Family::V6 => {
            "the kernel's neighbour table is full, or it has no memory; if it is the table: \
             sysctl -w net.ipv6.neigh.default.gc_thresh3=8192"
        }
    }
}

/// What an error number means for people, given the operation.
fn meaning(op: &Op, errno: Errno) -> (ErrorCode, Option<&'static str>) {
    match (op, errno) {
        (_, Errno::EPERM | Errno::EACCES) => (ErrorCode::Permission, Some(CAPABILITY)),
        (Op::CreateShim { .. } | Op::SetUp { .. }, Errno::EADDRINUSE) => {
            (ErrorCode::MacTaken, Some("another child of the parent has this MAC; another MAC will be taken"))
        }
        (Op::SetMac { .. }, Errno::EADDRINUSE) => (
            ErrorCode::MacTaken,
            Some("another child of the parent has this MAC; guests look for the shim there"),
        ),
        (Op::CreateShim { .. }, Errno::EBUSY) => (
            ErrorCode::ParentBusy,
            Some("the parent is a port of a bridge or carries ipvlan children; use the bridge as the parent"),
        ),
        (Op::CreateShim { .. }, Errno::EINVAL) => (
            ErrorCode::ParentBusy,
            Some("the parent has a child in passthru mode, or its MTU is smaller than asked for"),
        ),
        (Op::CreateShim { .. }, Errno::EOPNOTSUPP) => {
            (ErrorCode::Other, Some("the kernel has no macvlan; try `modprobe macvlan`"))
        }
        (Op::CreateShim { .. }, Errno::ENODEV) => (ErrorCode::Other, Some("the parent is gone")),
        (Op::SetMtu { .. }, Errno::EINVAL) => (ErrorCode::Other, Some("the parent's MTU is smaller")),
        (Op::SetRoute { .. }, Errno::EINVAL) => {
            (ErrorCode::Other, Some("the source is no address of this host (any more)"))
        }
        (Op::SetRoute { .. } | Op::SetUp { .. }, Errno::ENETDOWN | Errno::ENETUNREACH) => {
            (ErrorCode::Other, Some("the shim or its parent is down"))
        }
        (_, Errno::ENODEV) => (ErrorCode::Other, Some("the link is gone")),
        (Op::Probe { address, .. } | Op::SetNeighbour { address, .. }, Errno::ENOBUFS) => {
            (ErrorCode::Other, Some(table_full(Family::of(*address))))
        }
        _ => (ErrorCode::Other, None),
    }
}
