//! The reason why an operation failed, in words for people.

use std::io::ErrorKind;

use nix::errno::Errno;

use crate::kernel::error::OpError;
use crate::kernel::filter::NftError;
use crate::kernel::socket::error::RequestError;
use crate::model::{Code, Family, Op};

/// The reason why an operation was not done.
pub(in crate::kernel) enum WriteError {
    /// The kernel refused.
    Kernel(RequestError),
    /// A sysctl could not be read or written.
    File(std::io::Error),
    /// `nft` did not obey.
    Filter(NftError),
    /// Its link does not exist any more.
    LinkGone,
    /// An object is in our way, or a needed one is missing; in words.
    InTheWay(Code, String),
}

impl WriteError {
    /// Whether a missing link may be the cause. A link without IPv6 can be one, too.
    pub(in crate::kernel) fn may_mean_no_link(&self) -> bool {
        match self {
            WriteError::Kernel(error) => error.errno() == Some(Errno::ENODEV),
            WriteError::File(error) => error.kind() == ErrorKind::NotFound,
            WriteError::Filter(_) | WriteError::LinkGone | WriteError::InTheWay(..) => false,
        }
    }
}

impl From<NftError> for WriteError {
    fn from(error: NftError) -> WriteError {
        WriteError::Filter(error)
    }
}

impl From<RequestError> for WriteError {
    fn from(error: RequestError) -> WriteError {
        WriteError::Kernel(error)
    }
}

/// The same as an error that names the operation, the reason and a cure.
pub(in crate::kernel) fn explain(op: &Op, error: impl Into<WriteError>) -> OpError {
    let error = error.into();
    let (code, hint, why) = match error {
        WriteError::Kernel(error) => {
            let (code, hint) = error.errno().map_or((Code::KernelRefused, None), |errno| meaning(op, errno));
            (code, hint, error.to_string())
        }
        WriteError::Filter(error) => (Code::KernelRefused, None, error.to_string()),
        WriteError::File(error) => {
            let (code, hint) = match error.kind() {
                ErrorKind::NotFound => (Code::KernelRefused, Some("/proc/sys/net must be there")),
                ErrorKind::ReadOnlyFilesystem => (Code::Permission, Some("/proc/sys must be writable")),
                ErrorKind::PermissionDenied => (Code::Permission, Some(CAPABILITY)),
                _ => (Code::KernelRefused, None),
            };
            (code, hint, error.to_string())
        }
        WriteError::LinkGone => {
            (Code::LinkGone, Some("it is made again if it is still wanted"), "the link is gone".to_owned())
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

/// The meaning of an error number for people, given the operation.
fn meaning(op: &Op, errno: Errno) -> (Code, Option<&'static str>) {
    match (op, errno) {
        (_, Errno::EPERM | Errno::EACCES) => (Code::Permission, Some(CAPABILITY)),
        (Op::CreateShim { .. } | Op::SetUp { .. }, Errno::EADDRINUSE) => {
            (Code::MacTaken, Some("another child of the parent has this MAC; another MAC will be taken"))
        }
        (Op::SetMac { .. }, Errno::EADDRINUSE) => {
            (Code::MacTaken, Some("another child of the parent has this MAC; guests look for the shim there"))
        }
        (Op::CreateShim { .. }, Errno::EBUSY) => (
            Code::ParentBusy,
            Some("the parent is a port of a bridge or carries ipvlan children; use the bridge as the parent"),
        ),
        (Op::CreateShim { .. }, Errno::EINVAL) => (
            Code::ParentBusy,
            Some("the parent has a child in passthru mode, or its MTU is smaller than asked for"),
        ),
        (Op::CreateShim { .. }, Errno::EOPNOTSUPP) => {
            (Code::KernelRefused, Some("the kernel has no macvlan; try `modprobe macvlan`"))
        }
        (Op::CreateShim { .. }, Errno::ENODEV) => (Code::KernelRefused, Some("the parent is gone")),
        (Op::SetMtu { .. }, Errno::EINVAL) => (Code::KernelRefused, Some("the parent's MTU is smaller")),
        (Op::SetRoute { .. }, Errno::EINVAL) => {
            (Code::KernelRefused, Some("the source is no address of this host (any more)"))
        }
        (Op::SetRoute { .. } | Op::SetUp { .. }, Errno::ENETDOWN | Errno::ENETUNREACH) => {
            (Code::KernelRefused, Some("the shim or its parent is down"))
        }
        (Op::Ask { address, .. } | Op::SetNeighbour { address, .. }, Errno::ENOBUFS) => {
            (Code::KernelRefused, Some(table_full(Family::of(*address))))
        }
        _ => (Code::KernelRefused, None),
    }
}
