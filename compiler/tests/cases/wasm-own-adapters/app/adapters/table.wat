;; Has a memory, data and a table of its own.
(module
  (memory 1)
  (data (i32.const 0) "\01\02\03\04")
  (table 1 funcref)
  (elem (i32.const 0) $look)
  (func $look (param i32) (result i32) (i32.load8_u (local.get 0)))
  (func (export "at") (param i32) (result i32)
    (call_indirect (param i32) (result i32) (local.get 0) (i32.const 0))))
