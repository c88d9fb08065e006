//! A rule says the same natively, by Rhai's tree and by its machine; what is answered without asking, too.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| davy::rule::same_every_way(bytes));
