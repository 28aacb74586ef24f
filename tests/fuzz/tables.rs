//! Seeds of the text formats.

pub const MAPPINGS: [&str; 4] = [
    "a_001.jpg\tn01440764\nb_002.jpg\tn01443537\n",
    "ImageId,PredictionString\nILSVRC2012_val_00000001,n01751748 111 108 441 193\n\"x, y\",n01440764 1 2 3 4\n",
    "490\n361\n171\n",
    "a.jpg 3\nb.jpg 4\n",
];

/// The devkit's ids of the third mapping.
pub const META: &str = "490\tn01440764\n361\tn01443537\n171\tn01484850\n";

pub const CLASSES: [&str; 3] = [
    "n01440764\ttench, Tinca tinca\nn01443537\tgoldfish\n",
    "cat\ndog\n",
    "0\tplane\n1\tcar, auto\n",
];

pub const MASK_CLASSES: [&str; 4] = [
    "Idx\tRatio\tTrain\tVal\tStuff\tName\n1\t0.2\t1\t2\t1\twall\n2\t0.1\t1\t2\t1\tbuilding, edifice\n",
    "7\troad\n8\tsidewalk, pavement\n4\t-\n",
    "background\ncat\n",
    "65535\tlast\n0\tfirst\n",
];

pub const TEMPLATES: [&str; 2] = ["a photo of a {}.\nart of the {}.\n", "{}"];

/// Below a folder that is not there; a pattern that stays small is refused for that alone.
pub const BRACES: [&str; 6] = [
    "none/s-{000000..000012}.tar",
    "none/{a,b}-{1..3}.tar",
    "none/train-*-of-*.parquet",
    "none/{a,b}{c,d}{e,f}",
    "none/x{1..9}{1..9}.tar",
    "none/plain.tar",
];

pub const DATASETS: [&str; 2] = [
    "[a]\ntask = \"classification\"\nabout = \"x\"\nlayout = \"folder\"\nroots = [\"$A/b\", \"~/c\", \"assets:mini\"]\nclasses = 20\n\n[a.splits.val]\npath = \"s-{000000..000012}.tar\"\nsamples = 500\nsha256 = { \"x\" = \"9cc9b20889d282f45dade3aa89a1fdb025eb70251177502ac705ef06688d131b\" }\n",
    "[b]\ntask = \"segmentation\"\nabout = \"\"\nhub = \"ORG/NAME\"\nclass_list = \"o.txt\"\nreduce_zero_label = true\n[b.splits.train]\npath = \"x.tar\"\nimages = \"images/training\"\nannotations = \"annotations/training\"\n",
];

pub const RECIPES: [&str; 2] = [
    "iterations = 80000\nbatch_size = 16\nlr = 1e-3\nseeds = [0, 1]\ncurve = \"poly\"\nresolution = 512\n",
    "warmup = 50\nwarmup_factor = 1e-6\nratio = [0.5, 2.0]\nscale = [2048, 512]\ninference = \"slide\"\nstride = 341\nval_every = 100\nfeatures = \"cached\"\nlabel_size = 128\n",
];

pub const TORCHSCRIPT: [&str; 2] = [
    "mean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\nresolution = [384, 384]\nstep = 32\nfixed = true\nlayout = \"nhwc\"\n",
    "resolution = 224\n",
];

pub const DEVICES: [&str; 4] = ["auto", "cpu", "cuda:0", "cuda:18446744073709551615"];

pub const INDEX: &str = r#"{"metadata": {"total_size": 10}, "weight_map": {"a.weight": "m.safetensors", "b": "m.safetensors"}}"#;

pub const PROMPTS: [&str; 6] = [
    "a photo of a cat",
    "Ça va?  l&amp;#233;gende &lt;b&gt; 123's",
    "schÃ¶n â€œquotedâ€\u{9d} \u{fb01}ne",
    "日本語のテキスト🙂‍↔️ \u{345}ⅷ",
    "<start_of_text> x <end_of_text>'ll",
    "&#x1F600; &nbsp; &notin; &#0; &#xD800;",
];

pub const COCO: &str = r#"{"images": [{"id": 7, "file_name": "a.jpg", "height": 40, "width": 60}],
"categories": [{"id": 31, "name": "cup"}],
"annotations": [
{"id": 1, "image_id": 7, "category_id": 31, "bbox": [1.5, 2, 20, 30], "area": 300.25, "iscrowd": 0,
 "segmentation": [[1, 2, 21.5, 2, 21.5, 32, 1, 32], [40, 3, 50, 3, 45, 20]]},
{"id": 2, "image_id": 7, "category_id": 31, "bbox": [0, 0, 2, 2], "area": 4, "iscrowd": 1,
 "segmentation": {"size": [40, 60], "counts": [10, 20, 2370]}},
{"id": 3, "image_id": 7, "category_id": 31, "bbox": [0, 0, 2, 2], "area": 4,
 "segmentation": {"size": [40, 60], "counts": ":d0RZ2"}}]}"#;
