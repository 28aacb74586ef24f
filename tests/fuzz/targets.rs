//! How each parser is called, and on what.

use crate::campaign::Target;
use crate::{containers, seeds, tables};
use radio_eval::cli::latency_sweep::LatencyConfig;
use radio_eval::config::bench::BenchFile;
use radio_eval::config::{DatasetLayout, datasets};
use radio_eval::data::Source;
use radio_eval::data::brace;
use radio_eval::data::classification::{self, OpenOptions, classes, mapping::Mapping};
use radio_eval::data::coco;
use radio_eval::data::decode::{self, Limits};
use radio_eval::data::image::Region;
use radio_eval::data::segmentation::{classes as mask_classes, mask};
use radio_eval::data::tree::FileTree;
use radio_eval::models::text::{ClipTokenizer, SiglipTokenizer};
use radio_eval::models::torchscript::settings;
use radio_eval::report::Record;
use radio_eval::runtime::device;
use radio_eval::tasks::segmentation::recipe::{Preset, Recipe, RecipeValues};
use radio_eval::tasks::zero_shot::Templates;
use radio_eval::weights::{Checkpoint, pickle as pickles};
use std::path::{Path, PathBuf};

/// Most pixels of a decoded picture.
const LIMITS: Limits = Limits {
    max_pixels: 1 << 20,
};

fn told<T>(outcome: radio_eval::Result<T>) -> Result<T, String> {
    outcome.map_err(|error| error.to_string())
}

/// A file of this thread, overwritten each time.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    thread_local! {
        static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a temporary folder");
    }
    let path = FOLDER.with(|folder| folder.path().join(name));
    std::fs::write(&path, bytes).expect("the file is written");
    path
}

/// Text as its readers get it.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn picture(bytes: &[u8]) -> Result<(), String> {
    let whole = decode::decode(bytes, &LIMITS)?;
    assert_eq!(whole.data.len(), whole.width * whole.height * 3);
    // A part has the pixels of the whole, where it was asked for.
    let middle = |height: usize, width: usize| Region {
        x: width / 3,
        y: height / 3,
        width: width.div_ceil(3),
        height: height.div_ceil(3),
    };
    let part = decode::decode_part(bytes, &LIMITS, middle)?;
    assert_eq!((part.width, part.height), (whole.width, whole.height));
    let asked = middle(whole.height, whole.width);
    for y in asked.y..asked.y + asked.height {
        let own = |x: usize| 3 * (x - part.x);
        let row = &part.pixels.row(y - part.y)[own(asked.x)..own(asked.x + asked.width)];
        let expected = &whole.row(y)[3 * asked.x..3 * (asked.x + asked.width)];
        assert!(row == expected, "row {y} of a part differs from the whole");
    }
    Ok(())
}

fn pictures(ending: &str) -> Target {
    Target::new(seeds::all("images/decode", ending), picture)
}

pub fn jpeg() -> Target {
    let mut target = pictures(".jpg");
    target.seeds.retain(|seed| picture(seed).is_ok());
    target
}

pub fn png() -> Target {
    pictures(".png").mended(containers::png)
}

pub fn webp() -> Target {
    pictures(".webp")
}

pub fn bmp() -> Target {
    pictures(".bmp")
}

pub fn gif() -> Target {
    pictures(".gif")
}

pub fn tiff() -> Target {
    Target {
        // The tiff crate reads a tag of up to 256 MiB before it says how large the picture is.
        memory: 288 << 20,
        ..pictures(".tiff")
    }
}

pub fn mask() -> Target {
    let names = ["palette", "palette_4bit", "bilevel", "grey", "grey16"];
    let files = names.map(|name| seeds::fixture(&format!("images/decode/{name}.png")));
    Target::new(files.to_vec(), |bytes| {
        let mask = mask::decode(bytes, &LIMITS)?;
        assert_eq!(mask.values.len(), mask.width * mask.height);
        Ok(())
    })
    .mended(containers::png)
}

