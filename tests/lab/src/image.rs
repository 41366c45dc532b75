//! The guests' image: busybox, an init, and a DHCP client on every NIC. It is made in memory, once for each
//! process.

use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, ensure};

const INIT: &str = include_str!("guest/init");
const NICS: &str = include_str!("guest/nics");
pub(crate) const LEASE: &str = include_str!("guest/lease");

/// The image as a unified tar archive.
pub(crate) fn archive() -> Result<&'static [u8]> {
    static IMAGE: OnceLock<Result<Vec<u8>, String>> = OnceLock::new();
    let image = IMAGE.get_or_init(|| build().map_err(|e| format!("{e:#}")));
    image.as_deref().map_err(|e| anyhow!("building the guests' image: {e}"))
}

fn build() -> Result<Vec<u8>> {
    let busybox = std::fs::read("/bin/busybox").context("/bin/busybox: is busybox-static installed?")?;
    let applets = Command::new("/bin/busybox").arg("--list").output()?;
    ensure!(applets.status.success(), "busybox --list failed");
    let mut tar = Tar::default();
    let architecture = std::env::consts::ARCH;
    let metadata = format!(
        "architecture: {architecture}\ncreation_date: 1\nproperties:\n  description: busybox of the macvlan-shim lab\n"
    );
    tar.add("metadata.yaml", b'0', 0o644, "", metadata.as_bytes());
    for folder in ["", "bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "usr", "var"] {
        tar.add(&format!("rootfs/{folder}"), b'5', 0o755, "", b"");
    }
    for (link, target) in
        [("sbin", "bin"), ("usr/bin", "../bin"), ("usr/sbin", "../bin"), ("var/run", "../run")]
    {
        tar.add(&format!("rootfs/{link}"), b'2', 0o777, target, b"");
    }
    tar.add("rootfs/bin/busybox", b'0', 0o755, "", &busybox);
    for applet in
        String::from_utf8_lossy(&applets.stdout).lines().filter(|a| !["busybox", "init"].contains(a))
    {
        tar.add(&format!("rootfs/bin/{applet}"), b'2', 0o777, "busybox", b"");
    }
    for (name, script) in [("init", INIT), ("nics", NICS), ("lease", LEASE)] {
        tar.add(&format!("rootfs/bin/{name}"), b'0', 0o755, "", script.as_bytes());
    }
    tar.add("rootfs/etc/passwd", b'0', 0o644, "", b"root:x:0:0:root:/root:/bin/sh\n");
    tar.add("rootfs/etc/group", b'0', 0o644, "", b"root:x:0:\n");
    tar.add("rootfs/etc/hosts", b'0', 0o644, "", b"127.0.0.1 localhost\n::1 localhost\n");
    tar.bytes.extend([0; 1024]);
    Ok(tar.bytes)
}

/// A ustar archive.
#[derive(Default)]
struct Tar {
    bytes: Vec<u8>,
}

impl Tar {
    /// `kind` is `0` for a file, `2` for a symbolic link, `5` for a folder. All names are shorter than 100
    /// bytes.
    fn add(&mut self, name: &str, kind: u8, mode: u32, target: &str, content: &[u8]) {
        let mut header = [0_u8; 512];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, name);
        put(100, &format!("{mode:07o}"));
        put(108, "0000000");
        put(116, "0000000");
        put(124, &format!("{:011o}", content.len()));
        put(136, "00000000000");
        put(148, "        ");
        put(156, char::from(kind).encode_utf8(&mut [0; 4]));
        put(157, target);
        put(257, "ustar\x0000");
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.bytes.extend(header);
        self.bytes.extend(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
    }
}
