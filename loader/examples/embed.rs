//! The shortest real use: opens a bundle, offers it an interface of this program, lists what can be called
//! and calls a function.
//!
//! ```sh
//! cargo run -p compiler && cargo run -p loader --example embed
//! ```

use std::error::Error;
use std::io::Write;

use loader::{Loader, OpenError, Val};

/// Opens a bundle for functions that may import `acme:kv/store@1.0.0`: `get: func(key: string) -> string`.
pub(crate) fn open(bundle: &str) -> Result<Loader, OpenError> {
    Loader::builder()
        .host_interface("acme:kv/store@1.0.0", |store| {
            store.func_wrap("get", |_, (key,): (String,)| Ok((format!("the value of {key}"),)))
        })
        .open(bundle)
}

pub(crate) async fn run(bundle: &str, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let loader = open(bundle)?;
    for entry in loader.entries()? {
        if let (Some(signature), None) = (entry.signature, entry.unavailable) {
            writeln!(out, "{}: {signature}", entry.id)?;
        }
    }
    let sum = loader.call("samples.wat:add", &[Val::S32(40), Val::S32(2)]).await?;
    writeln!(out, "40 + 2 = {sum:?}")?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let bundle = std::env::args().nth(1).unwrap_or("dist".into());
    run(&bundle, &mut std::io::stdout()).await
}
