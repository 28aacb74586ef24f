//! The attention mask of cyclically shifted windows (Swin Transformer; `use_shift`).

use tch::{Device, Kind, Tensor};

/// What upstream adds to the logits of tokens that are no neighbours.
const APART: f64 = -100.0;

/// [windows, window², window²]: 0 between tokens of one region of the shifted map, -100 else.
pub fn mask(
    (height, width): (i64, i64),
    window: i64,
    shift: i64,
    (kind, device): (Kind, Device),
) -> Tensor {
    let rows = regions(height, window, shift, device);
    let columns = regions(width, window, shift, device);
    let region = rows.unsqueeze(1) * 3 + columns.unsqueeze(0); // [H, W]
    let (down, across) = (height / window, width / window);
    let tokens = region
        .view([down, window, across, window])
        .permute([0, 2, 1, 3])
        .reshape([down * across, window * window]);
    tokens
        .unsqueeze(1)
        .not_equal_tensor(&tokens.unsqueeze(2))
        .to_kind(kind)
        * APART
}

/// 0 up to the last window, 1 in it, 2 in the part that came round: [length]
fn regions(length: i64, window: i64, shift: i64, device: Device) -> Tensor {
    // Made on the device: a table copied from the host would stop it in every pass.
    let place = Tensor::arange(length, (Kind::Int64, device));
    place.ge(length - window).to_kind(Kind::Int64) + place.ge(length - shift).to_kind(Kind::Int64)
}
