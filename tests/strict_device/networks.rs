//! Every architecture with its adaptors, in fp32 and bf16, equal to itself on the CPU.

use crate::{apart, fixture};
use radio_eval::models::architecture::build;
use radio_eval::models::radio1d::{CodeOptions, Neck};
use radio_eval::models::{BuildOptions, Features, Request, backbone, zoo};
use radio_eval::weights::Checkpoint;
use serde_json::{Value, json};
use std::io::{Read, Write};
use tch::{Device, Kind, Tensor};

/// A file of the fixtures with its description.
fn file(weights: &str, config: &str) -> Checkpoint {
    let mut checkpoint = Checkpoint::open(&fixture(weights)).expect("a fixture");
    let text = std::fs::read(fixture(config)).expect("its description");
    checkpoint.config = serde_json::from_slice(&text).expect("JSON");
    checkpoint
}

fn random(name: &str) -> Checkpoint {
    Checkpoint::random((zoo::find(name).expect("a zoo name").config)(), 7)
}

fn run(
    checkpoint: &Checkpoint,
    options: &BuildOptions,
    kind: Kind,
    device: Device,
    x: &Tensor,
) -> (Features, i64) {
    let options = BuildOptions {
        device,
        kind: Some(kind),
        ..options.clone()
    };
    let network = build(checkpoint, &options).unwrap_or_else(|e| panic!("{e}"));
    let request = Request::adaptors(network.info().adaptors.clone());
    let x = x.to_device(device);
    let pass = || backbone::run(&*network, &x, &request).unwrap_or_else(|e| panic!("{e}"));
    // The first pass makes its tables; a later one that copies from the host would make CUDA wait,
    // and could not be captured in a graph.
    pass();
    let before = strict_device::uploads();
    let features = pass();
    (features, strict_device::uploads() - before)
}

#[track_caller]
fn check(name: &str, checkpoint: &Checkpoint, size: (i64, i64)) {
    check_with(name, checkpoint, size, &BuildOptions::default());
}

#[track_caller]
fn check_with(
    name: &str,
    checkpoint: &Checkpoint,
    (height, width): (i64, i64),
    options: &BuildOptions,
) {
    tch::manual_seed(3);
    let x = Tensor::rand([2, 3, height, width], (Kind::Float, Device::Cpu));
    for (kind, allowed) in [(Kind::Float, 2e-5), (Kind::BFloat16, 0.1)] {
        let (device, uploads) = run(checkpoint, options, kind, strict_device::device(), &x);
        let (host, _) = run(checkpoint, options, kind, Device::Cpu, &x);
        let mut pairs = vec![
            ("summary".to_string(), &device.summary, &host.summary),
            ("spatial".to_string(), &device.spatial, &host.spatial),
        ];
        assert_eq!(device.adaptors.len(), host.adaptors.len());
        for ((adaptor, device), host) in device.adaptors.iter().zip(host.adaptors.values()) {
            pairs.push((adaptor.clone(), &device.summary, &host.summary));
            if let (Some(device), Some(host)) = (&device.spatial, &host.spatial) {
                pairs.push((format!("{adaptor}, spatial"), &device.0, &host.0));
            }
        }
        for (what, device, host) in pairs {
            let apart = apart(device, host);
            assert!(apart <= allowed, "{name} {kind:?} {what}: {apart:e}");
        }
        assert_eq!(
            uploads, 0,
            "{name} {kind:?} copies from the host in every pass"
        );
    }
}

#[test]
fn radio() {
    let case = |name: &str| {
        let folder = format!("radio/{name}");
        file(
            &format!("{folder}/checkpoint_raw.safetensors"),
            &format!("{folder}/args.json"),
        )
    };
    check("v3_like", &case("v3_like"), (64, 96));
    check("dinov2_like", &case("dinov2_like"), (56, 84));
    check("spectral", &case("spectral"), (64, 96));
}

/// With a chosen code length, and with one that the network chooses.
#[test]
fn radio1d() {
    let plain = Checkpoint::open(&fixture("radio1d/two_levels")).expect("a fixture");
    let mut dynamic = plain.config.clone();
    dynamic["args"]["model_kwargs"]["dynamic_rate"] = json!(true);
    let dynamic = Checkpoint::random(dynamic, 7);
    let code = |tokens: Option<i64>, last: bool, neck: Neck| BuildOptions {
        radio1d: CodeOptions {
            tokens,
            last,
            neck: Some(neck),
        },
        ..BuildOptions::default()
    };
    for neck in [Neck::Decoder, Neck::Encoder, Neck::Tokens] {
        check_with("radio1d", &plain, (52, 76), &code(None, false, neck));
        check_with("radio1d, 4", &plain, (64, 64), &code(Some(4), true, neck));
        check_with("dynamic", &dynamic, (64, 64), &code(Some(-4), false, neck));
        check_with(
            "dynamic, last",
            &dynamic,
            (64, 64),
            &code(Some(-4), true, neck),
        );
    }
}

