//! Link settings: an rpath to libtorch, so that the binary starts without environment variables,
//! and libtorch_cuda behind the `cuda` feature.

#[path = "build/revision.rs"]
mod revision;

use revision::{INPUTS, collect, digest, revision};
use std::path::{Path, PathBuf};

/// Below libtorch's `include`.
const VERSION_HEADER: &str = "torch/headeronly/version.h";

/// The shim's folder, and the files that are compiled.
const SHIM: &str = "src/runtime/shim";
const SHIM_LIBRARY: &str = "radio_eval_shim";
const SHIM_FILES: &[&str] = &[
    "autocast.cpp",
    "observe.cpp",
    "device.cpp",
    "nms.cpp",
    "packed.cpp",
    "program.cpp",
    "roi_align.cpp",
    "threads.cpp",
];

fn main() {
    let release = std::env::var_os("PROFILE").is_some_and(|profile| profile == "release");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-env-changed=RADIO_EVAL_RPATH");
    // Any change of a source makes this script run again: otherwise a rebuilt binary would keep
    // the revision of an older one. So does a commit, where there is git.
    for input in INPUTS {
        println!("cargo:rerun-if-changed={input}");
    }
    if release && let Some(log) = revision::log(Path::new(".")) {
        println!("cargo:rerun-if-changed={log}");
    }
    // torch-sys (links = "tch") tells its direct dependents where libtorch's libraries are.
    let lib = std::env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from);
    if let Some(lib) = &lib {
        compile_shim(&lib.with_file_name("include"));
        // A wheel's binary looks beside itself instead (scripts/build-wheel.py).
        let rpath = std::env::var("RADIO_EVAL_RPATH");
        let rpath = rpath.unwrap_or_else(|_| lib.display().to_string());
        println!("cargo:rustc-link-arg=-Wl,-rpath,{rpath}");
        if std::env::var_os("CARGO_FEATURE_CUDA").is_some() {
            // Nothing in our code names a symbol of libtorch_cuda: without --no-as-needed the
            // linker would drop it, and with it the registration of every CUDA kernel.
            println!("cargo:rustc-link-search=native={}", lib.display());
            for arg in [
                "--no-as-needed",
                "-ltorch_cuda",
                "-lc10_cuda",
                "--as-needed",
            ] {
                let arg = match arg.strip_prefix("--") {
                    Some(_) => format!("-Wl,{arg}"),
                    None => arg.to_string(),
                };
                println!("cargo:rustc-link-arg={arg}");
            }
        }
    }
    println!(
        "cargo:rustc-env=RADIO_EVAL_GIT_REVISION={}",
        revision(Path::new("."), release)
    );
    let version = lib.and_then(|lib| libtorch_version(&lib));
    println!(
        "cargo:rustc-env=RADIO_EVAL_LIBTORCH_VERSION={}",
        version.as_deref().unwrap_or("unknown")
    );
}

/// libtorch's version from the header that torch-sys compiles against.
fn libtorch_version(lib: &Path) -> Option<String> {
    let header = lib.parent()?.join("include").join(VERSION_HEADER);
    let text = std::fs::read_to_string(header).ok()?;
    let number = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(&format!("#define TORCH_VERSION_{name} ")))
            .map(|value| value.trim().to_string())
    };
    Some([number("MAJOR")?, number("MINOR")?, number("PATCH")?].join("."))
}

/// What tch lacks (src/runtime/shim/shim.h), against the headers of the same libtorch.
fn compile_shim(include: &Path) {
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++20")
        .warnings(false)
        // As dependencies are, in every profile: RoIAlign and NMS are loops over numbers.
        .opt_level(3)
        // libtorch's threads are OpenMP's (torch-sys links its library).
        .flag_if_supported("-fopenmp")
        // The same numbers on every processor, and as torchvision rounds.
        .flag_if_supported("-ffp-contract=off")
        // As libtorch itself was built: at::RecordFunction has members that exist without it only.
        .define("NDEBUG", None)
        .include(include)
        .include(include.join("torch/csrc/api/include"))
        .files(SHIM_FILES.iter().map(|file| Path::new(SHIM).join(file)));
    // This script runs at every change of a source; the compiler, which takes half a minute, only
    // where its own input changed.
    let Some(out) = std::env::var_os("OUT_DIR").map(PathBuf::from) else {
        return build.compile(SHIM_LIBRARY);
    };
    let mut input = Vec::new();
    collect(Path::new(SHIM), &mut input);
    collect(Path::new("build.rs"), &mut input);
    collect(&include.join(VERSION_HEADER), &mut input);
    for variable in ["CXX", "CXXFLAGS", "OPT_LEVEL", "TARGET"] {
        println!("cargo:rerun-if-env-changed={variable}");
        input.extend(
            std::env::var_os(variable)
                .unwrap_or_default()
                .as_encoded_bytes(),
        );
    }
    let (stamp, digest) = (out.join("shim.digest"), digest(&input));
    let library = out.join(format!("lib{SHIM_LIBRARY}.a"));
    if library.is_file() && std::fs::read_to_string(&stamp).is_ok_and(|old| old == digest) {
        println!("cargo:rustc-link-search=native={}", out.display());
        println!("cargo:rustc-link-lib=static={SHIM_LIBRARY}");
        println!("cargo:rustc-link-lib=stdc++");
        return;
    }
    build.compile(SHIM_LIBRARY);
    if let Err(error) = std::fs::write(&stamp, digest) {
        println!("cargo:warning={}: {error}", stamp.display());
    }
}
