;; A program with a fault: it reads beyond the end of its memory.
(module
  (memory (export "memory") 1)
  (func $read_too_far (result i32) (i32.load (i32.const 0x7fff0000)))
  (func (export "_start") (drop (call $read_too_far))))
