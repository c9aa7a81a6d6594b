(module
  (memory (export "memory-of-guest") 1)
  (table $table 0 funcref)

  ;; Grows by so many pages and returns the size; a guest that can't go on without them ends itself.
  (func (export "memory") (param $pages i32) (result i32)
    (if (i32.lt_s (memory.grow (local.get $pages)) (i32.const 0)) (then unreachable))
    (memory.size))

  (func (export "elements") (param $count i32) (result i32)
    (if (i32.lt_s (table.grow $table (ref.null func) (local.get $count)) (i32.const 0)) (then unreachable))
    (table.size $table))

  (func $depth (export "depth") (param $calls i32) (result i32)
    (if (result i32) (local.get $calls)
      (then (i32.add (call $depth (i32.sub (local.get $calls) (i32.const 1))) (i32.const 1)))
      (else (i32.const 0))))

  (func (export "rounds") (param $count i64) (result i64)
    (local $round i64)
    (loop $again
      (local.set $round (i64.add (local.get $round) (i64.const 1)))
      (br_if $again (i64.lt_u (local.get $round) (local.get $count))))
    (local.get $round)))
