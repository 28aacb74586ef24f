//! The continuous relative position bias of windowed attention (spec radio.md §3.6, after
//! Swin Transformer V2).

use crate::Result;
use crate::models::layers::Linear;
use crate::weights::Params;
use std::cell::RefCell;
use std::collections::HashMap;
use tch::{Device, Kind, Tensor};

/// Offsets between tokens -> a bias per head, through a small network; computed once per window.
pub struct PositionBias {
    hidden: Linear,
    output: Linear,
    heads: i64,
    trained_window: i64,
    device: Device,
    kind: Kind,
    computed: RefCell<HashMap<i64, Tensor>>,
}

impl PositionBias {
    pub fn new(p: &Params, heads: i64, hidden: i64, trained_window: i64) -> Result<Self> {
        let p = p.pp("cpb_mlp");
        Ok(PositionBias {
            // fp32 in any run: 16·sigmoid of a few thousand numbers, once.
            hidden: Linear::from_tensors(
                p.pp(0).get_f32("weight", &[hidden, 2])?,
                Some(p.pp(0).get_f32("bias", &[hidden])?),
            )?,
            output: Linear::from_tensors(p.pp(2).get_f32("weight", &[heads, hidden])?, None)?,
            heads,
            trained_window,
            device: p.device(),
            kind: p.kind(),
            computed: RefCell::default(),
        })
    }

    /// [1, heads, window², window²] in the run's precision, as attention kernels want the mask of
    /// their queries' type; to be added to the logits.
    pub fn get(&self, window: i64) -> Tensor {
        self.computed
            .borrow_mut()
            .entry(window)
            .or_insert_with(|| self.compute(window))
            .shallow_clone()
    }

    fn compute(&self, window: i64) -> Tensor {
        let options = (Kind::Float, self.device);
        // Offsets -(w-1)..w-1, in units of the trained window and on a logarithmic scale.
        let offsets = Tensor::arange_start(-(window - 1), window, options)
            / (self.trained_window - 1) as f64
            * 8.0;
        let offsets = offsets.sign() * (offsets.abs() + 1.0).log2() / 8f64.log2();
        let side = 2 * window - 1;
        let rows = offsets.view([side, 1]).expand([side, side], false);
        let columns = offsets.view([1, side]).expand([side, side], false);
        let table = Tensor::stack(&[rows, columns], -1).view([side * side, 2]);
        let per_offset = self.output.forward(&self.hidden.forward(&table).relu());

        let tokens = window * window;
        let bias = per_offset
            .index_select(0, &self.offset_of_pairs(window))
            .view([tokens, tokens, self.heads])
            .permute([2, 0, 1])
            .sigmoid()
            * 16.0;
        bias.to_kind(self.kind).contiguous().unsqueeze(0)
    }

    /// For each pair of tokens (i, j) of a window the row of the table with their offset: [w⁴]
    fn offset_of_pairs(&self, window: i64) -> Tensor {
        let place = Tensor::arange(window, (Kind::Int64, self.device));
        let row = place
            .view([window, 1])
            .expand([window, window], false)
            .flatten(0, 1);
        let column = place
            .view([1, window])
            .expand([window, window], false)
            .flatten(0, 1);
        let apart = |x: &Tensor| x.unsqueeze(1) - x.unsqueeze(0) + (window - 1);
        (apart(&row) * (2 * window - 1) + apart(&column)).flatten(0, 1)
    }
}
