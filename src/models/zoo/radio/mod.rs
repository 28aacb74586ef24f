//! RADIO students by upstream's version names (spec/radio.md §1, §1.1, §8; spec/published.md §1).
//!
//! A config holds what the checkpoint's args say, as far as spec §1.1 knows it. Not read in any
//! file and taken as the spec infers it: the teachers of radio_v2.5-h, radio_v2.5-g and the
//! C-RADIO v2 and v3 versions (counts of prefix tokens and the summary width follow), whether
//! c-radio_v3-g scales its norms (here it does not), the number of inner layers of their heads
//! (1, as in v2.5-b), and the width of SAM's summary head (its encoder's). A checkpoint's own
//! args and tensors always win; this is for `--random-weights`.

mod figures;

use super::{FOLDER, NVIDIA_OPEN, NVIDIA_SOURCE_CODE, ZooEntry};
use serde_json::{Map, Value, json};

/// (name, summary width, feature width) of the adaptors; widths are the teachers' own.
type Heads = &'static [(&'static str, i64, i64)];

const CLIP: (&str, i64, i64) = ("clip", 1024, 1280);
const OPENAI_CLIP: (&str, i64, i64) = ("openai_clip", 768, 1024);
const SIGLIP: (&str, i64, i64) = ("siglip", 1152, 1152);
const SIGLIP2: (&str, i64, i64) = ("siglip2-g", 1536, 1536);
const DINO_V2: (&str, i64, i64) = ("dino_v2", 1536, 1536);
const SAM: (&str, i64, i64) = ("sam", 1280, 1280);

const V1: Heads = &[CLIP, OPENAI_CLIP, DINO_V2];
const V2: Heads = &[CLIP, OPENAI_CLIP, DINO_V2, SAM];
const V25: Heads = &[CLIP, SIGLIP, DINO_V2, SAM];
const V3: Heads = &[CLIP, SIGLIP2, DINO_V2, SAM];
const V4: Heads = &[SIGLIP2, ("dino_v3", 4096, 4096), ("sam3", 1024, 1024)];

/// Hidden width of every head.
const HEAD_HIDDEN: i64 = 1520;

/// The part of the args that differs between versions.
struct Student {
    model: &'static str,
    cpe_max_size: i64,
    teachers: Heads,
    /// Teachers that train features only.
    no_summary: &'static [&'static str],
    /// K + R
    register_multiple: i64,
    /// Inner layers of the heads.
    inner: i64,
    /// What else the args say.
    more: Value,
}

const STUDENT: Student = Student {
    model: "",
    cpe_max_size: 2048,
    teachers: V25,
    no_summary: &["sam"],
    register_multiple: 8,
    inner: 1,
    more: Value::Null,
};

impl Student {
    fn config(self) -> Value {
        let teachers: Vec<Value> = self
            .teachers
            .iter()
            .map(|(name, ..)| json!({"name": name, "use_summary": !self.no_summary.contains(name)}))
            .collect();
        let mut args = json!({
            "model": self.model,
            "cls_token_per_teacher": true,
            "register_multiple": self.register_multiple,
            "cpe_max_size": self.cpe_max_size,
            "teachers": teachers,
            "mlp_version": "v2",
        });
        if let (Some(args), Value::Object(more)) = (args.as_object_mut(), self.more) {
            args.extend(more);
        }
        let per_teacher = args["cls_token_per_teacher"] == true;
        let head = |width: &i64| json!({"hidden_dim": HEAD_HIDDEN, "output_dim": width, "num_inner": self.inner});
        let adaptors: Map<String, Value> = self
            .teachers
            .iter()
            .enumerate()
            .map(|(i, (name, summary, feature))| {
                let token = if per_teacher { i } else { 0 };
                let adaptor =
                    json!({"head_idx": token, "summary": head(summary), "feature": head(feature)});
                (name.to_string(), adaptor)
            })
            .collect();
        json!({"args": args, "adaptor_configs": adaptors})
    }
}

