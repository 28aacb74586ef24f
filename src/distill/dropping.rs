//! Teacher dropping (spec/distillation.md §4; UNIC's and DUNE's `lowest_loss`).

use tch::Tensor;

/// `losses` and uniform `draws`, both `[B,T]` -> 1 where a teacher stays for an image, else 0: a
/// teacher whose draw is below `probability` is dropped, except the one with the image's highest
/// loss (on a tie the first).
pub fn keep(losses: &Tensor, draws: &Tensor, probability: f64) -> Tensor {
    let kept = draws.ge(probability).to_kind(losses.kind());
    let highest = losses.detach().argmax(1, true);
    kept.scatter_value(1, &highest, 1.0)
}
