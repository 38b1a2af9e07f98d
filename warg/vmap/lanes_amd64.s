#include "textflag.h"

// Two lanes, A and B, of the same computation. Registers:
//
//	X0        message words plus round constants, an implicit operand
//	X1, X2    A: state; between two hashes the digest
//	X3-X6     A: message, then the state before the second block
//	X7, X8    B: as X1, X2
//	X9-X12    B: as X3-X6
//	X13, X14  scratch
//	X15       shuffle between bytes and big-endian words
//
//	AX        round constants      BX  empty subtrees     CX  second blocks
//	R8, R9    A, B: row of second blocks
//
// The instructions keep the state as two vectors, from the highest word down:
// A B E F and C D G H.

// Big-endian words.
DATA swap<>+0(SB)/8, $0x0405060700010203
DATA swap<>+8(SB)/8, $0x0c0d0e0f08090a0b
GLOBL swap<>(SB), RODATA|NOPTR, $16

// The prefix of a branch, where PALIGNR takes it from.
DATA prefix<>+0(SB)/8, $0
DATA prefix<>+8(SB)/8, $0x0100000000000000
GLOBL prefix<>(SB), RODATA|NOPTR, $16

// The initial state.
DATA initial<>+0(SB)/8, $0x510e527f9b05688c
DATA initial<>+8(SB)/8, $0x6a09e667bb67ae85
DATA initial<>+16(SB)/8, $0x1f83d9ab5be0cd19
DATA initial<>+24(SB)/8, $0x3c6ef372a54ff53a
GLOBL initial<>(SB), RODATA|NOPTR, $32

// MESSAGE makes the first block from left S0 S1 and right M0 M1, and the row of
// the second block.
#define MESSAGE(S0, S1, M0, M1, M2, M3, ROW) \
	PEXTRB  $15, M1, ROW     \
	SHLQ    $8, ROW          \
	ADDQ    CX, ROW          \
	MOVO    M1, M3           \
	PALIGNR $15, M0, M3      \
	MOVO    M0, M2           \
	PALIGNR $15, S1, M2      \
	MOVO    S1, M1           \
	PALIGNR $15, S0, M1      \
	MOVO    S0, M0           \
	MOVOU   prefix<>(SB), X13 \
	PALIGNR $15, X13, M0     \
	PSHUFB  X15, M0          \
	PSHUFB  X15, M1          \
	PSHUFB  X15, M2          \
	PSHUFB  X15, M3

// ROUNDS computes four rounds of a lane with the words in X0.
#define ROUNDS(S0, S1) \
	SHA256RNDS2 X0, S0, S1    \
	PSHUFD      $0x0e, X0, X0 \
	SHA256RNDS2 X0, S1, S0

// FIRST computes four rounds of both lanes with message words that are given.
#define FIRST(K, MA, MB) \
	MOVOU (K*16)(AX), X0 \
	PADDD MA, X0         \
	ROUNDS(X1, X2)       \
	MOVOU (K*16)(AX), X0 \
	PADDD MB, X0         \
	ROUNDS(X7, X8)

// SCHEDULE replaces the four oldest words W by the next ones.
#define SCHEDULE(W, W1, W2, W3, T) \
	SHA256MSG1 W1, W    \
	MOVO       W3, T    \
	PALIGNR    $4, W2, T \
	PADDD      T, W     \
	SHA256MSG2 W3, W

// NEXT computes the next words and four rounds of both lanes with them.
#define NEXT(K, A0, A1, A2, A3, B0, B1, B2, B3) \
	SCHEDULE(A0, A1, A2, A3, X13) \
	SCHEDULE(B0, B1, B2, B3, X14) \
	FIRST(K, A0, B0)

// LAST computes four rounds of both lanes in the second block.
#define LAST(K) \
	MOVOU (K*16)(R8), X0 \
	ROUNDS(X1, X2)       \
	MOVOU (K*16)(R9), X0 \
	ROUNDS(X7, X8)

// DIGEST turns the state S0 S1 into the bytes of the digest.
#define DIGEST(S0, S1, T0, T1) \
	PSHUFD  $0x1b, S0, T0 \
	PSHUFD  $0xb1, S1, T1 \
	MOVO    T0, S0        \
	PBLENDW $0xf0, T1, S0 \
	MOVO    T1, S1        \
	PALIGNR $8, T0, S1    \
	PSHUFB  X15, S0       \
	PSHUFB  X15, S1

