//! Lists in pages, of what there is at the moment that a page is asked for.
//!
//! A cursor names the last item of its page, so that items which come and go between two pages neither
//! repeat others nor hide them.

use serde::Deserialize;
use utoipa::IntoParams;

use super::{Problem, events};

/// Which page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct Paging {
    /// Items on the page, 1 to 1000; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    pub(super) limit: Option<usize>,
    /// `next` of the page before.
    pub(super) cursor: Option<String>,
}

impl Paging {
    /// The page of `items` that was asked for, and the cursor of the next one.
    ///
    /// `key` tells an item from all others. `behind` is the place behind the item of a key, whether that is
    /// still there or not; `None` if there cannot be one. Only what is `wanted` gets onto a page.
    pub(super) fn page<T>(
        &self,
        mut items: Vec<T>,
        key: impl Fn(&T) -> String,
        behind: impl Fn(&[T], &str) -> Option<usize>,
        wanted: impl Fn(&T) -> bool,
    ) -> Result<(Vec<T>, Option<String>), Problem> {
        let limit = events::limit(self.limit)?;
        let from = match &self.cursor {
            None => 0,
            Some(text) => behind(&items, text).ok_or_else(|| {
                let found = format!("cursor={text} is not one that was given out, or out of date");
                let remedy = "write `next` of the page before, or begin at the first page";
                Problem::bad_parameter("cursor", found, remedy)
            })?,
        };
        items.drain(..from.min(items.len()));
        items.retain(wanted);
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(key);
        Ok((items, next))
    }
}

/// The place behind the item of this name, in a list whose order is that of the configuration.
pub(super) fn behind_name<T>(items: &[T], name: impl Fn(&T) -> &str, key: &str) -> Option<usize> {
    let found = items.iter().position(|item| name(item) == key);
    found.map(|at| at + 1)
}

/// The place behind the item of this name, in a list that is sorted by such names (of users, of tokens).
pub(super) fn behind_sorted<T>(items: &[T], name: impl Fn(&T) -> &str, key: &str) -> Option<usize> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let good = !key.is_empty() && key.chars().all(plain);
    good.then(|| items.partition_point(|item| name(item) <= key))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages of numbers in order, by their values.
    fn numbers(items: &[u32], limit: usize, cursor: Option<&str>) -> (Vec<u32>, Option<String>) {
        let paging = Paging {
            limit: Some(limit),
            cursor: cursor.map(str::to_owned),
        };
        let behind = |items: &[u32], key: &str| {
            let key: u32 = key.parse().ok()?;
            Some(items.partition_point(|&item| item <= key))
        };
        let page = paging.page(items.to_vec(), u32::to_string, behind, |it| it % 2 == 0);
        page.unwrap_or_else(|_| panic!("a good cursor"))
    }

    #[test]
    fn what_comes_and_goes_between_pages_hides_and_repeats_nothing() {
        let (first, next) = numbers(&[1, 2, 4, 5, 6, 8], 2, None);
        assert_eq!((first, next.as_deref()), (vec![2, 4], Some("4")));
        // The last of the page is gone, and something before it has come.
        let (second, next) = numbers(&[0, 1, 2, 5, 6, 8], 2, next.as_deref());
        assert_eq!((second, next), (vec![6, 8], None));
        assert_eq!(numbers(&[2, 4], 2, None), (vec![2, 4], None));
        assert_eq!(numbers(&[], 2, Some("9")), (vec![], None));
    }

    #[test]
    fn a_cursor_that_nobody_gave_is_refused() {
        let paging = Paging {
            limit: None,
            cursor: Some("web".to_owned()),
        };
        let behind = |items: &[String], key: &str| behind_name(items, |it| it, key);
        let page = paging.page(vec!["mail".to_owned()], String::clone, behind, |_| true);
        assert!(page.is_err());
    }
}
