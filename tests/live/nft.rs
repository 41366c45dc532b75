//! An `nft` that fails, hangs or kills, for a daemon that knows no other.

use anyhow::Result;
use lab::{Daemon, Machine};

use crate::node::{BINARY, Node};

/// The `nft` of a machine, which does something else for a test before it does its work.
pub(crate) struct Nft {
    host: Machine,
}

impl Nft {
    pub(crate) const FOLDER: &str = "/run/lab/nft";

    pub(crate) fn install(host: &Machine) -> Result<Nft> {
        let folder = Nft::FOLDER;
        host.run(&["mkdir", "-p", folder])?;
        let script = format!("#!/bin/bash\n. {folder}/mood\nexec /usr/sbin/nft \"$@\"\n");
        host.run_with_stdin(&["sh", "-c", &format!("cat > {folder}/nft; chmod 755 {folder}/nft")], &script)?;
        let nft = Nft { host: host.clone() };
        nft.mood("")?;
        Ok(nft)
    }

    /// Sets the bash that it runs first from now on.
    pub(crate) fn mood(&self, script: &str) -> Result<()> {
        let command = format!("cat > {0}/new; mv {0}/new {0}/mood", Nft::FOLDER);
        self.host.run_with_stdin(&["sh", "-c", &command], &format!("{script}\n"))?;
        Ok(())
    }

    pub(crate) fn remove(&self) -> Result<()> {
        self.host.run(&["rm", &format!("{}/nft", Nft::FOLDER)])?;
        Ok(())
    }

    /// Starts the daemon where there is no other `nft`.
    pub(crate) fn start(&self) -> Result<Node> {
        Node::start_by(&self.host, &Nft::daemon().each_ref().map(String::as_str))
    }

    /// [`Nft::start`] of a daemon that need not become ready.
    pub(crate) fn spawn(&self) -> Result<Daemon> {
        self.host.spawn(&Nft::daemon().each_ref().map(String::as_str))
    }

    fn daemon() -> [String; 4] {
        ["env".to_owned(), format!("PATH={}", Nft::FOLDER), BINARY.to_owned(), "run".to_owned()]
    }
}
