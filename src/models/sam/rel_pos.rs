//! SAM's decomposed relative positions, as an additive mask for fused attention.

use tch::{Kind, Tensor};

/// Rows of a table of relative positions laid out for `q` x `k` places: [q, k, d], entry (i, j)
/// being the row of i - j (segment-anything `get_rel_pos`).
///
/// table: [L, d]; where L is not 2·max(q, k) - 1 the rows are interpolated linearly. With q != k
/// the coarser axis counts in steps of the finer one.
pub fn relative_positions(table: &Tensor, q: i64, k: i64) -> Tensor {
    let rows = 2 * q.max(k) - 1;
    let table = if table.size()[0] == rows {
        table.shallow_clone()
    } else {
        let kind = table.kind();
        table
            .to_kind(Kind::Float)
            .transpose(0, 1)
            .unsqueeze(0)
            .upsample_linear1d([rows], false, None)
            .squeeze_dim(0)
            .transpose(0, 1)
            .to_kind(kind)
    };
    let (step_q, step_k) = (
        (k as f64 / q as f64).max(1.0),
        (q as f64 / k as f64).max(1.0),
    );
    let row =
        |i: i64, j: i64| (i as f64 * step_q - j as f64 * step_k + (k - 1) as f64 * step_k) as i64;
    let index: Vec<i64> = (0..q)
        .flat_map(|i| (0..k).map(move |j| row(i, j)))
        .collect();
    let index = Tensor::from_slice(&index).to_device(table.device());
    table.index_select(0, &index).reshape([q, k, -1])
}

/// What is added to the scores of a square window: q(y,x)·Rh[y,y'] + q(y,x)·Rw[x,x'].
///
/// q: [B, n*n, d], not scaled; `h`, `w`: [n, n, d] -> [B, n*n, n*n]
pub fn bias(q: &Tensor, h: &Tensor, w: &Tensor) -> Tensor {
    let n = h.size()[0];
    let q = q.reshape([-1, n, n, h.size()[2]]);
    let rows = Tensor::einsum("byxc,ykc->byxk", &[&q, h], None::<i64>);
    let columns = Tensor::einsum("byxc,xkc->byxk", &[&q, w], None::<i64>);
    (rows.unsqueeze(-1) + columns.unsqueeze(-2)).reshape([-1, n * n, n * n])
}
