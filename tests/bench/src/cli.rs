//! The command line, and the run of all groups.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use clap::{Args, Parser, Subcommand};

use crate::figure::Figure;
use crate::groups::instructions::{self, Counted};
use crate::groups::{Effort, Failed, GROUPS, Group};
use crate::report;

/// Measures Sluice, in process and on memif against DPDK's testpmd.
#[derive(Debug, Parser)]
#[command(
    name = "sluice-bench",
    max_term_width = 100,
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Sub>,
    #[command(flatten)]
    all: All,
}

/// What the program does for itself.
#[derive(Debug, Subcommand)]
enum Sub {
    /// List the groups of figures
    List,
    /// What callgrind counts the instructions of
    #[command(hide = true)]
    Count { what: Counted },
    /// Measure one group in this process and write its figures as JSON
    #[command(hide = true)]
    Group {
        name: String,
        #[arg(long)]
        rounds: usize,
        #[arg(long)]
        json: PathBuf,
    },
}

/// Arguments of a run.
#[derive(Debug, Args)]
struct All {
    /// Only these groups, separated by commas; `list` shows them
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Where the report goes
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    /// Windows of each of the two that are compared
    #[arg(long, default_value_t = 7)]
    rounds: usize,
}

/// Does what the command line says.
pub(crate) fn run(cli: &Cli) -> Result<(), Failed> {
    match &cli.command {
        Some(Sub::List) => {
            for group in GROUPS {
                println!("{:14}{}", group.name, group.about);
            }
            Ok(())
        }
        Some(Sub::Count { what }) => instructions::count(*what),
        Some(Sub::Group { name, rounds, json }) => {
            let group = find(name)?;
            let figures = (group.run)(&Effort { rounds: *rounds })?;
            Ok(std::fs::write(json, serde_json::to_vec(&figures)?)?)
        }
        None => all(&cli.all),
    }
}

fn find(name: &str) -> Result<&'static Group, Failed> {
    let group = GROUPS.iter().find(|group| group.name == name);
    group.ok_or_else(|| {
        let names: Vec<_> = GROUPS.iter().map(|group| group.name).collect();
        Failed(format!(
            "there is no group {name:?}; there are {}",
            names.join(", ")
        ))
    })
}

fn all(arguments: &All) -> Result<(), Failed> {
    if arguments.rounds == 0 {
        return Err(Failed("at least one round is needed".into()));
    }
    let groups: Vec<&Group> = if arguments.only.is_empty() {
        GROUPS.iter().collect()
    } else {
        let named = arguments.only.iter().map(|name| find(name));
        named.collect::<Result<_, _>>()?
    };
    let (mut figures, mut failed) = (vec![], vec![]);
    for group in groups {
        eprintln!("{}: {}", group.name, group.about);
        let start = Instant::now();
        match in_a_process(group, arguments.rounds) {
            Ok(measured) => {
                eprint!("{}", report::lines(&measured));
                figures.extend(measured);
            }
            Err(why) => {
                eprintln!("  no figures: {why}");
                failed.push(group.name);
            }
        }
        eprintln!("  {:.0} s", start.elapsed().as_secs_f64());
        // What there is so far, should the run be interrupted.
        report::write(&arguments.out, &figures)?;
    }
    eprintln!("report: {}", arguments.out.join("report.txt").display());
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Failed(format!("no figures of {}", failed.join(", "))))
    }
}

/// Measures a group in a child, whose memory is given back with its end.
fn in_a_process(group: &Group, rounds: usize) -> Result<Vec<Figure>, Failed> {
    let json = tempfile::NamedTempFile::new()?;
    let status = Command::new(std::env::current_exe()?)
        .args([
            "group",
            group.name,
            "--rounds",
            &rounds.to_string(),
            "--json",
        ])
        .arg(json.path())
        .status()?;
    if !status.success() {
        return Err(Failed(format!("its process ended with {status}")));
    }
    Ok(serde_json::from_slice(&std::fs::read(json.path())?)?)
}
