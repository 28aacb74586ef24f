//! What a file is that holds no usable network, by the names of its tensors.

use super::StateDict;

/// Names that tell of tensors which are not a network's own, and what to do about them.
const SIGNS: &[(&[&str], &str)] = &[
    (
        &[
            "lora_A",
            "lora_B",
            "lora_embedding_A",
            "base_layer",
            "lora_down",
            "lora_up",
            "lora_magnitude_vector",
        ],
        "holds LoRA adapters beside (or without) the weights they change; merge them first (`model = model.merge_and_unload()` of peft) and save the merged model's state dict",
    ),
    (
        &["_flat_param", "flat_param"],
        "holds the flat shards of FSDP; save the whole state dict instead (`FullStateDictConfig`, or `torch.distributed.checkpoint.state_dict.get_model_state_dict` with `full_state_dict=True`)",
    ),
    (
        &[
            "qweight",
            "qzeros",
            "quant_map",
            "absmax",
            "quant_state",
            "SCB",
            "weight_scale",
            "weight_scale_inv",
            "_packed_params",
        ],
        "holds quantised weights, which are not read here; take the model in float32, float16 or bfloat16",
    ),
    (
        &["weight_orig", "weight_mask"],
        "holds pruned weights as a product with their masks; make the pruning permanent first (`torch.nn.utils.prune.remove`)",
    ),
];

/// What is wrong with tensors of such names; `None` where none of them tells.
pub fn diagnose<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut worst: Option<(usize, &str, &str)> = None;
    for name in names {
        let sign = SIGNS.iter().position(|(signs, _)| {
            let mut components = name.split('.');
            components.any(|component| signs.contains(&component))
        });
        if let Some(at) = sign
            && worst.is_none_or(|(known, ..)| at < known)
        {
            worst = Some((at, name, SIGNS[at].1));
        }
    }
    worst.map(|(_, name, what)| format!("{what} (it has `{name}`)"))
}

/// The first names of a file, for messages.
pub fn first_names(tensors: &StateDict, count: usize) -> String {
    let names: Vec<&str> = tensors.keys().take(count).map(String::as_str).collect();
    format!("`{}`", names.join("`, `"))
}

/// Those of `candidates` that are likest to `name`, the likest first, at most `count`.
pub fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
    count: usize,
) -> Vec<&'a str> {
    /// Below this, two names have nothing in common.
    const ALIKE: f64 = 0.6;
    let mut scored: Vec<(f64, &str)> = candidates
        .map(|candidate| (strsim::normalized_levenshtein(name, candidate), candidate))
        .filter(|(score, _)| *score >= ALIKE)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.truncate(count);
    scored.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_was_saved() {
        let lora = diagnose(["a.q_proj.lora_A.default.weight"].into_iter()).unwrap();
        assert!(lora.contains("merge_and_unload"), "{lora}");
        let flat = diagnose(["_flat_param", "b"].into_iter()).unwrap();
        assert!(flat.contains("FSDP"), "{flat}");
        assert_eq!(diagnose(["blocks.0.attn.qkv.weight"].into_iter()), None);
    }

    #[test]
    fn the_nearest_names_come_first() {
        let names = [
            "blocks.0.attn.qkv.weight",
            "blocks.0.attn.qkv.bias",
            "head.x",
        ];
        let found = nearest("blocks.0.attn.qkv.weigth", names.into_iter(), 2);
        assert_eq!(
            found,
            ["blocks.0.attn.qkv.weight", "blocks.0.attn.qkv.bias"]
        );
    }
}
