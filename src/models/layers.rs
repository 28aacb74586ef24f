//! Layers shared by the transformers. Fields are the checkpoint's keys.

use crate::Result;
use crate::runtime::shim::{self, PackedLinear, Pointwise};
use crate::weights::Params;
use crate::weights::spectral::SpectralWeight;
use tch::Tensor;

/// y = x Wᵀ (+ b); weight [out, in].
pub struct Linear {
    product: Product,
    /// In training: what multiplies y, per channel (LayerScale).
    scale: Option<Tensor>,
}

/// Large matrices on the CPU are packed for oneDNN at load; the rest are libtorch's.
enum Product {
    Plain {
        weight: Tensor,
        bias: Option<Tensor>,
    },
    Packed(PackedLinear),
    /// In training: weight and bias made from parameters in every pass.
    Computed(Box<dyn Fn() -> (Tensor, Option<Tensor>) + Send>),
}

impl Linear {
    pub fn new(p: Params, input: i64, output: i64, bias: bool) -> Result<Self> {
        let spectral = SpectralWeight::new(&p, output, input)?;
        let bias = |p: &Params| bias.then(|| p.get("bias", &[output])).transpose();
        match spectral {
            None => Self::from_tensors(p.get("weight", &[output, input])?, bias(&p)?),
            Some(weight) => {
                let bias = bias(&p)?;
                let make = move || {
                    let bias = bias.as_ref().map(Tensor::shallow_clone);
                    (unwrap(weight.value()), bias)
                };
                Ok(Linear::computed(make))
            }
        }
    }

    /// `scale` * (W x + b), with `scale` `[out]` in fp32 (LayerScale): for inference multiplied into
    /// the weights, in fp32.
    pub fn scaled(p: &Params, input: i64, output: i64, scale: Option<Tensor>) -> Result<Self> {
        let Some(scale) = scale else {
            return Linear::new(p.clone(), input, output, true);
        };
        if p.trains() {
            let linear = Linear::new(p.clone(), input, output, true)?;
            let scale = Some(scale);
            return Ok(Linear { scale, ..linear });
        }
        let weight = p.get_f32("weight", &[output, input])? * scale.unsqueeze(1);
        let bias = p.get_f32("bias", &[output])? * scale;
        Linear::from_tensors(weight.to_kind(p.kind()), Some(bias.to_kind(p.kind())))
    }

    /// Weight and bias in another arrangement than the parameters have, which `arrange` must hold.
    pub fn arranged(
        p: &Params,
        arrange: impl Fn() -> (Tensor, Option<Tensor>) + Send + 'static,
    ) -> Result<Self> {
        if p.trains() {
            return Ok(Linear::computed(arrange));
        }
        let (weight, bias) = arrange();
        Self::from_tensors(weight, bias)
    }

    fn computed(make: impl Fn() -> (Tensor, Option<Tensor>) + Send + 'static) -> Self {
        Linear {
            product: Product::Computed(Box::new(make)),
            scale: None,
        }
    }

    /// Parameters that are trained stay as they are; others may be packed.
    pub fn from_tensors(weight: Tensor, bias: Option<Tensor>) -> Result<Self> {
        let product = if shim::worthwhile(&weight) && !weight.requires_grad() {
            Product::Packed(PackedLinear::new(&weight, bias)?)
        } else {
            Product::Plain { weight, bias }
        };
        let scale = None;
        Ok(Linear { product, scale })
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        let y = match &self.product {
            Product::Plain { weight, bias } => x.linear(weight, bias.as_ref()),
            Product::Packed(packed) => unwrap(packed.forward(x, Pointwise::None)),
            Product::Computed(make) => {
                let (weight, bias) = make();
                x.linear(&weight, bias.as_ref())
            }
        };
        match &self.scale {
            Some(scale) => y * scale,
            None => y,
        }
    }

    /// `activation` of the product, in one pass where that is possible.
    pub fn forward_activated(&self, x: &Tensor, activation: Activation) -> Tensor {
        match (&self.product, activation.pointwise()) {
            (Product::Packed(packed), Some(fused)) => unwrap(packed.forward(x, fused)),
            _ => activation.apply(self.forward(x)),
        }
    }
}

/// branch + x: in the memory of `branch`, which nobody else may hold, unless gradients need both
/// or autocast made them of different kinds (the sum is then of the wider one).
pub fn add_residual(mut branch: Tensor, x: &Tensor) -> Tensor {
    if branch.requires_grad() || x.requires_grad() || branch.kind() != x.kind() {
        branch + x
    } else {
        branch.g_add_(x)
    }
}

/// fresh * y, in the memory of `fresh`, which nobody else may hold, unless gradients need it.
pub fn multiply_fresh(mut fresh: Tensor, y: &Tensor) -> Tensor {
    if fresh.requires_grad() || y.requires_grad() || fresh.kind() != y.kind() {
        fresh * y
    } else {
        fresh.g_mul_(y)
    }
}

/// The value of an operator of the shim; panics like tch's own operators, for `runtime::guard`.
pub fn unwrap(value: Result<Tensor>) -> Tensor {
    value.unwrap_or_else(|error| panic!("{error}"))
}

/// Layer normalisation over the last axis (biased variance, eps inside the root).
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    pub fn new(p: Params, dim: i64, eps: f64) -> Result<Self> {
        Ok(LayerNorm {
            weight: p.get("weight", &[dim])?,
            bias: p.get("bias", &[dim])?,
            eps,
        })
    }

    pub fn from_tensors(weight: Tensor, bias: Tensor, eps: f64) -> Self {
        LayerNorm { weight, bias, eps }
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        let dim = self.weight.size();
        x.layer_norm(dim, Some(&self.weight), Some(&self.bias), self.eps, true)
    }
}

