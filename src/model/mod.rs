//! The data that the rest of the program speaks about. Plain values: no I/O, no netlink, no REST.
//!
//! | module | contents |
//! | --- | --- |
//! | `named` | makes enums whose values have names |
//! | [`names`] | every name and number that marks an object as ours |
//! | [`mac`] | a MAC address |
//! | [`family`] | IPv4 and IPv6 |
//! | [`id`] | the numbers of links and namespaces |
//! | [`key`] | the names of servers, guests and NICs |
//! | [`inventory`] | the servers, guests and NICs, according to the servers |
//! | [`address`] | kinds of addresses |
//! | [`code`] | every code that `status` can show, with its meaning and cure |
//! | [`changes`] | the changes in the kernel's state since the last look |
//! | [`setting`] | the sysctls of a shim |
//! | [`routing`] | the host's own routes and rules, and where they lead |
//! | [`found_way`] | the kernel's own word on the way of a packet |
//! | [`link`], [`child`] | links of the host; macvlan children, and the namespaces they are in |
//! | [`snapshot`] | the kernel's state: links, addresses, routes, …, the guests' children |
//! | [`plan`] | the operations that turn a snapshot into the desired state |
//! | [`op_kind`] | the kinds of operations, as they are counted |
//! | [`tally`] | the numbers that the daemon counts |
//! | [`status`] | the contract of `status --json` |
//! | [`history`] | the contract of `events --json`: the changes of states |
//! | [`explanation`] | the contract of `explain --json` |
//! | [`text`] | the words of others, made printable |
//! | [`timestamp`] | a time of the wall clock |

pub mod address;
pub mod changes;
pub mod child;
pub mod code;
pub mod dropped;
pub mod explanation;
pub mod family;
pub mod found_way;
pub mod history;
pub mod id;
pub mod inventory;
pub mod key;
pub mod link;
pub mod mac;
mod named;
pub mod names;
pub mod neighbours;
pub mod op_kind;
pub mod plan;
pub mod routing;
pub mod setting;
pub mod snapshot;
pub mod status;
pub mod tally;
pub mod text;
pub mod timestamp;

pub use changes::Changes;
pub use code::{Code, Severity};
pub use family::{Family, PerFamily};
pub use id::{LinkIndex, NetnsId};
pub use inventory::Inventory;
pub use key::{GuestKey, NicKey, ServerId};
pub use mac::Mac;
pub use op_kind::OpKind;
pub use plan::{LinkRef, Op, Plan, Step};
pub use snapshot::Snapshot;
pub use tally::Tally;
pub use timestamp::Timestamp;
