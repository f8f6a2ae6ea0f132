//! Completion and man pages, read by those that they are for: bash, zsh, fish and man.

use std::path::Path;
use std::process::{Command, Output};

use clap::{CommandFactory, Parser};
use sluice_ctl::Ctl;

/// Runs a program that `scripts/setup` installs.
fn run(program: &str, arguments: &[&str], place: &Path) -> Output {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(place)
        .env("HOME", place)
        .env("LC_ALL", "C.UTF-8")
        .env("MANWIDTH", "100")
        .output();
    output.unwrap_or_else(|why| panic!("{program}: {why}; scripts/setup installs it"))
}

/// What it printed, without a complaint.
#[track_caller]
fn ok(program: &str, arguments: &[&str], place: &Path) -> String {
    let output = run(program, arguments, place);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{program}: {out}{err}");
    assert_eq!(err, "", "{program} {arguments:?}");
    out
}

/// What a command of ours prints.
fn printed(words: &[&str]) -> String {
    let asked = Ctl::try_parse_from(["sluicectl"].iter().chain(words)).expect("a command");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = sluice_ctl::run(&asked, &mut out, &mut err);
    assert_eq!(code, 0, "{}", String::from_utf8_lossy(&err));
    String::from_utf8(out).expect("text")
}

/// Names of all subcommands, as `show sessions`.
fn commands() -> Vec<Vec<String>> {
    fn walk(command: &clap::Command, above: &[String], found: &mut Vec<Vec<String>>) {
        for sub in command.get_subcommands() {
            let mut names = above.to_vec();
            names.push(sub.get_name().to_owned());
            walk(sub, &names, found);
            found.push(names);
        }
    }
    let mut found = Vec::new();
    walk(&Ctl::command(), &[], &mut found);
    found
}

#[test]
fn shells_complete_what_can_be_typed() {
    let place = tempfile::tempdir().expect("a directory");
    let place = place.path();
    for shell in ["bash", "zsh", "fish"] {
        let text = printed(&["completion", shell]);
        std::fs::write(place.join(shell), text).expect("room");
    }
    // bash, as it does when somebody types Tab behind these words.
    let bash = |words: &str, at: usize| {
        let script = format!(
            "source ./bash; COMP_WORDS=({words}); COMP_CWORD={at}; \
             _sluicectl sluicectl \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let said = ok("bash", &["--norc", "-ec", &script], place);
        let mut words: Vec<String> = said.lines().map(str::to_owned).collect();
        words.sort();
        words
    };
    assert_eq!(bash("sluicectl show sta", 2), ["stats", "status"]);
    assert_eq!(bash("sluicectl dra", 1), ["drain"]);
    let fish = |line: &str| {
        let script = format!("source ./fish; complete -C '{line}'");
        let said = ok("fish", &["--no-config", "-c", &script], place);
        let words = said.lines().filter_map(|line| line.split('\t').next());
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(fish("sluicectl show sta"), ["stats", "status"]);
    assert_eq!(fish("sluicectl dra"), ["drain"]);
    // zsh has it read and defined; completing takes a terminal.
    ok("zsh", &["-f", "-n", "./zsh"], place);
    let defined = "autoload -U compinit; compinit -u -D; source ./zsh; print ${_comps[sluicectl]}";
    assert_eq!(ok("zsh", &["-f", "-c", defined], place), "_sluicectl\n");

    // Every command is in every one of them.
    for shell in ["bash", "zsh", "fish"] {
        let text = std::fs::read_to_string(place.join(shell)).expect("text");
        for command in commands() {
            let last = command.last().expect("a name");
            assert!(text.contains(last.as_str()), "{shell}: {command:?}");
        }
    }
}

#[test]
fn every_command_has_a_man_page_that_man_reads_without_complaint() {
    let place = tempfile::tempdir().expect("a directory");
    let pages = place.path().join("man1");
    printed(&["man", pages.to_str().expect("a path")]);
    let commands = commands();
    assert!(commands.len() > 80, "{}", commands.len());
    for command in commands.iter().filter(|names| names[0] != "help") {
        let name = format!("sluicectl-{}", command.join("-"));
        let page = pages.join(format!("{name}.1"));
        assert!(page.is_file(), "{}", page.display());
        let page = page.to_str().expect("a path");
        // What groff warns of is on standard error.
        let shown = run(
            "groff",
            &["-man", "-Tutf8", "-P-cbou", "-ww", page],
            place.path(),
        );
        let said = String::from_utf8_lossy(&shown.stderr);
        assert!(shown.status.success() && said.is_empty(), "{name}: {said}");
        let shown = String::from_utf8_lossy(&shown.stdout);
        assert!(shown.contains("SYNOPSIS"), "{name}: {shown}");
    }
    let page = pages.join("sluicectl-drain.1");
    let shown = ok("man", &["-l", page.to_str().expect("a path")], place.path());
    assert!(shown.contains("--dry-run"), "{shown}");
    assert!(shown.contains("keep its sessions"), "{shown}");
}
