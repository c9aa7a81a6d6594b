//! What an artifact says of itself, read without loading or running it.
//!
//! The engine checks the same and more when it loads an artifact; this is for those of other machines. An
//! artifact is an ELF file of the engine's own kind. Its section `.wasmtime.engine` begins with a version
//! byte, the length of the module version, the module version, then the length and text of the target.

use object::LittleEndian;
use object::elf::FileHeader64;
use object::read::elf::FileHeader;
use registry_schema::manifest::Artifact;

/// `e_ident[EI_OSABI]` of the engine's artifacts.
const OS_ABI: u8 = 200;
/// Bits of `e_flags`: a component, and bytecode of the 64-bit interpreter.
const COMPONENT: u32 = 1 << 1;
const PULLEY64: u32 = 1 << 3;
const ENGINE_SECTION: &[u8] = b".wasmtime.engine";

/// Compares the header in `bytes` with the manifest's record.
pub(crate) fn check(bytes: &[u8], artifact: &Artifact) -> Result<(), String> {
    let section = engine_section(bytes, artifact)?;
    let (version, target) = parse(section).ok_or("its engine section is malformed")?;
    let expected = format!("{}-{}", artifact.compiler, artifact.engine);
    if version != expected.as_bytes() {
        let version = String::from_utf8_lossy(version);
        return Err(format!("it is by compiler and engine {version}, the manifest says {expected}"));
    }
    // The interpreter's triple has further parts without meaning.
    if !target.starts_with(artifact.target.triple.as_str().as_bytes()) {
        let target = String::from_utf8_lossy(target);
        return Err(format!("it is for `{target}`, the manifest says `{}`", artifact.target));
    }
    Ok(())
}

fn engine_section<'a>(bytes: &'a [u8], artifact: &Artifact) -> Result<&'a [u8], String> {
    let malformed = |error: object::Error| format!("it is no artifact: {error}");
    let header = FileHeader64::<LittleEndian>::parse(bytes).map_err(malformed)?;
    let endian = header.endian().map_err(malformed)?;
    let flags = header.e_flags(endian);
    let interpreted = !artifact.target.triple.is_native();
    if header.e_ident().os_abi != OS_ABI || flags & COMPONENT == 0 || (flags & PULLEY64 != 0) != interpreted {
        return Err(format!("it is no artifact of a component for `{}`", artifact.target));
    }
    let sections = header.sections(endian, bytes).map_err(malformed)?;
    let (_, section) = sections.section_by_name(endian, ENGINE_SECTION).ok_or("it has no engine section")?;
    object::read::elf::SectionHeader::data(section, endian, bytes).map_err(malformed)
}

/// Module version and target of an engine section.
fn parse(section: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = section.strip_prefix(&[0])?;
    let (version, rest) = text(rest)?;
    let (target, _) = text(rest)?;
    Some((version, target))
}

/// A text behind a byte of its length; those that are written here are shorter than 128 bytes.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_read_within_their_bounds() {
        let section = b"\0\x03a-b\x08pulley64rest";
        assert_eq!(parse(section), Some((&b"a-b"[..], &b"pulley64"[..])));
        for len in 0..14 {
            assert_eq!(parse(&section[..len]), None, "{len} bytes");
        }
        assert_eq!(parse(b"\x01\0\0"), None);
    }
}
