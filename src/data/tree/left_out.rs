//! What a tree holds and does not show, counted by reason: nothing is dropped without a word.

use indexmap::IndexMap;

/// Files that are left out, by the reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Reason (in the plural, `links that lead nowhere`) -> how many, and the first.
    counts: IndexMap<String, (usize, String)>,
}

impl LeftOut {
    pub fn push(&mut self, reason: &str, name: &str) {
        match self.counts.get_mut(reason) {
            Some((count, _)) => *count += 1,
            None => {
                self.counts
                    .insert(reason.to_string(), (1, name.to_string()));
            }
        }
    }

    pub fn extend(&mut self, other: &LeftOut) {
        for (reason, (count, name)) in &other.counts {
            match self.counts.get_mut(reason) {
                Some((sum, _)) => *sum += count,
                None => {
                    self.counts.insert(reason.clone(), (*count, name.clone()));
                }
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// One phrase, or `None` where nothing is left out: `links that lead nowhere: 3 (a.jpg, ...);
    /// files with the ending .heic: 1 (b.heic)`.
    pub fn sentence(&self) -> Option<String> {
        let part = |(reason, (count, first)): (&String, &(usize, String))| {
            let more = if *count > 1 { ", ..." } else { "" };
            format!("{reason}: {count} ({first}{more})")
        };
        let parts: Vec<String> = self.counts.iter().map(part).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_and_the_first_is_named() {
        let mut left_out = LeftOut::default();
        assert_eq!(left_out.sentence(), None);
        left_out.push("links that lead nowhere", "a.jpg");
        left_out.push("files with the ending .heic", "c.heic");
        left_out.push("links that lead nowhere", "b.jpg");
        assert_eq!(
            left_out.sentence().unwrap(),
            "links that lead nowhere: 2 (a.jpg, ...); files with the ending .heic: 1 (c.heic)"
        );
    }
}
