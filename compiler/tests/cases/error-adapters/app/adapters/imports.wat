(module
  (import "env" "memory" (memory 1))
  (import "__main_module__" "lost" (func))
  (import "__main_module__" "answer" (func (param f32)))
  (import "elsewhere" "thing" (func))
  (import "host" "log" (func (param i32)))
  (data (i32.const 0) "over")
  (func (export "log") (param i32)))
