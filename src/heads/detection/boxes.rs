//! Boxes as tensors `[N,4]`: x0, y0, x1, y1 in pixels of the network's input (spec/coco.md §4.4).

use tch::{Kind, Tensor};

/// Largest logarithm of a change of size: ln(1000 / 16), as in torchvision.
const MAX_LOG: f64 = 4.135_166_556_742_356;

pub fn areas(boxes: &Tensor) -> Tensor {
    let side = |i: i64| boxes.select(1, i + 2) - boxes.select(1, i);
    side(0) * side(1)
}

/// IoU of every box of `a` `[N,4]` with every box of `b` `[M,4]`: `[N,M]`.
pub fn iou(a: &Tensor, b: &Tensor) -> Tensor {
    let (wide, high) = (a.unsqueeze(1), b.unsqueeze(0));
    let top = wide.narrow(2, 0, 2).max_other(&high.narrow(2, 0, 2));
    let bottom = wide.narrow(2, 2, 2).min_other(&high.narrow(2, 2, 2));
    let sides = (bottom - top).clamp_min(0.0);
    let both = sides.select(2, 0) * sides.select(2, 1);
    &both / (areas(a).unsqueeze(1) + areas(b) - &both)
}

/// The part of each box inside an image of (height, width).
pub fn clip(boxes: &Tensor, (height, width): (i64, i64)) -> Tensor {
    let x = |i: i64| boxes.select(-1, i).clamp(0.0, width as f64);
    let y = |i: i64| boxes.select(-1, i).clamp(0.0, height as f64);
    Tensor::stack(&[x(0), y(1), x(2), y(3)], -1)
}

/// Which boxes have both sides at least `least` long: bool `[N]`.
pub fn is_large(boxes: &Tensor, least: f64) -> Tensor {
    let side = |i: i64| (boxes.select(1, i + 2) - boxes.select(1, i)).ge(least);
    side(0).logical_and(&side(1))
}

/// Boxes as shifts and changes of size of other boxes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoxCoder {
    /// Of dx, dy, dw, dh.
    pub weights: [f64; 4],
}

impl BoxCoder {
    /// Of the proposal network.
    pub const PROPOSALS: BoxCoder = BoxCoder { weights: [1.0; 4] };
    /// Of the box head.
    pub const HEAD: BoxCoder = BoxCoder {
        weights: [10.0, 10.0, 5.0, 5.0],
    };

    /// Codes `[N,4]` that turn `boxes` into `targets`, both `[N,4]`.
    pub fn encode(&self, boxes: &Tensor, targets: &Tensor) -> Tensor {
        let [from, to] = [boxes, targets].map(Centred::new);
        let [wx, wy, ww, wh] = self.weights;
        Tensor::stack(
            &[
                (to.x - from.x) / &from.width * wx,
                (to.y - from.y) / &from.height * wy,
                (to.width / from.width).log() * ww,
                (to.height / from.height).log() * wh,
            ],
            1,
        )
    }

    /// `codes` `[N,4k]` on `boxes` `[N,4]` -> `[N,k,4]`.
    pub fn decode(&self, codes: &Tensor, boxes: &Tensor) -> Tensor {
        let codes = codes.to_kind(Kind::Float).reshape([codes.size()[0], -1, 4]);
        let from = Centred::new(boxes);
        let code = |i: usize| codes.select(2, i as i64) / self.weights[i];
        let column = |t: &Tensor| t.unsqueeze(1);
        let x = code(0) * column(&from.width) + column(&from.x);
        let y = code(1) * column(&from.height) + column(&from.y);
        let half = |code: Tensor, side: &Tensor| code.clamp_max(MAX_LOG).exp() * column(side) * 0.5;
        let (w, h) = (half(code(2), &from.width), half(code(3), &from.height));
        Tensor::stack(&[&x - &w, &y - &h, &x + &w, &y + &h], 2)
    }
}

/// Centres and sides, `[N]` each.
struct Centred {
    x: Tensor,
    y: Tensor,
    width: Tensor,
    height: Tensor,
}

impl Centred {
    fn new(boxes: &Tensor) -> Self {
        let side = |i: i64| boxes.select(1, i + 2) - boxes.select(1, i);
        let (width, height) = (side(0), side(1));
        Centred {
            x: boxes.select(1, 0) + &width * 0.5,
            y: boxes.select(1, 1) + &height * 0.5,
            width,
            height,
        }
    }
}
