//! That the device is strict: what CUDA refuses is refused, and the rest is computed.

use strict_device::device;
use tch::{Device, Kind, Tensor};

fn own(shape: &[i64], kind: Kind) -> Tensor {
    Tensor::ones(shape, (kind, device()))
}

fn host(shape: &[i64]) -> Tensor {
    Tensor::ones(shape, (Kind::Float, Device::Cpu))
}

#[track_caller]
fn refused(what: Result<Tensor, tch::TchError>, because: &str) {
    let error = what.expect_err("CUDA refuses this").to_string();
    assert!(error.contains(because), "{error}");
}

#[test]
fn tensors_of_the_host_are_refused() {
    let x = own(&[2, 3], Kind::Float);
    refused(x.f_add(&host(&[2, 3])), "same device");
    refused(x.f_matmul(&host(&[3, 2])), "same device");
    refused(Tensor::f_cat(&[&x, &host(&[2, 3])], 0), "same device");
    refused(
        x.f_index_select(0, &Tensor::from_slice(&[0i64])),
        "same device",
    );
    refused(
        x.f_layer_norm([3], Some(&host(&[3])), None, 1e-5, false),
        "same device",
    );
    let sum = x + Tensor::from(2f64);
    assert_eq!(
        sum.double_value(&[1, 2]),
        3.0,
        "a number is no tensor of the host"
    );
}

#[test]
fn masks_are_of_bools_or_of_the_queries_type() {
    let attend = |kind, mask| {
        let x = own(&[1, 2, 4, 8], kind);
        let mask = own(&[4, 4], mask);
        Tensor::f_scaled_dot_product_attention(&x, &x, &x, Some(&mask), 0.0, false, None, false)
    };
    refused(attend(Kind::BFloat16, Kind::Float), "dtype");
    refused(attend(Kind::Half, Kind::Float), "dtype");
    for (kind, mask) in [
        (Kind::Float, Kind::Float),
        (Kind::BFloat16, Kind::BFloat16),
        (Kind::Half, Kind::Half),
        (Kind::BFloat16, Kind::Bool),
    ] {
        let _ = attend(kind, mask).unwrap_or_else(|e| panic!("{kind:?} {mask:?}: {e}"));
    }
}

#[test]
fn products_of_integers_are_refused() {
    let x = own(&[2, 2], Kind::Int64);
    refused(x.f_mm(&x), "not implemented for 'Long'");
}

#[test]
fn uploads_are_counted() {
    let before = strict_device::uploads();
    let x = host(&[3]).to_device(device());
    assert_eq!(strict_device::uploads(), before + 1);
    let _ = (x * 2.0).to_device(Device::Cpu);
    assert_eq!(strict_device::uploads(), before + 1);
}
