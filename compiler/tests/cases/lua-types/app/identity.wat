(module
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
  (func (export "find")
    (param i32 i32 i32 i32 i64 i32 f64 f64 i32 i32 i32 i32 i32 i32) (result i32) unreachable)
  (func (export "other") (param i32 i32 i32 i32 i32 i32 i32) (result i32) unreachable)
  (func (export "nothing") (param i32 i32 i32 i32 i32 i32))
  (func (export "fails") (result i32) unreachable))
