//! Where the next click goes: into the middle of the larger of what is missing and what is too much
//! (spec/coco.md §2.1, EfficientViT's `point` mode).

/// A click at the pixel (x, y).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Click {
    pub x: usize,
    pub y: usize,
    /// On the object, which the answer lacks here; else beside it.
    pub inside: bool,
}

/// The next click, `truth` and `answer` being masks of one byte per pixel (0 outside), row by row:
/// the pixel of the largest exact Euclidean distance to what is right, the border of the image
/// counting as right, clicked pixels left out; the first in row order where several are. It is
/// inside only where what is missing reaches deeper than what is too much.
pub fn next_click(truth: &[u8], answer: &[u8], width: usize, clicked: &[Click]) -> Click {
    let deepest = |wrong: &dyn Fn(u8, u8) -> bool| {
        let region: Vec<bool> = truth
            .iter()
            .zip(answer)
            .map(|(&t, &a)| wrong(t, a))
            .collect();
        let mut depths = squared_depths(&region, width);
        for click in clicked {
            if let Some(depth) = depths.get_mut(click.y * width + click.x) {
                *depth = 0;
            }
        }
        let most = depths.iter().copied().max().unwrap_or(0);
        (
            most,
            depths.iter().position(|&depth| depth == most).unwrap_or(0),
        )
    };
    let (missing, at_missing) = deepest(&|truth, answer| truth != 0 && answer == 0);
    let (surplus, at_surplus) = deepest(&|truth, answer| truth == 0 && answer != 0);
    let inside = missing > surplus;
    let at = if inside { at_missing } else { at_surplus };
    Click {
        x: at % width.max(1),
        y: at / width.max(1),
        inside,
    }
}

/// The squared Euclidean distance of every pixel of `region` to the nearest pixel outside it, the
/// image's surroundings being outside; 0 outside. Exact, in two passes (Meijster, Roerdink and
/// Hesselink 2000).
fn squared_depths(region: &[bool], width: usize) -> Vec<i64> {
    let height = region.len().checked_div(width).unwrap_or(0);
    let mut depths = vec![0; region.len()];
    // Up and down the columns: rows to the nearest pixel outside.
    for x in 0..width {
        let mut distance = 0;
        for y in 0..height {
            distance = if region[y * width + x] {
                distance + 1
            } else {
                0
            };
            depths[y * width + x] = distance;
        }
        distance = 0;
        for y in (0..height).rev() {
            let depth = &mut depths[y * width + x];
            distance = if *depth > 0 { distance + 1 } else { 0 };
            *depth = distance.min(*depth);
        }
    }
    // Along the rows: the lower envelope of a parabola per column. Columns 0 and `width + 1` are
    // the surroundings.
    let mut row = vec![0i64; width + 2];
    let mut sites: Vec<(i64, i64)> = Vec::with_capacity(width + 2);
    for line in depths.chunks_exact_mut(width.max(1)) {
        if line.iter().all(|&depth| depth == 0) {
            continue;
        }
        row[1..=width].copy_from_slice(line);
        let at = |x: i64, column: i64| {
            let rows = row[column as usize];
            (x - column).pow(2) + rows * rows
        };
        // From which x on a column's parabola lies below the one before it.
        let meeting = |i: i64, u: i64| {
            let (gi, gu) = (row[i as usize], row[u as usize]);
            (u * u - i * i + gu * gu - gi * gi).div_euclid(2 * (u - i))
        };
        sites.clear();
        sites.push((0, 0));
        for u in 1..(width + 2) as i64 {
            while let Some(&(site, from)) = sites.last()
                && at(from, site) > at(from, u)
            {
                sites.pop();
            }
            match sites.last() {
                None => sites.push((u, 0)),
                Some(&(site, _)) => {
                    let from = meeting(site, u) + 1;
                    if from < (width + 2) as i64 {
                        sites.push((u, from));
                    }
                }
            }
        }
        let mut last = sites.len();
        for x in (1..=width as i64).rev() {
            while sites[last - 1].1 > x {
                last -= 1;
            }
            line[x as usize - 1] = at(x, sites[last - 1].0);
        }
    }
    depths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn depths_are_those_of_a_search_over_all_pixels() {
        let mut rng = Rng::plain(5);
        for (height, width) in [(1, 1), (7, 9), (12, 5), (1, 8)] {
            for share in [2, 5, 40] {
                let region: Vec<bool> = (0..height * width).map(|_| rng.below(share) > 0).collect();
                let depths = squared_depths(&region, width);
                for (i, depth) in depths.into_iter().enumerate() {
                    let (y, x) = ((i / width) as i64, (i % width) as i64);
                    let mut nearest = i64::MAX;
                    for v in -1..=height as i64 {
                        for u in -1..=width as i64 {
                            let beyond = v < 0 || u < 0 || v == height as i64 || u == width as i64;
                            if beyond || !region[v as usize * width + u as usize] {
                                nearest = nearest.min((v - y).pow(2) + (u - x).pow(2));
                            }
                        }
                    }
                    assert_eq!(depth, nearest, "{height}x{width} at {x}, {y}");
                }
            }
        }
    }

    #[test]
    fn an_empty_truth_is_clicked_at_the_first_pixel() {
        let click = next_click(&[0; 6], &[0; 6], 3, &[]);
        let expected = Click {
            x: 0,
            y: 0,
            inside: false,
        };
        assert_eq!(click, expected);
    }
}
