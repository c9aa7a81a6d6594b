//! WASI 0.3: asynchronous exports, and files as streams.

wit_bindgen::generate!({
    path: ["../../../scripts/guests/wit/preview3", "wit"],
    world: "samples:streams/streams",
    generate_all,
});

use wasi::clocks::monotonic_clock;
use wasi::filesystem::preopens::get_directories;
use wasi::filesystem::types::{DescriptorFlags, ErrorCode, OpenFlags, PathFlags};

/// Bytes that are read at once.
const PART: usize = 16 << 10;
/// The largest prime below 2^16.
const MODULUS: u32 = 65521;

struct Component;

export!(Component);

impl Guest for Component {
    async fn checksum(name: String) -> Result<u32, String> {
        adler32(&name).await
    }

    async fn sleep_ms(ms: u32) {
        monotonic_clock::wait_for(u64::from(ms) * 1_000_000).await;
    }
}

async fn adler32(name: &str) -> Result<u32, String> {
    let (folder, _) = get_directories().into_iter().next().ok_or("nothing is mounted")?;
    let failed = |code: ErrorCode| format!("{name}: {code:?}");
    let file = folder
        .open_at(PathFlags::SYMLINK_FOLLOW, name.to_owned(), OpenFlags::empty(), DescriptorFlags::READ)
        .await
        .map_err(failed)?;
    let (mut stream, outcome) = file.read_via_stream(0);
    let (mut low, mut high) = (1_u32, 0_u32);
    loop {
        let (status, bytes) = stream.read(Vec::with_capacity(PART)).await;
        for byte in &bytes {
            low = (low + u32::from(*byte)) % MODULUS;
            high = (high + low) % MODULUS;
        }
        if !matches!(status, wit_bindgen::StreamResult::Complete(_)) {
            break;
        }
    }
    outcome.await.map_err(failed)?;
    Ok(high << 16 | low)
}
