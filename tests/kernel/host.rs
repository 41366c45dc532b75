//! A host and its guests: network namespaces that end with the test.

use std::cell::Cell;
use std::io::{BufRead, BufReader};
use std::process::{Child as Process, Command, Stdio};

use lab::{Place, Share};
use macvlan_shim::kernel::Kernel;
use macvlan_shim::model::LinkIndex;

thread_local! {
    /// The test's share of the machine, until its thread ends.
    static PLACE: Cell<Option<Place>> = const { Cell::new(None) };
}

/// The network namespace of the test's own thread, with one uplink `eth0` (its LAN: `lan`).
pub(crate) struct Host;

impl Host {
    pub(crate) fn new() -> Host {
        Host::with(Share::One)
    }

    /// A host for a test that must not run beside as many others as usual.
    pub(crate) fn with(share: Share) -> Host {
        PLACE.set(None);
        PLACE.set(Some(Place::take(share).unwrap()));
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("root is needed");
        let host = Host;
        host.ip("link set lo up");
        host.ip("link add eth0 address 02:00:00:00:00:01 type veth peer name lan");
        // Link-local addresses of IPv6 appear by themselves, and late.
        host.ip("link set lan addrgenmode none");
        host.ip("link set eth0 addrgenmode none");
        host.ip("link set lan up");
        host.ip("link set eth0 up");
        host.ip("addr add 192.0.2.1/24 dev eth0");
        host.ip("addr add 2001:db8::1/64 dev eth0 nodad");
        host
    }

    pub(crate) fn ip(&self, arguments: &str) {
        run(Command::new("ip").args(arguments.split(' ')));
    }

    pub(crate) fn ip_batch(&self, lines: &str) -> Process {
        batch(Command::new("ip"), lines)
    }

    pub(crate) fn guest(&self) -> Guest {
        Guest::new()
    }

    pub(crate) fn guest_with_child(&self, name: &str, mac: &str) -> Guest {
        let guest = Guest::new();
        self.ip("link add mac0 link eth0 type macvlan mode bridge");
        let mac = if mac.is_empty() { String::new() } else { format!(" address {mac}") };
        self.ip(&format!("link set mac0{mac} netns {} name {name}", guest.pid()));
        guest
    }

    pub(crate) fn parent(&self, kernel: &Kernel) -> LinkIndex {
        kernel.snapshot().link_named("eth0").unwrap().index
    }
}

/// A guest's network namespace, alive as long as this value.
pub(crate) struct Guest {
    process: Process,
}

impl Guest {
    fn new() -> Guest {
        let mut process = Command::new("unshare")
            .args(["--net", "sh", "-c", "ip link set lo up; echo; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "\n", "root is needed");
        Guest { process }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Does something with a thread in its network namespace.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = std::fs::File::open(format!("/proc/{}/ns/net", self.pid())).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            thread.join().unwrap()
        })
    }

    pub(crate) fn can(&self, arguments: &str) -> bool {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.pid())).args(arguments.split(' '));
        command.output().unwrap().status.success()
    }

    /// Starts a program in its network namespace.
    pub(crate) fn spawn(&self, arguments: &str) -> Process {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.pid())).args(arguments.split(' '));
        command.spawn().unwrap()
    }

    /// Runs a program of the host.
    pub(crate) fn run(&self, command: &[&str]) {
        run(Command::new("nsenter").arg(format!("--net=/proc/{}/ns/net", self.pid())).args(command));
    }

    fn inside(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.pid())).arg("ip");
        command
    }

    pub(crate) fn ip(&self, arguments: &str) {
        run(self.inside().args(arguments.split(' ')));
    }

    pub(crate) fn ip_batch(&self, lines: &str) -> Process {
        batch(self.inside(), lines)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn batch(mut ip: Command, lines: &str) -> Process {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, lines.as_bytes()).unwrap();
    let input = file.reopen().unwrap();
    ip.args(["-batch", "-"]).stdin(input).spawn().unwrap()
}