/// Activations by the names the specs use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// exact (erf) GELU
    Gelu,
    /// tanh approximation of GELU
    GeluTanh,
    /// x·σ(1.702x), OpenAI CLIP
    QuickGelu,
    Silu,
    Relu,
}

impl Activation {
    /// By the names of transformers' `hidden_act` and timm's `act_layer`.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "gelu" => Activation::Gelu,
            "gelu_tanh" | "gelu_pytorch_tanh" | "gelu_new" => Activation::GeluTanh,
            "quick_gelu" => Activation::QuickGelu,
            "silu" | "swish" => Activation::Silu,
            "relu" => Activation::Relu,
            _ => return None,
        })
    }

    /// For records and cache keys.
    pub fn name(self) -> &'static str {
        match self {
            Activation::Gelu => "gelu",
            Activation::GeluTanh => "gelu_tanh",
            Activation::QuickGelu => "quick_gelu",
            Activation::Silu => "silu",
            Activation::Relu => "relu",
        }
    }

    pub fn forward(self, x: &Tensor) -> Tensor {
        match self {
            Activation::Gelu => x.gelu("none"),
            Activation::GeluTanh => x.gelu("tanh"),
            Activation::QuickGelu => x * (x * 1.702).sigmoid(),
            Activation::Silu => x.silu(),
            Activation::Relu => x.relu(),
        }
    }

    /// Its fused form, where oneDNN has one.
    pub fn pointwise(self) -> Option<Pointwise> {
        match self {
            Activation::Gelu => Some(Pointwise::Gelu),
            Activation::GeluTanh => Some(Pointwise::GeluTanh),
            Activation::QuickGelu => None,
            Activation::Silu => Some(Pointwise::Silu),
            Activation::Relu => Some(Pointwise::Relu),
        }
    }

    /// As `forward`, in the memory of `x`, which nobody else may hold, unless gradients need it.
    pub fn apply(self, mut x: Tensor) -> Tensor {
        if x.requires_grad() {
            return self.forward(&x);
        }
        match self {
            Activation::Gelu => x.gelu_("none"),
            Activation::GeluTanh => x.gelu_("tanh"),
            Activation::QuickGelu => self.forward(&x),
            Activation::Silu => x.silu_(),
            Activation::Relu => x.relu_(),
        }
    }
}

/// softmax(q kᵀ · scale + mask) v for [B, heads, N, d] tensors; `scale` defaults to d^-0.5.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Tensor {
    Tensor::scaled_dot_product_attention(q, k, v, mask, 0.0, false, None, false)
}

/// [B, heads, N, d] -> [B, N, C]
pub fn merge_heads(y: &Tensor) -> Tensor {
    y.transpose(1, 2).flatten(2, 3)
}

/// Multi-head self-attention on a fused [3C, C] projection (rows q, k, v).
pub struct Attention {
    pub qkv: Linear,
    pub proj: Linear,
    heads: i64,
}

impl Attention {
    pub fn new(p: &Params, dim: i64, heads: i64, qkv_bias: bool) -> Result<Self> {
        Ok(Attention {
            qkv: Linear::new(p.pp("qkv"), dim, 3 * dim, qkv_bias)?,
            proj: Linear::new(p.pp("proj"), dim, dim, true)?,
            heads,
        })
    }

    pub fn from_parts(qkv: Linear, proj: Linear, heads: i64) -> Self {
        Attention { qkv, proj, heads }
    }

    /// x: [B, N, C]
    pub fn forward(&self, x: &Tensor, mask: Option<&Tensor>) -> Tensor {
        self.forward_turned(x, mask, None)
    }

    /// As `forward`, with queries and keys [B, heads, N, d] passed through `turn` (RoPE).
    pub fn forward_turned(
        &self,
        x: &Tensor,
        mask: Option<&Tensor>,
        turn: Option<&dyn Fn(Tensor) -> Tensor>,
    ) -> Tensor {
        let [mut q, mut k, v] = self.project(x);
        if let Some(turn) = turn {
            (q, k) = (turn(q), turn(k));
        }
        self.proj
            .forward(&merge_heads(&attention(&q, &k, &v, mask)))
    }

    /// x: [B, N, C] -> queries, keys and values, [B, heads, N, d] each
    pub fn project(&self, x: &Tensor) -> [Tensor; 3] {
        let (b, n, c) = x.size3().expect("attention takes [B, N, C]");
        let qkv = self
            .qkv
            .forward(x)
            .view([b, n, 3, self.heads, c / self.heads])
            .permute([2, 0, 3, 1, 4]); // [3, B, heads, N, d]
        [qkv.get(0), qkv.get(1), qkv.get(2)]
    }

    /// [B, N, C] -> [B, heads, N, d]
    pub fn split_heads(&self, x: &Tensor) -> Tensor {
        let (b, n, c) = x.size3().expect("tokens are [B, N, C]");
        x.view([b, n, self.heads, c / self.heads]).transpose(1, 2)
    }
}

/// fc1 -> activation -> fc2.
pub struct Mlp {
    fc1: Linear,
    fc2: Linear,
    activation: Activation,
}

impl Mlp {
    pub fn new(p: &Params, dim: i64, hidden: i64, activation: Activation) -> Result<Self> {
        Ok(Mlp {
            fc1: Linear::new(p.pp("fc1"), dim, hidden, true)?,
            fc2: Linear::new(p.pp("fc2"), hidden, dim, true)?,
            activation,
        })
    }

    pub fn from_parts(fc1: Linear, fc2: Linear, activation: Activation) -> Self {
        Mlp {
            fc1,
            fc2,
            activation,
        }
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.fc2
            .forward(&self.fc1.forward_activated(x, self.activation))
    }
}
