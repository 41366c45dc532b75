//! Reads everything that is to be known of the host, all at the same time as far as possible.
//!
//! | file | source |
//! | --- | --- |
//! | `kernel` | the kernel's state, and a decision from scratch |
//! | `daemon` | the control socket |
//! | `rules` | `nft`, `iptables-save` and `ip6tables-save` |
//! | `machine` | DMI, cloud-init, the distribution |
//! | `managers` | systemd, networkd, NetworkManager |
//! | `files` | configuration of other programs, files that set up links at boot, sysctls, sockets, processes |

mod daemon;
mod files;
mod kernel;
mod machine;
mod managers;
pub(super) mod rules;

use std::path::Path;
use std::time::SystemTime;

use crate::cli::Files;
use crate::commands::programs;
use crate::commands::scratch::read_servers;
use crate::config::Config;
use crate::doctor::finding::Gap;
use crate::doctor::firewall::Firewall;
use crate::doctor::survey::Survey;
use crate::model::Timestamp;

/// The survey of the host whose files are below `root`.
pub(super) async fn survey(files: &Files, root: &Path) -> Survey {
    let (config, config_fault) = match Config::load(files.config.as_deref()) {
        Ok(loaded) => (loaded.config, None),
        Err(fault) => (Config::default(), Some(fault.to_string())),
    };
    let running = tokio::task::spawn_blocking(|| programs::run_all(&all_programs()));
    let (daemon, inventory, outputs) =
        tokio::join!(daemon::ask_status(&files.socket), read_servers(&config), running);
    let outputs = outputs.unwrap_or_default();
    let mut outputs = outputs.into_iter();
    let mut next = || outputs.next().unwrap_or_else(|| Err("it was not run".to_owned()));
    let rules = [(); rules::PROGRAMS.len()].map(|()| next());
    let managers = [(); managers::PROGRAMS.len()].map(|()| next());
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let (system, release) = machine::system(root);
    let time = Timestamp::from(SystemTime::now());
    let kernel = kernel::view(&config, &inventory, &name, time);
    let sockets = files::sockets(&inventory);
    let ages = files::ages(root, &inventory);
    Survey {
        time,
        name,
        system,
        release,
        config,
        config_fault,
        daemon,
        kernel,
        inventory,
        firewall: rules::firewall(rules),
        machine: machine::machine(root),
        unit: managers::unit(root, &managers),
        networkd: managers::networkd(root, &managers),
        network_manager: managers::network_manager(root, &managers),
        programs: files::programs(root),
        boot_files: files::boot_files(root),
        sysctls: files::sysctls(root),
        sockets,
        ages,
    }
}

/// The firewall alone.
pub(in crate::commands) fn firewall() -> Result<Firewall, Gap> {
    let programs = rules::PROGRAMS.map(|(name, arguments)| programs::Program::new(name, arguments));
    let mut outputs = programs::run_all(&programs).into_iter();
    rules::firewall(
        [(); rules::PROGRAMS.len()]
            .map(|()| outputs.next().unwrap_or_else(|| Err("it was not run".to_owned()))),
    )
}

fn all_programs() -> Vec<programs::Program> {
    let all = rules::PROGRAMS.iter().chain(managers::PROGRAMS.iter());
    all.map(|(name, arguments)| programs::Program::new(name, arguments)).collect()
}

#[cfg(test)]
mod tests;
