//! The guests that exist, according to the servers. Only the identity of guests is believed, never their
//! addresses: those come from the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::Mac;
pub use super::key::{GuestKey, GuestParts, NicKey, ServerId};

/// Everything that the servers have told us, server by server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inventory {
    /// By id, so that every view shows the same order.
    pub servers: BTreeMap<ServerId, Arc<Server>>,
}

impl Inventory {
    /// Whether every server that is present has been read at least once.
    pub fn settled(&self) -> bool {
        self.servers.values().all(|server| server.guests.is_some() || server.state == ServerState::Absent)
    }

    /// The homes of all guests, as far as they are known.
    pub fn homes(&self) -> BTreeSet<Home> {
        let guests = self.servers.values().flat_map(|server| server.guests.iter().flatten());
        guests.map(|guest| &guest.home).filter(|home| **home != Home::Unknown).cloned().collect()
    }

    /// All guests of all servers, in the order of their keys.
    pub fn guests(&self) -> impl Iterator<Item = (GuestKey, &Guest)> {
        self.servers
            .iter()
            .flat_map(|(id, server)| server.guests.iter().flatten().map(move |guest| (guest.key(id), guest)))
    }
}

/// One server and the last complete listing that it gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Server {
    /// Where it is, or would be, reached: the path of its socket.
    pub place: String,
    /// LXD or Incus. `None` until it has answered once, if its place does not tell.
    pub kind: Option<ServerKind>,
    /// The version that it says.
    pub version: Option<String>,
    /// Its name: the cluster member's name, or the host's.
    pub name: Option<String>,
    /// How we stand with it.
    pub state: ServerState,
    /// The fault, or the thing that we wait for, in a sentence.
    pub message: Option<String>,
    /// The machines that it works together with, itself included, by their addresses as far as they are
    /// known. No guest may have one of these addresses.
    pub peers: BTreeMap<IpAddr, String>,
    /// Its local guests that have a macvlan NIC, sorted by project and name. `None` if it never answered.
    /// While the server is away, they stay as they were.
    pub guests: Option<Vec<Guest>>,
}

/// The kinds of servers that we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ServerKind {
    /// Canonical LXD.
    Lxd,
    /// Incus.
    Incus,
}

/// How we stand with a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ServerState {
    /// Its events are heard and its guests are known.
    Connected,
    /// It is there, but has not been read (again) yet.
    #[default]
    Connecting,
    /// It is not there: no socket, or a socket whose server is stopped.
    Absent,
    /// It is there and something is wrong. It is retried with increasing pauses.
    Failed,
}

impl ServerState {
    /// The word for it in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            ServerState::Connected => "connected",
            ServerState::Connecting => "connecting",
            ServerState::Absent => "absent",
            ServerState::Failed => "failed",
        }
    }
}

/// A container or virtual machine that has a macvlan NIC, or may have one.
#[derive(Clone, Debug, PartialEq)]
pub struct Guest {
    /// Its project.
    pub project: SmolStr,
    /// Its name.
    pub name: SmolStr,
    /// Container or VM.
    pub kind: GuestKind,
    /// Whether it runs.
    pub power: Power,
    /// Where its network namespace is found. If a MAC does not tell which child is which NIC, the namespace
    /// does.
    pub home: Home,
    /// The profiles that it uses.
    pub profiles: Vec<SmolStr>,
    /// The wish that `user.macvlan-shim.enabled` states.
    pub opt: OptOut,
    /// Its macvlan NICs.
    pub nics: Nics,
}

impl Guest {
    /// Its key, given its server.
    pub fn key(&self, server: &ServerId) -> GuestKey {
        GuestKey::new(server.clone(), self.project.clone(), self.name.clone())
    }
}

/// Where a guest's network namespace is found on this host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Home {
    /// It is the namespace of this process, the guest's first, as the host numbers it.
    Pid(u32),
    /// This file holds it, as those in `/run/netns` do.
    File(PathBuf),
    /// It is not known, or nobody was asked.
    Unknown,
}

/// Container or VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum GuestKind {
    /// Its NIC is a macvlan link in its own network namespace.
    Container,
    /// Its NIC is a macvtap link in the host's namespace.
    VirtualMachine,
}

/// Whether a guest runs. A guest whose state the server cannot tell (status `Error`) counts as running,
/// because then the kernel decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// Anything but stopped: running, ready, frozen, starting, stopping, unknown.
    Running,
    /// Stopped.
    Stopped,
}

/// The value of `user.macvlan-shim.enabled` in a guest's expanded configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptOut {
    /// Absent or true: take part.
    In,
    /// False: leave this guest alone.
    Out,
    /// Neither true nor false. The guest takes part and a problem is shown.
    Invalid(String),
}

/// The source of a guest's NICs.
#[derive(Clone, Debug, PartialEq)]
pub enum Nics {
    /// Its server: these, sorted by name.
    Told(Vec<Nic>),
    /// The kernel: every macvlan child in bridge mode in the namespace of the guest's home is one, and its
    /// name is the link's name there.
    AllInItsNamespace,
}

impl Nics {
    /// The NICs that the server lists.
    pub fn told(&self) -> &[Nic] {
        match self {
            Nics::Told(nics) => nics,
            Nics::AllInItsNamespace => &[],
        }
    }
}

/// One macvlan NIC in a guest's expanded devices.
#[derive(Clone, Debug, PartialEq)]
pub struct Nic {
    /// The device's name, such as `eth0`.
    pub name: SmolStr,
    /// The name that a container starts with its link under: the device's `name`, else `volatile.<nic>.name`,
    /// else the device's own.
    pub link: SmolStr,
    /// `hwaddr`, else `volatile.<nic>.hwaddr`. `None` before the first start.
    pub mac: Option<Mac>,
    /// The parent of its macvlan child, as far as the server's configuration tells.
    pub parent: NicParent,
    /// The macvlan mode that it asks for.
    pub mode: Mode,
}

/// Which parent a NIC names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NicParent {
    /// An interface, and the VLAN on it if one is asked for.
    Link {
        /// The interface's name.
        name: SmolStr,
        /// The VLAN id. The child is then on that VLAN's interface.
        vlan: Option<u16>,
    },
    /// A managed network that could not be resolved. The sentence says why.
    Unknown(String),
}

impl fmt::Display for NicParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NicParent::Link { name, vlan: None } => f.write_str(name),
            NicParent::Link { name, vlan: Some(vlan) } => write!(f, "{name}.{vlan}"),
            NicParent::Unknown(_) => f.write_str("?"),
        }
    }
}

/// A macvlan mode. Only children in bridge mode talk to each other on one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Children talk to each other.
    Bridge,
    /// Children talk to nobody on this host.
    Private,
    /// Children talk through an external hairpin switch.
    Vepa,
    /// The parent belongs to one child alone.
    Passthru,
    /// The child gets every frame from the MACs on its list, whatever its destination.
    Source,
    /// Another mode that the kernel shows, newer than this program.
    Other,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Bridge => "bridge",
            Mode::Private => "private",
            Mode::Vepa => "vepa",
            Mode::Passthru => "passthru",
            Mode::Source => "source",
            Mode::Other => "other",
        })
    }
}
