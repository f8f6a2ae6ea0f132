//! What programs that show something have in common: their one option, and how they are ended.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Runs `show` as the program `name`, whose arguments are `[--seconds N]`, N at least `least`. `show`
/// gets N and a flag that a signal sets, and says whether all went well.
///
/// Exit code 0: so it was. 1: not so. 2: wrong arguments.
pub fn run(
    name: &str,
    least: u64,
    show: impl FnOnce(Option<u64>, &AtomicBool) -> bool,
) -> ExitCode {
    let seconds = match seconds(std::env::args().skip(1), least) {
        Ok(seconds) => seconds,
        Err(why) => {
            eprintln!("{name}: {why}\nusage: {name} [--seconds N]");
            return ExitCode::from(2);
        }
    };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        if let Err(why) = signal_hook::flag::register(signal, Arc::clone(&stop)) {
            eprintln!("{name}: cannot catch signal {signal}: {why}");
            return ExitCode::FAILURE;
        }
    }
    if show(seconds, &stop) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn seconds(mut args: impl Iterator<Item = String>, least: u64) -> Result<Option<u64>, String> {
    let Some(option) = args.next() else {
        return Ok(None);
    };
    let value = match option.strip_prefix("--seconds") {
        Some("") => args.next().unwrap_or_default(),
        Some(value) => value.trim_start_matches('=').to_owned(),
        None => return Err(format!("unknown argument {option}")),
    };
    match value.parse() {
        Ok(seconds) if seconds >= least => Ok(Some(seconds)),
        _ => Err(format!(
            "{value:?} is not a number of seconds, {least} or more"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read_in_both_forms() {
        let of = |args: &[&str]| seconds(args.iter().map(|&arg| arg.to_owned()), 4);
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["--seconds", "10"]), Ok(Some(10)));
        assert_eq!(of(&["--seconds=4"]), Ok(Some(4)));
        for wrong in [&["--seconds", "3"][..], &["--seconds"], &["--minutes=5"]] {
            assert!(of(wrong).is_err(), "{wrong:?}");
        }
    }
}
