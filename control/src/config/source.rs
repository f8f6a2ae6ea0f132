//! Text in and out: TOML for people, JSON for programs.

use std::fmt;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::RawConfig;
use super::names::nearest;
use super::place::{Finding, Path, Step};

/// How a configuration is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// TOML 1.0.
    Toml,
    /// JSON (RFC 8259), the same tables and keys.
    Json,
}

/// A configuration as text, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// For messages: a file's name, or empty.
    pub name: String,
    /// How it is written.
    pub format: Format,
    /// The text.
    pub text: String,
}

/// One thing wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line in the text, from 1, where it is known.
    pub line: Option<usize>,
    /// Where, what was found and what would do.
    pub finding: Finding,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        let path = self.finding.path.to_string();
        if !path.is_empty() {
            write!(f, "{path}: ")?;
        }
        f.write_str(&self.finding.found)?;
        if !self.finding.remedy.is_empty() {
            write!(f, "; {}", self.finding.remedy)?;
        }
        Ok(())
    }
}

/// Everything wrong with a configuration, in the order of its lines. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Of the [`Source`].
    pub name: String,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            if !self.name.is_empty() {
                write!(f, "{}: ", self.name)?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl Source {
    /// A TOML text without a name.
    pub fn toml(text: impl Into<String>) -> Self {
        Self {
            name: String::new(),
            format: Format::Toml,
            text: text.into(),
        }
    }

    /// A JSON text without a name.
    pub fn json(text: impl Into<String>) -> Self {
        Self {
            format: Format::Json,
            ..Self::toml(text)
        }
    }

    /// Reads a TOML file.
    ///
    /// # Errors
    /// [`ConfigError`] names the file and why it cannot be read.
    pub fn file(path: &std::path::Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self {
                name,
                ..Self::toml(text)
            }),
            Err(why) => Err(ConfigError {
                name,
                problems: vec![Problem {
                    line: None,
                    finding: Finding {
                        path: Path::default(),
                        found: format!("cannot be read: {why}"),
                        remedy: "name a file that this user may read".to_owned(),
                    },
                }],
            }),
        }
    }

    /// What is written, its values not looked at.
    ///
    /// # Errors
    /// [`ConfigError`] if it is not in its format, or has keys that are not known.
    pub fn parse(&self) -> Result<RawConfig, ConfigError> {
        let problem = match self.format {
            Format::Toml => self.parse_toml(),
            Format::Json => self.parse_json(),
        };
        problem.map_err(|problem| ConfigError {
            name: self.name.clone(),
            problems: vec![*problem],
        })
    }

    fn parse_toml(&self) -> Result<RawConfig, Box<Problem>> {
        let found = |path: Path, why: toml::de::Error| {
            let line = why.span().map(|span| self.line_of(&span));
            let (path, found, remedy) = explain(path, why.message());
            let finding = Finding {
                path,
                found,
                remedy,
            };
            Box::new(Problem { line, finding })
        };
        // Where something is wrong takes half as long again to follow, and mostly nothing is.
        if let Ok(raw) = toml::from_str(&self.text) {
            return Ok(raw);
        }
        let read =
            toml::Deserializer::parse(&self.text).map_err(|why| found(Path::default(), why))?;
        serde_path_to_error::deserialize(read).map_err(|why| {
            let path = path_of(why.path());
            found(path, why.into_inner())
        })
    }

    fn parse_json(&self) -> Result<RawConfig, Box<Problem>> {
        if let Ok(raw) = serde_json::from_str(&self.text) {
            return Ok(raw);
        }
        let mut read = serde_json::Deserializer::from_str(&self.text);
        let found = |path: Path, why: &serde_json::Error| {
            let (path, found, remedy) = explain_json(path, why);
            let finding = Finding {
                path,
                found,
                remedy,
            };
            let line = Some(why.line()).filter(|&line| line > 0);
            Box::new(Problem { line, finding })
        };
        let raw = serde_path_to_error::deserialize(&mut read)
            .map_err(|why| found(path_of(why.path()), why.inner()))?;
        read.end().map_err(|why| found(Path::default(), &why))?;
        Ok(raw)
    }

    fn line_of(&self, span: &Range<usize>) -> usize {
        let before = self.text.get(..span.start).unwrap_or(&self.text);
        before.matches('\n').count() + 1
    }

    /// Puts findings in the order of their lines.
    pub(crate) fn locate(&self, findings: Vec<Finding>) -> ConfigError {
        let document = match self.format {
            Format::Toml => DeTable::parse(&self.text).ok(),
            Format::Json => None,
        };
        let line = |path: &Path| {
            let table = document.as_ref()?.get_ref();
            Some(self.line_of(&span_of(table, path.steps())?))
        };
        let mut problems: Vec<Problem> = findings
            .into_iter()
            .map(|finding| Problem {
                line: line(&finding.path),
                finding,
            })
            .collect();
        problems.sort_by_key(|problem| problem.line);
        ConfigError {
            name: self.name.clone(),
            problems,
        }
    }
}