pub fn picture_size() -> Target {
    let size = |bytes: &[u8]| {
        decode::image_size(bytes)
            .map(|_| ())
            .ok_or("no size".into())
    };
    let mut target = Target::new(seeds::all("images/decode", ""), size);
    target.seeds.retain(|seed| size(seed).is_ok());
    target
}

fn pickle_seeds() -> Vec<Vec<u8>> {
    let names = [
        "zip.pth.tar",
        "ema.pth",
        "protocol4.pth",
        "module.pth",
        "teacher.pth",
    ];
    names
        .map(|name| containers::pickle_in(&seeds::fixture(&format!("weights/{name}"))))
        .to_vec()
}

pub fn pickle() -> Target {
    Target::new(pickle_seeds(), |bytes| {
        let pickle = pickles::read(bytes)?;
        pickle.to_json(pickle.root()).map(|_| ())
    })
}

/// A weight file, with all tensors of moderate size read.
fn weights(name: &str, bytes: &[u8]) -> Result<(), String> {
    let checkpoint = told(Checkpoint::open(&file(name, bytes)))?;
    for tensor in checkpoint.tensors().into_iter().flat_map(|t| t.values()) {
        if tensor.numel() < 1 << 20 {
            drop(told(tensor.read_stored())?);
        }
    }
    Ok(())
}

pub fn torch_zip() -> Target {
    let names = [
        "zip.pth.tar",
        "ema.pth",
        "protocol4.pth",
        "flat.bin",
        "script.pt",
    ];
    let files = names.map(|name| seeds::fixture(&format!("weights/{name}")));
    Target::new(files.to_vec(), |bytes| weights("m.pth", bytes))
}

pub fn torch_zip_pickle() -> Target {
    let mut target = Target::new(pickle_seeds(), |bytes| {
        weights("m.pth", &containers::zip_around(bytes))
    });
    // A whole module is refused as such.
    target.seeds.retain(|seed| (target.read)(seed).is_ok());
    target
}

pub fn torch_legacy() -> Target {
    let file = seeds::fixture("weights/legacy.pth.tar");
    Target::new(vec![file], |bytes| weights("m.pth", bytes))
}

pub fn safetensors() -> Target {
    let names = ["weights/expected", "text/clip_text_tiny_fixed"];
    let files = names.map(|name| seeds::fixture(&format!("{name}.safetensors")));
    Target::new(files.to_vec(), |bytes| weights("m.safetensors", bytes))
        .mended(containers::safetensors)
}

pub fn index_of_shards() -> Target {
    Target::new(seeds::texts(&[tables::INDEX]), |bytes| {
        let part = containers::shard(&["a.weight", "b"]);
        file("m.safetensors", &part);
        let index = file("model.safetensors.index.json", bytes);
        told(Checkpoint::open(&index)).map(|_| ())
    })
}

/// Every reader of a model's description, on weights that it does not fit.
pub fn model_config() -> Target {
    let names = [
        "radio/v3_like/args.json",
        "radio/spectral/args.json",
        "teachers/siglip2_naflex/hf/config.json",
        "teachers/internvit/config.json",
        "teachers/clip_quickgelu/openclip_config.json",
        "text/siglip_so400m_like/hf/config.json",
        "teachers/dinov2_mlp/hub_config.json",
    ];
    Target::new(names.map(seeds::fixture).to_vec(), |bytes| {
        let part = containers::shard(&["a.weight", "b"]);
        file("model.safetensors", &part);
        let config = file("config.json", bytes);
        told(Checkpoint::open(config.parent().unwrap_or(Path::new("")))).map(|_| ())
    })
}

fn classes_of(spec: &Path, layout: DatasetLayout) -> Result<(), String> {
    let data = told(classification::open(&spec.to_string_lossy(), Some(layout)))?;
    for source in data.train.iter().chain(&data.val) {
        for index in 0..source.len().min(8) {
            told(source.read(index))?;
        }
    }
    Ok(())
}

pub fn parquet() -> Target {
    Target::new(seeds::all("data/parquet/data", ".parquet"), |bytes| {
        classes_of(
            &file("val-00000-of-00001.parquet", bytes),
            DatasetLayout::Parquet,
        )
    })
}

