//! The linear probe of segmentation: BatchNorm and a 1x1 convolution (mmseg's BNHead,
//! spec/radio.md §6).

use super::enlarged_loss::{self, SmallMap};
use super::upsample::matrix;
use crate::{Error, Result};
use tch::{Device, Kind, Tensor};

/// mmseg's and PyTorch's defaults.
const EPS: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;
/// Standard deviation of the convolution's initial weights.
const INIT: f64 = 0.01;
/// Label of pixels that count nowhere.
const IGNORE: i64 = 255;

/// Names in a file, as in mmseg checkpoints (`decode_head.` left out).
const NAMES: [&str; 6] = [
    "bn.weight",
    "bn.bias",
    "conv_seg.weight",
    "conv_seg.bias",
    "bn.running_mean",
    "bn.running_var",
];

/// fp32 whatever the backbone's precision.
pub struct LinearSegHead {
    /// [C] each
    weight: Tensor,
    bias: Tensor,
    /// [classes, C, 1, 1], [classes]
    conv_weight: Tensor,
    conv_bias: Tensor,
    /// [C] each
    running_mean: Tensor,
    running_var: Tensor,
}

/// What one training step saw, still on the device that computes it.
pub struct StepLoss {
    /// fp64 [3]: sum of the cross-entropy, right pixels, labelled pixels.
    sums: Tensor,
    /// All pixels, ignored ones included.
    pixels: f64,
}

/// What [`StepLoss`] says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// Sum of the cross-entropy over all pixels / number of pixels, ignored ones included.
    pub loss: f64,
    /// Share of labelled pixels that were right before the update.
    pub accuracy: f64,
}

impl StepLoss {
    /// Reads the numbers; on CUDA this waits for the device.
    pub fn read(&self) -> Result<Seen> {
        let mut sums = [0.0; 3];
        let host = self.sums.f_to_device(Device::Cpu)?;
        host.f_copy_data(&mut sums, 3)?;
        let [loss, right, labelled] = sums;
        Ok(Seen {
            loss: loss / self.pixels,
            accuracy: right / labelled.max(1.0),
        })
    }
}

impl LinearSegHead {
    /// A new head for `channels` features. Draws from libtorch's generator what PyTorch draws for
    /// `BatchNorm2d(C); Conv2d(C, classes, 1); normal_(weight, 0, 0.01); zeros_(bias)`: the
    /// convolution's own first initialisation advances the generator too.
    pub fn new(channels: i64, classes: i64, device: Device) -> Result<Self> {
        let cpu = (Kind::Float, Device::Cpu);
        let bound = 1.0 / (channels as f64).sqrt();
        let mut conv_weight =
            Tensor::f_empty([classes, channels, 1, 1], cpu)?.f_uniform_(-bound, bound)?;
        // PyTorch's first bias, drawn for its effect on the generator only.
        let _ = Tensor::f_empty([classes], cpu)?.f_uniform_(-bound, bound)?;
        conv_weight = conv_weight.f_normal_(0.0, INIT)?;
        let on_device = (Kind::Float, device);
        Ok(LinearSegHead {
            weight: Tensor::f_ones([channels], on_device)?.set_requires_grad(true),
            bias: Tensor::f_zeros([channels], on_device)?.set_requires_grad(true),
            conv_weight: conv_weight.f_to_device(device)?.set_requires_grad(true),
            conv_bias: Tensor::f_zeros([classes], on_device)?.set_requires_grad(true),
            running_mean: Tensor::f_zeros([channels], on_device)?,
            running_var: Tensor::f_ones([channels], on_device)?,
        })
    }

    pub fn channels(&self) -> i64 {
        self.weight.numel() as i64
    }

    pub fn classes(&self) -> i64 {
        self.conv_bias.numel() as i64
    }

    /// What the optimiser updates, in its order.
    pub fn parameters(&self) -> [&Tensor; 4] {
        [&self.weight, &self.bias, &self.conv_weight, &self.conv_bias]
    }

    /// Logits in evaluation: `[B,C,h,w]` -> `[B,classes,h,w]`.
    pub fn logits(&self, features: &Tensor) -> Tensor {
        tch::no_grad(|| self.forward(features, false))
    }

