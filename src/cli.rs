//! The command line: clap types only.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::model::{Timestamp, names};

/// Lets macvlan guests of LXD and Incus and their own host reach each other.
#[derive(Debug, Parser)]
#[command(name = names::PROGRAM, version, arg_required_else_help = true, after_help = EXIT_STATUS)]
pub struct Cli {
    /// The files that every command shares.
    #[command(flatten)]
    pub files: Files,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The files that every command shares.
#[derive(Debug, Args)]
pub struct Files {
    /// Configuration file, which must exist; conf.d/*.toml beside it are read too [default:
    /// /etc/macvlan-shim/config.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Control socket of the daemon
    #[arg(long, global = true, value_name = "PATH", default_value = names::CONTROL_SOCKET)]
    pub socket: PathBuf,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon in the foreground
    ///
    /// It works in the network namespace that it is started in. It makes a shim on every parent where a guest
    /// of this host needs one, and a route to every admitted address of the guests. SIGHUP reloads the
    /// configuration, and a bad file keeps the old one. SIGTERM ends the daemon and leaves everything in
    /// place.
    Run {
        /// The form of the log on stderr. Text goes to the journal with fields if stderr leads there
        #[arg(long, value_enum, value_name = "FORM", default_value_t)]
        log_format: LogFormat,
    },
    /// Show whether all guests are reached, and what needs somebody
    ///
    /// Asks the running daemon. Exits with 1 if there is a problem, and with 3 if there is no daemon.
    Status(StatusArgs),
    /// Show why a guest, an address or a MAC is reached, or why not
    ///
    /// Asks the running daemon, and looks for itself if none runs. Then it asks the kernel for its way, and the
    /// guest for an answer. Exits with 1 if something is not reached that should be.
    Explain(ExplainArgs),
    /// Show what has changed, the last thing last
    ///
    /// Asks the running daemon, which keeps the last 1024 changes of states since it started.
    Events(EventsArgs),
    /// Print the daemon's numbers in the text format of Prometheus
    ///
    /// The same as `GET /metrics` at the control socket, for a collector that reads files. Exits with 3 if there
    /// is no daemon.
    Metrics,
    /// Show what `run` would change now, and change nothing
    Plan {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Look for everything on this host that keeps guests and host apart
    ///
    /// Needs no daemon. Reads the host once and changes nothing. Each finding has its evidence and its cure.
    /// Exits with 1 if there is a fault, or if a check needs root.
    Doctor(DoctorArgs),
    /// Remove all shims, routes and rules that are ours
    ///
    /// Needs no configuration, and no daemon may run in this network namespace.
    Cleanup {
        /// Only show what would be removed
        #[arg(long)]
        dry_run: bool,
    },
    /// Check or show the configuration
    #[command(subcommand, arg_required_else_help = true)]
    Config(ConfigCommand),
}

/// The form of `status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// Only these guests, with all that is known of them: web, shop/web, lxd:web
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Print JSON, as the daemon sends it
    #[arg(long)]
    pub json: bool,
    /// Show it again whenever it changes, until Ctrl-C; with --json, a line each time
    #[arg(long)]
    pub watch: bool,
    /// Show every guest and every reason, however long
    #[arg(long)]
    pub all: bool,
    /// Show only what needs somebody
    #[arg(long, conflicts_with = "names")]
    pub problems: bool,
    /// The order of guests
    #[arg(long, value_enum, value_name = "KEY", default_value_t)]
    pub sort: Sort,
    /// Wait until the daemon is ready, at most this long: 30s
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub wait: Option<Duration>,
    /// Print one line and exit with 0, 1, 2 or 3, as Nagios plugins do
    #[arg(long, conflicts_with_all = ["names", "json", "watch", "all", "problems", "sort"])]
    pub check: bool,
    /// Print only the names of all guests, a line each
    #[arg(long, conflicts_with_all = ["names", "json", "watch", "all", "problems", "sort", "check"])]
    pub list: bool,
}

/// The form of `explain`.
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// A guest, an address or a MAC: web, shop/web, lxd:web, 192.168.1.9, 00:16:3e:00:00:01
    #[arg(value_name = "SUBJECT", value_parser = NonEmptyStringValueParser::new())]
    pub subject: String,
    /// Show every step of every address, and the answers of all rules of admission
    #[arg(long)]
    pub all: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A sentence a line
    #[default]
    Text,
    /// An object a line
    Json,
}

/// The form of `events`.
#[derive(Clone, Debug, Args)]
pub struct EventsArgs {
    /// Only changes of these guests: web, shop/web, lxd:web
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Only changes since then: 1h, or 2026-11-30T14:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<Since>,
    /// Go on with the changes to come, until Ctrl-C
    #[arg(long)]
    pub follow: bool,
    /// Print a line of JSON for each
    #[arg(long)]
    pub json: bool,
}

/// A time, or how long ago it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Since {
    /// So long ago.
    Ago(Duration),
    /// At that time.
    At(Timestamp),
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Since, String> {
        let at = || text.parse().map(Since::At).ok();
        let ago = humantime::parse_duration(text).map(Since::Ago).ok();
        ago.or_else(at).ok_or_else(|| "expected 1h, 30min or 2026-11-30T14:00:00Z".to_owned())
    }
}

/// The form of `doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// Show the checks that found nothing, too
    #[arg(long)]
    pub all: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "all")]
    pub json: bool,
    /// Write everything that a bug report needs into this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["all", "json"])]
    pub report: Option<PathBuf>,
    /// Mask MACs and addresses in the report, each always by the same word
    #[arg(long, requires = "report")]
    pub redact: bool,
}

/// The order of guests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// By server, project and name
    #[default]
    Name,
    /// Those that need somebody come first
    State,
    /// By their first address
    Address,
    /// Those that have changed last come first
    Since,
}

/// The commands about the configuration.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Report all faults of the configuration files
    Check,
    /// Print the effective configuration, every default spelt out
    Show {
        /// Print JSON, with the same keys
        #[arg(long)]
        json: bool,
    },
}

const EXIT_STATUS: &str = "\
Exit status:
  0  good
  1  the operation failed, status or plan shows a problem, explain something that is
     not reached, doctor finds a fault, or another daemon runs
  2  wrong usage or configuration
  3  status, events or metrics found no daemon";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_time_may_be_told_by_the_clock_or_by_its_age() {
        assert_eq!("90min".parse(), Ok(Since::Ago(Duration::from_secs(5400))));
        let time = "2026-11-30T14:00:00Z";
        assert_eq!(time.parse(), Ok(Since::At(time.parse().unwrap())));
        assert!("yesterday".parse::<Since>().is_err());
    }

    #[test]
    fn shared_options_stand_before_or_behind_the_command() {
        for arguments in [["--config", "c", "plan"], ["plan", "--config", "c"]] {
            let cli = Cli::try_parse_from([&["macvlan-shim"], &arguments[..]].concat()).unwrap();
            assert_eq!(cli.files.config, Some(PathBuf::from("c")));
            assert_eq!(cli.files.socket, PathBuf::from(names::CONTROL_SOCKET));
        }
    }
}
