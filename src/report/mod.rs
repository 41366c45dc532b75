//! Reports about the daemon: pure views of one value. A report is made from the daemon's knowledge at one
//! moment, and everybody who asks gets the last one.
//!
//! | module | contents |
//! | --- | --- |
//! | `material` | the material of a report |
//! | `guests`, `shims`, `problems` | the parts of the status |
//! | `summary` | the line of `systemctl status` |

mod guests;
mod material;
mod problems;
mod shims;
mod summary;

use std::sync::Arc;

pub use self::material::Material;
use self::summary::count;
pub use self::summary::{Reach, summary};
use crate::model::ServerId;
use crate::model::inventory::{Inventory, Server};
use crate::model::status::{GuestStatus, Problem, ServerStatus, Status};

/// The daemon at one moment.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The answer to `GET /1.0/status`.
    pub status: Status,
}

/// Every problem, and the numbers.
pub fn problems(material: &Material<'_>) -> (Vec<Problem>, Reach) {
    let problems = material.all_problems();
    let reach = Reach { counts: count(&guests(material)), problems: problems.len() };
    (problems, reach)
}

impl Report {
    /// Makes the report.
    pub fn of(material: &Material<'_>) -> Report {
        let Material { inventory, desired, host, ready, .. } = material;
        let guests = guests(material);
        Report {
            status: Status {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                host: (*host).to_owned(),
                counts: count(&guests),
                ready: *ready,
                servers: servers(inventory),
                shims: desired.shims.iter().map(|(parent, shim)| material.shim(*parent, shim)).collect(),
                guests,
                unclaimed: material.unclaimed(),
                problems: material.all_problems(),
            },
        }
    }
}

fn guests(material: &Material<'_>) -> Vec<GuestStatus> {
    material.inventory.guests().map(|(key, guest)| material.guest(&key, guest)).collect()
}

fn servers(inventory: &Inventory) -> Vec<ServerStatus> {
    let server = |(id, server): (&ServerId, &Arc<Server>)| ServerStatus {
        id: id.0.clone(),
        kind: server.kind,
        socket: server.place.clone(),
        version: server.version.clone(),
        name: server.name.clone(),
        state: server.state,
        message: server.message.clone(),
    };
    inventory.servers.iter().map(server).collect()
}
