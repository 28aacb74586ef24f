//! The kNN classifier's vote (RADIO `examples/knn_classification.py`, DINOv2 `eval/knn.py`).

/// The classes that got votes, best first, at most `top` of them.
///
/// `neighbours` are (cosine similarity, class), best first; each votes for its class with weight
/// `exp(similarity / temperature)`. Equal sums go to the lower class index, as `argmax` does.
///
/// Sums are in double precision, in the order of the neighbours, and relative to the best
/// neighbour's weight, so that no temperature overflows.
pub fn vote(
    neighbours: impl IntoIterator<Item = (f32, u32)>,
    temperature: f64,
    top: usize,
) -> Vec<u32> {
    // A handful of distinct classes among k neighbours: a list is quicker than a table of all.
    let mut sums: Vec<(u32, f64)> = Vec::new();
    let mut best = None;
    for (similarity, class) in neighbours {
        let similarity = f64::from(similarity);
        let weight = ((similarity - *best.get_or_insert(similarity)) / temperature).exp();
        match sums.iter_mut().find(|(c, _)| *c == class) {
            Some((_, sum)) => *sum += weight,
            None => sums.push((class, weight)),
        }
    }
    sums.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    sums.into_iter().take(top).map(|(class, _)| class).collect()
}

#[cfg(test)]
mod tests {
    use super::vote;

    #[test]
    fn the_heavier_class_wins_not_the_more_frequent() {
        let neighbours = [(0.9, 7), (0.5, 3), (0.5, 3)];
        assert_eq!(vote(neighbours, 0.07, 5), [7, 3]);
        assert_eq!(vote(neighbours, 10.0, 5), [3, 7]);
    }

    #[test]
    fn equal_sums_go_to_the_lower_class() {
        assert_eq!(vote([(0.4, 9), (0.4, 2), (0.4, 5)], 0.07, 2), [2, 5]);
    }

    #[test]
    fn a_small_temperature_does_not_overflow_to_a_wrong_class() {
        assert_eq!(vote([(0.9, 1), (0.8, 0)], 1e-5, 1), [1]);
    }
}
