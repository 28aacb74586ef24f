//! Puts rows back into the order of the samples: a batch of images of several sizes comes in
//! parts, one per size.

use crate::store::{MissingRow, Row};
use crate::{Error, Result};
use std::collections::VecDeque;

/// The batches of consecutive samples that the loader works on, in order.
pub struct Windows<'a> {
    /// Begun, not yet handed out.
    queue: VecDeque<Window>,
    ahead: std::slice::Chunks<'a, usize>,
}

struct Window {
    /// Sample and its row, once there.
    slots: Vec<(usize, Slot)>,
    open: usize,
}

enum Slot {
    Open,
    Row(Row),
    Skipped(MissingRow),
}

impl<'a> Windows<'a> {
    /// Windows of `batch_size` over `indices`, as the loader's.
    pub fn new(indices: &'a [usize], batch_size: usize) -> Self {
        Windows {
            queue: VecDeque::new(),
            ahead: indices.chunks(batch_size.max(1)),
        }
    }

    /// Takes in the row of a sample.
    pub fn add(&mut self, index: usize, row: Row) -> Result<()> {
        self.set(index, Slot::Row(row))
    }

    /// Marks a sample as unreadable.
    pub fn skip(&mut self, skipped: MissingRow) -> Result<()> {
        self.set(skipped.index, Slot::Skipped(skipped))
    }

    /// Samples come window by window: the place is in one of the first, or in the next.
    fn set(&mut self, index: usize, value: Slot) -> Result<()> {
        loop {
            for window in &mut self.queue {
                let place = window
                    .slots
                    .iter_mut()
                    .find(|(i, slot)| *i == index && matches!(slot, Slot::Open));
                if let Some((_, slot)) = place {
                    *slot = value;
                    window.open -= 1;
                    return Ok(());
                }
            }
            let Some(next) = self.ahead.next() else {
                return Err(Error::model(format!(
                    "the loader gave sample {index}, which was not asked for"
                )));
            };
            self.queue.push_back(Window {
                slots: next.iter().map(|&i| (i, Slot::Open)).collect(),
                open: next.len(),
            });
        }
    }

    /// The first window, when nothing is missing in it: its rows and its skipped samples.
    pub fn next_complete(&mut self) -> Option<(Vec<Row>, Vec<MissingRow>)> {
        if self.queue.front()?.open > 0 {
            return None;
        }
        let window = self.queue.pop_front()?;
        let (mut rows, mut skipped) = (Vec::new(), Vec::new());
        for (_, slot) in window.slots {
            match slot {
                Slot::Row(row) => rows.push(row),
                Slot::Skipped(sample) => skipped.push(sample),
                Slot::Open => {}
            }
        }
        Some((rows, skipped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_out_in_the_order_of_the_samples() {
        let row = |value: u8| Row {
            cells: vec![vec![value]],
        };
        let mut windows = Windows::new(&[5, 6, 7, 8], 3);
        windows.add(7, row(7)).unwrap();
        windows.add(5, row(5)).unwrap();
        assert!(windows.next_complete().is_none());
        let bad = MissingRow {
            index: 6,
            key: "six".into(),
            reason: "damaged".into(),
            stamp: None,
            content: None,
        };
        windows.skip(bad.clone()).unwrap();
        windows.add(8, row(8)).unwrap();
        assert_eq!(
            windows.next_complete(),
            Some((vec![row(5), row(7)], vec![bad]))
        );
        assert_eq!(windows.next_complete(), Some((vec![row(8)], Vec::new())));
        assert!(windows.next_complete().is_none());
        assert!(windows.add(9, row(9)).is_err());
    }
}
