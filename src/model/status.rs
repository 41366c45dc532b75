//! The contract of `status --json`: keys may be added, never renamed.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::inventory::{GuestKind, ServerKind, ServerState};
use super::{Code, GuestKey, Mac, ServerId, Severity, Timestamp};
use smol_str::SmolStr;

/// One report of everything, as `GET /1.0/status` answers it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Status {
    /// The version of the daemon.
    pub version: String,
    /// The name of the host.
    pub host: String,
    /// When the daemon started.
    pub started: Timestamp,
    /// When this report was made.
    pub time: Timestamp,
    /// Number of guests that should be reached, and that are.
    pub counts: Counts,
    /// True once every present server was read and the plan applied.
    pub ready: bool,
    /// The servers that are followed.
    pub servers: Vec<ServerStatus>,
    /// The shims that exist, or should.
    pub shims: Vec<ShimStatus>,
    /// The guests of this host that have a macvlan NIC.
    pub guests: Vec<GuestStatus>,
    /// Routes that stay because the kernel still shows the guest, although no server vouches for it.
    pub unclaimed: Vec<UnclaimedStatus>,
    /// Everything that needs somebody.
    pub problems: Vec<Problem>,
}

/// How many guests are reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Counts {
    /// Number of running guests that should be reached.
    pub wanted: usize,
    /// Number of those that are reached at one address or more.
    pub reached: usize,
}

/// A server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "most are the fields of model::inventory::Server, in the contract's order")]
pub struct ServerStatus {
    pub id: SmolStr,
    pub kind: Option<ServerKind>,
    pub socket: String,
    pub version: Option<String>,
    pub name: Option<String>,
    pub state: ServerState,
    pub message: Option<String>,
    /// Since when it is in this state. `null` if it was so when the daemon began to look.
    pub since: Option<Timestamp>,
    /// When it was last read completely. `null` if it never was.
    pub last_read: Option<Timestamp>,
}

/// A shim.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ShimStatus {
    /// Its name.
    pub name: SmolStr,
    /// Its parent's name.
    pub parent: SmolStr,
    /// Its MAC; `null` if it could not be made.
    pub mac: Option<Mac>,
    /// Whether it works.
    pub state: ShimState,
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
    /// The ranges of `[[parent]] routes` that are routed through it.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    pub ranges: Vec<IpNet>,
    /// Number of NICs that use it.
    pub nics: usize,
    /// Number of addresses of guests that are routed through it.
    pub routes: usize,
    /// Whether its filter stands.
    pub filtered: bool,
    /// Whether frames pass its parent.
    pub parent_state: ParentState,
    /// The host's addresses on the parent, at which guests reach it.
    pub host_addresses: Vec<IpAddr>,
    /// The fault, if it failed.
    pub message: Option<String>,
    /// Since when it and its parent are in these states. `null` if they were so when the daemon began to look.
    pub since: Option<Timestamp>,
}

/// Whether frames pass a parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ParentState {
    /// They pass.
    Up,
    /// It is not set up.
    Down,
    /// It is set up and has no carrier.
    NoCarrier,
    /// There is no such link any more.
    Absent,
}

impl ParentState {
    /// The word for it in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            ParentState::Up => "up",
            ParentState::Down => "down",
            ParentState::NoCarrier => Code::NoCarrier.as_str(),
            ParentState::Absent => "absent",
        }
    }
}

/// Whether a shim works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ShimState {
    /// It exists and is up.
    Up,
    /// It is not up (yet).
    Down,
    /// It cannot be made or completed.
    Failed,
}

impl ShimState {
    /// The word for it in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            ShimState::Up => "up",
            ShimState::Down => "down",
            ShimState::Failed => "failed",
        }
    }
}

/// A guest.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GuestStatus {
    /// Its server's id.
    pub server: SmolStr,
    /// Its project.
    pub project: SmolStr,
    /// Its name.
    pub name: SmolStr,
    /// Container or VM.
    #[serde(rename = "type")]
    pub kind: GuestKind,
    /// Its macvlan NICs.
    pub nics: Vec<NicStatus>,
}

