//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use sluice_control::logs::Directives;

const ABOUT: &str =
    "A Layer-4 session appliance: NAT, load balancing and firewalling on DPDK ports.";

const AFTER: &str = "\
Examples:
  sluice check /etc/sluice/sluice.toml     says what is wrong with a configuration, and where
  sluice run /etc/sluice/sluice.toml       runs in the foreground, until SIGTERM or SIGINT
  kill -HUP $(pidof sluice)                rereads the configuration; sessions live on
  sluice ctl show status                   asks the one that runs, as sluicectl does

Exit codes of `run` and `check`: 0 stopped as asked, 1 failed while running, 2 usage, 3 bad configuration,
4 cores or memory, 5 a device, 6 rights.

docs/quickstart.md balances two servers in ten minutes; docs/configuration.md has every key.";

/// Arguments of `sluice`.
#[derive(Debug, Parser)]
#[command(name = "sluice", about = ABOUT, after_help = AFTER, version = version(), max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the appliance and stay in the foreground
    Run(Box<RunArgs>),
    /// Check a configuration without starting anything
    Check(CheckArgs),
    /// Ask and tell a running one over its API: `sluicectl`, by another name
    #[command(disable_help_flag = true)]
    Ctl(CtlArgs),
    /// What `run` starts for health checks of type `script`; of no use by itself
    #[command(hide = true)]
    RunScripts(ScriptArgs),
}

/// Arguments of `sluice run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The configuration (TOML)
    ///
    /// With --state-dir it is read at the very first start, and by SIGHUP.
    pub(crate) config: PathBuf,
    /// Keep configurations that come over the API there, and start with the last one
    #[arg(long, env = "SLUICE_STATE_DIR", value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Start with CONFIG even if the state directory has a later configuration
    #[arg(long, requires = "state_dir")]
    pub(crate) take_file: bool,
    /// Lines on standard error: for people, or JSON for machines
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// What to log: error, warn, info, debug, trace or off, or MODULE=LEVEL, with commas between
    #[arg(long, env = "SLUICE_LOG", default_value_t = Directives::default())]
    pub(crate) log: Directives,
}

/// Arguments of `sluice check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The configuration (TOML)
    pub(crate) config: PathBuf,
}

/// Arguments of `sluice ctl`.
#[derive(Debug, Args)]
pub(crate) struct CtlArgs {
    /// As `sluicectl` has them; --help lists them
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGUMENTS"
    )]
    pub(crate) arguments: Vec<OsString>,
}

/// Arguments of `sluice run-scripts`.
#[derive(Debug, Args)]
pub(crate) struct ScriptArgs {
    /// Where they are
    pub(crate) directory: PathBuf,
    /// Who runs them
    pub(crate) user: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Version, commit, and the DPDK that this process is linked with.
pub(crate) fn version() -> &'static str {
    let text = format!(
        "{} (commit {}, {})",
        env!("CARGO_PKG_VERSION"),
        env!("SLUICE_COMMIT"),
        sluice_dpdk::version()
    );
    Box::leak(text.into_boxed_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_follows_ctl_is_sluicectls() {
        for words in [
            vec!["--json", "show", "status"],
            vec!["--help"],
            vec!["--version"],
            vec!["help"],
            vec!["show", "--", "-x"],
            vec![],
        ] {
            let whole = ["sluice", "ctl"].iter().chain(&words);
            let asked = Cli::try_parse_from(whole).unwrap_or_else(|why| panic!("{words:?}: {why}"));
            let Command::Ctl(CtlArgs { arguments }) = asked.command else {
                panic!("{words:?}: {:?}", asked.command)
            };
            assert_eq!(arguments, words);
        }
    }
}
