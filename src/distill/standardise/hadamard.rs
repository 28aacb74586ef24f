//! Orthonormal matrices whose entries are alike in size (spec/distillation.md §3).

use tch::{Device, Kind, Tensor};

const CPU: (Kind, Device) = (Kind::Double, Device::Cpu);

/// `[n,n]` fp64: a Hadamard matrix over the root of n where one can be made, else the Hartley matrix,
/// which exists for every size. `true` where it is Hadamard's.
pub fn orthonormal(n: i64) -> (Tensor, bool) {
    match plus_minus_one(n) {
        Some(matrix) => (matrix / (n as f64).sqrt(), true),
        None => (hartley(n), false),
    }
}

/// A Hadamard matrix of 1 and -1: Sylvester's for powers of two, else Sylvester's (as large as
/// works) times Paley's first or second construction; `None` where none of these gives one.
pub fn plus_minus_one(n: i64) -> Option<Tensor> {
    if n < 1 {
        return None;
    }
    if n.count_ones() == 1 {
        return Some(sylvester(n));
    }
    if n % 4 != 0 {
        return None;
    }
    (0..n.trailing_zeros()).rev().find_map(|twos| {
        let paley = paley(n >> twos)?;
        Some(sylvester(1 << twos).kron(&paley))
    })
}

fn sylvester(n: i64) -> Tensor {
    let two = Tensor::from_slice(&[1.0f64, 1.0, 1.0, -1.0]).view([2, 2]);
    let mut matrix = Tensor::ones([1, 1], CPU);
    while matrix.size()[0] < n {
        matrix = two.kron(&matrix);
    }
    matrix
}

fn paley(m: i64) -> Option<Tensor> {
    if is_prime(m - 1) && (m - 1) % 4 == 3 {
        // I + [[0, 1], [-1, Q]]
        let matrix = bordered(m - 1, -1.0) + Tensor::eye(m, CPU);
        return Some(matrix);
    }
    let q = m / 2 - 1;
    if m % 2 == 0 && is_prime(q) && q % 4 == 1 {
        let block = |values: [f64; 4]| Tensor::from_slice(&values).view([2, 2]);
        let core = bordered(q, 1.0).kron(&block([1.0, 1.0, 1.0, -1.0]));
        let diagonal = Tensor::eye(q + 1, CPU).kron(&block([1.0, -1.0, -1.0, -1.0]));
        return Some(core + diagonal);
    }
    None
}

/// [[0, 1], [side, Q]] with Q_ij the quadratic character of i - j modulo q.
fn bordered(q: i64, side: f64) -> Tensor {
    let mut is_square = vec![false; q as usize];
    for i in 1..q {
        is_square[(i * i % q) as usize] = true;
    }
    let character = |difference: i64| match difference.rem_euclid(q) {
        0 => 0.0,
        d if is_square[d as usize] => 1.0,
        _ => -1.0,
    };
    let entry = |i: i64, j: i64| match (i, j) {
        (0, 0) => 0.0,
        (0, _) => 1.0,
        (_, 0) => side,
        _ => character(i - j),
    };
    let values: Vec<f64> = (0..=q)
        .flat_map(|i| (0..=q).map(move |j| (i, j)))
        .map(|(i, j)| entry(i, j))
        .collect();
    Tensor::from_slice(&values).view([q + 1, q + 1])
}

fn is_prime(n: i64) -> bool {
    n > 1 && (2..).take_while(|i| i * i <= n).all(|i| n % i != 0)
}

/// (cos + sin)(2 pi j k / n) over the root of n.
fn hartley(n: i64) -> Tensor {
    let k = Tensor::arange(n, (Kind::Int64, Device::Cpu));
    let turns = (k.unsqueeze(1) * k.unsqueeze(0)).remainder(n);
    let angle = turns.to_kind(Kind::Double) * (2.0 * std::f64::consts::PI / n as f64);
    (angle.cos() + angle.sin()) / (n as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_orthonormal_and_sizes_known() {
        for n in [
            1, 2, 12, 20, 24, 28, 36, 40, 48, 52, 192, 768, 1152, 1280, 7,
        ] {
            let (matrix, hadamard) = orthonormal(n);
            let off = (matrix.matmul(&matrix.tr()) - Tensor::eye(n, CPU))
                .abs()
                .max();
            assert!(off.double_value(&[]) < 1e-12, "{n}");
            assert_eq!(hadamard, ![52, 7].contains(&n), "{n}");
        }
    }
}
