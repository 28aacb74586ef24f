//! Link settings: an rpath to libtorch, so that the binary starts without environment variables,
//! and libtorch_cuda behind the `cuda` feature.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-changed=build.rs");
    // torch-sys (links = "tch") tells its direct dependents where libtorch's libraries are.
    let lib = std::env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from);
    if let Some(lib) = &lib {
        compile_shim(&lib.with_file_name("include"));
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
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
    println!("cargo:rustc-env=RADIO_EVAL_GIT_REVISION={}", git_revision());
    let version = lib.and_then(|lib| libtorch_version(&lib));
    println!(
        "cargo:rustc-env=RADIO_EVAL_LIBTORCH_VERSION={}",
        version.as_deref().unwrap_or("unknown")
    );
}

/// libtorch's version from the header that torch-sys compiles against.
fn libtorch_version(lib: &Path) -> Option<String> {
    let header = lib.parent()?.join("include/torch/headeronly/version.h");
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
    println!("cargo:rerun-if-changed=src/runtime/shim");
    cc::Build::new()
        .cpp(true)
        .std("c++20")
        .warnings(false)
        // libtorch's threads are OpenMP's (torch-sys links its library).
        .flag_if_supported("-fopenmp")
        // As libtorch itself was built: at::RecordFunction has members that exist without it only.
        .define("NDEBUG", None)
        .include(include)
        .include(include.join("torch/csrc/api/include"))
        .file("src/runtime/shim/observe.cpp")
        .file("src/runtime/shim/device.cpp")
        .file("src/runtime/shim/packed.cpp")
        .file("src/runtime/shim/program.cpp")
        .file("src/runtime/shim/threads.cpp")
        .compile("radio_eval_shim");
}

/// The commit built from, `+` where the tree had changes; `unknown` outside a checkout. A debug
/// build says `debug`: following every commit would make it compile the shim anew each time.
fn git_revision() -> String {
    if std::env::var_os("PROFILE").is_none_or(|profile| profile != "release") {
        return "debug".to_string();
    }
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo:rerun-if-changed={log}");
    }
    match git(&["rev-parse", "--short=12", "HEAD"]) {
        Some(revision) => {
            let dirty = git(&["status", "--porcelain", "--untracked-files=no"]);
            let mark = if dirty.is_some_and(|d| !d.is_empty()) {
                "+"
            } else {
                ""
            };
            format!("{revision}{mark}")
        }
        None => "unknown".to_string(),
    }
}
