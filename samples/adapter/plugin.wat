;; What another platform offers its plugins as the module `plugin`, made of what this one has: the plugin's own
;; memory, and a clock of WASI 0.2.
(module
  (import "env" "memory" (memory 1))
  (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))

  ;; hash(start, length): FNV-1a of the plugin's bytes.
  (func (export "hash") (param $at i32) (param $length i32) (result i32)
    (local $end i32)
    (local $hash i32)
    (local.set $end (i32.add (local.get $at) (local.get $length)))
    (local.set $hash (i32.const 0x811c9dc5))
    (loop $next
      (if (i32.lt_u (local.get $at) (local.get $end))
        (then
          (local.set $hash
            (i32.mul
              (i32.xor (local.get $hash) (i32.load8_u (local.get $at)))
              (i32.const 0x01000193)))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br $next))))
    (local.get $hash))

  ;; ticks(): milliseconds since some moment.
  (func (export "ticks") (result i64)
    (i64.div_u (call $now) (i64.const 1000000))))