/// C-RADIOv4's heads: an attention head for SigLIP2's features.
fn v4(model: &'static str) -> Value {
    let mut config = Student {
        model,
        teachers: V4,
        no_summary: &["sam3"],
        register_multiple: 10,
        inner: 2,
        ..STUDENT
    }
    .config();
    config["adaptor_configs"]["siglip2-g"]["feature"]["version"] = json!("attn");
    config
}

/// Facts beside the weights. Positions: every figure published before 2025-06-28 was made with
/// `align_corners=True` (spec §0.1). ViTDet: RESOURCE_MAP's fields (spec §1).
fn hints(pos_align_corners: bool, preferred: i64, vitdet: Value) -> Value {
    let mut hints = json!({
        "pos_align_corners": pos_align_corners,
        "preferred": [preferred, preferred],
    });
    if let (Some(hints), Value::Object(vitdet)) = (hints.as_object_mut(), vitdet) {
        hints.extend(vitdet);
    }
    hints
}

fn no_vitdet() -> Value {
    json!({"vitdet": false})
}

fn vitdet_global(blocks: i64) -> Value {
    json!({"vitdet_num_global": blocks})
}

/// What most entries share.
const ENTRY: ZooEntry = ZooEntry {
    repo: "nvidia/RADIO",
    preferred: (512, 512),
    licence: NVIDIA_SOURCE_CODE,
    ..ZooEntry::BASE
};

/// Teachers by the paper (§2 of spec/published.md) and the README of August 2025.
const V1_TEACHERS: &[&str] = &["DFN CLIP-H/14-378", "OpenAI CLIP-L/14-336", "DINOv2-g/14"];
const V2_TEACHERS: &[&str] = &[
    "DFN CLIP-H/14-378",
    "OpenAI CLIP-L/14-336",
    "DINOv2-g/14",
    "SAM-H",
];
const V3_TEACHERS: &[&str] = &["DFN CLIP", "SigLIP2 NaFlex", "DINOv2", "SAM"];
const V3_LARGE_TEACHERS: &[&str] = &["DFN CLIP", "SigLIP2-g-384", "DINOv2", "SAM"];
const V25_TEACHERS: &[&str] = &["DFN CLIP", "SigLIP", "DINOv2", "SAM"];

const V25_ENTRY: ZooEntry = ZooEntry {
    teachers: V25_TEACHERS,
    preferred: (768, 768),
    adaptors: &["clip", "siglip", "dino_v2", "sam"],
    hints: || hints(true, 768, vitdet_global(4)),
    ..ENTRY
};

const V3_ENTRY: ZooEntry = ZooEntry {
    licence: NVIDIA_OPEN,
    adaptors: &["clip", "siglip2-g", "dino_v2", "sam"],
    hints: || hints(true, 512, no_vitdet()),
    ..ENTRY
};

/// Versions 1 and 2 of C-RADIO.
const COMMERCIAL_V25_ENTRY: ZooEntry = ZooEntry {
    licence: NVIDIA_OPEN,
    teachers: &[],
    ..V25_ENTRY
};

const V4_ENTRY: ZooEntry = ZooEntry {
    licence: NVIDIA_OPEN,
    teachers: &["SigLIP2-g-384", "DINOv3-7B", "SAM3"],
    adaptors: &["siglip2-g", "dino_v3", "sam3"],
    hints: || hints(false, 512, Value::Null),
    ..ENTRY
};

/// ViT-H/16 with a map of 128x128 and 8 prefix tokens.
const H16: Option<i64> = Some(651_642_880);