// HASH computes both digests from left and right in S0 S1 and M0 M1 of each lane.
#define HASH \
	MESSAGE(X1, X2, X3, X4, X5, X6, R8)         \
	MESSAGE(X7, X8, X9, X10, X11, X12, R9)      \
	MOVOU initial<>+0(SB), X1                   \
	MOVOU initial<>+16(SB), X2                  \
	MOVO  X1, X7                                \
	MOVO  X2, X8                                \
	FIRST(0, X3, X9)                            \
	FIRST(1, X4, X10)                           \
	FIRST(2, X5, X11)                           \
	FIRST(3, X6, X12)                           \
	NEXT(4, X3, X4, X5, X6, X9, X10, X11, X12)  \
	NEXT(5, X4, X5, X6, X3, X10, X11, X12, X9)  \
	NEXT(6, X5, X6, X3, X4, X11, X12, X9, X10)  \
	NEXT(7, X6, X3, X4, X5, X12, X9, X10, X11)  \
	NEXT(8, X3, X4, X5, X6, X9, X10, X11, X12)  \
	NEXT(9, X4, X5, X6, X3, X10, X11, X12, X9)  \
	NEXT(10, X5, X6, X3, X4, X11, X12, X9, X10) \
	NEXT(11, X6, X3, X4, X5, X12, X9, X10, X11) \
	NEXT(12, X3, X4, X5, X6, X9, X10, X11, X12) \
	NEXT(13, X4, X5, X6, X3, X10, X11, X12, X9) \
	NEXT(14, X5, X6, X3, X4, X11, X12, X9, X10) \
	NEXT(15, X6, X3, X4, X5, X12, X9, X10, X11) \
	MOVOU initial<>+0(SB), X3                   \
	MOVOU initial<>+16(SB), X4                  \
	PADDD X3, X1                                \
	PADDD X4, X2                                \
	PADDD X3, X7                                \
	PADDD X4, X8                                \
	MOVO  X1, X3                                \
	MOVO  X2, X4                                \
	MOVO  X7, X9                                \
	MOVO  X8, X10                               \
	LAST(0)                                     \
	LAST(1)                                     \
	LAST(2)                                     \
	LAST(3)                                     \
	LAST(4)                                     \
	LAST(5)                                     \
	LAST(6)                                     \
	LAST(7)                                     \
	LAST(8)                                     \
	LAST(9)                                     \
	LAST(10)                                    \
	LAST(11)                                    \
	LAST(12)                                    \
	LAST(13)                                    \
	LAST(14)                                    \
	LAST(15)                                    \
	PADDD X3, X1                                \
	PADDD X4, X2                                \
	PADDD X9, X7                                \
	PADDD X10, X8                               \
	DIGEST(X1, X2, X3, X4)                      \
	DIGEST(X7, X8, X9, X10)

// SIDES sets left S0 S1 and right M0 M1 from the hash in S0 S1 and the empty
// subtree of the height: the hash goes to the right if the path's bit for the
// height, counted from its end, is set. It moves on to the next height. There is
// no jump, since nobody could predict it.
#define SIDES(S0, S1, M0, M1, PATH, HEIGHT) \
	MOVQ    HEIGHT, R12     \
	SHLQ    $5, R12         \
	MOVOU   0(BX)(R12*1), M0 \
	MOVOU   16(BX)(R12*1), M1 \
	MOVQ    HEIGHT, R12     \
	SHRQ    $3, R12         \
	MOVQ    PATH, R13       \
	SUBQ    R12, R13        \
	MOVBLZX 31(R13), R12    \
	MOVQ    HEIGHT, R13     \
	ANDL    $7, R13         \
	BTL     R13, R12        \
	SBBL    R12, R12        \
	MOVD    R12, X13        \
	PSHUFD  $0, X13, X13    \
	MOVO    S0, X14         \
	PXOR    M0, X14         \
	PAND    X13, X14        \
	PXOR    X14, S0         \
	PXOR    X14, M0         \
	MOVO    S1, X14         \
	PXOR    M1, X14         \
	PAND    X13, X14        \
	PXOR    X14, S1         \
	PXOR    X14, M1         \
	INCQ    HEIGHT

// func climbLanes(a, b *lane, n int, t *tables)
TEXT ·climbLanes(SB), NOSPLIT, $0-32
	MOVQ  t+24(FP), DX
	MOVQ  0(DX), AX
	MOVQ  8(DX), CX
	MOVQ  16(DX), BX
	MOVOU swap<>(SB), X15

	MOVQ  a+0(FP), DX
	MOVQ  0(DX), DI
	MOVOU 0(DI), X1
	MOVOU 16(DI), X2
	MOVQ  8(DX), SI  // path A
	MOVQ  16(DX), R10 // height A

	MOVQ  b+8(FP), DX
	MOVQ  0(DX), DI
	MOVOU 0(DI), X7
	MOVOU 16(DI), X8
	MOVQ  8(DX), DI  // path B
	MOVQ  16(DX), R11 // height B

	MOVQ n+16(FP), DX

level:
	SIDES(X1, X2, X3, X4, SI, R10)
	SIDES(X7, X8, X9, X10, DI, R11)
	HASH
	DECQ DX
	JNZ  level

	MOVQ  a+0(FP), DX
	MOVQ  0(DX), DI
	MOVOU X1, 0(DI)
	MOVOU X2, 16(DI)
	MOVQ  R10, 16(DX)
	MOVQ  b+8(FP), DX
	MOVQ  0(DX), DI
	MOVOU X7, 0(DI)
	MOVOU X8, 16(DI)
	MOVQ  R11, 16(DX)
	RET

// func pairLanes(dst *[2]warg.Digest, src *[4]warg.Digest, t *tables)
TEXT ·pairLanes(SB), NOSPLIT, $0-24
	MOVQ  t+16(FP), DX
	MOVQ  0(DX), AX
	MOVQ  8(DX), CX
	MOVOU swap<>(SB), X15
	MOVQ  src+8(FP), SI
	MOVOU 0(SI), X1
	MOVOU 16(SI), X2
	MOVOU 32(SI), X3
	MOVOU 48(SI), X4
	MOVOU 64(SI), X7
	MOVOU 80(SI), X8
	MOVOU 96(SI), X9
	MOVOU 112(SI), X10
	HASH
	MOVQ  dst+0(FP), DI
	MOVOU X1, 0(DI)
	MOVOU X2, 16(DI)
	MOVOU X7, 32(DI)
	MOVOU X8, 48(DI)
	RET

// func cpuid(leaf, sub uint32) (eax, ebx, ecx, edx uint32)
TEXT ·cpuid(SB), NOSPLIT, $0-24
	MOVL leaf+0(FP), AX
	MOVL sub+4(FP), CX
	CPUID
	MOVL AX, eax+8(FP)
	MOVL BX, ebx+12(FP)
	MOVL CX, ecx+16(FP)
	MOVL DX, edx+20(FP)
	RET
