;; Looks at how each line begins, 64 bytes at a time: see skim.ts for what for, and for what it is given.
(module
  ;; A page more than the bytes take, since the last 64 may reach behind their end.
  (memory (export "memory") 17)

  ;; The bytes stand from address 16 on. Returns how many blocks have a data line, or -1 when they cannot be skimmed; then the
  ;; last id line begins at the address that stands at 0, and ends at the one that stands at 4; 0 when there is none.
  (func (export "skim") (param $size i32) (result i32)
    (local $at i32) (local $end i32) (local $line i32) (local $lineEnd i32) (local $lineEnds i64) (local $name i32)
    (local $a v128) (local $b v128) (local $c v128) (local $d v128)
    (local $lf v128) (local $cr v128) (local $least v128) (local $anyCr v128)
    (local $events i32) (local $hasData i32) (local $id i32) (local $idEnd i32)

    (local.set $lf (i8x16.splat (i32.const 10)))
    (local.set $cr (i8x16.splat (i32.const 13)))
    (local.set $least (i8x16.splat (i32.const 0xff)))
    (local.set $at (i32.const 16))
    (local.set $line (i32.const 16))
    (local.set $end (i32.add (local.get $at) (local.get $size)))
    ;; Nothing that is left there from the last time is taken for something.
    (memory.fill (local.get $end) (i32.const 0x78) (i32.const 64))

    ;; A byte order mark
    (if (i32.eq (i32.and (i32.load (local.get $at)) (i32.const 0xffffff)) (i32.const 0xbfbbef))
      (then (return (i32.const -1))))

    (loop $forward
      (local.set $a (v128.load (local.get $at)))
      (local.set $b (v128.load offset=16 (local.get $at)))
      (local.set $c (v128.load offset=32 (local.get $at)))
      (local.set $d (v128.load offset=48 (local.get $at)))
      ;; NUL, if it is 0 in the end
      (local.set $least
        (i8x16.min_u (local.get $least)
          (i8x16.min_u
            (i8x16.min_u (local.get $a) (local.get $b))
            (i8x16.min_u (local.get $c) (local.get $d)))))
      (local.set $anyCr
        (v128.or (local.get $anyCr)
          (v128.or
            (v128.or (i8x16.eq (local.get $a) (local.get $cr)) (i8x16.eq (local.get $b) (local.get $cr)))
            (v128.or (i8x16.eq (local.get $c) (local.get $cr)) (i8x16.eq (local.get $d) (local.get $cr))))))
      ;; Where LF stands
      (local.set $a (i8x16.eq (local.get $a) (local.get $lf)))
      (local.set $b (i8x16.eq (local.get $b) (local.get $lf)))
      (local.set $c (i8x16.eq (local.get $c) (local.get $lf)))
      (local.set $d (i8x16.eq (local.get $d) (local.get $lf)))

      (block $noMoreLines
        (br_if $noMoreLines
          (i32.eqz (v128.any_true
            (v128.or (v128.or (local.get $a) (local.get $b)) (v128.or (local.get $c) (local.get $d))))))
        ;; A bit for each
        (local.set $lineEnds
          (i64.or
            (i64.or
              (i64.extend_i32_u (i8x16.bitmask (local.get $a)))
              (i64.shl (i64.extend_i32_u (i8x16.bitmask (local.get $b))) (i64.const 16)))
            (i64.or
              (i64.shl (i64.extend_i32_u (i8x16.bitmask (local.get $c))) (i64.const 32))
              (i64.shl (i64.extend_i32_u (i8x16.bitmask (local.get $d))) (i64.const 48)))))

        (loop $nextLine
          (local.set $lineEnd (i32.add (local.get $at) (i32.wrap_i64 (i64.ctz (local.get $lineEnds)))))
          (local.set $lineEnds
            (i64.and (local.get $lineEnds) (i64.sub (local.get $lineEnds) (i64.const 1))))

          (block $lineIsKnown
            ;; A blank line ends a block
            (if (i32.eq (local.get $line) (local.get $lineEnd))
              (then
                (local.set $hasData (i32.const 0))
                (br $lineIsKnown)))
            (local.set $name (i32.load (local.get $line)))
            ;; "data"
            (if (i32.eq (local.get $name) (i32.const 0x61746164))
              (then
                (br_if $lineIsKnown (i32.eqz (call $isNameEnd (i32.add (local.get $line) (i32.const 4)))))
                (local.set $events (i32.add (local.get $events) (i32.eqz (local.get $hasData))))
                (local.set $hasData (i32.const 1))
                (br $lineIsKnown)))
            ;; "id"
            (if (i32.eq (i32.and (local.get $name) (i32.const 0xffff)) (i32.const 0x6469))
              (then
                (br_if $lineIsKnown (i32.eqz (call $isNameEnd (i32.add (local.get $line) (i32.const 2)))))
                (local.set $id (local.get $line))
                (local.set $idEnd (local.get $lineEnd))
                (br $lineIsKnown)))
            ;; "retr", "y"
            (br_if $lineIsKnown (i32.ne (local.get $name) (i32.const 0x72746572)))
            (br_if $lineIsKnown (i32.ne (i32.load8_u offset=4 (local.get $line)) (i32.const 0x79)))
            (br_if $lineIsKnown (i32.eqz (call $isNameEnd (i32.add (local.get $line) (i32.const 5)))))
            (return (i32.const -1)))

          (local.set $line (i32.add (local.get $lineEnd) (i32.const 1)))
          (br_if $nextLine (i64.ne (local.get $lineEnds) (i64.const 0)))))

      (local.set $at (i32.add (local.get $at) (i32.const 64)))
      (br_if $forward (i32.lt_u (local.get $at) (local.get $end))))

    (if (v128.any_true (local.get $anyCr)) (then (return (i32.const -1))))
    (if (i32.eqz (i8x16.all_true (local.get $least))) (then (return (i32.const -1))))
    (i32.store (i32.const 0) (local.get $id))
    (i32.store (i32.const 4) (local.get $idEnd))
    (local.get $events))

  ;; A colon or LF
  (func $isNameEnd (param $address i32) (result i32)
    (i32.or
      (i32.eq (i32.load8_u (local.get $address)) (i32.const 58))
      (i32.eq (i32.load8_u (local.get $address)) (i32.const 10)))))