    fn forward(&self, features: &Tensor, training: bool) -> Tensor {
        let normal = features.batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            Some(&self.running_mean),
            Some(&self.running_var),
            training,
            MOMENTUM,
            EPS,
            false,
        );
        normal.conv2d(
            &self.conv_weight,
            Some(&self.conv_bias),
            [1, 1],
            [0, 0],
            [1, 1],
            1,
        )
    }

    /// Adds the gradients of one batch to the parameters and updates the running statistics.
    ///
    /// `features` `[B,C,h,w]` fp32; `labels` uint8 `[B,H,W]`, 255 ignored. The loss is mmseg's with
    /// `avg_non_ignore=False`: the sum divided by all B*H*W pixels.
    pub fn accumulate(&self, features: &Tensor, labels: &Tensor) -> Result<StepLoss> {
        let logits = self.forward(features, true);
        let pixels = labels.numel() as f64;
        let (gradient, sums) = match features.device() {
            Device::Cpu => enlarged_on_cpu(&logits.detach(), labels)?,
            _ => enlarged(&logits.detach(), labels)?,
        };
        // d(sum of logits * gradient) / d logits is the gradient.
        (logits * (gradient / pixels)).sum(Kind::Float).backward();
        Ok(StepLoss { sums, pixels })
    }

    /// Every tensor by its name in a file.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let tensors = [
            &self.weight,
            &self.bias,
            &self.conv_weight,
            &self.conv_bias,
            &self.running_mean,
            &self.running_var,
        ];
        NAMES
            .iter()
            .zip(tensors)
            .map(|(name, tensor)| (name.to_string(), tensor.detach()))
            .collect()
    }

    /// A head from its tensors; `read` returns one by name.
    pub fn from_tensors(read: impl Fn(&str) -> Result<Tensor>, device: Device) -> Result<Self> {
        let get = |name: &str| -> Result<Tensor> {
            Ok(read(name)?.f_to_kind(Kind::Float)?.f_to_device(device)?)
        };
        let parameter = |name: &str| Ok::<_, Error>(get(name)?.set_requires_grad(true));
        let head = LinearSegHead {
            weight: parameter(NAMES[0])?,
            bias: parameter(NAMES[1])?,
            conv_weight: parameter(NAMES[2])?,
            conv_bias: parameter(NAMES[3])?,
            running_mean: get(NAMES[4])?,
            running_var: get(NAMES[5])?,
        };
        let (channels, classes) = (head.channels(), head.classes());
        let vector = |t: &Tensor| t.size() == [channels];
        let fits = [&head.bias, &head.running_mean, &head.running_var]
            .into_iter()
            .all(vector)
            && head.conv_weight.size() == [classes, channels, 1, 1];
        match fits {
            true => Ok(head),
            false => Err(Error::model(format!(
                "the shapes of the head's tensors do not fit together: {channels} channels by bn.weight, conv_seg.weight is {:?}",
                head.conv_weight.size()
            ))),
        }
    }
}

/// Gradient of the summed loss [B,classes,h,w], and the sums of [`StepLoss`].
type Enlarged = (Tensor, Tensor);

/// See [`enlarged_loss`]; image by image, so that each image's rows share the threads.
fn enlarged_on_cpu(logits: &Tensor, labels: &Tensor) -> Result<Enlarged> {
    let (batch, classes, h, w) = logits.size4()?;
    let (_, height, width) = labels.size3()?;
    let values = Vec::<f32>::try_from(&logits.permute([0, 2, 3, 1]).contiguous().view(-1))?;
    let labels = Vec::<u8>::try_from(&labels.contiguous().view(-1))?;
    let mut gradient = Vec::with_capacity(values.len());
    let mut sums = [0.0; 3];
    let images = values
        .chunks_exact((h * w * classes) as usize)
        .zip(labels.chunks_exact((height * width) as usize));
    for (values, labels) in images {
        let map = SmallMap {
            height: h as usize,
            width: w as usize,
            classes: classes as usize,
            values,
        };
        let one = enlarged_loss::cross_entropy(map, labels, height as usize, width as usize);
        gradient.extend(one.gradient);
        for (sum, of_one) in (sums.iter_mut()).zip([one.sum, one.right as f64, one.labelled as f64])
        {
            *sum += of_one;
        }
    }
    let gradient = Tensor::f_from_slice(&gradient)?.f_view([batch, h, w, classes])?;
    let sums = Tensor::f_from_slice(&sums)?;
    Ok((gradient.f_permute([0, 3, 1, 2])?, sums))
}