pub const TABLE: &[ZooEntry] = &[
    ZooEntry {
        name: "radio_v1",
        file: "radio_v1.pth.tar",
        teachers: V1_TEACHERS,
        patch: 14,
        step: 14,
        preferred: (378, 378),
        adaptors: &["clip", "openai_clip", "dino_v2"],
        parameters: Some(637_640_960),
        config: || {
            Student {
                model: "vit_huge_patch14_224",
                cpe_max_size: 1050,
                teachers: V1,
                no_summary: &["openai_clip"],
                inner: 3,
                more: json!({"gp": "avg"}),
                ..STUDENT
            }
            .config()
        },
        hints: || hints(true, 378, Value::Null),
        published: figures::RADIO_V1,
        ..ENTRY
    },
    ZooEntry {
        name: "radio_v2",
        file: "radio_v2.pth.tar",
        teachers: V2_TEACHERS,
        preferred: (432, 432),
        adaptors: &["clip", "openai_clip", "dino_v2", "sam"],
        parameters: Some(651_983_360),
        config: || v2(Value::Null),
        hints: || hints(true, 432, json!({"vitdet_num_windowed": 5})),
        published: figures::RADIO_V2,
        ..ENTRY
    },
    ZooEntry {
        name: "radio_v2.1",
        file: "radio_v2.1_bf16.pth.tar",
        teachers: V2_TEACHERS,
        preferred: (432, 432),
        adaptors: &["clip", "openai_clip", "dino_v2", "sam"],
        parameters: Some(651_983_360),
        config: || v2(json!("torch.bfloat16")),
        hints: || hints(true, 432, json!({"vitdet_num_windowed": 5})),
        published: figures::RADIO_V2_1,
        ..ENTRY
    },
    ZooEntry {
        name: "radio_v2.5-b",
        file: "radio-v2.5-b_half.pth.tar",
        folders: &["nvidia/RADIO-B"],
        parameters: Some(98_233_344),
        config: || plain("vit_base_patch16_224", V25),
        published: figures::RADIO_V2_5_B,
        ..V25_ENTRY
    },
    ZooEntry {
        name: "radio_v2.5-l",
        file: "radio-v2.5-l_half.pth.tar",
        folders: &["nvidia/RADIO-L"],
        parameters: Some(319_881_216),
        config: || plain("vit_large_patch16_224", V25),
        published: figures::RADIO_V2_5_L,
        ..V25_ENTRY
    },
    ZooEntry {
        name: "radio_v2.5-h",
        aliases: &["radio"],
        file: "radio_v2.5-h.pth.tar",
        folders: &["nvidia/RADIO-H", "nvidia/RADIO"],
        teachers: &["DFN CLIP", "SigLIP", "DINOv2", "SAM", "Florence2"],
        parameters: H16,
        config: || plain("vit_huge_patch16_224", V25),
        published: figures::RADIO_V2_5_H,
        ..V25_ENTRY
    },
    ZooEntry {
        name: "radio_v2.5-h-norm",
        file: "radio_v2.5-h-norm.pth.tar",
        teachers: &["DFN CLIP", "SigLIP", "DINOv2", "SAM", "Florence2"],
        parameters: H16,
        config: || plain("vit_huge_patch16_224", V25),
        ..V25_ENTRY
    },
    ZooEntry {
        name: "radio_v2.5-g",
        aliases: &["radio-g"],
        file: "radio_v2.5-g.pth.tar",
        folders: &["nvidia/RADIO-g"],
        patch: 14,
        step: 14,
        preferred: (896, 896),
        config: || {
            Student {
                model: "dino_v2_g_student",
                cpe_max_size: 1792,
                more: json!({"cls_token_per_teacher": false, "cpe_num_registers": 4}),
                ..STUDENT
            }
            .config()
        },
        hints: || hints(true, 896, vitdet_global(8)),
        published: figures::RADIO_V2_5_G,
        ..V25_ENTRY
    },
    // On the hub only, as a folder; its teachers by the README of August 2025.
    ZooEntry {
        name: "c-radio-h",
        aliases: &["c-radio_v1-h"],
        repo: "nvidia/C-RADIO",
        file: FOLDER,
        teachers: V25_TEACHERS,
        parameters: H16,
        config: || plain("vit_huge_patch16_224", V25),
        published: figures::C_RADIO_H,
        ..COMMERCIAL_V25_ENTRY
    },
    // On the hub only; their cards name sizes and no teachers, which are taken to be v2.5's.
    ZooEntry {
        name: "c-radio_v2-b",
        repo: "nvidia/C-RADIOv2-B",
        file: FOLDER,
        config: || plain("vit_base_patch16_224", V25),
        ..COMMERCIAL_V25_ENTRY
    },
    ZooEntry {
        name: "c-radio_v2-l",
        repo: "nvidia/C-RADIOv2-L",
        file: FOLDER,
        config: || plain("vit_large_patch16_224", V25),
        ..COMMERCIAL_V25_ENTRY
    },
    ZooEntry {
        name: "c-radio_v2-h",
        repo: "nvidia/C-RADIOv2-H",
        file: FOLDER,
        config: || plain("vit_huge_patch16_224", V25),
        ..COMMERCIAL_V25_ENTRY
    },
    ZooEntry {
        name: "c-radio_v2-g",
        repo: "nvidia/C-RADIOv2-g",
        file: "c-radio_v2-g_half.pth.tar",
        config: || plain("vit_giant_patch16_224", V25),
        hints: || hints(true, 768, vitdet_global(8)),
        ..COMMERCIAL_V25_ENTRY
    },
    ZooEntry {
        name: "c-radio_v2-vlm-h",
        repo: "nvidia/C-RADIOv2-VLM-H",
        file: "c-radio_v2-vlm-h.pth.tar",
        parameters: H16,
        config: || plain("vit_huge_patch16_224", V25),
        hints: || hints(true, 768, vitdet_global(8)),
        ..COMMERCIAL_V25_ENTRY
    },
    ZooEntry {
        name: "c-radio_v3-b",
        repo: "nvidia/C-RADIOv3-B",
        file: "c-radio_v3-b_half.pth.tar",
        teachers: V3_TEACHERS,
        config: || plain("vit_base_patch16_v2_224", V3),
        published: figures::C_RADIO_V3_B,
        ..V3_ENTRY
    },
    ZooEntry {
        name: "c-radio_v3-l",
        repo: "nvidia/C-RADIOv3-L",
        file: "c-radio-v3_l_half.pth.tar",
        teachers: V3_TEACHERS,
        config: || plain("vit_large_patch16_v2_224", V3),
        published: figures::C_RADIO_V3_L,
        ..V3_ENTRY
    },
    ZooEntry {
        name: "c-radio_v3-h",
        repo: "nvidia/C-RADIOv3-H",
        file: "c-radio_v3-h_half.pth.tar",
        teachers: V3_LARGE_TEACHERS,
        parameters: H16,
        config: || plain("vit_huge_patch16_224", V3),
        published: figures::C_RADIO_V3_H,
        ..V3_ENTRY
    },
    ZooEntry {
        name: "c-radio_v3-g",
        repo: "nvidia/C-RADIOv3-g",
        file: "c-radio_v3-g_half.pth.tar",
        teachers: V3_LARGE_TEACHERS,
        config: || plain("vit_giant_patch16_224", V3),
        published: figures::C_RADIO_V3_G,
        ..V3_ENTRY
    },
    ZooEntry {
        name: "c-radio_v4-so400m",
        repo: "nvidia/C-RADIOv4-SO400M",
        file: "c-radio_v4-so400m_half.pth.tar",
        parameters: Some(431_237_232),
        config: || v4("vit_so400m_patch16_224"),
        published: figures::C_RADIO_V4_SO400M,
        ..V4_ENTRY
    },
    // Upstream's default version.
    ZooEntry {
        name: "c-radio_v4-h",
        aliases: &["c-radio", "c-radio_v4"],
        repo: "nvidia/C-RADIOv4-H",
        file: "c-radio_v4-h_half.pth.tar",
        parameters: Some(651_645_440),
        config: || v4("vit_huge_patch16_224"),
        published: figures::C_RADIO_V4_H,
        ..V4_ENTRY
    },
];

/// A version that differs in its ViT and teachers only.
fn plain(model: &'static str, teachers: Heads) -> Value {
    Student {
        model,
        teachers,
        ..STUDENT
    }
    .config()
}

/// radio_v2 and radio_v2.1, which differ in precision.
fn v2(dtype: Value) -> Value {
    Student {
        model: "vit_huge_patch16_224_mlpnorm",
        teachers: V2,
        no_summary: &[],
        register_multiple: 16,
        inner: 3,
        more: json!({"model_norm": true, "dtype": dtype}),
        ..STUDENT
    }
    .config()
}
