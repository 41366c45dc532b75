//! Why something is reached, or why not: the chain from the server to the guest's answer, one file for each
//! step. It is made from the same material as the status, so the two never contradict each other.
//!
//! | file | contents |
//! | --- | --- |
//! | `sought` | the NICs and other things that somebody asks about |
//! | `gathered` | everything that the steps look at |
//! | `chain` | the steps of one NIC in their order, and where the chain ends |
//! | `server`, `nic`, `selected`, `parent`, `child` | the steps that all addresses of a NIC share |
//! | `address`, `route`, `neighbour`, `firewall`, `guest` | the steps of one address |
//! | `elsewhere` | addresses and MACs that are no guest's, or no known guest's |
//! | `cure` | cures as commands |
//! | `times` | since when each step is as it is |

mod address;
mod chain;
mod child;
mod cure;
mod elsewhere;
mod firewall;
mod gathered;
mod guest;
mod neighbour;
mod nic;
mod parent;
mod route;
mod selected;
mod server;
mod sought;
mod times;

pub use self::times::with_times;
use super::material::Material;
use crate::model::explanation::{Explanation, Explanations, Sought};
use crate::model::text;

/// Explains everything that somebody asks about by a name, an address or a MAC.
pub fn explain(material: &Material<'_>, sought: &Sought) -> Explanations {
    let (mut explanations, more) = sought::find(material, sought);
    explanations.iter_mut().for_each(Explanation::conclude);
    let similar = match sought {
        Sought::Name(name) if explanations.is_empty() => sought::similar(material, name),
        _ => None,
    };
    Explanations {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        subject: text::words(&sought.to_string()),
        daemon: material.applies,
        explanations,
        more,
        similar,
    }
}
