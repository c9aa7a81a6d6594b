//! What one call leaves in memory and tables, and what the next one finds: nothing, also where both have the same
//! reserved slot, and however much of it was touched.

use loader::config::{Allocation, MEMORY_KEPT_BYTES, TABLE_KEPT_BYTES};
use loader::{ErrorKind, Loader, Options, Val};

use crate::outcomes::call;
use crate::support::Registry;

/// Bytes that it dirties, more than a slot keeps, and elements.
const DIRTY_BYTES: usize = 3 << 20;
const DIRTY_ELEMENTS: usize = 10_000;

/// With 0 it counts what is dirty: words of memory, elements of its table and its global. With 1 it dirties them, with
/// 2 it traps then, and with 3 it grows both before and dirties all of it.
const SOURCE: &str = r#"(module
  (memory (export "memory") 64 128)
  (table $table 20000 40000 funcref)
  (global $dirty (mut i32) (i32.const 0))
  (elem declare func $any)
  (func $any)
  (func $count (result i32)
    (local $at i32) (local $count i32)
    (local.set $count (global.get $dirty))
    (loop $words
      (if (i64.ne (i64.load (local.get $at)) (i64.const 0))
        (then (local.set $count (i32.add (local.get $count) (i32.const 1)))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $words (i32.lt_u (local.get $at) (i32.mul (memory.size) (i32.const 65536)))))
    (local.set $at (i32.const 0))
    (loop $elements
      (if (i32.eqz (ref.is_null (table.get $table (local.get $at))))
        (then (local.set $count (i32.add (local.get $count) (i32.const 1)))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $elements (i32.lt_u (local.get $at) (table.size $table))))
    (local.get $count))
  (func (export "run") (param $how i32) (result i32)
    (if (i32.eqz (local.get $how)) (then (return (call $count))))
    (if (i32.eq (local.get $how) (i32.const 3)) (then
      (drop (memory.grow (i32.const 16)))
      (drop (table.grow $table (ref.null func) (i32.const 5000)))
      (memory.fill (i32.const 0) (i32.const 255) (i32.mul (memory.size) (i32.const 65536)))
      (table.fill $table (i32.const 0) (ref.func $any) (table.size $table))))
    ;; From one mebibyte on, where programs have their data.
    (memory.fill (i32.const 1048576) (i32.const 255) (i32.const 3145728))
    (table.fill $table (i32.const 0) (ref.func $any) (i32.const 10000))
    (global.set $dirty (i32.const 1))
    (if (i32.eq (local.get $how) (i32.const 2)) (then unreachable))
    (call $count)))"#;

#[tokio::test]
async fn the_next_call_in_a_slot_finds_nothing() {
    assert!(DIRTY_BYTES > MEMORY_KEPT_BYTES && DIRTY_ELEMENTS * size_of::<usize>() > TABLE_KEPT_BYTES);
    let more = "wit: \"run: func(how: u32) -> u32\"\nmethod: run";
    let built = Registry::new()
        .wat("one", SOURCE, more)
        // Another component of the same shape, which gets the same slot.
        .wat("other", &SOURCE.replace("(i32.const 1048576)", "(i32.const 983040)"), more)
        .build();
    let grown = (80 << 16) / 8 + 25_000 + 1;
    let dirty = DIRTY_BYTES / 8 + DIRTY_ELEMENTS + 1;
    for allocation in [Allocation::Reserved, Allocation::OnDemand] {
        let options = Options { allocation, instances_max: Some(1), ..Options::default() };
        let loader = Loader::builder().options(options).open(&built).unwrap();
        let run = async |name: &str, how: u32| match call(&loader, name, &[Val::U32(how)]).await {
            Ok(Some(Val::U32(count))) => count as usize,
            other => panic!("{other:?}"),
        };
        assert_eq!(run("one", 0).await, 0);
        for next in ["one", "other"] {
            assert_eq!(run("one", 1).await, dirty);
            assert_eq!(run(next, 0).await, 0);
            assert_eq!(run("one", 3).await, grown);
            assert_eq!(run(next, 0).await, 0);
            let trapped = call(&loader, "one", &[Val::U32(2)]).await.unwrap_err();
            assert_eq!(trapped.kind(), ErrorKind::Internal);
            assert_eq!(run(next, 0).await, 0);
        }
        assert_eq!((loader.instances().max, loader.instances().live), (1, 0));
    }
}