/// The bytes of the value at `steps`, or of the innermost table or list around it that is written.
fn span_of(table: &DeTable<'_>, steps: &[Step]) -> Option<Range<usize>> {
    let (Step::Key(key), rest) = steps.split_first()? else {
        return None;
    };
    let (written, value) = table.get_key_value(key.as_str())?;
    within(value, rest).or_else(|| Some(written.span()))
}

fn within(value: &toml::Spanned<DeValue<'_>>, steps: &[Step]) -> Option<Range<usize>> {
    match (value.get_ref(), steps.split_first()) {
        (_, None) => None,
        (DeValue::Table(table), Some(_)) => span_of(table, steps),
        (DeValue::Array(items), Some((Step::Index(index), rest))) => {
            let item = items.get(*index)?;
            within(item, rest).or_else(|| Some(item.span()))
        }
        _ => None,
    }
}

pub(crate) fn path_of(path: &serde_path_to_error::Path) -> Path {
    use serde_path_to_error::Segment;
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(Step::Index(*index)),
            Segment::Map { key } => Some(Step::Key(key.clone())),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}

/// The same of what is wrong with JSON.
pub(crate) fn explain_json(path: Path, why: &serde_json::Error) -> (Path, String, String) {
    let text = why.to_string();
    explain(path, text.split(" at line ").next().unwrap_or(&text))
}

/// Says in our words what serde says in its: where, what was found, and what would do.
fn explain(path: Path, message: &str) -> (Path, String, String) {
    let message = message.lines().next().unwrap_or(message);
    let mut quoted = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field") {
        let key = quoted.next().unwrap_or_default();
        let known: Vec<&str> = quoted.collect();
        let path = match path.steps().last() {
            Some(Step::Key(last)) if last == key => path,
            _ => path.key(key),
        };
        let remedy = match nearest(key, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known keys are {}", known.join(", ")),
        };
        return (path, format!("there is no key `{key}`"), remedy);
    }
    if let Some(key) = message.strip_prefix("missing field ") {
        let path = path.key(key.trim_matches('`'));
        return (path, format!("{key} is missing"), "write it".to_owned());
    }
    if let Some(rest) = message.strip_prefix("unknown variant ")
        && let Some((word, known)) = rest.split_once(", expected ")
    {
        let known = known.trim_start_matches("one of ");
        let known = match known.rsplit_once(", ") {
            Some((some, last)) => format!("{some} or {last}"),
            None => known.to_owned(),
        };
        let found = format!("{word} is not known");
        return (path, found, format!("write {known}"));
    }
    let plain = message
        .replace("invalid value: ", "found ")
        .replace("expected i64", "expected a whole number")
        .replace("expected u64", "expected a whole number from 0")
        .replace(
            "expected u32",
            "expected a whole number from 0 to 4294967295",
        )
        .replace("expected u16", "expected a whole number from 0 to 65535")
        .replace("expected u8", "expected a whole number from 0 to 255")
        .replace("expected a boolean", "expected true or false")
        .replace("expected a string", "expected a text in quotes")
        .replace("expected a sequence", "expected a list")
        .replace("invalid type: ", "found ");
    match plain.split_once(", expected ") {
        Some((found, expected)) if plain.starts_with("found ") => {
            (path, found.to_owned(), format!("write {expected}"))
        }
        _ => (path, plain, String::new()),
    }
}
