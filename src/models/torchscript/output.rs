//! From whatever a TorchScript program returns to summary and tokens.

use super::settings::OutputAxes;
use tch::{IValue, Kind, Tensor};

/// Names under which a dictionary may hold each part.
const SUMMARY_KEYS: &[&str] = &["summary", "x_norm_clstoken", "pooler_output"];
const SPATIAL_KEYS: &[&str] = &[
    "spatial",
    "features",
    "x_norm_patchtokens",
    "last_hidden_state",
];

/// A program's output in the words of the tool.
pub struct Output {
    /// [B, D]
    pub summary: Tensor,
    /// [B, N, C]
    pub spatial: Tensor,
    /// (rows, columns)
    pub grid: (i64, i64),
}

/// Reads `value`, the output for pictures of `size` (height, width):
///
/// - `(summary, spatial)`, or a dictionary with both: [B, D] and any of the spatial forms;
/// - [B, C, h, w] (or [B, h, w, C]): the tokens; the summary is their mean;
/// - [B, N, C] with N = h·w: the same; with N = h·w + 1 the first token is the summary;
/// - [B, D]: the summary, and one token that is the summary again.
pub fn read(value: IValue, size: (i64, i64), layout: OutputAxes) -> Result<Output, String> {
    match value {
        IValue::Tensor(tensor) => from_tensor(tensor, size, layout),
        IValue::Tuple(items) => match <[IValue; 2]>::try_from(items) {
            Ok([IValue::Tensor(summary), IValue::Tensor(spatial)]) => {
                pair(summary, spatial, size, layout)
            }
            _ => Err("it returns a tuple that is not (summary, spatial)".into()),
        },
        IValue::TensorList(items) => match <[Tensor; 2]>::try_from(items) {
            Ok([summary, spatial]) => pair(summary, spatial, size, layout),
            Err(_) => Err("it returns a list that is not [summary, spatial]".into()),
        },
        IValue::GenericDict(entries) => from_entries(entries, size, layout),
        _ => Err("it returns neither a tensor nor (summary, spatial)".into()),
    }
}

fn from_entries(
    entries: Vec<(IValue, IValue)>,
    size: (i64, i64),
    layout: OutputAxes,
) -> Result<Output, String> {
    let find = |names: &[&str]| {
        names.iter().find_map(|wanted| {
            entries.iter().find_map(|entry| match entry {
                (IValue::String(name), IValue::Tensor(value)) if name == wanted => {
                    Some(value.shallow_clone())
                }
                _ => None,
            })
        })
    };
    match (find(SUMMARY_KEYS), find(SPATIAL_KEYS)) {
        (Some(summary), Some(spatial)) => pair(summary, spatial, size, layout),
        (Some(one), None) | (None, Some(one)) => from_tensor(one, size, layout),
        (None, None) => Err(format!(
            "it returns a dictionary without any of {}",
            [SUMMARY_KEYS, SPATIAL_KEYS].concat().join(", ")
        )),
    }
}

fn pair(
    summary: Tensor,
    spatial: Tensor,
    size: (i64, i64),
    layout: OutputAxes,
) -> Result<Output, String> {
    if summary.dim() != 2 {
        return Err(format!(
            "its summary must be [B, D], it is {:?}",
            summary.size()
        ));
    }
    Ok(Output {
        summary,
        ..from_tensor(spatial, size, layout)?
    })
}

fn from_tensor(tensor: Tensor, size: (i64, i64), layout: OutputAxes) -> Result<Output, String> {
    let shape = tensor.size();
    match (shape.as_slice(), layout) {
        (&[batch, channels], _) => Ok(Output {
            spatial: tensor.reshape([batch, 1, channels]),
            summary: tensor,
            grid: (1, 1),
        }),
        (&[batch, tokens, channels], _) => {
            if let Some(grid) = grid_of(tokens, size) {
                return Ok(averaged(tensor, grid));
            }
            let grid = grid_of(tokens - 1, size).ok_or_else(|| {
                format!(
                    "its {tokens} tokens fill no grid of square patches of {}x{} pixels, with or without a class token",
                    size.0, size.1
                )
            })?;
            Ok(Output {
                summary: tensor.narrow(1, 0, 1).reshape([batch, channels]),
                spatial: tensor.narrow(1, 1, tokens - 1),
                grid,
            })
        }
        (&[_, _, rows, columns], OutputAxes::Nchw) => Ok(averaged(
            tensor.flatten(2, 3).transpose(1, 2).contiguous(),
            (rows, columns),
        )),
        (&[_, rows, columns, _], OutputAxes::Nhwc) => {
            Ok(averaged(tensor.flatten(1, 2), (rows, columns)))
        }
        (shape, _) => Err(format!(
            "it returns a tensor {shape:?}; [B, D], [B, N, C] or [B, C, h, w] is needed"
        )),
    }
}