#[test]
fn eradio() {
    check("eradio_xxxtiny", &random("eradio_xxxtiny"), (128, 192));
}

/// Cyclically shifted windows have a mask of their own.
#[test]
fn eradio_with_shifted_windows() {
    let mut config: Value = (zoo::find("eradio_xxxtiny").expect("a zoo name").config)();
    config["use_shift"] = json!(true);
    check("shifted", &Checkpoint::random(config, 7), (512, 512));
}

#[test]
fn clip() {
    check("mini-clip", &random("mini-clip"), (128, 128));
}

#[test]
fn pe() {
    for (case, size) in [("core", (20, 8)), ("spatial_g", (16, 12))] {
        let weights = fixture(&format!("teachers/pe/{case}.safetensors"));
        let mut own = Checkpoint::open(&weights).expect("a fixture");
        own.config = json!({"use_rope2d": true, "patch_size": 4, "heads": 2});
        check(case, &own, size);
    }
}

#[test]
fn dinov2() {
    check("mini-dino", &random("mini-dino"), (126, 98));
}

#[test]
fn dinov3() {
    let config = json!({
        "model_type": "dinov3_vit", "hidden_size": 64, "num_hidden_layers": 3,
        "num_attention_heads": 4, "intermediate_size": 128, "patch_size": 16,
    });
    check("dinov3", &Checkpoint::random(config, 7), (64, 96));
}

#[test]
fn sam() {
    check("mini-sam", &random("mini-sam"), (256, 256));
}

#[test]
fn siglip() {
    let folder = "teachers/siglip_so400m_like";
    let own = file(
        &format!("{folder}/openclip.safetensors"),
        &format!("{folder}/openclip_config.json"),
    );
    check("siglip", &own, (56, 56));
    let folder = "teachers/siglip2_naflex/hf";
    let naflex = file(
        &format!("{folder}/model.safetensors"),
        &format!("{folder}/config.json"),
    );
    check("naflex", &naflex, (64, 96));
}

#[test]
fn internvit() {
    let folder = "teachers/internvit";
    let own = file(
        &format!("{folder}/model.safetensors"),
        &format!("{folder}/config.json"),
    );
    check("internvit", &own, (56, 56));
}

/// A program with a tensor that stays on the CPU, as tracing bakes them in: the error says so.
#[test]
fn a_constant_baked_into_a_program_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("baked.pt");
    let pair = std::fs::File::open(fixture("torchscript/pair.pt")).expect("a program");
    let mut from = zip::ZipArchive::new(pair).expect("an archive");
    let mut to = zip::ZipWriter::new(std::fs::File::create(&path).expect("a file"));
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for index in 0..from.len() {
        let mut record = from.by_index(index).expect("a record");
        let name = record.name().expect("a name").to_string();
        let mut bytes = Vec::new();
        record.read_to_end(&mut bytes).expect("its bytes");
        if name.ends_with("code/__torch__.py") {
            let code = String::from_utf8(bytes).expect("source");
            let call = "y = (conv).forward(x, )";
            let baked = "_9 = torch.ones([1, 4, 1, 1], dtype=6, layout=0, \
                         device=torch.device(\"cpu\"), pin_memory=False)\n    \
                         y = torch.mul((conv).forward(x, ), _9)";
            assert!(code.contains(call), "{code}");
            bytes = code.replace(call, baked).into_bytes();
        }
        to.start_file(name, stored).expect("a record");
        to.write_all(&bytes).expect("its bytes");
    }
    to.finish().expect("an archive");

    let program = Checkpoint::open(&path).expect("a program");
    let options = |device| BuildOptions {
        device,
        ..BuildOptions::default()
    };
    let network = build(&program, &options(Device::Cpu)).unwrap_or_else(|e| panic!("{e}"));
    let x = Tensor::rand([1, 3, 224, 224], (Kind::Float, Device::Cpu));
    assert!(backbone::run(&*network, &x, &Request::default()).is_ok());
    let refused = build(&program, &options(strict_device::device()));
    let told = refused.err().expect("refused").to_string();
    assert!(
        told.contains("baked.pt: the program holds a tensor that stays on the CPU"),
        "{told}"
    );
    assert!(told.contains("Run it with --device cpu"), "{told}");
}

#[test]
fn torchscript() {
    let program = Checkpoint::open(&fixture("torchscript/pair.pt")).expect("a program");
    check("torchscript", &program, (224, 224));
}
