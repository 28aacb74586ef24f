//! What a caller may ask of every network, and what the doors to it guarantee.

use crate::common::fixture;
use crate::teachers;
use indexmap::IndexMap;
use radio_eval::models::architecture::build;
use radio_eval::models::{
    AdaptorFeatures, Aggregation, Backbone, BackboneInfo, BuildOptions, Features, Indices,
    Intermediate, IntermediateRequest, Request, backbone, zoo,
};
use radio_eval::weights::Checkpoint;
use radio_eval::{Error, Result};
use serde_json::{Map, json};
use tch::{Device, Kind, Tensor};

const CPU: (Kind, Device) = (Kind::Float, Device::Cpu);

fn random(name: &str) -> Checkpoint {
    Checkpoint::random((zoo::find(name).unwrap().config)(), 7)
}

/// One small network of every family that has blocks, with the side of a picture for it.
fn networks() -> Vec<(Box<dyn Backbone>, i64)> {
    let file = |case: &str, weights: &str, config: &str| {
        let folder = fixture(&format!("teachers/{case}"));
        teachers::open(&folder.join(weights), &folder.join(config))
    };
    let radio = fixture("radio/dinov2_like");
    let dinov3 = json!({
        "model_type": "dinov3_vit", "hidden_size": 64, "num_hidden_layers": 3,
        "num_attention_heads": 4, "intermediate_size": 128, "patch_size": 16,
    });
    [
        (
            teachers::open(
                &radio.join("checkpoint_raw.safetensors"),
                &radio.join("args.json"),
            ),
            56,
        ),
        (random("mini-clip"), 64),
        (random("mini-dino"), 56),
        (random("mini-sam"), 256),
        (
            file(
                "siglip_so400m_like",
                "openclip.safetensors",
                "openclip_config.json",
            ),
            56,
        ),
        (Checkpoint::random(dinov3, 7), 64),
        (file("internvit", "model.safetensors", "config.json"), 56),
    ]
    .into_iter()
    .map(|(checkpoint, side)| {
        let options = BuildOptions::default();
        let network = build(&checkpoint, &options).unwrap_or_else(|e| panic!("{e}"));
        (network, side)
    })
    .collect()
}

fn asked(
    network: &dyn Backbone,
    x: &Tensor,
    change: impl FnOnce(&mut IntermediateRequest),
    blocks: &[i64],
) -> Result<Features> {
    let mut request = IntermediateRequest::new(Indices::Blocks(blocks.to_vec()));
    change(&mut request);
    backbone::run(network, x, &Request::intermediates(request))
}

fn equal(a: &Tensor, b: &Tensor) -> bool {
    a.size() == b.size() && (a - b).abs().max().double_value(&[]) <= 1e-6
}

#[test]
fn every_family_shows_its_blocks() {
    for (network, side) in networks() {
        let name = network.info().architecture.clone();
        let x = Tensor::rand([2, 3, side, side], CPU);
        let whole = backbone::run(&*network, &x, &Request::default()).unwrap();
        assert!(whole.intermediates.is_empty());

        // The last block's tokens after the final norm are the spatial features.
        let last = asked(&*network, &x, |r| r.norm = true, &[-1]).unwrap();
        let [one] = &last.intermediates[..] else {
            panic!("{name}: one block was asked for");
        };
        assert!(equal(&one.spatial, &whole.spatial), "{name}");
        assert!(equal(&last.spatial, &whole.spatial), "{name}");
        assert_eq!(one.grid, whole.grid);
        if let Some(summary) = &one.summary {
            assert_eq!(summary.size(), whole.summary.size(), "{name}");
        }

        // Two blocks in the blocks' order, without the norm.
        let two = asked(&*network, &x, |_| (), &[-1, 0]).unwrap();
        let blocks: Vec<usize> = two.intermediates.iter().map(|i| i.block).collect();
        assert_eq!(blocks, [0, one.block], "{name}");
        let first = &two.intermediates[0];
        assert_eq!(first.spatial.size(), whole.spatial.size());

        // Dense: the last stands for the mean of all.
        let all: Vec<i64> = (0..=one.block as i64).collect();
        let each = asked(&*network, &x, |_| (), &all).unwrap();
        let dense = |r: &mut IntermediateRequest| r.aggregation = Aggregation::Dense;
        let merged = asked(&*network, &x, dense, &[-1]).unwrap();
        let each: Vec<&Tensor> = each.intermediates.iter().map(|i| &i.spatial).collect();
        let mean = Tensor::stack(&each, 0).mean_dim(0, false, Kind::Float);
        assert!(equal(&merged.intermediates[0].spatial, &mean), "{name}");

        // Stopped after the first block, its tokens are the last ones.
        let early = |r: &mut IntermediateRequest| {
            r.norm = true;
            r.stop_early = true;
        };
        let short = asked(&*network, &x, early, &[0]).unwrap();
        assert!(
            equal(&short.spatial, &short.intermediates[0].spatial),
            "{name}"
        );
        assert!(!equal(&short.spatial, &whole.spatial), "{name}");

        let absent = asked(&*network, &x, |_| (), &[100]).err();
        assert!(matches!(absent, Some(Error::Usage(_))), "{name}");
    }
}

