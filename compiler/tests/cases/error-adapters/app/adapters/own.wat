(module
  (import "acme:kv/store@1.0.0" "size" (func $size (result i32)))
  (memory 1)
  (func (export "log") (param i32) (drop (call $size))))
