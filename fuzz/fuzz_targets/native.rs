//! A rule says the same natively and in Rhai, and what is answered without asking is what Rhai says.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| davy::rule::same_natively(bytes));
