;; Finds where the blocks of an event stream end, and which fields they have, 64 bytes at a time.
;;
;; blocks.ts passes one slice of a connection's bytes after another, and keeps the state between two calls. The module
;; itself keeps no state, so that one instance serves all connections.
;;
;; A position is an address in the memory:
;;    0 .. 43   the results: see the end of $scan
;;   56 .. 63   the first bytes, at most 8, of a line that began in an earlier slice; they end at 63
;;   64 ..      the slice
;;
;; The state is a set of bits:
;;    1  the unfinished block has a line other than a comment
;;    2  the unfinished block has a data line
;;    4  the unfinished block must be parsed
;;    8  the last byte was a CR
;;   16  the unfinished block has an id line in an earlier slice (such a line has the position 1)
;;   32  a block was over the limit (a result only)
;;   64  a line is unfinished (a result only)
(module
  ;; One page for the slice and one more, because the last 64 bytes that are read may reach beyond the slice's end.
  (memory (export "memory") 2)

  ;; Returns where the last whole block of the slice ends; 0 when no block ends in the slice.
  (func (export "scan")
    (param $size i32)      ;; bytes in the slice, at least 1
    (param $once i32)      ;; 1: stop where the first block ends
    (param $state i32)
    (param $unfinished i32) ;; bytes of the unfinished block before the slice
    (param $limit i32)     ;; most bytes of a block
    (param $headSize i32)  ;; bytes of the unfinished line before the slice, at most 8
    (param $headLow i32)   ;; these bytes
    (param $headHigh i32)
    (result i32)
    (local $at i32) (local $end i32) (local $line i32) (local $lineEnd i32) (local $lineEnds i64)
    (local $a v128) (local $b v128) (local $c v128) (local $d v128)
    (local $lf v128) (local $cr v128)
    (local $block i32) (local $whole i32) (local $byte i32) (local $name i32)
    ;; of the unfinished block
    (local $inBlock i32) (local $hasData i32) (local $unread i32) (local $id i32) (local $idEnd i32)
    ;; of all whole blocks
    (local $events i32) (local $mustRead i32) (local $lastId i32) (local $lastIdEnd i32) (local $tooLarge i32)

    (local.set $lf (i8x16.splat (i32.const 10)))
    (local.set $cr (i8x16.splat (i32.const 13)))
    (local.set $at (i32.const 64))
    (local.set $end (i32.add (i32.const 64) (local.get $size)))
    (local.set $line (i32.sub (i32.const 64) (local.get $headSize)))
    (local.set $block (i32.sub (i32.const 64) (local.get $unfinished)))
    (local.set $inBlock (i32.and (local.get $state) (i32.const 1)))
    (local.set $hasData (i32.and (i32.shr_u (local.get $state) (i32.const 1)) (i32.const 1)))
    (local.set $unread (i32.and (i32.shr_u (local.get $state) (i32.const 2)) (i32.const 1)))
    (local.set $id (i32.and (i32.shr_u (local.get $state) (i32.const 4)) (i32.const 1)))

    ;; The line's first bytes, shifted so that the slice follows them without a gap.
    (i64.store (i32.const 56)
      (i64.shl
        (i64.or
          (i64.extend_i32_u (local.get $headLow))
          (i64.shl (i64.extend_i32_u (local.get $headHigh)) (i64.const 32)))
        (i64.extend_i32_u (i32.shl (i32.sub (i32.const 8) (local.get $headSize)) (i32.const 3)))))
    (if (i32.and (local.get $state) (i32.const 8))
      (then
        (i32.store8 (i32.const 63) (i32.const 13))
        ;; A lone CR, if the slice does not start with LF: the unfinished block must be parsed.
        (local.set $unread
          (i32.or (local.get $unread)
            (i32.and (local.get $inBlock) (i32.ne (i32.load8_u (i32.const 64)) (i32.const 10)))))))

    (block $stop
      (loop $forward
        (local.set $a (v128.load (local.get $at)))
        (local.set $b (v128.load offset=16 (local.get $at)))
        (local.set $c (v128.load offset=32 (local.get $at)))
        (local.set $d (v128.load offset=48 (local.get $at)))

        (block $noLineEnds
          ;; Fast path for long lines: no byte is 13 or less, so none is a line end.
          (br_if $noLineEnds
            (i32.eqz (v128.any_true
              (i8x16.le_u
                (i8x16.min_u
                  (i8x16.min_u (local.get $a) (local.get $b))
                  (i8x16.min_u (local.get $c) (local.get $d)))
                (local.get $cr)))))
          ;; One bit for each LF and CR,
          (local.set $lineEnds
            (i64.or
              (i64.or
                (i64.extend_i32_u (i8x16.bitmask (v128.or
                  (i8x16.eq (local.get $a) (local.get $lf)) (i8x16.eq (local.get $a) (local.get $cr)))))
                (i64.shl (i64.extend_i32_u (i8x16.bitmask (v128.or
                  (i8x16.eq (local.get $b) (local.get $lf)) (i8x16.eq (local.get $b) (local.get $cr)))))
                  (i64.const 16)))
              (i64.or
                (i64.shl (i64.extend_i32_u (i8x16.bitmask (v128.or
                  (i8x16.eq (local.get $c) (local.get $lf)) (i8x16.eq (local.get $c) (local.get $cr)))))
                  (i64.const 32))
                (i64.shl (i64.extend_i32_u (i8x16.bitmask (v128.or
                  (i8x16.eq (local.get $d) (local.get $lf)) (i8x16.eq (local.get $d) (local.get $cr)))))
                  (i64.const 48)))))
          ;; except for bytes of an earlier slice after this slice's end.
          (if (i32.lt_u (i32.sub (local.get $end) (local.get $at)) (i32.const 64))
            (then
              (local.set $lineEnds
                (i64.and (local.get $lineEnds)
                  (i64.sub
                    (i64.shl (i64.const 1) (i64.extend_i32_u (i32.sub (local.get $end) (local.get $at))))
                    (i64.const 1))))))
          (br_if $noLineEnds (i64.eqz (local.get $lineEnds)))

          (loop $nextLine
            (local.set $lineEnd (i32.add (local.get $at) (i32.wrap_i64 (i64.ctz (local.get $lineEnds)))))
            (local.set $lineEnds
              (i64.and (local.get $lineEnds) (i64.sub (local.get $lineEnds) (i64.const 1))))
            (local.set $byte (i32.load8_u (local.get $lineEnd)))

            (block $lineIsDone
              ;; A lone CR, which some clients do not support as a line end. At the slice's end the next call decides.
              (if (i32.eq (local.get $byte) (i32.const 13))
                (then
                  (local.set $unread
                    (i32.or (local.get $unread)
                      (i32.and
                        (i32.ne (i32.load8_u offset=1 (local.get $lineEnd)) (i32.const 10))
                        (i32.ne (i32.add (local.get $lineEnd) (i32.const 1)) (local.get $end)))))))

              (block $blockIsWhole
                (if (i32.eq (local.get $line) (local.get $lineEnd))
                  (then
                    ;; The LF of a CRLF: the line, and the block if the line was blank, already ended at the CR.
                    (if
                      (i32.and
                        (i32.eq (local.get $byte) (i32.const 10))
                        (i32.eq (i32.load8_u (i32.sub (local.get $lineEnd) (i32.const 1))) (i32.const 13)))
                      (then
                        (br_if $lineIsDone (local.get $inBlock))
                        (local.set $whole (i32.add (local.get $lineEnd) (i32.const 1)))
                        (local.set $block (local.get $whole))
                        (br $lineIsDone)))
                    (br $blockIsWhole)))

                (local.set $name (i32.load (local.get $line)))
                ;; "data"
                (if (i32.eq (local.get $name) (i32.const 0x61746164))
                  (then
                    (local.set $inBlock (i32.const 1))
                    (if (call $isNameEnd (i32.add (local.get $line) (i32.const 4)) (local.get $lineEnd))
                      (then (local.set $hasData (i32.const 1))))
                    (br $lineIsDone)))
                ;; "id"
                (if (i32.eq (i32.and (local.get $name) (i32.const 0xffff)) (i32.const 0x6469))
                  (then
                    (local.set $inBlock (i32.const 1))
                    (if (call $isNameEnd (i32.add (local.get $line) (i32.const 2)) (local.get $lineEnd))
                      (then
                        (local.set $id (local.get $line))
                        (local.set $idEnd (local.get $lineEnd))))
                    (br $lineIsDone)))
                ;; A comment before a block ends at once: it may be a heartbeat without a blank line.
                (if (i32.eq (i32.and (local.get $name) (i32.const 0xff)) (i32.const 58))
                  (then
                    (br_if $blockIsWhole (i32.eqz (local.get $inBlock)))
                    (br $lineIsDone)))
                (local.set $inBlock (i32.const 1))
                ;; "retr", "y"
                (br_if $lineIsDone (i32.ne (local.get $name) (i32.const 0x72746572)))
                (br_if $lineIsDone (i32.ne (i32.load8_u offset=4 (local.get $line)) (i32.const 0x79)))
                (if (call $isNameEnd (i32.add (local.get $line) (i32.const 5)) (local.get $lineEnd))
                  (then (local.set $unread (i32.const 1))))
                (br $lineIsDone))

              ;; The block is whole.
              (local.set $lineEnd (i32.add (local.get $lineEnd) (i32.const 1)))
              (if (i32.gt_u (i32.sub (local.get $lineEnd) (local.get $block)) (local.get $limit))
                (then
                  (local.set $tooLarge (i32.const 32))
                  (br $stop)))
              (local.set $whole (local.get $lineEnd))
              (local.set $block (local.get $lineEnd))
              (local.set $line (local.get $lineEnd))
              (local.set $events (i32.add (local.get $events) (local.get $hasData)))
              (local.set $mustRead (i32.or (local.get $mustRead) (local.get $unread)))
              (if (local.get $id)
                (then
                  (local.set $lastId (local.get $id))
                  (local.set $lastIdEnd (local.get $idEnd))
                  (local.set $id (i32.const 0))))
              (local.set $inBlock (i32.const 0))
              (local.set $hasData (i32.const 0))
              (local.set $unread (i32.const 0))
              (if (local.get $once)
                (then
                  (local.set $end (local.get $whole))
                  (br $stop)))
              (br_if $nextLine (i64.ne (local.get $lineEnds) (i64.const 0)))
              (br $noLineEnds))

            (local.set $line (i32.add (local.get $lineEnd) (i32.const 1)))
            (br_if $nextLine (i64.ne (local.get $lineEnds) (i64.const 0)))))

        (local.set $at (i32.add (local.get $at) (i32.const 64)))
        (br_if $forward (i32.lt_u (local.get $at) (local.get $end)))))

    ;; For the whole blocks: how many have data, whether they must be parsed, where their last id line begins and ends.
    (i32.store offset=0 (i32.const 0) (local.get $events))
    (i32.store offset=4 (i32.const 0) (local.get $mustRead))
    (i32.store offset=8 (i32.const 0) (local.get $lastId))
    (i32.store offset=12 (i32.const 0) (local.get $lastIdEnd))
    ;; Where the scan stopped, its state, and where the unfinished block's last id line begins and ends.
    (i32.store offset=16 (i32.const 0) (local.get $end))
    (i32.store offset=20 (i32.const 0)
      (i32.or
        (i32.or
          (i32.or (local.get $inBlock) (i32.shl (local.get $hasData) (i32.const 1)))
          (i32.or
            (i32.shl (local.get $unread) (i32.const 2))
            (i32.shl
              (i32.eq (i32.load8_u (i32.sub (local.get $end) (i32.const 1))) (i32.const 13))
              (i32.const 3))))
        (i32.or
          (i32.or (i32.shl (i32.ne (local.get $id) (i32.const 0)) (i32.const 4)) (local.get $tooLarge))
          (i32.shl (i32.lt_u (local.get $line) (local.get $end)) (i32.const 6)))))
    (i32.store offset=24 (i32.const 0) (local.get $id))
    (i32.store offset=28 (i32.const 0) (local.get $idEnd))
    ;; Where the unfinished line begins, and its first bytes.
    (i32.store offset=32 (i32.const 0) (local.get $line))
    (i64.store offset=40 (i32.const 0) (i64.load (local.get $line)))
    (local.get $whole))

  ;; Whether a field's name ends at an address: at a colon, or with the line.
  (func $isNameEnd (param $address i32) (param $lineEnd i32) (result i32)
    (i32.or
      (i32.eq (local.get $address) (local.get $lineEnd))
      (i32.eq (i32.load8_u (local.get $address)) (i32.const 58)))))
