//! How much is logged: decided at the start, and by whoever asks for something else while the process runs.

use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::{Registry, reload};
use utoipa::ToSchema;

/// What every line passes first, for a subscriber: `registry().with(filter)`.
pub type Filter = reload::Layer<Targets, Registry>;

/// Longest text of directives, in bytes.
const LONGEST: usize = 1000;
/// How long a level may be asked for, in seconds.
const SECONDS: (u32, u32) = (1, 86_400);
const REMEDY: &str =
    "write error, warn, info, debug, trace or off, or MODULE=LEVEL, with commas between";

/// What is logged: a level for everything, and others by module, as `info,sluice_control::health=debug`.
#[derive(Debug, Clone, PartialEq)]
pub struct Directives {
    text: String,
    targets: Targets,
}

/// A text that says nothing, or something else than was meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found}; {}", REMEDY)]
pub struct DirectiveError {
    /// What was found.
    pub found: String,
}

impl DirectiveError {
    /// What would do.
    pub fn remedy(&self) -> &'static str {
        REMEDY
    }
}

impl fmt::Display for Directives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Default for Directives {
    fn default() -> Self {
        Self {
            text: "info".to_owned(),
            targets: Targets::new().with_default(LevelFilter::INFO),
        }
    }
}

impl FromStr for Directives {
    type Err = DirectiveError;

    /// Strict where `tracing` is not: what is no level would be taken for a module, and a slip would turn
    /// everything else off.
    fn from_str(text: &str) -> Result<Self, DirectiveError> {
        let wrong = |found: String| Err(DirectiveError { found });
        if text.len() > LONGEST {
            return wrong(format!("it is longer than {LONGEST} bytes"));
        }
        let (mut targets, mut default) = (Targets::new(), None);
        for part in text.split(',').map(str::trim) {
            let (module, level) = match part.split_once('=') {
                Some((module, level)) => (Some(module), level),
                None => (None, part),
            };
            let word = level.bytes().all(|byte| byte.is_ascii_alphabetic());
            let known = Some(level).filter(|level| word && !level.is_empty());
            let Some(level) = known.and_then(|level| level.parse::<LevelFilter>().ok()) else {
                return wrong(match part {
                    "" => "a level is missing".to_owned(),
                    _ => format!("{level:?} is no level"),
                });
            };
            let Some(module) = module else {
                default = Some(level);
                continue;
            };
            let plain = |c: char| c.is_ascii_alphanumeric() || "_:-".contains(c);
            if module.is_empty() || !module.chars().all(plain) {
                return wrong(format!("{module:?} is no module"));
            }
            targets = targets.with_target(module, level);
        }
        if let Some(level) = default {
            targets = targets.with_default(level);
        }
        Ok(Self {
            text: text.to_owned(),
            targets,
        })
    }
}

/// What is logged, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LogLevel {
    /// `error`, `warn`, `info`, `debug`, `trace` or `off`; or `MODULE=LEVEL`; commas between.
    pub directives: String,
    /// What `sluice run --log` says.
    pub at_start: String,
    /// Seconds until that is in use again, if somebody asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u64>,
}

/// What somebody wants to be logged.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLogLevel {
    /// `error`, `warn`, `info`, `debug`, `trace` or `off`; or `MODULE=LEVEL`; commas between.
    #[schema(min_length = 1, max_length = 1000)]
    pub directives: String,
    /// After so many seconds it is again what it was at the start; without, it stays.
    #[schema(minimum = 1, maximum = 86400)]
    pub seconds: Option<u32>,
}

/// What is wrong with a [`NewLogLevel`]: its key, what was found, and what would do.
pub(crate) type Fault = (&'static str, String, String);

impl NewLogLevel {
    /// # Errors
    /// The first value that cannot be used.
    pub(crate) fn check(&self) -> Result<(Directives, Option<Duration>), Fault> {
        let directives = self.directives.parse::<Directives>();
        let directives = directives.map_err(|why| {
            let remedy = why.remedy().to_owned();
            ("directives", why.found, remedy)
        })?;
        let (from, to) = SECONDS;
        match self.seconds {
            Some(seconds) if !(from..=to).contains(&seconds) => Err((
                "seconds",
                format!("{seconds} is out of range"),
                format!("write a number from {from} to {to}"),
            )),
            seconds => Ok((directives, seconds.map(|it| Duration::from_secs(it.into())))),
        }
    }
}

/// The level cannot be changed: nothing filters by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fixed;

/// Names a change of the level, so that its end ends no later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn(u64);

/// The way to the filter in use.
#[derive(Debug, Default)]
pub(super) struct Switch {
    state: Mutex<Option<State>>,
}

#[derive(Debug)]
struct State {
    handle: reload::Handle<Targets, Registry>,
    at_start: Directives,
    now: Directives,
    until: Option<Instant>,
    turn: u64,
}

impl State {
    fn view(&self) -> LogLevel {
        let left = |until: Instant| until.saturating_duration_since(Instant::now());
        LogLevel {
            directives: self.now.to_string(),
            at_start: self.at_start.to_string(),
            seconds_left: self.until.map(|until| left(until).as_secs()),
        }
    }

    fn set(&mut self, directives: Directives, until: Option<Instant>) -> Result<(), Fixed> {
        let targets = directives.targets.clone();
        self.handle.reload(targets).map_err(|_| Fixed)?;
        self.now = directives;
        self.until = until;
        self.turn += 1;
        Ok(())
    }
}

impl Switch {
    /// A filter, which is this one's from now on.
    pub(super) fn filter(&self, at_start: &Directives) -> Filter {
        let (filter, handle) = reload::Layer::new(at_start.targets.clone());
        *super::lock(&self.state) = Some(State {
            handle,
            at_start: at_start.clone(),
            now: at_start.clone(),
            until: None,
            turn: 0,
        });
        filter
    }

    pub(super) fn view(&self) -> Option<LogLevel> {
        super::lock(&self.state).as_ref().map(State::view)
    }

    pub(super) fn set(
        &self,
        directives: Directives,
        time: Option<Duration>,
    ) -> Result<(LogLevel, Turn), Fixed> {
        let mut state = super::lock(&self.state);
        let state = state.as_mut().ok_or(Fixed)?;
        state.set(directives, time.map(|time| Instant::now() + time))?;
        Ok((state.view(), Turn(state.turn)))
    }

    /// As at the start, unless something was set since `turn`; whether that was so.
    pub(super) fn end(&self, turn: Turn) -> bool {
        let mut state = super::lock(&self.state);
        let Some(state) = state.as_mut().filter(|state| state.turn == turn.0) else {
            return false;
        };
        let at_start = state.at_start.clone();
        state.set(at_start, None).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_turns_nothing_off() {
        for text in [
            "info",
            "OFF",
            "warn,sluice_control=trace",
            "sluice_control::health=debug",
            " info , h2=off ",
        ] {
            let good = text.parse::<Directives>();
            assert_eq!(good.map(|it| it.to_string()).as_deref(), Ok(text));
        }
        for (text, found) in [
            ("", "a level is missing"),
            ("info,", "a level is missing"),
            ("inof", "\"inof\" is no level"),
            ("sluice_control", "\"sluice_control\" is no level"),
            ("5", "\"5\" is no level"),
            ("sluice=", "\"\" is no level"),
            ("=debug", "\"\" is no module"),
            ("a b=debug", "\"a b\" is no module"),
            ("[span]=debug", "\"[span]\" is no module"),
        ] {
            let wrong = text.parse::<Directives>().expect_err(text);
            assert_eq!(wrong.found, found);
        }
        assert!("info,".repeat(300).parse::<Directives>().is_err());
    }
}
