#include "textflag.h"

// The kernel calls this on the thread's stack for handlers, with the signal's
// number in R0. It adds that to the eventfd, and nothing else: it may run
// between any two instructions of Go.
TEXT ·onSignal(SB), NOSPLIT|NOFRAME, $0
	SUB	$16, RSP
	MOVWU	R0, R0
	MOVD	R0, 0(RSP)
	MOVD	·handlerFD(SB), R0
	MOVD	RSP, R1
	MOVD	$8, R2
	MOVD	$64, R8 // write
	SVC
	ADD	$16, RSP
	RET

// The handler returns to this, which lets the thread go on.
TEXT ·restore(SB), NOSPLIT|NOFRAME, $0
	MOVD	$139, R8 // rt_sigreturn
	SVC
	BRK

DATA	·handlerPC(SB)/8, $·onSignal(SB)
GLOBL	·handlerPC(SB), NOPTR, $8
DATA	·restorerPC(SB)/8, $·restore(SB)
GLOBL	·restorerPC(SB), NOPTR, $8
