//! The scene: a LAN with DHCP and router advertisements, a host with a real LXD and a real Incus and guests
//! of both, the daemon under test on it, and two other machines of the LAN.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use lab::{Guest, Lab, Lan, Machine, Port, Server, Share};

use crate::line::Line;
use crate::under_test::UnderTest;
use crate::wire::Wire;

/// One of the guests.
#[derive(Debug)]
pub(crate) struct Role {
    pub(crate) name: &'static str,
    /// The index of its server.
    pub(crate) server: usize,
    /// Its addresses come by DHCP and SLAAC. Otherwise they are [`v4`] and [`v6`] of its number.
    pub(crate) dynamic: bool,
    /// The last part of its own static addresses.
    pub(crate) number: u8,
    /// It has opted out, so it must never be routed.
    pub(crate) out: bool,
}

/// All guests.
pub(crate) const ROLES: [Role; 5] = [
    Role { name: "dhcp-a", server: 0, dynamic: true, number: 18, out: false },
    Role { name: "static-a", server: 0, dynamic: false, number: 15, out: false },
    Role { name: "dhcp-b", server: 1, dynamic: true, number: 19, out: false },
    Role { name: "static-b", server: 1, dynamic: false, number: 16, out: false },
    Role { name: "outsider", server: 1, dynamic: false, number: 17, out: true },
];

pub(crate) const SERVERS: [&str; 2] = ["lxd", "incus"];
pub(crate) const GATEWAY: u8 = 1;
pub(crate) const PEER: u8 = 12;
/// Another machine of the LAN, whose addresses guests claim.
pub(crate) const STRANGER: u8 = 13;
/// A link of the host that only a bug would touch.
pub(crate) const WITNESS: &str = "witness0";

/// An address of the LAN.
pub(crate) fn v4(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 90, number)
}

/// An address of the LAN that looks like its IPv4 counterpart, for numbers below 100.
pub(crate) fn v6(number: u8) -> Ipv6Addr {
    let group = (u16::from(number / 10) << 4) | u16::from(number % 10);
    Ipv6Addr::new(0xfd90, 0, 0, 0, 0, 0, 0, group)
}

/// The scene.
#[derive(Debug)]
pub(crate) struct Site {
    _lab: Lab,
    pub(crate) host: Machine,
    pub(crate) peer: Machine,
    /// The other machines of the LAN: its gateway and the stranger.
    pub(crate) others: [Machine; 2],
    /// Where the host's uplink is plugged in.
    pub(crate) port: Port,
    pub(crate) servers: [Server; 2],
    /// The lines between the daemon and each of them.
    pub(crate) lines: [Line; 2],
    pub(crate) under_test: UnderTest,
    pub(crate) wire: Wire,
    known: Mutex<[Known; ROLES.len()]>,
    complaints: Mutex<Vec<String>>,
}

/// The facts about a guest, even if its server is away.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// The process id of its init as the host sees it; none if it does not run.
    pub(crate) pid: Option<u64>,
    /// The MAC from its server.
    pub(crate) mac: Option<String>,
}

impl Site {
    /// Sets the scene: all guests run, and the daemon has been started.
    pub(crate) fn new(binary: &str) -> Result<Site> {
        let lab = Lab::with(Share::Half)?;
        let lan: Lan = lab.lan("192.168.90.0/24", "fd90::/64")?;
        lan.dhcp()?;
        let plug = |name: &str, number| -> Result<(Machine, Port)> {
            let machine = lab.host(name)?;
            let addresses = [format!("{}/24", v4(number)), format!("{}/64", v6(number))];
            let port = machine.plug("eth0", &lan, &[&addresses[0], &addresses[1]])?;
            Ok((machine, port))
        };
        let (host, port) = plug("node", 11)?;
        let (peer, _) = plug("peer", PEER)?;
        let (stranger, _) = plug("stranger", STRANGER)?;
        let wire = Wire::new(&lan, &[(&lan, "br0"), (&host, "eth0"), (&peer, "eth0"), (&stranger, "eth0")])?;
        let others = [(*lan).clone(), stranger];
        let servers = [host.lxd()?, host.incus()?];
        for server in &servers {
            server.macvlan_profile("mv", "eth0")?;
        }
        let lines = [
            Line::new(&host, SERVERS[0], servers[0].kind().socket())?,
            Line::new(&host, SERVERS[1], servers[1].kind().socket())?,
        ];
        let sockets = [("LXD_SOCKET", &lines[0]), ("INCUS_SOCKET", &lines[1])];
        let environment = sockets.map(|(key, line)| format!("{key}={}", line.socket));
        let under_test = UnderTest::new(&host, binary, environment)?;
        let site = Site {
            _lab: lab,
            host,
            peer,
            others,
            port,
            servers,
            lines,
            under_test,
            wire,
            known: Mutex::default(),
            complaints: Mutex::default(),
        };
        for guest in 0..ROLES.len() {
            site.launch(guest)?;
        }
        Ok(site)
    }

    /// A guest, whether it exists or not.
    pub(crate) fn guest(&self, guest: usize) -> Guest {
        self.servers[ROLES[guest].server].guest(ROLES[guest].name)
    }

    /// Makes a guest that does not exist, and starts it.
    pub(crate) fn launch(&self, guest: usize) -> Result<()> {
        let role = &ROLES[guest];
        let mut arguments = vec!["-p", "mv"];
        if !role.dynamic {
            arguments.extend(["-c", "environment.LAB_DHCP=none", "-c", "environment.LAB_RA=none"]);
        }
        if role.out {
            arguments.extend(["-c", "user.macvlan-shim.enabled=false"]);
        }
        self.servers[role.server].launch(role.name, &arguments)?;
        self.started(guest)
    }

    /// Gives a guest its static addresses. Call this after each start of the guest.
    pub(crate) fn started(&self, guest: usize) -> Result<()> {
        let role = &ROLES[guest];
        let (pid, mac) = (self.guest(guest).pid()?, self.guest(guest).mac("eth0")?);
        self.known()[guest] = Known { pid: Some(pid), mac: Some(mac) };
        if !role.dynamic {
            let (v4, v6) = (v4(role.number), v6(role.number));
            self.in_guest(guest, &format!("ip addr add {v4}/24 dev eth0; ip addr add {v6}/64 dev eth0"))?;
        }
        Ok(())
    }

    /// Runs a script of the host's shell in a guest's network namespace. Its server need not run.
    pub(crate) fn in_guest(&self, guest: usize, script: &str) -> Result<String> {
        let pid = self.pid(guest)?.to_string();
        self.host.run(&["nsenter", "-t", &pid, "-n", "--", "sh", "-euc", script])
    }

    /// The process id of a guest's init as the host sees it.
    pub(crate) fn pid(&self, guest: usize) -> Result<u64> {
        self.known()[guest].pid.with_context(|| format!("{} does not run", ROLES[guest].name))
    }

    /// Records a violation that an operation has found.
    pub(crate) fn complain(&self, complaint: impl IntoIterator<Item = String>) {
        lock(&self.complaints).extend(complaint);
    }

    /// The violations since the last call.
    pub(crate) fn complaints(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.complaints))
    }

    /// The known facts about the guests.
    pub(crate) fn known(&self) -> MutexGuard<'_, [Known; ROLES.len()]> {
        lock(&self.known)
    }
}

/// A panic of another thread with the lock leaves nothing half done here.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
