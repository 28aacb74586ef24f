//! Starting from a checkpoint: a RADIO or E-RADIO, or a plain ViT (timm's, DINOv2's) of the same
//! sizes.

use crate::models::resolve::locate;
use crate::models::zoo;
use crate::weights::{Checkpoint, StateDict};
use crate::{Error, Result};
use indexmap::IndexMap;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// Where trunks lie in files, the likeliest first.
const TRUNKS: [&str; 5] = [
    "base_model.",
    "radio_model.model.",
    "model.",
    "state_dict.",
    "",
];
const TOKENS: &str = "base_model.patch_generator.cls_token.token";
const MAP: &str = "base_model.patch_generator.pos_embed";

/// Puts what the checkpoint `from` holds in the place of drawn values. Heads of teachers that it
/// knows by name are taken over where their sizes are the same; prefix tokens as many as there are.
///
/// # Errors
/// A tensor of the trunk is missing or of another shape.
pub fn load(from: &str, tensors: &mut IndexMap<String, Tensor>) -> Result<()> {
    let checkpoint = match (Path::new(from).exists(), zoo::find(from)) {
        (false, Ok(entry)) => Checkpoint::open(&locate(entry)?)?,
        _ => Checkpoint::open(Path::new(from))?,
    };
    let nothing = StateDict::new();
    let stored = checkpoint.tensors().unwrap_or(&nothing);
    let read = |key: &str| -> Result<Option<Tensor>> {
        let found = stored.get(key);
        found
            .map(|tensor| tensor.read(Device::Cpu, Kind::Float))
            .transpose()
    };
    let landmark = |prefix: &&str| {
        [
            "patch_generator.pos_embed",
            "patch_embed.conv_down.0.conv.weight",
            "patch_embed.proj.weight",
        ]
        .iter()
        .any(|name| stored.contains_key(&format!("{prefix}{name}")))
    };
    let prefix = TRUNKS.into_iter().find(landmark).ok_or_else(|| {
        Error::file(
            &checkpoint.path,
            "holds no trunk of a RADIO, an E-RADIO or a plain ViT to start from",
        )
    })?;
    let plain = stored.contains_key(&format!("{prefix}patch_embed.proj.weight"));
    for (key, value) in tensors.iter_mut() {
        let Some(name) = key.strip_prefix("base_model.") else {
            if let Some(head) = head_key(key, prefix)
                && let Some(found) = read(&head)?
                && found.size() == value.size()
            {
                *value = found;
            }
            continue;
        };
        if name.ends_with("relative_bias") {
            continue;
        }
        let found = match (plain, name) {
            (true, "patch_generator.embedder.weight") => {
                read(&format!("{prefix}patch_embed.proj.weight"))?.map(|w| w.flatten(1, -1))
            }
            (true, "patch_generator.embedder.bias") => {
                read(&format!("{prefix}patch_embed.proj.bias"))?
            }
            (true, "patch_generator.pos_embed") => {
                let table = read(&format!("{prefix}pos_embed"))?;
                table.map(|t| map_of(&t, value)).transpose()?
            }
            (true, "patch_generator.cls_token.token") => {
                read(&format!("{prefix}cls_token"))?.map(|t| t.flatten(0, 1))
            }
            _ => read(&format!("{prefix}{name}"))?,
        };
        let found = found.ok_or_else(|| {
            Error::tensor(
                &checkpoint.path,
                format!("{prefix}{name}"),
                "missing; the student has it",
            )
        })?;
        *value = fitted(key, found, value)
            .map_err(|reason| Error::tensor(&checkpoint.path, format!("{prefix}{name}"), reason))?;
    }
    Ok(())
}

/// The name of a head's tensor in the layout whose trunk has `prefix`.
fn head_key(key: &str, prefix: &str) -> Option<String> {
    let folders = [
        ("_heads.", "head_mlp"),
        ("_feature_projections.", "feat_mlp"),
    ];
    if prefix == "base_model." {
        return Some(key.to_string());
    }
    folders.iter().find_map(|(folder, module)| {
        let (teacher, rest) = key.strip_prefix(folder)?.split_once('.')?;
        let outer = prefix.strip_suffix("model.").unwrap_or("");
        Some(format!("{outer}adaptors.{teacher}.{module}.{rest}"))
    })
}

/// A plain ViT's position table [1, prefix + N, C] as a map of the size of `like` [1, M, C].
fn map_of(table: &Tensor, like: &Tensor) -> Result<Tensor> {
    let (rows, width) = (table.size()[1], table.size()[2]);
    let side = crate::models::positions::isqrt(rows);
    let prefix = rows - side * side;
    let wanted = crate::models::positions::isqrt(like.size()[1]);
    let map = table
        .f_narrow(1, prefix, side * side)?
        .f_view([1, side, side, width])?
        .f_permute([0, 3, 1, 2])?;
    let map = match side == wanted {
        true => map,
        false => map.f_upsample_bicubic2d([wanted, wanted], false, None, None)?,
    };
    Ok(map.f_flatten(2, 3)?.f_transpose(1, 2)?.f_contiguous()?)
}

fn fitted(key: &str, found: Tensor, drawn: &Tensor) -> Result<Tensor, String> {
    let (ours, theirs) = (drawn.size(), found.size());
    if ours == theirs {
        return Ok(found);
    }
    // Another number of teachers: as many tokens as both have.
    if key == TOKENS && theirs.len() == 2 && theirs[1] == ours[1] {
        let count = ours[0].min(theirs[0]);
        let rest = drawn.narrow(0, count, ours[0] - count);
        return Ok(Tensor::cat(&[found.narrow(0, 0, count), rest], 0));
    }
    let hint = match key == MAP {
        true => "; set student.cpe_max_size to that of the checkpoint",
        false => "",
    };
    Err(format!(
        "has shape {theirs:?}, the student's is {ours:?}{hint}"
    ))
}
