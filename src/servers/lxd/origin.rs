//! Where a NIC of an instance comes from. Only a command asks, for one instance: a listing has the devices of
//! instances with those of their profiles, and not which is whose.

use serde::Deserialize;
use smol_str::SmolStr;

use super::api::{Devices, or_default};
use super::envelope;
use crate::model::text;
use crate::servers::error::ServerError;
use crate::servers::http::{Client, escaped};
use crate::servers::patience::Patience;
use crate::servers::questions::GuestName;

/// Where a NIC comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NicOrigin {
    /// The instance's own configuration.
    Own,
    /// The last of its profiles that has such a device.
    Profile(SmolStr),
}

/// `GET /1.0/instances/<name>`, and `GET /1.0/profiles/<name>`, which has no profiles.
#[derive(Deserialize)]
struct Configured {
    #[serde(default, deserialize_with = "or_default")]
    profiles: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    devices: Devices,
}

impl Configured {
    fn has(&self, device: &str) -> bool {
        self.devices.0.iter().any(|(name, _)| name == device)
    }
}

/// Asks for it. `None` if neither the instance nor a profile of it has such a device.
pub(in crate::servers) async fn origin(
    client: &Client,
    patience: &Patience,
    guest: &GuestName,
    device: &str,
) -> Result<Option<NicOrigin>, ServerError> {
    let project = escaped(&guest.project);
    let path = format!("/1.0/instances/{}?project={project}", escaped(&guest.name));
    let instance: Configured = envelope::get(client, &path, patience.answer).await?;
    if instance.has(device) {
        return Ok(Some(NicOrigin::Own));
    }
    for profile in instance.profiles.iter().rev() {
        let path = format!("/1.0/profiles/{}?project={project}", escaped(profile));
        let configured: Configured = envelope::get(client, &path, patience.answer).await?;
        if configured.has(device) {
            return Ok(Some(NicOrigin::Profile(text::name(profile))));
        }
    }
    Ok(None)
}