/// With libtorch's operators, image by image: 16 images of 512 px and 150 classes at once would
/// take 2.5 GB several times over. Reads nothing back, so that a device can run ahead.
///
/// The gradient is written out, softmax minus the true class, brought back by the transposes of the
/// enlargement: CUDA's own kernels for both (`upsample_bilinear2d_backward`, `nll_loss2d`) add up in
/// an order of chance, and a resumed head would not be that of an uninterrupted run bit for bit.
fn enlarged(logits: &Tensor, labels: &Tensor) -> Result<Enlarged> {
    let (_, classes, h, w) = logits.size4()?;
    let (batch, height, width) = labels.size3()?;
    let device = logits.device();
    let (down, across) = (matrix(h, height, device), matrix(w, width, device));
    let class = Tensor::f_arange(classes, (Kind::Uint8, device))?.f_view([classes, 1, 1])?;
    let mut gradients = Vec::with_capacity(batch as usize);
    let mut sums = Tensor::f_zeros([3], (Kind::Double, device))?;
    for i in 0..batch {
        let label = labels.select(0, i);
        let large = down.matmul(&logits.select(0, i)).matmul(&across.tr()); // [classes, H, W]
        let known = label.ne(IGNORE);
        let truth = label.unsqueeze(0).eq_tensor(&class);
        let log_shares = large.log_softmax(0, Kind::Float);
        let gradient = (log_shares.exp() - truth.to_kind(Kind::Float)) * &known;
        gradients.push(down.tr().matmul(&gradient).matmul(&across));
        let loss = -log_shares
            .masked_fill(&truth.logical_not(), 0.0)
            .sum(Kind::Double);
        let best = large.argmax(0, false).to_kind(Kind::Uint8);
        let hits = best.eq_tensor(&label).logical_and(&known);
        sums += Tensor::f_stack(&[loss, hits.sum(Kind::Double), known.sum(Kind::Double)], 0)?;
    }
    Ok((Tensor::f_stack(&gradients, 0)?, sums))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heads::upsample::bilinear;
    use tch::Reduction;

    fn sample() -> (LinearSegHead, Tensor, Tensor) {
        tch::manual_seed(3);
        let head = LinearSegHead::new(6, 4, Device::Cpu).unwrap();
        let features = Tensor::randn([3, 6, 4, 5], (Kind::Float, Device::Cpu));
        let labels = Tensor::randint(5, [3, 9, 10], (Kind::Int64, Device::Cpu));
        let labels = labels.where_self(&labels.lt(4), &Tensor::from(IGNORE));
        (head, features, labels.to_kind(Kind::Uint8))
    }

    #[test]
    fn gradients_are_those_of_the_loss_over_the_whole_batch() {
        let (head, features, labels) = sample();
        let step = head.accumulate(&features, &labels).unwrap();
        let gradients: Vec<Tensor> = head.parameters().iter().map(|p| p.grad().copy()).collect();

        let (whole, _, _) = sample();
        let logits = bilinear(&whole.forward(&features, true), 9, 10);
        let (bytes, labels) = (labels.copy(), labels.to_kind(Kind::Int64));
        let loss = logits.cross_entropy_loss::<Tensor>(&labels, None, Reduction::Sum, IGNORE, 0.0);
        // All pixels count in the mean, ignored ones too.
        let loss = loss / (3 * 9 * 10) as f64;
        loss.backward();
        assert!((step.read().unwrap().loss - loss.double_value(&[])).abs() < 1e-6);
        for (ours, theirs) in gradients.iter().zip(whole.parameters()) {
            assert!(ours.allclose(&theirs.grad(), 1e-5, 1e-7, false), "{ours:?}");
        }
        let logits = whole.logits(&features);
        let (cpu, gpu) = (enlarged_on_cpu(&logits, &bytes), enlarged(&logits, &bytes));
        let (cpu, gpu) = (cpu.unwrap(), gpu.unwrap());
        assert!(cpu.0.allclose(&gpu.0, 1e-5, 1e-6, false));
        assert!(cpu.1.allclose(&gpu.1, 1e-6, 0.0, false));
        assert!(cpu.1.narrow(0, 1, 2).equal(&gpu.1.narrow(0, 1, 2)));
    }

    #[test]
    fn a_head_comes_back_from_its_tensors() {
        let (head, features, labels) = sample();
        head.accumulate(&features, &labels).unwrap();
        let saved = head.tensors();
        let read = |name: &str| {
            let found = saved.iter().find(|(n, _)| n == name);
            Ok(found.map(|(_, t)| t.copy()).unwrap())
        };
        let again = LinearSegHead::from_tensors(read, Device::Cpu).unwrap();
        assert!(again.logits(&features).equal(&head.logits(&features)));
        let bad = |name: &str| {
            read(if name == "bn.bias" {
                "conv_seg.bias"
            } else {
                name
            })
        };
        assert!(LinearSegHead::from_tensors(bad, Device::Cpu).is_err());
    }
}
