//! The data splits that papers report on, and how a run's data is known to be one of them.

/// A split that figures are published for.
#[derive(Debug, PartialEq, Eq)]
pub struct Benchmark {
    pub name: &'static str,
    pub split: &'static str,
    /// Samples of the whole split; a run on fewer of them is no reproduction.
    pub samples: u64,
    /// Samples of the split that kNN's neighbours are from, or a probe is trained on.
    pub train_samples: u64,
    classes: usize,
    /// What the first and the last class are called in the forms the data comes in.
    first_class: &'static [&'static str],
    last_class: &'static [&'static str],
    /// Bytes of all encoded images (at least, at most): tells copies that were resized or
    /// corrupted, which keep names and counts.
    bytes: Option<(u64, u64)>,
}

/// `ILSVRC2012_img_val.tar` has 6,744,924,160 bytes: 512 of a header and up to 511 of padding per
/// image, so the images have 6.694e9 to 6.720e9; one percent more for repaired files.
pub static IMAGENET_1K: Benchmark = Benchmark {
    name: "ImageNet-1k",
    split: "val",
    samples: 50_000,
    train_samples: 1_281_167,
    classes: 1_000,
    first_class: &["n01440764", "tench", "0"],
    last_class: &["n15075141", "toilet tissue", "999"],
    bytes: Some((6_627_000_000, 6_787_000_000)),
};

pub static ADE20K: Benchmark = Benchmark {
    name: "ADE20k",
    split: "val",
    samples: 2_000,
    train_samples: 20_210,
    classes: 150,
    first_class: &["wall"],
    last_class: &["flag"],
    bytes: None,
};

pub static VOC_2012: Benchmark = Benchmark {
    name: "PASCAL VOC 2012",
    split: "val",
    samples: 1_449,
    train_samples: 1_464,
    classes: 21,
    first_class: &["background"],
    last_class: &["tvmonitor"],
    bytes: None,
};

pub static COCO_2017: Benchmark = Benchmark {
    name: "COCO 2017",
    split: "val",
    samples: 5_000,
    train_samples: 118_287,
    classes: 80,
    first_class: &["person"],
    last_class: &["toothbrush"],
    bytes: None,
};

/// Every benchmark.
pub static BENCHMARKS: &[&Benchmark] = &[&IMAGENET_1K, &ADE20K, &VOC_2012, &COCO_2017];

/// The benchmark that a split of `samples` is; `None` for everything else, a part of a benchmark
/// included. `ends` are all names of the first and of the last class; `bytes` counts the encoded
/// images, and is asked only where the rest agrees.
pub fn recognise(
    samples: u64,
    classes: usize,
    ends: [&[String]; 2],
    bytes: impl Fn() -> u64,
) -> Option<&'static Benchmark> {
    let named = |known: &[&str], names: &[String]| {
        let mut names = names.iter().flat_map(|name| name.split([',', ';']));
        names.any(|name| known.contains(&name.trim()))
    };
    BENCHMARKS.iter().copied().find(|benchmark| {
        samples == benchmark.samples
            && classes == benchmark.classes
            && named(benchmark.first_class, ends[0])
            && named(benchmark.last_class, ends[1])
            && (benchmark.bytes).is_none_or(|(least, most)| (least..=most).contains(&bytes()))
    })
}

impl std::fmt::Display for Benchmark {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.split)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(samples: u64, ends: [&str; 2], bytes: u64) -> Option<&'static Benchmark> {
        let [first, last] = ends.map(|name| vec![name.to_string()]);
        recognise(samples, 1_000, [&first, &last], || bytes)
    }

    const WNIDS: [&str; 2] = ["n01440764", "n15075141"];
    const BYTES: u64 = 6_709_003_386;

    #[test]
    fn a_benchmark_is_known_by_classes_count_and_bytes() {
        assert_eq!(seen(50_000, WNIDS, BYTES), Some(&IMAGENET_1K));
        let hugging_face = ["tench, Tinca tinca", "toilet tissue, toilet paper"];
        assert_eq!(seen(50_000, hugging_face, BYTES), Some(&IMAGENET_1K));
    }

    #[test]
    fn what_only_resembles_it_is_not_it() {
        assert_eq!(seen(50_889, WNIDS, BYTES), None, "ImageNet-Sketch");
        assert_eq!(
            seen(50_000, WNIDS, 1_900_000_000),
            None,
            "ImageNet-C, 224 px"
        );
        assert_eq!(seen(49_999, WNIDS, BYTES), None, "a part");
        assert_eq!(seen(50_000, ["cat", "n15075141"], BYTES), None);
    }
}
