;; Primes below 4,194,304, from a table of one byte for each number.
(module
  (memory (export "memory") 65)
  (global $built (mut i32) (i32.const 0))

  ;; Strikes every multiple of each prime out.
  (func $build (export "build")
    (local $n i32)
    (local $multiple i32)
    (if (global.get $built) (then (return)))
    (i32.store16 (i32.const 0) (i32.const 0x0101))
    (local.set $n (i32.const 2))
    (loop $next
      (if (i32.eqz (i32.load8_u (local.get $n)))
        (then
          (local.set $multiple (i32.mul (local.get $n) (local.get $n)))
          (loop $strike
            (if (i32.lt_u (local.get $multiple) (i32.const 4194304))
              (then
                (i32.store8 (local.get $multiple) (i32.const 1))
                (local.set $multiple (i32.add (local.get $multiple) (local.get $n)))
                (br $strike))))))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $n) (i32.const 2048))))
    (global.set $built (i32.const 1)))

  (func (export "is-prime") (param $n i32) (result i32)
    (call $build)
    (if (i32.ge_u (local.get $n) (i32.const 4194304)) (then unreachable))
    (i32.eqz (i32.load8_u (local.get $n)))))
