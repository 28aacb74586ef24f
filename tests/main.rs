//! Integration tests, by feature: small trees, the real binary, exact results.

mod common;
mod report;
