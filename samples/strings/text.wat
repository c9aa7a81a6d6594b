;; Strings and records through the canonical ABI, written by hand.
;;
;; The host lowers arguments into this memory through `cabi_realloc`, a bump allocator that starts
;; at `$heap_base`. Once it has lifted a greeting it calls `cabi_post_greet`, which gives back
;; everything that the call allocated; so the memory stays small however often one instance is used.
;;
;; Addresses below `$heap_base`:
;;   0   "Hello, "
;;   8   return area: two i32 (pointer and length, or x and y)
(module
  (memory (export "memory") 1)
  (data (i32.const 0) "Hello, ")

  (global $return_area i32 (i32.const 8))
  (global $heap_base i32 (i32.const 16))
  (global $heap_next (mut i32) (i32.const 16))

  ;; Returns `$new_size` bytes aligned to `$align` that start with the old ones. Traps when the
  ;; memory can't grow.
  (func $cabi_realloc (export "cabi_realloc")
    (param $old i32) (param $old_size i32) (param $align i32) (param $new_size i32) (result i32)
    (local $start i32)
    (local $end i64)
    (local $missing i64)
    ;; start = (next + align - 1) & -align
    (local.set $start
      (i32.and
        (i32.sub (i32.add (global.get $heap_next) (local.get $align)) (i32.const 1))
        (i32.sub (i32.const 0) (local.get $align))
      )
    )
    ;; In 64 bits, so that a length near 4 GiB can't wrap around.
    (local.set $end
      (i64.add (i64.extend_i32_u (local.get $start)) (i64.extend_i32_u (local.get $new_size)))
    )
    (local.set $missing
      (i64.sub (local.get $end) (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 16)))
    )
    (if (i64.gt_s (local.get $missing) (i64.const 0))
      (then
        (if (i32.eq
              (memory.grow
                (i32.wrap_i64
                  (i64.shr_u (i64.add (local.get $missing) (i64.const 65535)) (i64.const 16))
                )
              )
              (i32.const -1)
            )
          (then unreachable)
        )
      )
    )
    (global.set $heap_next (i32.wrap_i64 (local.get $end)))
    (memory.copy
      (local.get $start)
      (local.get $old)
      (select
        (local.get $old_size)
        (local.get $new_size)
        (i32.lt_u (local.get $old_size) (local.get $new_size))
      )
    )
    (local.get $start)
  )

  ;; greet: func(name: string) -> string
  (func (export "greet") (param $name i32) (param $name_length i32) (result i32)
    (local $text i32)
    (local $text_length i32)
    ;; "Hello, " before the name and "!" behind it
    (local.set $text_length (i32.add (local.get $name_length) (i32.const 8)))
    (local.set $text
      (call $cabi_realloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get $text_length))
    )
    (memory.copy (local.get $text) (i32.const 0) (i32.const 7))
    (memory.copy
      (i32.add (local.get $text) (i32.const 7))
      (local.get $name)
      (local.get $name_length)
    )
    (i32.store8 offset=7 (i32.add (local.get $text) (local.get $name_length)) (i32.const 33))
    (i32.store (global.get $return_area) (local.get $text))
    (i32.store offset=4 (global.get $return_area) (local.get $text_length))
    (global.get $return_area)
  )

  ;; Called by the host when it has read what `greet` returned.
  (func (export "cabi_post_greet") (param $return_area i32)
    (global.set $heap_next (global.get $heap_base))
  )

  ;; mirror: func(p: point) -> point
  (func (export "mirror") (param $x i32) (param $y i32) (result i32)
    (i32.store (global.get $return_area) (i32.sub (i32.const 0) (local.get $x)))
    (i32.store offset=4 (global.get $return_area) (i32.sub (i32.const 0) (local.get $y)))
    (global.get $return_area)
  )
)