pub fn tar_of_images() -> Target {
    let long = "l/".repeat(80) + "x.jpg";
    let inner = containers::tar_of(&[("a.jpg", b"picture"), ("b.jpg", b"other")]);
    let files = [
        containers::tar_of(&[
            ("classes.tsv", b"a\tx\n"),
            ("val/a/1.jpg", b"picture"),
            ("val/b/2.jpg", b"other"),
        ]),
        containers::tar_of(&[("d/", b""), ("n01.tar", &inner), (&long, b"picture")]),
    ];
    let files = files.into_iter().chain(containers::sparse_tars());
    Target::new(files.collect(), |bytes| {
        let tree = told(FileTree::open_tar(&file("val.tar", bytes)))?;
        for index in 0..tree.len() {
            told(tree.read(index))?;
        }
        Ok(())
    })
    .mended(containers::tar)
}

pub fn webdataset() -> Target {
    let files = [
        containers::tar_of(&[
            ("0.cls", b"3"),
            ("0.jpg", b"picture"),
            ("1.cls", b"0"),
            ("1.jpg", b"other"),
        ]),
        containers::tar_of(&[
            ("0.jpg", b"picture"),
            ("0.json", b"{\"label\": 3}"),
            ("1.jpg", b"o"),
            ("1.json", b"{\"cls\": 4}"),
        ]),
        containers::tar_of(&[
            ("0.jpg", b"picture"),
            ("0.txt", b"cat"),
            ("1.jpg", b"o"),
            ("1.txt", b"dog"),
        ]),
    ];
    Target::new(files.to_vec(), |bytes| {
        classes_of(&file("shard-000000.tar", bytes), DatasetLayout::Webdataset)
    })
    .mended(containers::tar)
}

pub fn mapping() -> Target {
    Target::new(seeds::texts(&tables::MAPPINGS), |bytes| {
        file("meta.tsv", tables::META.as_bytes());
        told(Mapping::open(
            &file("val.tsv", bytes),
            &OpenOptions::default(),
        ))
        .map(|_| ())
    })
}

pub fn class_list() -> Target {
    Target::new(seeds::texts(&tables::CLASSES), |bytes| {
        told(classes::parse(&text(bytes), Path::new("classes.tsv"))).map(|_| ())
    })
}

pub fn mask_classes() -> Target {
    Target::new(seeds::texts(&tables::MASK_CLASSES), |bytes| {
        let read = |reduce| mask_classes::parse(&text(bytes), Path::new("classes.tsv"), reduce);
        told(read(false)).and(told(read(true)))?;
        Ok(())
    })
}

pub fn templates() -> Target {
    Target::new(seeds::texts(&tables::TEMPLATES), |bytes| {
        let path = file("templates.txt", bytes);
        let templates = told(Templates::open(&path.to_string_lossy()))?;
        for prompt in templates.prompts("cat {}") {
            assert!(!prompt.is_empty());
        }
        Ok(())
    })
}

pub fn braces() -> Target {
    Target::new(seeds::texts(&tables::BRACES), |bytes| {
        let pattern = text(bytes);
        match told(brace::expand(Path::new(&pattern))) {
            Err(refusal)
                if refusal.contains("is missing")
                    || refusal.contains("is not there")
                    || refusal.contains("No such file") =>
            {
                Ok(())
            }
            other => other.map(|_| ()),
        }
    })
}

pub fn catalogue() -> Target {
    let mut files = seeds::texts(&tables::DATASETS);
    files.push(seeds::checkout("datasets.toml"));
    Target::new(files, |bytes| {
        told(datasets::parse(Path::new("datasets.toml"), &text(bytes))).map(|_| ())
    })
}

pub fn latency_config() -> Target {
    let names = ["latency/cpu-224", "latency/efficient-backbones"];
    let files = names.map(|name| seeds::checkout(&format!("bench-configs/{name}.toml")));
    Target::new(files.to_vec(), |bytes| {
        told(LatencyConfig::read(&file("sweep.toml", bytes))).map(|_| ())
    })
}