#[test]
fn e_radio_shows_its_levels() {
    let network = build(&random("eradio_xxxtiny"), &BuildOptions::default()).unwrap();
    let x = Tensor::rand([1, 3, 64, 96], CPU);
    let features = asked(&*network, &x, |_| (), &[0, 1, 2, 3]).unwrap();
    let levels: Vec<_> = features
        .intermediates
        .iter()
        .map(|i| (i.block, i.grid, i.spatial.size()))
        .collect();
    assert_eq!(
        levels,
        [
            (0, (16, 24), vec![1, 384, 32]),
            (1, (8, 12), vec![1, 96, 64]),
            (2, (4, 6), vec![1, 24, 128]),
            (3, (2, 3), vec![1, 6, 256]),
        ]
    );
    let dense = |r: &mut IntermediateRequest| r.aggregation = Aggregation::Dense;
    let error = asked(&*network, &x, dense, &[3]).err().unwrap();
    assert!(error.to_string().contains("sparse"), "{error}");
}

#[test]
fn torchscript_refuses_blocks() {
    let checkpoint = Checkpoint::open(&fixture("torchscript/pair.pt")).unwrap();
    let network = build(&checkpoint, &BuildOptions::default()).unwrap();
    let (height, width) = network.info().preferred;
    let x = Tensor::rand([1, 3, height, width], CPU);
    let error = asked(&*network, &x, |_| (), &[0]).err().unwrap();
    assert!(matches!(error, Error::Usage(_)));
    assert!(error.to_string().contains("pair.pt"), "{error}");
}

/// A network that gives what a test tells it to.
struct Stub<F> {
    info: BackboneInfo,
    forward: F,
}

impl<F: Fn() -> Features + Send> Stub<F> {
    fn new(forward: F) -> Self {
        let info = BackboneInfo {
            architecture: "Stub".into(),
            patch: 1,
            step: 1,
            preferred: (4, 4),
            fixed: None,
            native: None,
            summary_dim: 8,
            spatial_dim: 8,
            prefix_tokens: 0,
            adaptors: vec!["clip".into()],
            parameters: 0,
            precision: Default::default(),
            settings: Map::new(),
        };
        Stub { info, forward }
    }

    fn run(&self) -> Result<Features> {
        let x = Tensor::zeros([2, 3, 4, 4], CPU);
        backbone::run(self, &x, &Request::adaptors(["clip"]))
    }
}

impl<F: Fn() -> Features + Send> Backbone for Stub<F> {
    fn info(&self) -> &BackboneInfo {
        &self.info
    }

    fn forward(&self, _: &Tensor, _: &Request) -> Result<Features> {
        Ok((self.forward)())
    }
}

/// `[2,8]` and `[2,16,8]` outputs of one kind, with `bad` at image 1 of the output so named.
fn outputs(kind: Kind, name: &str, bad: f64) -> Features {
    let fill = |output: &str, size: &[i64]| {
        let t = Tensor::ones(size, (kind, Device::Cpu));
        if output == name {
            let _ = t.get(1).flatten(0, -1).narrow(0, 3, 1).fill_(bad);
        }
        t
    };
    let spatial = fill("clip.spatial", &[2, 16, 8]);
    let clip = AdaptorFeatures {
        summary: fill("clip.summary", &[2, 8]),
        spatial: Some((spatial, (4, 4))),
    };
    Features {
        summary: fill("summary", &[2, 8]),
        spatial: fill("spatial", &[2, 16, 8]),
        grid: (4, 4),
        adaptors: IndexMap::from([("clip".to_string(), clip)]),
        intermediates: vec![Intermediate {
            block: 5,
            summary: None,
            spatial: fill("block 5.spatial", &[2, 16, 8]),
            grid: (4, 4),
        }],
    }
}

/// `features --precision fp16` wrote a file of NaN.
#[test]
fn an_output_that_is_not_finite_is_an_error() {
    for name in [
        "summary",
        "spatial",
        "clip.summary",
        "clip.spatial",
        "block 5.spatial",
    ] {
        for (kind, bad, remedy) in [
            (Kind::Half, f64::NAN, "--precision bf16 or fp32"),
            (Kind::BFloat16, f64::INFINITY, "--precision fp32"),
            (Kind::Float, f64::NEG_INFINITY, "damage"),
        ] {
            let stub = Stub::new(move || outputs(kind, name, bad));
            let error = stub.run().err().unwrap().to_string();
            assert!(error.contains(&format!("`{name}`")), "{error}");
            assert!(
                error.contains("image 1") && error.contains(remedy),
                "{error}"
            );
        }
    }
    // Large values whose sum overflows are values all the same.
    let large = Stub::new(|| {
        let mut features = outputs(Kind::Float, "", 0.0);
        features.spatial = Tensor::full([2, 16, 8], 3e38, CPU);
        features
    });
    assert!(large.run().is_ok());
}

/// `tch::no_grad` left the thread without gradients after a failure inside it.
#[test]
fn a_failed_pass_leaves_gradients_on() {
    let follows = || {
        let x = Tensor::ones([2], CPU).set_requires_grad(true);
        (x * 2.0).requires_grad()
    };
    assert!(follows());
    let failing = Stub::new(|| {
        assert!(
            !Tensor::ones([1], CPU)
                .set_requires_grad(true)
                .g_add_scalar(1.0)
                .requires_grad()
        );
        let _ = Tensor::zeros([2, 3], CPU).matmul(&Tensor::zeros([2, 3], CPU));
        outputs(Kind::Float, "", 0.0)
    });
    let error = failing.run().err().unwrap();
    assert!(error.to_string().starts_with("libtorch: "), "{error}");
    assert!(follows());
}
