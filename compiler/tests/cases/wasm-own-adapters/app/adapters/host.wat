;; Sums the bytes of the module's memory, and counts its calls.
(module
  (import "env" "memory" (memory 1))
  (import "__main_module__" "cabi_realloc" (func $alloc (param i32 i32 i32 i32) (result i32)))
  (import "acme:kv/store@1.0.0" "size" (func $size (result i32)))
  (global $calls (mut i32) (i32.const 0))
  (func (export "sum") (param $at i32) (param $length i32) (result i32)
    (local $sum i32)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (drop (call $alloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1)))
    (loop $next
      (if (local.get $length)
        (then
          (local.set $length (i32.sub (local.get $length) (i32.const 1)))
          (local.set $sum (i32.add (local.get $sum)
            (i32.load8_u (i32.add (local.get $at) (local.get $length)))))
          (br $next))))
    (i32.add (local.get $sum) (call $size)))
  (func (export "unused") (param i64)))
