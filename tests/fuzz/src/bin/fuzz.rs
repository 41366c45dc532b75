//! libFuzzer on the target that `FUZZ_TARGET` names. Its arguments are libFuzzer's. See `run.sh`.

#![no_main]
#![allow(
    unsafe_code,
    missing_docs,
    clippy::allow_attributes,
    reason = "the macro makes libFuzzer's entry points"
)]

use std::sync::OnceLock;

use fuzz::{TARGETS, Target};

fn target() -> &'static Target {
    static TARGET: OnceLock<Target> = OnceLock::new();
    TARGET.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        let found = TARGETS.into_iter().find(|target| target.name == name);
        found.unwrap_or_else(|| panic!("FUZZ_TARGET is {name:?}, which is no target"))
    })
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| (target().read)(data));
