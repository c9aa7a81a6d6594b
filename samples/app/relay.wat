;; A component that calls the function `target` of the registry with one text and returns what came back:
;; `wippy:runtime/funcs` reaches Lua and WebAssembly alike.
(component
  (import "wippy:runtime/funcs@0.1.0" (instance $funcs
    (export "call-string" (func (param "target" string) (param "input" string)
      (result (result string (error string)))))))

  ;; Memory and an allocator that never frees: the instance lives for one call.
  (core module $libc
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 1024))
    (func (export "realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32)
      (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get $size)))
      (block $enough
        (br_if $enough
          (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
        (drop (memory.grow (i32.add (i32.const 1) (i32.div_u (local.get $size) (i32.const 65536))))))
      (local.get $at)))
  (core instance $libc (instantiate $libc))

  (core func $call_string (canon lower (func $funcs "call-string")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core module $relay
    (import "funcs" "call-string" (func $call_string (param i32 i32 i32 i32 i32)))
    (func (export "relay") (param $target i32) (param $target_size i32) (param $input i32) (param $input_size i32)
      (result i32)
      ;; The result, a case and a text, is written to address 16.
      (call $call_string
        (local.get $target) (local.get $target_size) (local.get $input) (local.get $input_size) (i32.const 16))
      (i32.const 16)))
  (core instance $relay (instantiate $relay
    (with "funcs" (instance (export "call-string" (func $call_string))))))

  (func (export "relay") (param "target" string) (param "input" string) (result (result string (error string)))
    (canon lift (core func $relay "relay") (memory $libc "memory") (realloc (func $libc "realloc")))))
