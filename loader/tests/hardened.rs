//! The loader where no memory that was ever writable may become executable: `MemoryDenyWriteExecute` of a systemd
//! unit, `PR_SET_MDWE` of the kernel.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![allow(unsafe_code, reason = "there is no safe way to act between fork and exec")]

mod support;

use std::os::unix::process::CommandExt;
use std::process::Command;

use support::Registry;

/// The loader, under the restriction, which its program inherits.
fn restricted() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loader"));
    let restrict = || {
        let (refuse, none) = (libc::c_ulong::from(libc::PR_MDWE_REFUSE_EXEC_GAIN), 0 as libc::c_ulong);
        // SAFETY: takes numbers alone and touches no memory of this process.
        match unsafe { libc::prctl(libc::PR_SET_MDWE, refuse, none, none, none) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes one system call, allocates nothing and takes no lock, as is demanded between fork
    // and exec.
    unsafe { command.pre_exec(restrict) };
    command
}

#[test]
fn calls_work_on_the_fast_mapping_path() {
    let lua = "- {name: twice, kind: function.lua, source: \"return function(x) return 2 * x end\"}\n";
    let number = support::distinct();
    let answer = format!("{number}\n");
    let built = Registry::new().answer("answer", number).entries(lua).build();
    for (options, call, expected) in [
        (&[][..], &["app:answer"][..], answer.as_str()),
        (&["--seal"], &["app:answer"], answer.as_str()),
        (&[], &["app:twice", "21"], "42\n"),
    ] {
        let output =
            restricted().arg("--bundle").arg(built.as_ref()).args(options).arg("call").args(call).output();
        let output = match output {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                return support::skipped("memory that denies", "this kernel has no PR_SET_MDWE");
            }
            output => output.unwrap(),
        };
        // Not a word of artifacts that had to be copied.
        assert_eq!(support::outcome(&output), (Some(0), expected.to_owned(), String::new()));
    }
    let output = restricted().arg("--bundle").arg(built.as_ref()).arg("verify").output().unwrap();
    let (code, _, stderr) = support::outcome(&output);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
}
