//! The benchmarks: a program of their own, because they use the bench of the interop tests.

use crate::run::{Done, interop_program};

/// Entry of `cargo xtask bench`; what the options mean is the program's business.
pub fn bench(args: &[String]) -> Done {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let help = words.iter().any(|word| matches!(*word, "--help" | "-h"));
    // What needs hundreds of megabytes from the network is fetched where it is used only.
    let alone = words.contains(&"--alone") || words.windows(2).any(|w| w == ["--salt", "none"]);
    let named = |name: &str| words.contains(&name);
    if !help && !alone {
        crate::venvs::make()?;
    }
    if !help && (named("failover") || !named("--quick")) {
        crate::packages::install();
    }
    if !help {
        crate::test::build_program()?;
    }
    interop_program("bench", &words)
}
