#include "textflag.h"

// The first row's field pd_checksum, the lower half of its third word, counts as zero.
DATA withoutField<>+0x00(SB)/8, $0xffffffffffffffff
DATA withoutField<>+0x08(SB)/8, $0xffffffffffff0000
DATA withoutField<>+0x10(SB)/8, $0xffffffffffffffff
DATA withoutField<>+0x18(SB)/8, $0xffffffffffffffff
GLOBL withoutField<>(SB), RODATA, $32

// MIX makes of t = sum ^ v in Y5 to Y8 the next sums in Y0 to Y3: t*prime ^ t>>17.
#define MIX \
	VPMULLD Y4, Y5, Y0  \
	VPMULLD Y4, Y6, Y1  \
	VPMULLD Y4, Y7, Y2  \
	VPMULLD Y4, Y8, Y3  \
	VPSRLD  $17, Y5, Y5 \
	VPSRLD  $17, Y6, Y6 \
	VPSRLD  $17, Y7, Y7 \
	VPSRLD  $17, Y8, Y8 \
	VPXOR   Y5, Y0, Y0  \
	VPXOR   Y6, Y1, Y1  \
	VPXOR   Y7, Y2, Y2  \
	VPXOR   Y8, Y3, Y3

// MIXZERO is MIX with v = 0.
#define MIXZERO \
	VMOVDQA Y0, Y5 \
	VMOVDQA Y1, Y6 \
	VMOVDQA Y2, Y7 \
	VMOVDQA Y3, Y8 \
	MIX

// func sumAVX2(page *[8192]byte, seeds *[32]uint32) uint32
TEXT ·sumAVX2(SB), NOSPLIT, $0-20
	MOVQ         page+0(FP), SI
	MOVQ         seeds+8(FP), DI
	VMOVDQU      (DI), Y0
	VMOVDQU      32(DI), Y1
	VMOVDQU      64(DI), Y2
	VMOVDQU      96(DI), Y3
	MOVL         $16777619, AX
	VMOVD        AX, X4
	VPBROADCASTD X4, Y4
	VMOVDQU      (SI), Y5
	VPAND        withoutField<>(SB), Y5, Y5
	VPXOR        Y0, Y5, Y5
	MOVQ         $64, CX
	JMP          rest

row:
	VPXOR (SI), Y0, Y5

rest:
	VPXOR 32(SI), Y1, Y6
	VPXOR 64(SI), Y2, Y7
	VPXOR 96(SI), Y3, Y8
	MIX
	ADDQ  $128, SI
	DECQ  CX
	JNZ   row

	MIXZERO
	MIXZERO
	VPXOR        Y1, Y0, Y0
	VPXOR        Y3, Y2, Y2
	VPXOR        Y2, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPXOR        X1, X0, X0
	VPSHUFD      $0x4e, X0, X1
	VPXOR        X1, X0, X0
	VPSHUFD      $0xb1, X0, X1
	VPXOR        X1, X0, X0
	VMOVD        X0, AX
	MOVL         AX, ret+16(FP)
	VZEROUPPER
	RET
