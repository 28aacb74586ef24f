//! Parts of a data set.

/// `limit` of the indices `0..n`, evenly spread; all where there are no more. Data sets are sorted
/// by class, so the first ones would be of few classes.
pub fn evenly_spread(n: usize, limit: Option<usize>) -> Vec<usize> {
    match limit {
        Some(limit) if limit < n => (0..limit).map(|i| i * n / limit).collect(),
        _ => (0..n).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::evenly_spread;

    #[test]
    fn a_limit_is_spread_over_the_split() {
        assert_eq!(evenly_spread(10, Some(4)), [0, 2, 5, 7]);
        assert_eq!(evenly_spread(3, Some(9)), [0, 1, 2]);
        assert_eq!(evenly_spread(3, None), [0, 1, 2]);
    }
}
