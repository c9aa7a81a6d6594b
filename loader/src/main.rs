//! The `loader` binary: arguments in, exit code out; everything else is the library's.

mod cli;
mod commands;
mod completions;
mod explain;

#[cfg(all(no_unwind_tables, panic = "unwind"))]
compile_error!("`opt-level = \"z\"` leaves out the tables that unwinding needs; set `panic = \"abort\"` too");

fn main() {
    let exit = match cli::parse(lexopt::Parser::from_env()) {
        Ok(cli::Request::Help) => commands::print(cli::HELP),
        Ok(cli::Request::Version) => commands::print(concat!("loader ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(cli::Request::Explain(code)) => commands::explain(code.as_deref()),
        Ok(cli::Request::Completions(shell)) => commands::completions(&shell),
        Ok(cli::Request::Complete(words)) => commands::complete(&words),
        Ok(cli::Request::Command(options, command)) => commands::run(&options, command),
        Err(error) => {
            commands::complain(&format!("{error}\nsee `loader --help`"));
            commands::Exit::Usage
        }
    };
    // Ends at once: taking engine and mappings down in order would only delay a caller that waits.
    std::process::exit(exit.code());
}
