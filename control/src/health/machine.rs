//! When a server is up and when it is down: checks in a row, and the time between them.
//!
//! No clock and no random numbers in here: both are given.

use std::time::Duration;

use super::Verdict;
use crate::config::HealthCheck;

/// What the checks of one kind say of one server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Machine {
    verdict: Verdict,
    /// Checks in a row that speak against the verdict.
    against: u8,
}

impl Machine {
    /// One that begins with what is known from before.
    pub fn new(verdict: Verdict) -> Self {
        Self {
            verdict,
            against: 0,
        }
    }

    /// What holds now.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Takes the result of a check; true if the verdict is another one now. Of a server of which
    /// nothing is known one good check says that it is up, and `fall` bad ones that it is down.
    pub fn take(&mut self, good: bool, check: &HealthCheck) -> bool {
        let (other, needed) = match (self.verdict, good) {
            (Verdict::Up, true) | (Verdict::Down, false) => {
                self.against = 0;
                return false;
            }
            (Verdict::Unknown, true) => (Verdict::Up, 1),
            (Verdict::Down, true) => (Verdict::Up, check.rise),
            (Verdict::Unknown | Verdict::Up, false) => (Verdict::Down, check.fall),
        };
        self.against = self.against.saturating_add(1);
        if self.against < needed {
            return false;
        }
        *self = Self::new(other);
        true
    }

    /// Time from the begin of a check to the begin of the next. `random` is evenly spread over all
    /// its values.
    pub fn interval(&self, check: &HealthCheck, random: u32) -> Duration {
        let mean = match self.verdict {
            Verdict::Down => check.down_interval_ms,
            Verdict::Unknown | Verdict::Up => check.interval_ms,
        };
        let span = u64::from(mean) * u64::from(check.jitter) / 100;
        let offset = ((2 * span + 1) * u64::from(random)) >> 32;
        Duration::from_millis(u64::from(mean) - span + offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Source};

    fn check(keys: &str) -> HealthCheck {
        let text = format!(
            "[system]\nworkers = [0]\n\
             [[port]]\nname = 'p'\ndevice = 'net_null0'\nzone = 'z'\n[[health_check]]\nname = 'a'\ntype = 'icmp'\n{keys}"
        );
        let config = Config::read(Source::toml(text)).unwrap_or_else(|why| panic!("{why}"));
        config.health_checks[0].clone()
    }

    /// Verdicts after each result: `+` good, `-` bad.
    fn run(check: &HealthCheck, from: Verdict, results: &str) -> String {
        let mut machine = Machine::new(from);
        let letters = results.chars().map(|result| {
            let before = machine.verdict();
            let changed = machine.take(result == '+', check);
            assert_eq!(changed, machine.verdict() != before);
            match machine.verdict() {
                Verdict::Unknown => '?',
                Verdict::Up => 'U',
                Verdict::Down => 'D',
            }
        });
        letters.collect()
    }

    #[test]
    fn only_checks_in_a_row_move_it() {
        let check = check("rise = 2\nfall = 3");
        for (from, results, wanted) in [
            (Verdict::Up, "--+--+---", "UUUUUUUUD"),
            (Verdict::Down, "+-++", "DDDU"),
            (Verdict::Down, "+-+-+-", "DDDDDD"),
            (Verdict::Unknown, "+--", "UUU"),
            (Verdict::Unknown, "---++", "??DDU"),
            (Verdict::Unknown, "--+---", "??UUUD"),
        ] {
            assert_eq!(run(&check, from, results), wanted, "{from:?} {results}");
        }
    }

    #[test]
    fn one_check_is_enough_where_one_is_asked_for() {
        let check = check("rise = 1\nfall = 1");
        assert_eq!(run(&check, Verdict::Unknown, "-+-+"), "DUDU");
    }

    #[test]
    fn jitter_is_within_its_percentage_and_even() {
        let check = check("interval = '1s'\ndown_interval = '10s'\ntimeout = '500ms'\njitter = 20");
        let up = Machine::new(Verdict::Up);
        let ms = |machine: &Machine, random| machine.interval(&check, random).as_millis();
        assert_eq!((ms(&up, 0), ms(&up, u32::MAX)), (800, 1200));
        assert_eq!(ms(&up, 1 << 31), 1000);
        let down = Machine::new(Verdict::Down);
        assert_eq!((ms(&down, 0), ms(&down, u32::MAX)), (8000, 12_000));
        let steps = (0..=100u64).map(|n| ms(&up, (n * u64::from(u32::MAX) / 100) as u32));
        let steps: Vec<u128> = steps.collect();
        assert!(
            steps
                .windows(2)
                .all(|two| (3..=5).contains(&(two[1] - two[0]))),
            "{steps:?}"
        );
    }
}
