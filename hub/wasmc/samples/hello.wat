;; A small service: a WASI preview 1 program that greets, then prints one line per second for ever.
;;
;; It reads NAME from its environment ("lichen" when it is not set) and writes
;;     hello from lichen
;;     lichen: 1
;;     lichen: 2
;; Its memory: 0 iovec, 16 results, 64 subscription, 112 event, 160 digits, 256 texts,
;; 1024 environment pointers, 4096 environment text.
(module
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))

  (memory (export "memory") 2)
  (data (i32.const 256) "hello from ")
  (data (i32.const 272) "lichen\00")
  (data (i32.const 288) "\n")
  (data (i32.const 296) ": ")
  (data (i32.const 304) "NAME=")

  (global $name (mut i32) (i32.const 272))
  (global $name_length (mut i32) (i32.const 6))
  ;; A line is put together here and written in one call, so that it reaches the log whole.
  (global $line (mut i32) (i32.const 0))

  (func $length_of (param $text i32) (result i32)
    (local $end i32)
    (local.set $end (local.get $text))
    (block $found
      (loop $next
        (br_if $found (i32.eqz (i32.load8_u (local.get $end))))
        (local.set $end (i32.add (local.get $end) (i32.const 1)))
        (br $next)))
    (i32.sub (local.get $end) (local.get $text)))

  ;; Whether the variable at $text begins with "NAME=".
  (func $is_name (param $text i32) (result i32)
    (local $at i32)
    (block $differs
      (loop $next
        (br_if $differs
          (i32.ne
            (i32.load8_u (i32.add (local.get $text) (local.get $at)))
            (i32.load8_u offset=304 (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $at) (i32.const 5)))
        (return (i32.const 1))))
    (i32.const 0))

  (func $find_name
    (local $count i32) (local $at i32) (local $text i32)
    (drop (call $environ_sizes_get (i32.const 16) (i32.const 20)))
    (local.set $count (i32.load (i32.const 16)))
    ;; More than fits stays unread: the default name will do.
    (if (i32.gt_u (local.get $count) (i32.const 700)) (then (return)))
    (if (i32.gt_u (i32.load (i32.const 20)) (i32.const 60000)) (then (return)))
    (drop (call $environ_get (i32.const 1024) (i32.const 4096)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $at) (local.get $count)))
        (local.set $text
          (i32.load offset=1024 (i32.mul (local.get $at) (i32.const 4))))
        (if (call $is_name (local.get $text))
          (then
            (global.set $name (i32.add (local.get $text) (i32.const 5)))
            (global.set $name_length (call $length_of (global.get $name)))
            (return)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next))))

  (func $add (param $text i32) (param $length i32)
    (memory.copy
      (i32.add (i32.const 65536) (global.get $line)) (local.get $text) (local.get $length))
    (global.set $line (i32.add (global.get $line) (local.get $length))))

  (func $add_number (param $number i32)
    (local $at i32)
    (local.set $at (i32.const 180))
    (loop $next
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at)
        (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
      (local.set $number (i32.div_u (local.get $number) (i32.const 10)))
      (br_if $next (local.get $number)))
    (call $add (local.get $at) (i32.sub (i32.const 180) (local.get $at))))

  (func $print_line
    (call $add (i32.const 288) (i32.const 1))
    (i32.store (i32.const 0) (i32.const 65536))
    (i32.store (i32.const 4) (global.get $line))
    (global.set $line (i32.const 0))
    ;; Without anyone to read the lines there is nothing left to do.
    (if (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16))
      (then (call $proc_exit (i32.const 1)))))

  (func $sleep_one_second
    (i32.store8 (i32.const 72) (i32.const 0))               ;; a clock event
    (i32.store (i32.const 80) (i32.const 1))                ;; of the monotonic clock
    (i64.store (i32.const 88) (i64.const 1000000000))       ;; in one second
    (i64.store (i32.const 96) (i64.const 0))                ;; as exactly as possible
    (i32.store16 (i32.const 104) (i32.const 0))             ;; from now
    (drop (call $poll_oneoff (i32.const 64) (i32.const 112) (i32.const 1) (i32.const 16))))

  (func (export "_start")
    (local $count i32)
    (call $find_name)
    (call $add (i32.const 256) (i32.const 11))
    (call $add (global.get $name) (global.get $name_length))
    (call $print_line)
    (loop $forever
      (call $sleep_one_second)
      (local.set $count (i32.add (local.get $count) (i32.const 1)))
      (call $add (global.get $name) (global.get $name_length))
      (call $add (i32.const 296) (i32.const 2))
      (call $add_number (local.get $count))
      (call $print_line)
      (br $forever))))
