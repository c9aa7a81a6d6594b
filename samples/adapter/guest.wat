;; A plugin: it knows nothing of WASI or components, only its platform's module `plugin`.
(module
  (import "plugin" "hash" (func $hash (param i32 i32) (result i32)))
  (import "plugin" "ticks" (func $ticks (result i64)))
  (memory (export "memory") 1)
  (global $free (mut i32) (i32.const 1024))

  (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32)
    (result i32)
    (local $at i32)
    (local.set $at (global.get $free))
    (global.set $free (i32.add (local.get $at) (local.get $size)))
    (if (i32.gt_u (global.get $free) (i32.const 65536)) (then unreachable))
    (local.get $at))

  (func (export "fingerprint") (param $at i32) (param $length i32) (result i32)
    (call $hash (local.get $at) (local.get $length)))

  ;; Whether a hash of 64 KiB takes less than a minute.
  (func (export "is-quick") (result i32)
    (local $start i64)
    (local.set $start (call $ticks))
    (drop (call $hash (i32.const 0) (i32.const 65536)))
    (i64.lt_u (i64.sub (call $ticks) (local.get $start)) (i64.const 60000))))
