//! Every parser against damaged files: none may panic, hang, or take memory beyond reason.
//!
//! Inputs are mutations of small real files, each made from the parser's name and a number alone,
//! so that any failure can be had again. Without settings every parser gets half a second of
//! inputs; the long run is
//!
//! ```text
//! RADIO_EVAL_FUZZ_INPUTS=1000000 cargo test --test fuzz -- --nocapture
//! ```
//!
//! and `RADIO_EVAL_FUZZ_FROM=N` starts at the input of number N. What was once found lies in
//! `found/PARSER/` and is run first each time.

mod campaign;
mod containers;
mod memory;
mod mutate;
mod seeds;
mod tables;
mod targets;

use campaign::run;

#[global_allocator]
static MEMORY: memory::Counted = memory::Counted;

macro_rules! parsers {
    ($($name:ident)*) => { $(
        #[test]
        fn $name() {
            run(stringify!($name), &targets::$name());
        }
    )* };
}

parsers! {
    jpeg png webp bmp gif tiff mask picture_size
    pickle torch_zip torch_zip_pickle torch_legacy safetensors index_of_shards model_config
    parquet tar_of_images webdataset coco_annotations
    mapping class_list mask_classes templates braces
    catalogue latency_config bench_config recipe torchscript_settings record
    clip_text siglip_text siglip_vocabulary device_name
}