pub fn bench_config() -> Target {
    let names = ["paper-table1", "paper-table7", "demo"];
    let files = names.map(|name| seeds::checkout(&format!("bench-configs/{name}.toml")));
    Target::new(files.to_vec(), |bytes| {
        told(BenchFile::parse(Path::new("table.toml"), text(bytes))).map(|_| ())
    })
}

pub fn recipe() -> Target {
    Target::new(seeds::texts(&tables::RECIPES), |bytes| {
        let values = told(RecipeValues::read(&file("recipe.toml", bytes)))?;
        let recipe = told(Recipe::new(Preset::RepoHead, values))?;
        // What is computed from it must not panic either.
        recipe.schedule();
        recipe.describe();
        Ok(())
    })
}

pub fn torchscript_settings() -> Target {
    Target::new(seeds::texts(&tables::TORCHSCRIPT), |bytes| {
        let beside = file("program.toml", bytes);
        let program = beside.with_extension("pt");
        told(settings::read(&program, &settings::Declared::default())).map(|_| ())
    })
}

pub fn record() -> Target {
    let name = "results/quick-distance/quick/segmentation__mini-dino.json";
    Target::new(vec![seeds::checkout(name)], |bytes| {
        told(Record::read(&file("record.json", bytes))).map(|_| ())
    })
}

/// COCO's annotations, and the pixels of what was taken.
pub fn coco_annotations() -> Target {
    Target::new(seeds::texts(&[tables::COCO]), |bytes| {
        let path = file("instances_val.json", bytes);
        file("a.jpg", b"");
        let set = told(coco::open(
            &path.display().to_string(),
            coco::Split::Val,
            &coco::OpenOptions::default(),
        ))?;
        for index in 0..set.len() {
            for instance in set.instances(index) {
                let runs = coco::mask::runs(instance, 40, 60)?;
                let area = runs.map_or(0, |runs| {
                    let raster = coco::mask::raster(&runs);
                    assert_eq!(raster.len(), 40 * 60);
                    coco::mask::area(&runs)
                });
                assert!(area <= 40 * 60);
            }
        }
        Ok(())
    })
}

pub fn clip_text() -> Target {
    thread_local! {
        static TOKENIZER: ClipTokenizer = ClipTokenizer::new(77).expect("the shipped vocabulary");
    }
    Target::new(seeds::texts(&tables::PROMPTS), |bytes| {
        let row = TOKENIZER.with(|tokenizer| told(tokenizer.row(&text(bytes))))?;
        assert_eq!(row.len(), 77);
        Ok(())
    })
}

pub fn siglip_text() -> Target {
    fn tokenizer() -> SiglipTokenizer {
        let path = file(
            "tokenizer.json",
            &seeds::fixture("text/siglip2/tokenizer.json"),
        );
        SiglipTokenizer::open(&path, 64).expect("a vocabulary")
    }
    thread_local! { static TOKENIZER: SiglipTokenizer = tokenizer(); }
    Target::new(seeds::texts(&tables::PROMPTS), |bytes| {
        let row = TOKENIZER.with(|tokenizer| told(tokenizer.row(&text(bytes))))?;
        assert_eq!(row.len(), 64);
        Ok(())
    })
}

pub fn siglip_vocabulary() -> Target {
    let file_of = |name: &str| seeds::fixture(&format!("text/{name}/tokenizer.json"));
    Target::new(vec![file_of("siglip_zero_shot")], |bytes| {
        let tokenizer = told(SiglipTokenizer::open(&file("tokenizer.json", bytes), 64))?;
        told(tokenizer.row("a photo of a cat, ŝ")).map(|_| ())
    })
}

pub fn device_name() -> Target {
    Target::new(seeds::texts(&tables::DEVICES), |bytes| {
        match told(device::parse_device(&text(bytes))) {
            // This machine may have no such device.
            Err(refusal) if refusal.contains("CUDA device") => Ok(()),
            other => other.map(|_| ()),
        }
    })
}
