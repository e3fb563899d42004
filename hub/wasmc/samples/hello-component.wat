;; The same small service as hello.wat, as a WASI 0.2 command component: it greets, then prints one
;; line per second for ever.
;;
;; It is written by hand and so names every interface that it uses. Compilers write this part:
;; `cargo build --target wasm32-wasip2` makes a component from an ordinary Rust program.
(component
  (import "wasi:io/error@0.2.0" (instance $io-error
    (export "error" (type (sub resource)))))
  (alias export $io-error "error" (type $error))

  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
  (alias export $poll "pollable" (type $pollable))

  (import "wasi:io/streams@0.2.0" (instance $streams
    (alias outer 1 $error (type $outer-error))
    (export "error" (type $error (eq $outer-error)))
    (export "output-stream" (type $output-stream (sub resource)))
    (type $failure (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $failure)))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $output-stream)) (param "contents" (list u8))
        (result (result (error $stream-error)))))))
  (alias export $streams "output-stream" (type $output-stream))

  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $output-stream (type $outer-output-stream))
    (export "output-stream" (type $output-stream (eq $outer-output-stream)))
    (export "get-stdout" (func (result (own $output-stream))))))

  (import "wasi:cli/environment@0.2.0" (instance $environment
    (export "get-environment" (func (result (list (tuple string string)))))))

  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $outer-pollable))
    (export "pollable" (type $pollable (eq $outer-pollable)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))

  ;; The memory, and the allocator through which the host puts the environment there.
  (core module $Memory
    (memory (export "memory") 2)
    (global $free (mut i32) (i32.const 4096))
    (func (export "realloc")
      (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
      (local $block i32)
      (local.set $block
        (i32.and
          (i32.add (global.get $free) (i32.sub (local.get $align) (i32.const 1)))
          (i32.sub (i32.const 0) (local.get $align))))
      (global.set $free (i32.add (local.get $block) (local.get $size)))
      (if (i32.gt_u (global.get $free) (i32.const 65536)) (then unreachable))
      (local.get $block)))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))

  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $write
    (canon lower (func $streams "[method]output-stream.blocking-write-and-flush") (memory $mem)))
  (core func $get-environment
    (canon lower (func $environment "get-environment") (memory $mem) (realloc $realloc)))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core func $drop-pollable (canon resource.drop $pollable))

  ;; Memory: 0 results, 160 digits, 256 texts, 65536 the line.
  (core module $Main
    (import "memory" "memory" (memory 2))
    (import "wasi" "get-stdout" (func $get-stdout (result i32)))
    (import "wasi" "write" (func $write (param i32 i32 i32 i32)))
    (import "wasi" "get-environment" (func $get-environment (param i32)))
    (import "wasi" "subscribe" (func $subscribe (param i64) (result i32)))
    (import "wasi" "block" (func $block (param i32)))
    (import "wasi" "drop-pollable" (func $drop-pollable (param i32)))

    (data (i32.const 256) "hello from ")
    (data (i32.const 272) "lichen")
    (data (i32.const 288) "\n")
    (data (i32.const 296) ": ")

    (global $name (mut i32) (i32.const 272))
    (global $name-length (mut i32) (i32.const 6))
    (global $line (mut i32) (i32.const 0))
    (global $out (mut i32) (i32.const 0))

    ;; Whether the pair at $pair has the key "NAME".
    (func $is-name (param $pair i32) (result i32)
      (if (i32.ne (i32.load offset=4 (local.get $pair)) (i32.const 4))
        (then (return (i32.const 0))))
      (i32.eq (i32.load align=1 (i32.load (local.get $pair))) (i32.const 0x454d414e)))

    (func $find-name
      (local $pair i32) (local $left i32)
      (call $get-environment (i32.const 0))
      (local.set $pair (i32.load (i32.const 0)))
      (local.set $left (i32.load (i32.const 4)))
      (block $done
        (loop $next
          (br_if $done (i32.eqz (local.get $left)))
          (if (call $is-name (local.get $pair))
            (then
              (global.set $name (i32.load offset=8 (local.get $pair)))
              (global.set $name-length (i32.load offset=12 (local.get $pair)))
              ;; One write takes 4096 bytes at most.
              (if (i32.gt_u (global.get $name-length) (i32.const 1024))
                (then (global.set $name-length (i32.const 1024))))
              (return)))
          (local.set $pair (i32.add (local.get $pair) (i32.const 16)))
          (local.set $left (i32.sub (local.get $left) (i32.const 1)))
          (br $next))))

    (func $add (param $text i32) (param $length i32)
      (memory.copy
        (i32.add (i32.const 65536) (global.get $line)) (local.get $text) (local.get $length))
      (global.set $line (i32.add (global.get $line) (local.get $length))))

    (func $add-number (param $number i32)
      (local $at i32)
      (local.set $at (i32.const 180))
      (loop $next
        (local.set $at (i32.sub (local.get $at) (i32.const 1)))
        (i32.store8 (local.get $at)
          (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
        (local.set $number (i32.div_u (local.get $number) (i32.const 10)))
        (br_if $next (local.get $number)))
      (call $add (local.get $at) (i32.sub (i32.const 180) (local.get $at))))

    ;; Prints the line and says whether that worked.
    (func $print-line (result i32)
      (local $length i32)
      (call $add (i32.const 288) (i32.const 1))
      (local.set $length (global.get $line))
      (global.set $line (i32.const 0))
      (call $write (global.get $out) (i32.const 65536) (local.get $length) (i32.const 0))
      (i32.eqz (i32.load8_u (i32.const 0))))

    (func $sleep-one-second
      (local $timer i32)
      (local.set $timer (call $subscribe (i64.const 1000000000)))
      (call $block (local.get $timer))
      (call $drop-pollable (local.get $timer)))

    ;; Returns 1, an error, when nobody reads the lines any more.
    (func (export "run") (result i32)
      (local $count i32)
      (global.set $out (call $get-stdout))
      (call $find-name)
      (call $add (i32.const 256) (i32.const 11))
      (call $add (global.get $name) (global.get $name-length))
      (if (i32.eqz (call $print-line)) (then (return (i32.const 1))))
      (loop $forever
        (call $sleep-one-second)
        (local.set $count (i32.add (local.get $count) (i32.const 1)))
        (call $add (global.get $name) (global.get $name-length))
        (call $add (i32.const 296) (i32.const 2))
        (call $add-number (local.get $count))
        (br_if $forever (call $print-line)))
      (i32.const 1)))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "wasi" (instance
      (export "get-stdout" (func $get-stdout))
      (export "write" (func $write))
      (export "get-environment" (func $get-environment))
      (export "subscribe" (func $subscribe))
      (export "block" (func $block))
      (export "drop-pollable" (func $drop-pollable))))))

  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))
