//! Short windows in turns.
//!
//! The speed of a shared machine changes by a factor of two, for tens of seconds at a time. So what
//! is to be compared is measured alternately, and there are two results: the best window of one over
//! the best of the other (both had the machine at its best), and the median of the ratios of
//! neighbouring windows (both had the machine as it was).

use crate::figure::{Figure, Reach};

/// Windows of A and of B, by turns: `a[n]` was measured right before `b[n]`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rounds {
    a: Vec<f64>,
    b: Vec<f64>,
}

/// What is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    /// Rates.
    More,
    /// Times.
    Less,
}

impl Better {
    /// The better of all values.
    pub(crate) fn best(self, values: &[f64]) -> f64 {
        values
            .iter()
            .copied()
            .fold(f64::NAN, |best, value| match self {
                Self::More => best.max(value),
                Self::Less => best.min(value),
            })
    }
}

impl Rounds {
    /// `count` windows of each.
    pub(crate) fn measure(
        count: usize,
        mut a: impl FnMut() -> f64,
        mut b: impl FnMut() -> f64,
    ) -> Self {
        let mut rounds = Self::default();
        for _ in 0..count {
            rounds.push(a(), b());
        }
        rounds
    }

    pub(crate) fn push(&mut self, a: f64, b: f64) {
        self.a.push(a);
        self.b.push(b);
    }

    pub(crate) fn a(&self) -> &[f64] {
        &self.a
    }

    pub(crate) fn b(&self) -> &[f64] {
        &self.b
    }

    /// A over B.
    pub(crate) fn ratio(&self, name: impl Into<String>, better: Better, reach: Reach) -> Figure {
        let paired: Vec<_> = self.a.iter().zip(&self.b).map(|(a, b)| a / b).collect();
        Figure::told(name, better.best(&self.a) / better.best(&self.b))
            .reach(reach)
            .median(median(&paired))
    }

    /// B over A.
    pub(crate) fn inverse(&self) -> Self {
        Self {
            a: self.b.clone(),
            b: self.a.clone(),
        }
    }
}

/// The best of windows, with their median.
pub(crate) fn windows(name: impl Into<String>, better: Better, values: &[f64]) -> Figure {
    Figure::told(name, better.best(values)).median(median(values))
}

/// The middle one; of an even number, the mean of the two.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.get(middle) {
        None => f64::NAN,
        Some(&upper) if sorted.len() % 2 == 1 => upper,
        Some(&upper) => (sorted[middle - 1] + upper) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_over_best_and_the_median_of_pairs() {
        let mut windows = [(10.0, 20.0), (8.0, 8.0), (5.0, 10.0)].into_iter();
        let mut rounds = Rounds::default();
        for (a, b) in windows.by_ref() {
            rounds.push(a, b);
        }
        let figure = rounds.ratio("x", Better::More, Reach::AtLeast(0.6));
        assert_eq!((figure.value, figure.median), (0.5, Some(0.5)));
        let figure = rounds.ratio("x", Better::Less, Reach::AtMost(1.3));
        assert_eq!(figure.value, 5.0 / 8.0);
        assert!(figure.reach.is_some_and(|reach| reach.met(figure.value)));
        assert_eq!(rounds.inverse().a(), rounds.b());
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert!(median(&[]).is_nan());
    }
}
