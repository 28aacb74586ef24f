//! The continuous relative position bias of windowed attention (spec radio.md §3.6, after
//! Swin Transformer V2).

use crate::Result;
use crate::weights::Params;
use std::cell::RefCell;
use std::collections::HashMap;
use tch::{Kind, Tensor};

/// Offsets between tokens -> a bias per head, through a small network; computed once per window,
/// in training in every pass.
pub struct PositionBias {
    network: BiasNetwork,
    /// By window and kind; `None` in training.
    computed: Option<RefCell<HashMap<(i64, i32), Tensor>>>,
}

/// `cpb_mlp`, in fp32 in any run: a few thousand numbers.
struct BiasNetwork {
    /// [hidden, 2]
    hidden_weight: Tensor,
    /// [hidden]
    hidden_bias: Tensor,
    /// [heads, hidden]
    output_weight: Tensor,
    trained_window: i64,
}

impl PositionBias {
    pub fn new(p: &Params, heads: i64, hidden: i64, trained_window: i64) -> Result<Self> {
        let (first, second) = (p.pp("cpb_mlp.0"), p.pp("cpb_mlp.2"));
        let network = BiasNetwork {
            hidden_weight: first.get_f32("weight", &[hidden, 2])?,
            hidden_bias: first.get_f32("bias", &[hidden])?,
            output_weight: second.get_f32("weight", &[heads, hidden])?,
            trained_window,
        };
        // Upstream's deployed module reads the bias of the trained window from this buffer.
        let same = network.shallow_clone();
        p.recomputed("relative_bias", move || same.bias(trained_window));
        let computed = (!p.trains()).then(RefCell::default);
        Ok(PositionBias { network, computed })
    }

    /// [1, heads, window², window²], to be added to the attention's logits, in the queries' `kind`:
    /// kernels of CUDA refuse a mask of another, or read it as if it were of theirs.
    pub fn get(&self, window: i64, kind: Kind) -> Tensor {
        let bias = || self.network.bias(window).to_kind(kind);
        match &self.computed {
            None => bias(),
            Some(computed) => computed
                .borrow_mut()
                .entry((window, kind as i32))
                .or_insert_with(bias)
                .shallow_clone(),
        }
    }
}

impl BiasNetwork {
    fn shallow_clone(&self) -> Self {
        BiasNetwork {
            hidden_weight: self.hidden_weight.shallow_clone(),
            hidden_bias: self.hidden_bias.shallow_clone(),
            output_weight: self.output_weight.shallow_clone(),
            trained_window: self.trained_window,
        }
    }

    fn bias(&self, window: i64) -> Tensor {
        let options = (Kind::Float, self.hidden_weight.device());
        // Offsets -(w-1)..w-1, in units of the trained window and on a logarithmic scale.
        let offsets = Tensor::arange_start(-(window - 1), window, options)
            / (self.trained_window - 1) as f64
            * 8.0;
        let offsets = offsets.sign() * (offsets.abs() + 1.0).log2() / 8f64.log2();
        let side = 2 * window - 1;
        let rows = offsets.view([side, 1]).expand([side, side], false);
        let columns = offsets.view([1, side]).expand([side, side], false);
        let table = Tensor::stack(&[rows, columns], -1).view([side * side, 2]);
        let hidden = table.linear(&self.hidden_weight, Some(&self.hidden_bias));
        let per_offset = hidden.relu().linear(&self.output_weight, None::<&Tensor>);

        let tokens = window * window;
        let bias = per_offset
            .index_select(0, &self.offset_of_pairs(window))
            .view([tokens, tokens, -1])
            .permute([2, 0, 1])
            .sigmoid()
            * 16.0;
        bias.contiguous().unsqueeze(0)
    }

    /// For each pair of tokens (i, j) of a window the row of the table with their offset: [w⁴]
    fn offset_of_pairs(&self, window: i64) -> Tensor {
        let place = Tensor::arange(window, (Kind::Int64, self.hidden_weight.device()));
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
