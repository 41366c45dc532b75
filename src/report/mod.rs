//! Reports about the daemon: pure views of one value. A report is made from the daemon's knowledge at one
//! moment, and everybody who asks gets the last one.
//!
//! | module | contents |
//! | --- | --- |
//! | `material` | the material of a report |
//! | `from_scratch` | decisions without a daemon, and the material that they make |
//! | `guests`, `shims`, `problems` | the parts of the status |
//! | `conflicts` | the claims to addresses of others |
//! | `figures` | everything that the metrics show and the status does not |
//! | [`metrics`] | the report as Prometheus reads it |
//! | `history` | what has changed since the report before |
//! | `passage` | the passage of frames between the host and a NIC, and whatever obstructs it |
//! | `explain` | why something is reached, or why not |
//! | `summary` | the line of `systemctl status` |

mod conflicts;
mod explain;
mod figures;
mod from_scratch;
mod guests;
mod history;
mod material;
pub mod metrics;
mod passage;
mod problems;
mod shims;
mod summary;

use std::sync::Arc;

pub use self::conflicts::{Conflict, conflicts};
pub use self::explain::{explain, with_times};
pub use self::figures::Figures;
pub use self::from_scratch::{Circumstances, FromScratch};
pub use self::history::{compare, started};
pub use self::material::Material;
use self::summary::count;
pub use self::summary::summary;
use crate::model::ServerId;
use crate::model::inventory::Server;
use crate::model::status::{GuestStatus, ServerStatus, Status};

/// The daemon at one moment.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The answer to `GET /1.0/status`.
    pub status: Status,
    /// Everything else that `GET /metrics` shows.
    pub figures: Figures,
}

impl Report {
    /// Makes the report. It knows neither what was counted, nor since when everything is as it is: see
    /// [`Figures::tally`] and [`compare`].
    pub fn of(material: &Material<'_>) -> Report {
        let Material { desired, host, ready, started, time, .. } = material;
        let guests = guests(material);
        Report {
            figures: Figures::of(material),
            status: Status {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                host: (*host).to_owned(),
                started: *started,
                time: *time,
                counts: count(&guests),
                ready: *ready,
                servers: servers(material),
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

fn servers(material: &Material<'_>) -> Vec<ServerStatus> {
    let server = |(id, server): (&ServerId, &Arc<Server>)| ServerStatus {
        id: id.0.clone(),
        kind: server.kind,
        socket: server.place.clone(),
        version: server.version.clone(),
        name: server.name.clone(),
        state: server.state,
        message: server.message.clone(),
        since: None,
        last_read: material.last_read.get(id).copied(),
    };
    material.inventory.servers.iter().map(server).collect()
}
