//! `make bench`: the speed and the cost of macvlan-shim, beside the alternatives, in one run. It prints a
//! table and writes the same as JSON. For each figure with an aim it says whether the aim is met.
//!
//! Everything happens in namespaces of the `lab`, which end with this program, however it ends. The host has
//! a real parent (veth on a bridge), a real shim, and up to thousands of guests: network namespaces, each
//! with a real macvlan child and an id in the host's namespace, as LXD leaves them. Only their server is a
//! stand-in, which lists them in the words of a real LXD 5.0.2. `recipes` has a real LXD and a real guest.
//!
//! | section | measurement |
//! | --- | --- |
//! | `latency` | A thread adds an address in a guest's namespace by netlink, the time being taken before; another thread that listens in the host's namespace takes the time when RTM_NEWROUTE arrives. The *floor* is the minimum work of any program (`floor.rs`), measured in the same way. The two take turns in blocks, and the daemon is halted during the floor's turn. The spread is that of the blocks' medians. |
//! | `restore` | From the order RTM_DELLINK for the shim to the last RTM_NEWROUTE seen. Beside it, with the daemon halted: the same deletion, and at once `ip -batch` with an equal link and the same routes, also with the neighbour entries. All contain the deletion itself, which is given too. The daemon also sets sysctls, and does nothing in another order to improve the figure. |
//! | `start` | From the spawning of the process (which goes through `nsenter` and `setpriv`: 3 ms) to READY=1, to the last RTM_NEWROUTE seen, and to the first status that is ready with every guest reached. Cold: nothing of ours in the kernel. Adopting: everything in place; then all events of the kernel about the shim, everything on it and our routes are counted. There should be none. |
//! | `footprint` | VmRSS and RssAnon; the processor time of the process, to the nanosecond, and of the programs that it ran (cutime and cstime); the context switches of all threads; while nothing happens, and while a guest gets an address and another loses one a hundred times a second. |
//! | `heal` | From a fault, made by netlink, to the event that shows the cure. If the cure cannot begin at once (the parent, the host's address), from the moment when it can. For the parent, to the first frame from the host that reaches a guest. |
//! | `recipes` | On a real guest, to the RTM_NEWROUTE seen on the host. See `recipes`. |
//!
//! All times are of one machine with everything else on it. Compare only figures of the same run.

mod floor;
mod footprint;
mod guests;
mod heal;
mod latency;
mod netlink;
mod options;
mod process;
mod recipes;
mod report;
mod restore;
mod start;
mod statistics;
mod watch;
mod world;

use anyhow::{Context, Result};
use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use options::{Options, Section};
use report::Report;
use world::World;

fn main() -> Result<()> {
    let options = Options::parse();
    let binary = options.binary()?;
    let binary = binary.to_str().context("the path of the binary is no text")?;
    let version = std::process::Command::new(binary).arg("--version").output()?.stdout;
    let mut report = Report::new(String::from_utf8_lossy(&version).trim().to_owned());
    crowded(&options, binary, &mut report)?;
    if options.wants(Section::Recipes) {
        eprintln!("a real LXD\n  {}", Section::Recipes.title());
        recipes::measure(&options, binary, &mut report).context(Section::Recipes.title())?;
    }
    let json = options.json()?;
    report.write(&json)?;
    print!("{report}");
    eprintln!("the same as JSON: {}", json.display());
    Ok(())
}

/// The sections that need guests by number, in one world that grows.
fn crowded(options: &Options, binary: &str, report: &mut Report) -> Result<()> {
    let sizes = options.sizes();
    if sizes.is_empty() {
        return Ok(());
    }
    // Each guest is a socket.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let mut world = World::new(binary)?;
    for (size, sections) in sizes {
        let start = std::time::Instant::now();
        world.grow(size)?;
        eprintln!("{size} guests ({:.1} s)", start.elapsed().as_secs_f64());
        for section in sections {
            eprintln!("  {}", section.title());
            let measure = match section {
                Section::Latency => latency::measure,
                Section::Restore => restore::measure,
                Section::Start => start::measure,
                Section::Footprint => footprint::measure,
                Section::Heal => heal::measure,
                Section::Recipes => continue,
            };
            measure(&mut world, options, report)
                .with_context(|| format!("{} with {size} guests", section.title()))?;
        }
    }
    world.stop()
}
