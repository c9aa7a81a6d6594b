(module
  (func (export "log") (param i64))
  (func (export "writ") (param i32))
  (global (export "level") i32 (i32.const 1))
  (func (export "vector") (param v128)))
