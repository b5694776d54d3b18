//! A median and its quartiles.

/// Holds a median between its quartiles.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub q1: f64,
    pub median: f64,
    pub q3: f64,
}

// === impl Spread ===

impl Spread {
    /// Computes the quartiles of `values`.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |quarter: usize| values[(values.len() - 1) * quarter / 4];
        Self { q1: at(1), median: at(2), q3: at(3) }
    }

    /// Wraps a counted value, which has no spread.
    pub fn exact(value: f64) -> Self {
        Self { q1: value, median: value, q3: value }
    }
}
