//! Where in a configuration something is, and what was found wrong there.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use super::names::Names;

/// One step from a table or list to what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// The value of a key.
    Key(String),
    /// A place in a list, from 0.
    Index(usize),
}

/// The way from the top of the configuration to a value: `port[1].addresses[0]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Path(Vec<Step>);

impl Path {
    /// The value of `key` in the table that is here.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }

    /// The value at `index` of the list that is here.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// From the top on.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// As a JSON pointer (RFC 6901).
    pub fn pointer(&self) -> String {
        let mut pointer = String::new();
        for step in &self.0 {
            pointer.push('/');
            match step {
                Step::Key(key) => pointer += &key.replace('~', "~0").replace('/', "~1"),
                Step::Index(index) => pointer += &index.to_string(),
            }
        }
        pointer
    }
}

impl FromIterator<Step> for Path {
    fn from_iter<T: IntoIterator<Item = Step>>(steps: T) -> Self {
        Self(steps.into_iter().collect())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if n == 0 => write!(f, "{key}")?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Something wrong: where, what was found, what would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub path: Path,
    /// What was found.
    pub found: String,
    /// What would do.
    pub remedy: String,
}

/// What a check of the whole configuration shares.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) names: Names,
    findings: RefCell<Vec<Finding>>,
}

impl Book {
    pub(super) fn new(names: Names) -> Self {
        Self {
            names,
            findings: RefCell::default(),
        }
    }

    pub(super) fn top(&self) -> Place<'_> {
        Place {
            end: None,
            book: self,
        }
    }

    pub(super) fn into_findings(self) -> Vec<Finding> {
        self.findings.into_inner()
    }
}

/// A place that is being checked. The way to it is told from its end, and shared with the places around it:
/// there are tens of thousands in a large configuration, and hardly one has anything wrong.
#[derive(Debug, Clone)]
pub(super) struct Place<'a> {
    end: Option<Rc<Way>>,
    book: &'a Book,
}

/// The last step of a way, and those before it.
#[derive(Debug)]
struct Way {
    step: Step,
    before: Option<Rc<Way>>,
}

impl<'a> Place<'a> {
    pub(super) fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }

    pub(super) fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    fn with(&self, step: Step) -> Self {
        let before = self.end.clone();
        Self {
            end: Some(Rc::new(Way { step, before })),
            book: self.book,
        }
    }

    fn path(&self) -> Path {
        let ways = std::iter::successors(self.end.as_deref(), |way| way.before.as_deref());
        let mut steps: Vec<Step> = ways.map(|way| way.step.clone()).collect();
        steps.reverse();
        Path(steps)
    }

    pub(super) fn names(&self) -> &'a Names {
        &self.book.names
    }

    /// Writes down that something is wrong here. Always `None`, so that a check can end with it.
    pub(super) fn wrong<T>(
        &self,
        found: impl fmt::Display,
        remedy: impl fmt::Display,
    ) -> Option<T> {
        self.book.findings.borrow_mut().push(Finding {
            path: self.path(),
            found: found.to_string(),
            remedy: remedy.to_string(),
        });
        None
    }

    /// The value of a key that must be there.
    pub(super) fn required<'v, T>(
        &self,
        key: &str,
        value: &'v Option<T>,
        example: &str,
    ) -> Option<&'v T> {
        if value.is_none() {
            self.wrong::<()>(
                format_args!("`{key}` is missing"),
                format_args!("write {key} = {example}"),
            );
        }
        value.as_ref()
    }

    /// Checks every item of a list. `None` if one fails, after all were checked.
    pub(super) fn each<R, T>(
        &self,
        items: &[R],
        check: impl Fn(&R, &Place<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let checked: Vec<Option<T>> = items
            .iter()
            .enumerate()
            .map(|(index, item)| check(item, &self.index(index)))
            .collect();
        checked.into_iter().collect()
    }
}

/// Checks a value that may be absent: `Some(None)` if it is, `None` if it is wrong.
pub(super) fn optional<R, T>(
    value: Option<R>,
    check: impl FnOnce(R) -> Option<T>,
) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(value) => check(value).map(Some),
    }
}