impl GuestStatus {
    /// Its key, which is shown as `lxd:web`, or as `lxd:shop/web` outside the default project.
    pub fn key(&self) -> GuestKey {
        GuestKey::new(ServerId(self.server.clone()), self.project.clone(), self.name.clone())
    }
}

/// A NIC.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NicStatus {
    /// The device's name.
    pub name: SmolStr,
    /// Its parent: the kernel's if the kernel shows the NIC, else the server's.
    pub parent: SmolStr,
    /// Its MAC, from the same source.
    pub mac: Option<Mac>,
    /// The first state that applies.
    pub state: NicState,
    /// A stable code, if the state needs a reason.
    pub reason: Option<String>,
    /// The same for people.
    pub message: Option<String>,
    /// Since when it is in this state, for this reason. `null` if it was so when the daemon began to look.
    pub since: Option<Timestamp>,
    /// Its addresses of global scope.
    pub addresses: Vec<AddressStatus>,
}

/// The states of a NIC, of which the first that applies is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum NicState {
    /// The guest does not run.
    Stopped,
    /// The configuration or the guest's own key leaves it out.
    Unselected,
    /// Another mode than bridge, or a VM.
    Unsupported,
    /// The shim or all routes failed.
    Failed,
    /// At least one address is routed.
    Reachable,
    /// It has addresses, and none is admitted.
    Refused,
    /// It has no address yet.
    Waiting,
}

impl NicState {
    /// The word for it in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            NicState::Stopped => "stopped",
            NicState::Unselected => "unselected",
            NicState::Unsupported => "unsupported",
            NicState::Failed => "failed",
            NicState::Reachable => "reachable",
            NicState::Refused => "refused",
            NicState::Waiting => "waiting",
        }
    }
}

/// An address of a NIC.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AddressStatus {
    /// The address.
    pub address: IpAddr,
    /// The verdict and its outcome.
    pub state: AddressState,
    /// The host's address that talks to it, if it is routed.
    pub source: Option<IpAddr>,
    /// A stable code, if it is refused or failed.
    pub reason: Option<String>,
    /// The same for people.
    pub message: Option<String>,
    /// Since when it is in this state, for this reason. `null` if it was so when the daemon began to look.
    pub since: Option<Timestamp>,
}

/// The outcome for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum AddressState {
    /// Admitted, and the kernel has its route.
    Routed,
    /// Not admitted.
    Refused,
    /// Admitted, but the kernel did not take its route.
    Failed,
}

impl AddressState {
    /// The word for it in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            AddressState::Routed => "routed",
            AddressState::Refused => "refused",
            AddressState::Failed => "failed",
        }
    }
}

/// A route that no server vouches for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UnclaimedStatus {
    /// The guest's address.
    pub address: IpAddr,
    /// The shim that its route leads through.
    pub shim: SmolStr,
    /// The guest's MAC.
    pub mac: Mac,
    /// Since when no server vouches for it. `null` if it was so when the daemon began to look.
    pub since: Option<Timestamp>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Problem {
    /// A stable code.
    pub code: String,
    /// How urgent it is. Never a note, which is no problem.
    pub severity: Severity,
    /// Its subject: an interface, a server, a NIC of a guest.
    pub object: String,
    /// The fault, in a sentence.
    pub message: String,
    /// The cure, as an instruction.
    pub hint: String,
    /// Since when it stands. `null` if it stood when the daemon began to look.
    pub since: Option<Timestamp>,
}

impl Problem {
    /// A problem with a code of the catalogue. The object is an interface, a server or a NIC. The message
    /// says what is wrong, and the hint says what to do.
    pub fn new(
        code: Code,
        object: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Problem {
        Problem {
            code: code.as_str().to_owned(),
            severity: code.severity(),
            object: object.into(),
            message: message.into(),
            hint: hint.into(),
            since: None,
        }
    }
}
