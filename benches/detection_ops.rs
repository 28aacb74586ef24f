//! RoIAlign (forward, and with backward) and non-maximum suppression of the shim, natively on the
//! CPU. `benches/detection_ops.sh` runs it beside torchvision's operators on the same numbers.
//!
//! `cargo bench --bench detection_ops -- FOLDER`: reads `ops.safetensors` made by
//! `benches/detection_ops.py make FOLDER`; prints `name milliseconds` and compares the outputs.

use radio_eval::runtime::shim::{RoiAlign, nms_on_cpu, roi_align_on_cpu};
use radio_eval::weights::safetensors;
use std::path::PathBuf;
use std::time::Instant;
use tch::{Device, Kind};

/// Rounds; the fastest counts.
const ROUNDS: usize = 7;

fn main() -> anyhow::Result<()> {
    let folder = std::env::args().skip(1).find(|arg| arg != "--bench");
    let folder = PathBuf::from(folder.ok_or_else(|| anyhow::anyhow!("name a folder"))?);
    let (tensors, _) = safetensors::open(&folder.join("ops.safetensors"))?;
    let get = |name: &str| tensors[name].read(Device::Cpu, tensors[name].kind);
    println!("threads {}", tch::get_num_threads());
    for (name, side, scale) in [
        ("box", 7, 0.25),
        ("mask", 14, 0.25),
        ("coarse", 7, 1.0 / 16.0),
    ] {
        let (map, rois) = (get(&format!("{name}.map"))?, get(&format!("{name}.rois"))?);
        let settings = RoiAlign {
            size: (side, side),
            scale,
            ratio: 2,
            aligned: false,
        };
        let forward = || roi_align_on_cpu(&map, &rois, &settings);
        report(&format!("roi_align.{name}"), || forward().map(drop))?;
        let expected = get(&format!("{name}.pooled"))?;
        let apart = (forward()? - expected).abs().max().double_value(&[]);
        anyhow::ensure!(apart < 1e-4, "{name}: {apart}");
        let leaf = map.detach_copy().set_requires_grad(true);
        report(&format!("roi_align_backward.{name}"), || {
            let pooled = roi_align_on_cpu(&leaf, &rois, &settings)?;
            pooled.sum(Kind::Float).backward();
            Ok(())
        })?;
    }
    for name in ["nms", "batched"] {
        let (boxes, scores) = (get("nms.boxes")?, get("nms.scores")?);
        let labels = get("nms.labels")?;
        let labels = (name == "batched").then_some(&labels);
        let run = || nms_on_cpu(&boxes, &scores, labels, 0.7);
        report(name, || run().map(drop))?;
        anyhow::ensure!(
            run()?.equal(&get(&format!("{name}.keep"))?),
            "{name} differs"
        );
    }
    Ok(())
}

fn report(name: &str, mut work: impl FnMut() -> radio_eval::Result<()>) -> anyhow::Result<()> {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        work()?;
        best = best.min(started.elapsed().as_secs_f64());
    }
    println!("{name} {:.3}", 1e3 * best);
    Ok(())
}