fn averaged(spatial: Tensor, grid: (i64, i64)) -> Output {
    Output {
        summary: spatial.mean_dim([1i64].as_slice(), false, None::<Kind>),
        spatial,
        grid,
    }
}

/// (rows, columns) of `tokens` square patches that fill the picture.
fn grid_of(tokens: i64, (height, width): (i64, i64)) -> Option<(i64, i64)> {
    (1..=height.min(width))
        .filter(|patch| height % patch == 0 && width % patch == 0)
        .map(|patch| (height / patch, width / patch))
        .find(|(rows, columns)| rows * columns == tokens)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn tensor(shape: &[i64]) -> Tensor {
        let count: i64 = shape.iter().product();
        Tensor::arange(count, (Kind::Float, Device::Cpu)).view(shape)
    }

    /// Shapes of summary and spatial features, and the grid.
    type Shapes = (Vec<i64>, Vec<i64>, (i64, i64));

    fn shapes(value: IValue, layout: OutputAxes) -> Result<Shapes, String> {
        let output = read(value, (64, 96), layout)?;
        Ok((output.summary.size(), output.spatial.size(), output.grid))
    }

    #[test]
    fn every_form() {
        let both = || (vec![2, 5], vec![2, 6, 5], (2, 3));
        let nchw = || IValue::Tensor(tensor(&[2, 5, 2, 3]));
        assert_eq!(shapes(nchw(), OutputAxes::Nchw), Ok(both()));
        let nhwc = IValue::Tensor(tensor(&[2, 2, 3, 5]));
        assert_eq!(shapes(nhwc, OutputAxes::Nhwc), Ok(both()));
        for tokens in [6, 7] {
            let value = IValue::Tensor(tensor(&[2, tokens, 5]));
            assert_eq!(shapes(value, OutputAxes::Nchw), Ok(both()));
        }
        let wide = || IValue::Tensor(tensor(&[2, 8]));
        assert_eq!(
            shapes(wide(), OutputAxes::Nchw),
            Ok((vec![2, 8], vec![2, 1, 8], (1, 1)))
        );
        let tuple = IValue::Tuple(vec![wide(), nchw()]);
        let expected = (vec![2, 8], vec![2, 6, 5], (2, 3));
        assert_eq!(shapes(tuple, OutputAxes::Nchw), Ok(expected.clone()));
        let key = |name: &str| IValue::String(name.into());
        let entries = vec![(key("features"), nchw()), (key("summary"), wide())];
        assert_eq!(
            shapes(IValue::GenericDict(entries), OutputAxes::Nchw),
            Ok(expected)
        );
    }

    #[test]
    fn tokens_keep_their_order() {
        let output = read(
            IValue::Tensor(tensor(&[1, 2, 1, 3])),
            (32, 96),
            OutputAxes::Nchw,
        )
        .unwrap();
        let values = Vec::<f64>::try_from(output.spatial.flatten(0, -1)).unwrap();
        assert_eq!(values, [0., 3., 1., 4., 2., 5.]);
        let output = read(
            IValue::Tensor(tensor(&[1, 4, 1])),
            (32, 96),
            OutputAxes::Nchw,
        )
        .unwrap();
        assert_eq!(output.summary.double_value(&[0, 0]), 0.0);
        assert_eq!(output.spatial.double_value(&[0, 0, 0]), 1.0);
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let error = |value| shapes(value, OutputAxes::Nchw).unwrap_err();
        assert!(error(IValue::Tensor(tensor(&[2, 5, 5]))).contains("5 tokens"));
        assert!(error(IValue::Tensor(tensor(&[5]))).contains("[5]"));
        assert!(error(IValue::Int(3)).contains("neither"));
        assert!(error(IValue::GenericDict(Vec::new())).contains("dictionary"));
    }
}
