//! A command of WASI 0.2: what its first argument names.

wit_bindgen::generate!({
    path: ["../../../../scripts/guests/wit/preview2", "wit"],
    world: "test:console/console",
    generate_all,
});

use exports::wasi::cli::run;
use wasi::cli::{environment, exit, stderr, stdin, stdout, terminal_stderr, terminal_stdin, terminal_stdout};
use wasi::clocks::monotonic_clock;
use wasi::filesystem::preopens;
use wasi::io::streams::{OutputStream, StreamError};

struct Console;

export!(Console);

impl run::Guest for Console {
    fn run() -> Result<(), ()> {
        let args = environment::get_arguments();
        let number = || args.get(2).and_then(|number| number.parse().ok()).unwrap_or(0);
        match args.get(1).map(String::as_str) {
            Some("copy") => copy(&args),
            Some("terminals") => terminals(),
            Some("fail") => return Err(()),
            Some("trap") => panic!("asked to"),
            Some("exit") => exit::exit_with_code(number()),
            Some("give-up") => exit::exit(Err(())),
            Some("leave") => exit::exit(Ok(())),
            Some("wait") => {
                say(&stdout::get_stdout(), "waits\n");
                monotonic_clock::subscribe_duration(u64::MAX / 2).block();
            }
            Some("compute") => compute(),
            _ => say(&stderr::get_stderr(), "nothing to do\n"),
        }
        Ok(())
    }
}

impl Guest for Console {
    fn compute(mebibytes: u32) {
        let _folders = preopens::get_directories();
        let memory = vec![1_u8; (mebibytes as usize) << 20];
        say(&stdout::get_stdout(), "computes\n");
        loop {
            std::hint::black_box(&memory);
        }
    }
}

fn say(stream: &OutputStream, text: &str) {
    // A stream that is closed has no reader who misses anything.
    let _ = stream.blocking_write_and_flush(text.as_bytes());
}

/// Says what it was called with, then what comes in, then that this was all.
fn copy(args: &[String]) {
    let out = stdout::get_stdout();
    say(&out, &format!("{args:?}\n"));
    let input = stdin::get_stdin();
    loop {
        match input.blocking_read(4096) {
            Ok(bytes) => say(&out, &String::from_utf8_lossy(&bytes)),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => panic!("{}", error.to_debug_string()),
        }
    }
    say(&stderr::get_stderr(), "copied\n");
}

/// Says which streams are terminals.
fn terminals() {
    let names = [
        ("stdin", terminal_stdin::get_terminal_stdin().is_some()),
        ("stdout", terminal_stdout::get_terminal_stdout().is_some()),
        ("stderr", terminal_stderr::get_terminal_stderr().is_some()),
    ];
    let names = names.map(|(name, is_terminal)| if is_terminal { name } else { "-" });
    say(&stdout::get_stdout(), &format!("{}\n", names.join(" ")));
}

fn compute() {
    say(&stdout::get_stdout(), "computes\n");
    loop {
        std::hint::black_box(());
    }
}
