//! What the compiler does not guard: the direction of imports, and that rules have samples.

use std::path::{Path, PathBuf};

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder is there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Lines of a file without its test modules at the foot.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).expect("source files are text");
    text.split("\n#[cfg(test)]").next().unwrap_or_default().to_owned()
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests") || path.file_name().is_some_and(|name| name == "tests.rs")
}

/// The middle knows nothing of the edges: what decides can be replayed without a socket or a file.
#[test]
fn the_middle_imports_nothing_from_the_edges() {
    let edges = ["source", "history", "influxdb", "notify", "web", "gateway", "cli", "board", "clock", "ledger"];
    let mut wrong = Vec::new();
    for module in ["model", "decode", "alarm", "rule", "engine", "response"] {
        for path in files(&root().join("src").join(module), "rs") {
            // The engine's thread stands at the border: it is what hands the journal to the shard.
            if is_test(&path) || path.ends_with("engine/thread.rs") {
                continue;
            }
            let text = code(&path);
            for edge in edges {
                // Configuration of a payload form counts what it could not use; that is an argument, not an edge.
                if module == "decode" && edge == "ledger" {
                    continue;
                }
                if text.contains(&format!("crate::{edge}")) {
                    wrong.push(format!("{} imports crate::{edge}", path.display()));
                }
            }
            for blocking in [".await", "Mutex", "std::fs", "std::net", "tracing::"] {
                if text.contains(blocking) {
                    wrong.push(format!("{} contains {blocking}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_clock_reads_the_time() {
    let mut wrong = Vec::new();
    for path in files(&root().join("src"), "rs") {
        let text = std::fs::read_to_string(&path).expect("source files are text");
        let reads = text.contains("SystemTime::now(")
            || text.contains("Instant::now(")
            || text.contains("jiff::Timestamp::now(");
        if reads && !path.ends_with("src/clock.rs") {
            wrong.push(path.display().to_string());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_file_has_samples_and_every_module_says_what_it_is_for() {
    let mut wrong = Vec::new();
    for path in files(&root().join("rules"), "rhai") {
        if !path.with_extension("samples").exists() {
            wrong.push(format!("{} has no samples", path.display()));
        }
    }
    for path in files(&root().join("src"), "rs").into_iter().filter(|path| !is_test(path)) {
        let text = std::fs::read_to_string(&path).expect("source files are text");
        if !text.starts_with("//!") {
            wrong.push(format!("{} does not say what it is for", path.display()));
        }
        if text.lines().take(3).any(|line| line.contains("stub") || line.contains("placeholder")) {
            wrong.push(format!("{} is a stub", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
