//! Integration tests, by feature: small trees, the real binary, exact results.

mod adaptor_text;
mod arithmetic;
mod classification;
mod common;
mod eradio;
mod features;
mod hub;
mod imagenet;
mod imagenet_figures;
mod images;
mod knn;
mod latency;
mod radio1d;
mod radio_vit;
mod report;
mod requests;
mod segmentation;
mod segmentation_data;
mod siglip_zero_shot;
mod teachers;
mod text;
mod torchscript;
mod vlm_export;
mod weights;
mod weights_damage;
mod zero_shot;
