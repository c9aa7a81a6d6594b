// What stands around an example of the documentation: it runs where `dist` is a bundle of `samples/wat`.
//
// Examples are programs of their own and can't share the tests' support; each includes this text.

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Runs `example` in a new folder with a bundle, as a program in its own working directory.
fn beside_a_bundle(example: impl std::future::Future<Output = Outcome>) -> Outcome {
    let samples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/wat");
    let folder = tempfile::tempdir()?;
    let mut build = std::process::Command::new(compiler());
    let build = build.arg("build").arg(samples).args(["--quiet", "--no-cache", "--out"]);
    let output = build.arg(folder.path().join("dist")).output()?;
    assert!(output.status.success(), "the compiler failed:\n{}", String::from_utf8_lossy(&output.stderr));
    std::env::set_current_dir(folder.path())?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(example)
}

/// The compiler's binary: `COMPILER_BIN`, or that of the profile that the example is built in.
fn compiler() -> std::path::PathBuf {
    // `target/PROFILE/build/loader-HASH/out`
    let profile = std::path::Path::new(env!("OUT_DIR")).ancestors().nth(3);
    let built = profile.expect("cargo makes such folders").join("compiler");
    let bin = std::env::var_os("COMPILER_BIN").map_or(built, Into::into);
    assert!(bin.is_file(), "no compiler at `{}`: run scripts/test", bin.display());
    bin
}
