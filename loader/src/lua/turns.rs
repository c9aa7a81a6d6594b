//! Turns: how long Lua runs before others may, and before the deadline and the memory are looked at.
//!
//! They are counted in instructions. One that copies or compares long strings takes as long as thousands of
//! others, so a state with much memory has shorter turns: how much it has is seen at the end of each turn and
//! after each collection, which comes the sooner the more is allocated.

use mlua::{HookTriggers, Lua, VmState};

use super::host::Host;
use crate::config::{LUA_BYTES_PER_TURN, LUA_INSTRUCTIONS_PER_TURN};

/// Lets turns of the running coroutine, and of those made from now on, end after `instructions`.
pub(super) fn arm(lua: &Lua, host: &Host, instructions: u32) -> mlua::Result<()> {
    host.set_instructions(instructions);
    let host = host.clone();
    let every = HookTriggers::new().every_nth_instruction(instructions);
    lua.set_global_hook(every, move |lua, _| end(lua, &host))
}

/// Shortens the turn that runs, if the state has that much memory by now.
pub(super) fn hasten(lua: &Lua) -> mlua::Result<()> {
    shorten(lua, instructions(lua.used_memory()))
}

/// Ends the turn that runs at the next instruction: Rust has worked through a value of `bytes` bytes, which takes
/// as long as a turn if they are many.
pub(super) fn worked(lua: &Lua, bytes: usize) -> mlua::Result<()> {
    if bytes < LUA_BYTES_PER_TURN / 4 { Ok(()) } else { finish(lua) }
}

/// Ends the turn that runs at the next instruction, after work that took as long as one.
pub(super) fn finish(lua: &Lua) -> mlua::Result<()> {
    shorten(lua, 1)
}

/// Outside any invocation, and in one that has to end, there is no turn.
fn shorten(lua: &Lua, instructions: u32) -> mlua::Result<()> {
    let Some(host) = lua.app_data_ref::<Host>().map(|host| host.clone()) else { return Ok(()) };
    let goes_on = host.with(|current| current.end.is_none()).unwrap_or(false);
    // What is the shortest may have been armed for a coroutine that has ended meanwhile.
    if goes_on && (instructions == 1 || instructions < host.instructions()) {
        return arm(lua, &host, instructions);
    }
    Ok(())
}

/// Instructions of a turn of a state that has `bytes` of memory.
fn instructions(bytes: usize) -> u32 {
    let times = (bytes / LUA_BYTES_PER_TURN).max(1);
    LUA_INSTRUCTIONS_PER_TURN / u32::try_from(times).unwrap_or(LUA_INSTRUCTIONS_PER_TURN)
}

/// The end of a turn: lets others run, ends what is past its deadline, and counts memory.
fn end(lua: &Lua, host: &Host) -> mlua::Result<VmState> {
    let bytes = lua.used_memory();
    // Outside any invocation there is none to end.
    let Ok(had_ended) = host.with(|current| current.turn(bytes as u64)) else { return Ok(VmState::Continue) };
    if had_ended {
        // Raised again at the next instruction, so that no `pcall` keeps it.
        let each = HookTriggers::new().every_nth_instruction(1);
        let own = host.clone();
        lua.set_hook(each, move |_, _| Err(own.ended()))?;
        return Err(host.ended());
    }
    let next = instructions(bytes);
    // Also where it is what it was: other coroutines may have turns of another length.
    if next != LUA_INSTRUCTIONS_PER_TURN || host.instructions() != LUA_INSTRUCTIONS_PER_TURN {
        arm(lua, host, next)?;
    }
    // A coroutine that is suspended when its invocation has to end is never resumed, and so none of its code runs
    // any more. Where nothing can be suspended, in a callback of a library function, this is no yield.
    Ok(VmState::Yield)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_shorter_with_more_memory() {
        let of = |mebibytes: usize| instructions(mebibytes << 20);
        assert_eq!([of(0), of(4), of(8), of(40), of(256)], [20_000, 20_000, 10_000, 2_000, 312]);
    }
}
